"""Variables in manifests: what makes one object serve many clusters.

Flux substitutes in the YAML text that kustomize printed and parses the result again, so that a value can break out of
its place: one with a line break or ``: `` adds fields. Felloe fills in the leaves of the parsed object instead (by
`felloe.expansion`), and the hub and the spoke get the same bytes from it.

What stays as in Flux: a leaf that kustomize prints as a plain scalar is read again after it was filled in, so that
``replicas: ${n}`` becomes a number, ``enabled: ${on}`` a boolean and an empty value null; a value in quotes of its own
(``quote: '"'``, ``${quote}${n}${quote}``) stays text. Keys are filled in too. An object with the annotation or label
``kustomize.toolkit.fluxcd.io/substitute: disabled`` is left alone.

What is better on purpose: where Kubernetes takes nothing but text, text stays text, while Flux makes a number of it
that the API server refuses: labels, annotations, selectors of labels, the data of ConfigMaps and Secrets,
``env[].value``, the command and args of containers. A variable without value and default is always an error that says
where.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

from felloe import expansion
from felloe.errors import SubstitutionError
from felloe.k8syaml import JsonValue, load_scalar

OPT_OUT: Final = "kustomize.toolkit.fluxcd.io/substitute"
"""The annotation or label that, set to ``disabled``, keeps an object as it is."""

Path: TypeAlias = "tuple[str | int, ...]"

_TEXT_MAPS: Final = frozenset({"matchLabels", "nodeSelector"})
_DATA_FIELDS: Final = frozenset({"data", "stringData", "binaryData"})
_CONTAINERS: Final = frozenset({"containers", "initContainers", "ephemeralContainers"})
_NOT_PLAIN: Final = re.compile(
    r"""\A[\s#,\[\]{}&*!|>'"%@`]    # begins with an indicator or a blank
    | \A[-?:](\s|\Z) | \A(---|\.\.\.)
    | :(\s|\Z) | \s\# | \s\Z         # holds what ends a plain scalar
    | [^\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]""",
    re.VERBOSE,
)


def is_template(obj: Mapping[str, JsonValue]) -> bool:
    """Tell whether an object holds any expression and has not opted out."""
    return not _opted_out(obj) and any(expansion.has_expressions(text) for _, text in _texts(obj, ()))


def variables_used(obj: Mapping[str, JsonValue]) -> frozenset[str]:
    """Return the names of the variables that an object uses, also in defaults; none where it has opted out.

    Raise SubstitutionError, with the place, for an expression that is none of Flux'.
    """
    if _opted_out(obj):
        return frozenset()
    found: set[str] = set()
    for path, text in _texts(obj, ()):
        if not expansion.has_expressions(text):
            continue
        try:
            found.update(expansion.names(text))
        except SubstitutionError as error:
            raise SubstitutionError(f"{_who(obj)}: {json_path(path)}: {_told(error, obj.get('kind'))}") from None
    return frozenset(found)


def substitute(obj: Mapping[str, JsonValue], variables: Mapping[str, str]) -> dict[str, JsonValue]:
    """Return a copy of an object with its variables filled in; the object itself stays as it is.

    Raise SubstitutionError naming variable, object, JSON path and the ways out, for a variable without value and
    default, for an expression that is none of Flux', and for keys that become the same.
    """
    if _opted_out(obj):
        return dict(obj)
    filler = _Filler(_who(obj), str(obj.get("kind")), variables)
    return {filler.key(key, (key,)): filler.value(value, (key,)) for key, value in obj.items()}


def substitute_text(text: str, variables: Mapping[str, str], what: str = "text") -> str:
    """Return a text (a path, a namespace) filled in; `what` names it in errors.

    Raise SubstitutionError for a variable without value and default, and for an expression that is none of Flux'.
    """
    try:
        return expansion.expand(text, variables)
    except expansion.MissingVariableError as error:
        raise SubstitutionError(
            f"{what} {text!r}: {error}; set it in spec.variables of the Cluster or its Environment, as a label of the "
            f"cluster, or write a default: ${{{error.variable}:=…}}"
        ) from None
    except SubstitutionError as error:
        raise SubstitutionError(f"{what} {text!r}: {error}") from None


def json_path(path: Path) -> str:
    """Return a path as people write it: ``spec.containers[0].image``, ``metadata.labels["a.b/c"]``."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif re.fullmatch(r"[A-Za-z0-9_-]+", step):
            text += f".{step}" if text else step
        else:
            text += f'["{step}"]'
    return text


class _Filler:
    """Fills in one object's values; knows the object for messages and for what is text by kind."""

    def __init__(self, who: str, kind: str, variables: Mapping[str, str]) -> None:
        self._who = who
        self._kind = kind
        self._variables = variables
        self._filled = 0

    def value(self, value: JsonValue, path: Path) -> JsonValue:
        if isinstance(value, str):
            return self._leaf(value, path)
        if isinstance(value, list):
            return [self.value(item, (*path, index)) for index, item in enumerate(value)]
        if isinstance(value, dict):
            filled = {self.key(key, (*path, key)): self.value(item, (*path, key)) for key, item in value.items()}
            if len(filled) != len(value):
                raise SubstitutionError(f"{self._who}: {json_path(path)}: two keys become the same once filled in")
            return filled
        return value

    def key(self, key: str, path: Path) -> str:
        return self._fill(key, path) if expansion.has_expressions(key) else key

    def _leaf(self, text: str, path: Path) -> JsonValue:
        if not expansion.has_expressions(text):
            return text
        filled = self._fill(text, path)
        return filled if _is_text(self._kind, path) or _NOT_PLAIN.search(text) else _read_again(filled)

    def _fill(self, text: str, path: Path) -> str:
        try:
            filled = expansion.expand(text, self._variables)
        except expansion.MissingVariableError as error:
            name = error.variable
            raise SubstitutionError(
                f"{self._who}: {json_path(path)}: {error}; set it in spec.variables of the Cluster or its Environment, "
                f"write a default as ${{{name}:=…}}, write $${{{name}}} where the text itself is meant, or leave the "
                f"whole object as it is with the annotation {OPT_OUT}: disabled"
            ) from None
        except SubstitutionError as error:
            raise SubstitutionError(f"{self._who}: {json_path(path)}: {_told(error, self._kind)}") from None
        self._filled += len(filled)
        if self._filled > expansion.MAX_FILLED:
            raise SubstitutionError(
                f"{self._who}: {json_path(path)}: the object becomes too large: what is filled in has more than"
                f" {expansion.MAX_FILLED:,} characters"
            )
        return filled


def _read_again(filled: str) -> JsonValue:
    """Return what YAML makes of a filled-in plain scalar; only a scalar can come of it."""
    stripped = filled.strip()
    if len(stripped) > 1 and stripped[0] == stripped[-1] and stripped[0] in "'\"":
        inner = stripped[1:-1]
        if stripped[0] not in inner and "\\" not in inner:
            return inner
    value = load_scalar(stripped)
    return filled if isinstance(value, str) else value


def _is_text(kind: str, path: Path) -> bool:
    """Tell whether Kubernetes takes nothing but text at a path."""
    if kind in {"ConfigMap", "Secret"} and path[0] in _DATA_FIELDS:
        return True
    match path:
        case (*_, "metadata", _):
            return True
        case (*_, "metadata", "labels" | "annotations", _):
            return True
        case (*_, str(parent), _) if parent in _TEXT_MAPS:
            return True
        case ("spec", "selector", _):
            return kind in {"Service", "ReplicationController"}
        case (*_, "env", int(), "value"):
            return True
        case (*_, str(containers), int(), "args" | "command", int()):
            return containers in _CONTAINERS
        case _:
            return False


def _texts(value: Mapping[str, JsonValue] | list[JsonValue], path: Path) -> Iterator[tuple[Path, str]]:
    """Yield every text of an object with its path, keys as well."""
    items: Iterator[tuple[str | int, JsonValue]] = (
        iter(enumerate(value)) if isinstance(value, list) else iter(value.items())
    )
    for step, item in items:
        here = (*path, step)
        if isinstance(step, str):
            yield here, step
        if isinstance(item, str):
            yield here, item
        elif isinstance(item, dict | list):
            yield from _texts(item, here)


def _opted_out(obj: Mapping[str, JsonValue]) -> bool:
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict):
        return False
    marks = (metadata.get("annotations"), metadata.get("labels"))
    return any(isinstance(mark, dict) and mark.get(OPT_OUT) == "disabled" for mark in marks)


def _told(error: SubstitutionError, kind: JsonValue) -> str:
    """Return why a text of an object can't be filled in; of a Secret's none is quoted."""
    if kind == "Secret" and isinstance(error, expansion.UnreadableExpressionError):
        return error.unquoted
    return str(error)


def _who(obj: Mapping[str, JsonValue]) -> str:
    metadata = obj.get("metadata")
    name, namespace = (metadata.get("name"), metadata.get("namespace")) if isinstance(metadata, dict) else ("", None)
    return f"{obj.get('kind')} {namespace}/{name}" if namespace else f"{obj.get('kind')} {name}"
