"""YAML as Kubernetes reads it, so that a manifest means the same to Felloe as to kubectl, Flux and the API server.

They read through sigs.k8s.io/yaml: a YAML 1.1 of its own, turned into JSON. PyYAML's YAML 1.1 is another one: it takes
``1:30`` for a number, ``2020-01-01`` for a date, ``1e3`` and ``y`` for texts. Here PyYAML only parses (libyaml's
events); what a scalar means is decided below, and tested against a table that sigs.k8s.io/yaml itself printed
(tests/unit/felloe/vectors).

Stricter than sigs.k8s.io/yaml on purpose: a duplicate key is an error. An explicit key wins over a merged one (``<<``)
wherever it stands, as YAML and kustomize have it; sigs.k8s.io/yaml lets the later of the two win.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias

import yaml

from felloe.errors import ConfigError, Place

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"
"""What JSON can hold; a manifest is a ``dict[str, JsonValue]``."""

MAX_DEPTH = 100
"""How deep collections may nest: far beyond any manifest, and well within what encoders take."""

MAX_ALIASED = 400_000
"""How many values the aliases of one text may add up to; sigs.k8s.io/yaml draws the line at about the same number."""

MAX_ALIASED_TEXT = 16 * 1024 * 1024
"""How many characters of text they may add up to: a copy shares them, but whatever writes the values does not."""

_Number: TypeAlias = bool | int | float | None
_Scalar: TypeAlias = _Number | str

_TAG = "tag:yaml.org,2002:"
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(["y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"], True),
    **dict.fromkeys(["n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"], False),
    **dict.fromkeys(["", "~", "null", "Null", "NULL"], None),
}
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_INT = re.compile(
    r"(?P<sign>[-+]?)(0[xX](?P<hex>[0-9a-fA-F]+)|0[bB](?P<bin>[01]+)|0[oO]?(?P<oct>[0-7]+)|(?P<dec>0|[1-9][0-9]*))"
)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_DOT_FLOAT = re.compile(r"\.[0-9]+([eE][-+]?[0-9]+)?")
_INTERESTING = frozenset("+-0123456789yYnNtTfFoO~.")
_INT64 = range(-(2**63), 2**63)


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a YAML stream and the line (from 1) that it begins on."""

    value: JsonValue
    line: int


def load_all(text: str | bytes, *, file: str) -> list[Document]:
    """Return the documents of a YAML stream; empty ones are left out.

    `file` is only for messages. Raise ConfigError, placed at file and line, for what isn't UTF-8 or YAML, for
    duplicate keys, unknown or self-containing aliases, aliases that add up to more than `MAX_ALIASED` values or
    `MAX_ALIASED_TEXT` characters, keys that JSON can't have, numbers that are not finite and nesting deeper than
    `MAX_DEPTH`.
    """
    try:
        content = text.encode() if isinstance(text, str) else bytes(text)
        content.decode()
    except UnicodeError:
        raise ConfigError("is not UTF-8 text: save it as UTF-8", Place(file)) from None
    try:
        return _Builder(content, file).documents()
    except yaml.MarkedYAMLError as error:
        problem = ", ".join(part for part in (error.context, error.problem) if part)
        mark = error.problem_mark or error.context_mark
        raise ConfigError(f"is not valid YAML: {problem}", _place(file, mark.line if mark else 0)) from None
    except yaml.reader.ReaderError as error:
        line = content[: error.position].count(b"\n")
        raise ConfigError(f"is not valid YAML: {error.reason}", _place(file, line)) from None


def load_scalar(text: str) -> JsonValue:
    """Return what a plain (unquoted) scalar means: ``yes`` is True, ``0777`` 511, ``1e3`` 1000, ``1:30`` a text.

    A number that JSON has no form for (``.inf``) stays a text.
    """
    try:
        value = _plain(text.strip())
    except ValueError:
        return text
    return text if isinstance(value, str) else _json_number(value)


def dump(value: JsonValue) -> str:
    """Return one YAML document for people, laid out as kubectl does; any YAML loader reads the same values from it."""
    return dump_all([value])


def dump_all(values: Iterable[JsonValue]) -> str:
    """Return a YAML stream of several documents, separated by ``---``."""
    return "---\n".join(
        yaml.dump(value, Dumper=_Dumper, default_flow_style=False, allow_unicode=True, width=2**31 - 1).removesuffix(
            "...\n"
        )
        for value in values
    )


def _place(file: str, line: int) -> Place:
    return Place(file, field=f"line {line + 1}")


# --- what a scalar means ----------------------------------------------------------------------------------------------


def _plain(text: str) -> _Scalar:
    """Resolve a plain scalar as go.yaml.in/yaml/v2 does. Raise ValueError for an infinity or no number at all."""
    if not text:
        return None
    first = text[0]
    if first not in _INTERESTING:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _NOT_FINITE.fullmatch(text):
        raise ValueError(f"{text} has no form in JSON")
    if first == ".":
        return _float(text) if _DOT_FLOAT.fullmatch(text) else text
    if first in "+-0123456789":
        return _number(text)
    return text


