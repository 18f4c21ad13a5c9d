"""Label selectors as people type them: ``env=prod,tier in (web, api),!legacy,facts.felloe.io/node-count>3``.

Grammar and meaning are those of Kubernetes (apimachinery ``pkg/labels``): all requirements must hold; ``!=`` and
``notin`` also hold where the label is missing. ``<``, ``<=``, ``>`` and ``>=`` compare as `hub.fleet.labels` has it:
versions, and whole numbers as in Kubernetes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from felloe.errors import ConfigError
from hub.fleet.labels import compares, version_of

Selector = Callable[[Mapping[str, str]], bool]
"""Says whether some labels match."""

_KEY: Final = r"(?:[A-Za-z0-9](?:[-A-Za-z0-9.]*[A-Za-z0-9])?/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?"
_VALUE: Final = r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?)?"
_EQUALITY: Final = re.compile(rf"({_KEY})\s*(==|=|!=)\s*({_VALUE})")
_SET: Final = re.compile(rf"({_KEY})\s+(in|notin)\s*\(([^()]*)\)")
_COMPARISON: Final = re.compile(rf"({_KEY})\s*(<=|>=|<|>)\s*(v?[0-9][-+_.A-Za-z0-9]*)")
_OPERATORS: Final = {"<": "Lt", "<=": "Lte", ">": "Gt", ">=": "Gte"}
_EXISTS: Final = re.compile(rf"(!?)\s*({_KEY})")
_VALUE_ALONE: Final = re.compile(_VALUE)
_LONGEST: Final = 4096
"""Characters. Splitting costs their square in the worst case, and the hub does nothing else meanwhile."""


def parse_selector(text: str) -> Selector:
    """Return the selector that `text` means; an empty one matches all. Raise ConfigError where it is none."""
    if len(text) > _LONGEST:
        raise ConfigError(f"a label selector of {len(text)} characters is too long: at most {_LONGEST}")
    requirements = [_requirement(part, text) for part in _split(text)]
    return lambda labels: all(holds(labels) for holds in requirements)


def _split(text: str) -> Sequence[str]:
    """Split at commas outside of parentheses."""
    parts = re.split(r",(?![^(]*\))", text)
    stripped = [part.strip() for part in parts]
    if stripped == [""]:
        return []
    return stripped


def _requirement(part: str, whole: str) -> Selector:
    if match := _EQUALITY.fullmatch(part):
        key, operator, value = match.groups()
        if operator == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    if match := _SET.fullmatch(part):
        key, operator, inside = match.groups()
        values = frozenset(value.strip() for value in inside.split(","))
        if all(_VALUE_ALONE.fullmatch(value) for value in values):
            if operator == "in":
                return lambda labels: labels.get(key) in values
            return lambda labels: labels.get(key) not in values
    if (match := _COMPARISON.fullmatch(part)) and version_of(match[3]):
        key, operator, value = match[1], _OPERATORS[match[2]], match[3]
        return lambda labels: compares(labels.get(key), operator, value)
    if match := _EXISTS.fullmatch(part):
        negated, key = match.groups()
        return lambda labels: (key in labels) is not bool(negated)
    raise ConfigError(
        f"{part!r} in the label selector {whole!r} says nothing: write key=value, key!=value, key in (a,b), "
        "key notin (a,b), key>=1.34 (or >, <, <=), key or !key, separated by commas"
    )
