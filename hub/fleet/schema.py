"""Tables that say which fields a kind has, and the one check that reads a document against them.

A document is checked whole: every mistake in it is reported at once, each with its field. A field that is known and
not supported yet is no mistake; it is noted, with whether going on without it would make something else of the
document (`Support.HOLDS`) or only less (`Support.IGNORED`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import Enum
from math import isfinite
from typing import Final, TypeAlias

from felloe.k8syaml import JsonValue
from hub.fleet.durations import format_duration, parse_duration


class Support(Enum):
    """Whether Felloe does what a known field says; if not, whether it may go on without it."""

    FULL = "full"
    IGNORED = "ignored"
    HOLDS = "holds"


@dataclass(frozen=True, slots=True)
class UnsupportedField:
    """A known field that is set and not supported yet. `holds`: without it, something else would be applied."""

    field: str
    holds: bool


@dataclass(frozen=True, slots=True)
class Text:
    """A text; `pattern` must match all of it, `hint` says what is meant; `judge` returns what is wrong with it."""

    one_of: tuple[str, ...] = ()
    pattern: str = ""
    hint: str = ""
    longest: int = 0
    blank: bool = True
    judge: Callable[[str], str] | None = None


@dataclass(frozen=True, slots=True)
class Flag:
    """``true`` or ``false``."""


@dataclass(frozen=True, slots=True)
class Duration:
    """A Go duration of at least `least` seconds."""

    least: float = 0.0


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number in a range."""

    least: int = 0
    most: int = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Number:
    """A finite number, also written as a text (``"0.01"``)."""


@dataclass(frozen=True, slots=True)
class Portion:
    """A number of at least 1, or a percentage of more than 0% and at most 100%."""


@dataclass(frozen=True, slots=True)
class Anything:
    """Any value at all."""


@dataclass(frozen=True, slots=True)
class TextMap:
    """A mapping from text to text; `key` must match every key."""

    key: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list of one shape."""

    item: Shape


@dataclass(frozen=True, slots=True)
class Record:
    """A mapping with known fields."""

    fields: Mapping[str, Field]


@dataclass(frozen=True, slots=True)
class TextOr:
    """A text, short for a record."""

    text: Text
    record: Record


Scalar: TypeAlias = "Text | Flag | Duration | Whole | Number | Portion"
Shape: TypeAlias = "Scalar | Anything | TextMap | ListOf | Record | TextOr"


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a record. `default` is what the field may say without needing any support."""

    shape: Shape
    required: bool = False
    support: Support = Support.FULL
    default: JsonValue = None


@dataclass(slots=True)
class Findings:
    """What a check found: mistakes as (field, message), and known fields that are not supported yet."""

    mistakes: list[tuple[str, str]] = field(default_factory=list)
    unsupported: list[UnsupportedField] = field(default_factory=list)


_EMPTY: Final[tuple[JsonValue, ...]] = (None, [], {}, "")


def check(shape: Shape, value: JsonValue, path: str, findings: Findings) -> None:
    """Read `value`, found at `path`, against a shape, and add what is found to `findings`."""
    match shape:
        case Record():
            _check_record(shape, value, path, findings)
        case ListOf():
            if not isinstance(value, list):
                findings.mistakes.append((path, f"must be a list, not {kind_of(value)}"))
                return
            for index, item in enumerate(value):
                check(shape.item, item, f"{path}[{index}]", findings)
        case TextMap():
            _check_text_map(shape, value, path, findings)
        case TextOr():
            check(shape.text if isinstance(value, str) else shape.record, value, path, findings)
        case Anything():
            return
        case _:
            message = _scalar_mistake(shape, value)
            if message:
                findings.mistakes.append((path, message))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the hint for a name that is not known: the closest one, or all of them."""
    names = sorted(known)
    lower = {candidate.lower(): candidate for candidate in names}
    close = get_close_matches(name.lower(), lower, n=1, cutoff=0.6)
    if close:
        return f"did you mean {lower[close[0]]}?"
    return "known are " + ", ".join(names) if names else "none is known here"


def kind_of(value: JsonValue) -> str:
    """Return what a value is, in a person's words; short values are quoted."""
    if value is None:
        return "empty"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return f"the boolean {str(value).lower()}"
    if isinstance(value, int | float):
        return f"the number {value}"
    return f"the text {value[:60]!r}"