def _number(text: str) -> int | float | str:
    digits = text.replace("_", "")
    match = _INT.fullmatch(digits)
    if match is not None and len(digits) <= 80:  # no integer of 64 bits is longer
        for name, base in (("hex", 16), ("bin", 2), ("oct", 8), ("dec", 10)):
            if match[name] is not None:
                number = int(match["sign"] + match[name], base)
                if number in _INT64 or (not match["sign"] and 0 <= number < 2**64):
                    return number
    if _FLOAT.fullmatch(digits):
        number_or_text = _float(digits)
        return text if isinstance(number_or_text, str) else number_or_text
    return text


def _float(text: str) -> float | str:
    number = float(text)
    return number if math.isfinite(number) else text


def _json_number(value: _Number) -> _Number:
    """Return a number as it is after a trip through Go's JSON: whole floats become integers, too large ones floats."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, float):
        if value.is_integer() and abs(value) < 2**64:
            whole = int(Decimal(repr(value)))  # the shortest digits, as Go prints them, not the binary value
            return whole if whole in _INT64 else value
        return value
    return value if value in _INT64 else float(value)


def _tagged(tag: str, text: str) -> _Scalar:
    """Resolve a scalar with an explicit tag. Raise ValueError where the text does not fit the tag."""
    kind = tag.removeprefix(_TAG)
    if kind == tag or kind not in {"bool", "int", "float", "null", "timestamp", "binary"}:
        return text
    if kind == "binary":
        try:
            return base64.b64decode("".join(text.split()), validate=True).decode(errors="replace")
        except binascii.Error:
            raise ValueError("is tagged !!binary and no base64") from None
    value = _plain(text)
    fits = {
        "bool": isinstance(value, bool),
        "int": isinstance(value, int) and not isinstance(value, bool),
        "float": isinstance(value, int | float) and not isinstance(value, bool),
        "null": value is None,
        "timestamp": isinstance(value, str),
    }
    if not fits[kind]:
        raise ValueError(f"is tagged !!{kind} and is none")
    return float(value) if kind == "float" and isinstance(value, int) else value


def _key(value: _Scalar) -> str:
    """Return a mapping's key as JSON has it. Raise ValueError for a key that sigs.k8s.io/yaml refuses."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value in _INT64:
        return str(value)
    if isinstance(value, float):
        return _float32_text(value)
    raise ValueError("a key is null or too large a number; quote it if it is meant as text")


def _float32_text(value: float) -> str:
    """Return a float as Go's ``FormatFloat(value, 'g', -1, 32)``: the shortest text that reads back as this float32."""
    try:
        wanted = struct.pack("f", value)
    except OverflowError:
        raise ValueError("a key is too large a number; quote it if it is meant as text") from None
    value = struct.unpack("f", wanted)[0]
    precision = next((p for p in range(9) if struct.pack("f", float(f"{value:.{p}e}")) == wanted), 9)
    shortest = f"{value:.{precision}e}"
    mantissa, _, power = shortest.partition("e")
    if not -4 <= int(power) < 6:
        return f"{mantissa}e{int(power):+03d}"
    return f"{float(shortest):.{max(precision - int(power), 0)}f}"


# --- events to values -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Anchor:
    """What an anchor stands for, how many values that is, and how many characters of text they hold."""

    value: JsonValue
    size: int
    text: int


class _Merge:
    """The key ``<<``, plain: what follows is merged into the mapping."""


_MERGE = _Merge()


def _line(event: yaml.Event) -> int:
    return event.start_mark.line if event.start_mark else 0


