"""Secrets without their values: what people are shown of two states of one is which of its values differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from felloe.identity import ObjectId

Json = Mapping[str, object]

MASK: Final = "***"
BEFORE: Final = "*** (before)"
AFTER: Final = "*** (after)"
_FIELDS: Final = ("data", "stringData")


def is_secret(identity: ObjectId) -> bool:
    """Tell whether an object's values are for nobody to see."""
    return identity[:2] == ("", "Secret")


def masked(before: Json, after: Json) -> tuple[Json, Json]:
    """Return two states of a Secret without its values; as kubectl's, the marks tell those that differ.

    A field that should hold values and is no object is masked as a whole.
    """
    for field in _FIELDS:
        old, new = before.get(field), after.get(field)
        changed: set[str] = set()
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            changed = {key for key in old.keys() & new.keys() if old[key] != new[key]}
        before, after = _with(before, field, changed, BEFORE), _with(after, field, changed, AFTER)
    return before, after


def _with(state: Json, field: str, changed: set[str], mark: str) -> Json:
    values = state.get(field)
    if values is None:
        return state
    if not isinstance(values, Mapping):
        return {**state, field: MASK}
    return {**state, field: {key: mark if key in changed else MASK for key in values}}
