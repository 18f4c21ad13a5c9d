"""Where an object uses the cluster's variables: such an object stays as written, and changes when they do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from felloe import expansion
from felloe.k8syaml import JsonValue
from felloe.substitute import json_path, variables_used
from hub.changes.fields import ANY_ITEM, shortened
from hub.changes.model import FieldChange, Operation


def variables_of(obj: Mapping[str, JsonValue]) -> frozenset[str]:
    """Return the names of the variables that an object of a bundle uses."""
    return variables_used(obj)


def uses(obj: Mapping[str, JsonValue], names: frozenset[str]) -> Iterator[FieldChange]:
    """Yield the fields of an object whose text uses one of these variables."""
    if not variables_used(obj) & names:
        return
    for path, text in _texts(obj, ()):
        if expansion.has_expressions(text) and not names.isdisjoint(expansion.names(text)):
            steps = tuple(ANY_ITEM if isinstance(step, int) else step for step in path)
            yield FieldChange(json_path(path), Operation.VARIABLE, shortened(text), shortened(text), steps=steps)


def _texts(
    value: JsonValue | Mapping[str, JsonValue], path: tuple[str | int, ...]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, (*path, index))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if expansion.has_expressions(key):
                yield (*path, key), key
            yield from _texts(item, (*path, key))