def _check_record(shape: Record, value: JsonValue, path: str, findings: Findings) -> None:
    if not isinstance(value, dict):
        findings.mistakes.append((path, f"must be a mapping, not {kind_of(value)}"))
        return
    for name, item in value.items():
        here = f"{path}.{name}" if path else name
        known = shape.fields.get(name)
        if known is None:
            findings.mistakes.append((here, f"unknown field; {did_you_mean(name, shape.fields)}"))
        elif item is not None:
            check(known.shape, item, here, findings)
            if known.support is not Support.FULL and item not in _EMPTY and item != known.default:
                findings.unsupported.append(UnsupportedField(here, known.support is Support.HOLDS))
    for name, known in shape.fields.items():
        if known.required and value.get(name) is None:
            findings.mistakes.append((f"{path}.{name}" if path else name, "is required and missing"))


def _check_text_map(shape: TextMap, value: JsonValue, path: str, findings: Findings) -> None:
    if not isinstance(value, dict):
        findings.mistakes.append((path, f"must be a mapping, not {kind_of(value)}"))
        return
    for name, item in value.items():
        if shape.key and not re.fullmatch(shape.key, name):
            findings.mistakes.append((f"{path}.{name}", shape.hint))
        if not isinstance(item, str):
            findings.mistakes.append((f"{path}.{name}", f"must be a text, not {kind_of(item)}; put it in quotes"))


def _scalar_mistake(shape: Scalar, value: JsonValue) -> str:
    match shape:
        case Flag():
            return "" if isinstance(value, bool) else f"must be true or false, not {kind_of(value)}"
        case Whole():
            return _whole_mistake(shape, value)
        case Number():
            return "" if number(value) is not None else f"must be a number, not {kind_of(value)}"
        case Portion():
            return (
                "" if portion(value) else f"must be a number from 1 on or a percentage up to 100%, not {kind_of(value)}"
            )
        case Duration():
            return _duration_mistake(shape, value)
        case Text():
            return _text_mistake(shape, value)


def number(value: JsonValue) -> float | None:
    """Return a finite number, also one that is written as a text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if isfinite(found) else None


def portion(value: JsonValue) -> tuple[int, float | None] | None:
    """Return a count, or 0 and a percentage; None for what is neither, or nothing at all."""
    if isinstance(value, int) and not isinstance(value, bool):
        return (value, None) if value >= 1 else None
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,6})?%", value):
        percent = float(value[:-1])
        return (0, percent) if 0 < percent <= 100 else None
    return None


def _whole_mistake(shape: Whole, value: JsonValue) -> str:
    if isinstance(value, bool) or not isinstance(value, int):
        return f"must be a whole number, not {kind_of(value)}"
    return "" if shape.least <= value <= shape.most else f"must be from {shape.least} to {shape.most}, not {value}"


def _duration_mistake(shape: Duration, value: JsonValue) -> str:
    if not isinstance(value, str):
        return f"must be a duration such as 10m, not {kind_of(value)}"
    try:
        seconds = parse_duration(value)
    except ValueError as error:
        return str(error)
    return "" if seconds >= shape.least else f"must be at least {format_duration(shape.least)}, not {value}"


def _text_mistake(shape: Text, value: JsonValue) -> str:
    if not isinstance(value, str):
        return f"must be a text, not {kind_of(value)}"
    if shape.one_of and value not in shape.one_of:
        return f"must be one of {', '.join(shape.one_of)}, not {value[:60]!r}"
    if not shape.blank and not value:
        return "must not be empty"
    if shape.longest and len(value) > shape.longest:
        return f"must have at most {shape.longest} characters"
    if shape.pattern and not re.fullmatch(shape.pattern, value):
        return f"{value[:60]!r} is {shape.hint}"
    return shape.judge(value) if shape.judge else ""