class _Builder:
    """Builds plain JSON values from libyaml's events, in one pass, without node objects in between."""

    def __init__(self, content: bytes, file: str) -> None:
        self._parser = yaml.CSafeLoader(content)
        self._file = file
        self._anchors: dict[str, _Anchor] = {}
        self._open: set[str] = set()
        self._count = 0
        self._text = 0
        self._aliased = 0
        self._aliased_text = 0

    def documents(self) -> list[Document]:
        """Return every document that holds something."""
        found = []
        while not isinstance(event := self._next(), yaml.StreamEndEvent):
            if isinstance(event, yaml.StreamStartEvent | yaml.DocumentEndEvent):
                continue
            self._anchors.clear()  # a DocumentStart
            first = self._next()
            value = self._value(first, 0)
            if value is not None:
                found.append(Document(value, _line(first) + 1))
        return found

    def _next(self) -> yaml.Event:
        event = self._parser.get_event()
        if event is None:  # the stream's end comes first; nobody reads past it
            raise yaml.YAMLError("the stream ended early")
        return event

    def _fail(self, event: yaml.Event, message: str) -> ConfigError:
        return ConfigError(message, _place(self._file, _line(event)))

    def _value(self, event: yaml.Event, depth: int) -> JsonValue:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        before, text_before = self._count, self._text
        self._count += 1
        anchor = event.anchor if isinstance(event, yaml.NodeEvent) else None
        if anchor:
            self._open.add(anchor)
        value: JsonValue
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event)
        elif depth >= MAX_DEPTH:
            raise self._fail(event, f"nests deeper than {MAX_DEPTH} levels")
        elif isinstance(event, yaml.MappingStartEvent):
            value = self._mapping(depth)
        else:
            value = self._sequence(depth)
        if anchor:
            self._open.discard(anchor)
            self._anchors[anchor] = _Anchor(value, self._count - before, self._text - text_before)
        return value

    def _scalar(self, event: yaml.ScalarEvent) -> JsonValue:
        value = self._resolve(event)
        return value if isinstance(value, str) else _json_number(value)

    def _resolve(self, event: yaml.ScalarEvent) -> _Scalar:
        self._text += len(event.value)
        try:
            if event.implicit[0] and event.tag != "!":
                return _plain(event.value)
            if event.implicit[1] or event.tag in {None, "!"}:
                return str(event.value)
            return _tagged(event.tag, event.value)
        except ValueError as error:
            raise self._fail(event, str(error)) from None

    def _sequence(self, depth: int) -> list[JsonValue]:
        found: list[JsonValue] = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            found.append(self._value(event, depth + 1))
        return found

    def _mapping(self, depth: int) -> dict[str, JsonValue]:
        found: dict[str, JsonValue] = {}
        merged: dict[str, JsonValue] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            key = self._read_key(event)
            after = self._next()
            if isinstance(key, _Merge):
                self._merge(after, depth, merged)
            elif key in found:
                raise self._fail(event, f"the key {key!r} is there twice; remove one of the two")
            else:
                found[key] = self._value(after, depth + 1)
        return {**merged, **found} if merged else found

    def _read_key(self, event: yaml.Event) -> str | _Merge:
        if isinstance(event, yaml.AliasEvent):
            value = self._alias(event)
            if isinstance(value, list | dict):
                raise self._fail(event, "a key is a list or a mapping; Kubernetes takes only texts")
        elif isinstance(event, yaml.ScalarEvent):
            if event.value == "<<" and (event.implicit[0] or event.tag == f"{_TAG}merge"):
                return _MERGE
            value = self._resolve(event)
            if event.anchor:
                self._anchors[event.anchor] = _Anchor(value, 1, len(event.value))
        else:
            raise self._fail(event, "a key is a list or a mapping; Kubernetes takes only texts")
        try:
            return _key(value)
        except ValueError as error:
            raise self._fail(event, str(error)) from None

    def _merge(self, event: yaml.Event, depth: int, into: dict[str, JsonValue]) -> None:
        """Add what ``<<`` brings; of several mappings the earlier one wins."""
        value = self._value(event, depth + 1)
        for one in value if isinstance(value, list) else [value]:
            if not isinstance(one, dict):
                raise self._fail(event, "<< needs a mapping or a list of mappings")
            for key, item in one.items():
                into.setdefault(key, item)

    def _alias(self, event: yaml.AliasEvent) -> JsonValue:
        anchor = self._anchors.get(event.anchor or "")
        if event.anchor in self._open:
            raise self._fail(event, f"the anchor {event.anchor!r} contains itself")
        if anchor is None:
            raise self._fail(event, f"the alias *{event.anchor} has no anchor &{event.anchor} before it")
        self._count += anchor.size
        self._aliased += anchor.size
        if self._aliased > MAX_ALIASED:
            raise self._fail(event, f"its aliases add up to more than {MAX_ALIASED:,} values")
        self._text += anchor.text
        self._aliased_text += anchor.text
        if self._aliased_text > MAX_ALIASED_TEXT:
            raise self._fail(event, f"its aliases add up to more than {MAX_ALIASED_TEXT:,} characters")
        return _copy(anchor.value)


def _copy(value: JsonValue) -> JsonValue:
    """Copy the collections of a value, so that no two places of a manifest share one."""
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copy(item) for item in value]
    return value


# --- values to text ---------------------------------------------------------------------------------------------------


class _Dumper(yaml.CSafeDumper):
    """Quotes every text that any loader could take for something else; long texts of several lines become blocks."""

    def ignore_aliases(self, data: object) -> bool:
        return True


# What YAML 1.1 or 1.2 loaders take for something else than a text and PyYAML's own resolver lets pass plain.
_AMBIGUOUS = re.compile(r"[yYnN]|[-+]?\.?[0-9][0-9a-fA-FxXoObB_.:eE+-]*|[-+]?\.(inf|nan)|<<|=", re.IGNORECASE)


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = None
    if "\n" in text:
        style = '"' if re.search(r"[ \t]\n|^\s|[^\x20-\x7e\n\xa0-\ud7ff]", text) or not text.strip() else "|"
    elif _AMBIGUOUS.fullmatch(text) or re.search(r"[^\x20-\x7e\xa0-\ud7ff]", text):
        style = '"'
    elif not isinstance(load_scalar(text), str):
        style = "'"
    return dumper.represent_scalar(f"{_TAG}str", text, style=style)


def _represent_float(dumper: _Dumper, number: float) -> yaml.ScalarNode:
    if not math.isfinite(number):
        raise ValueError(f"{number} has no form in JSON")
    text = repr(number)
    if "e" in text and "." not in text:  # YAML 1.1 wants the point
        text = text.replace("e", ".0e")
    return dumper.represent_scalar(f"{_TAG}float", text)


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(float, _represent_float)
