"""Two states of an object, field by field.

Lists whose items have a key of their own (Kubernetes' merge keys: a container's name, a mount's path) are compared item
by item whatever their order, so that a container put first does not look as if every one had changed.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from felloe.digest import canonical_json
from felloe.k8syaml import JsonValue
from felloe.substitute import json_path
from hub.changes.model import FieldChange, Operation

Json = Mapping[str, JsonValue]

ANY_ITEM: Final = "*"
MOST_FIELDS: Final = 200
"""Fields of one object that are told one by one."""
_LONGEST: Final = 8 * 1024
"""Bytes of a value, or characters of a diff, that are shown."""
_MOST_LINES: Final = 5_000
_MOST_DEEP: Final = 100
_KEYS: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    "containers": (("name",),),
    "env": (("name",),),
    "ephemeralContainers": (("name",),),
    "hostAliases": (("ip",),),
    "imagePullSecrets": (("name",),),
    "initContainers": (("name",),),
    "ports": (("name",), ("containerPort", "protocol"), ("containerPort",), ("port", "protocol"), ("port",)),
    "secrets": (("name",),),
    "subjects": (("kind", "namespace", "name"), ("kind", "name")),
    "topologySpreadConstraints": (("topologyKey", "whenUnsatisfiable"),),
    "versions": (("name",),),
    "volumeDevices": (("devicePath",),),
    "volumeMounts": (("mountPath",),),
    "volumes": (("name",),),
    "webhooks": (("name",),),
}
"""By the list's field: what its items may be told apart by, the first that does counts."""
_ANY_KEYS: Final = (("name",),)


class _At(NamedTuple):
    """Where in an object: as people write it, and as keys."""

    path: str = ""
    steps: tuple[str, ...] = ()

    def key(self, key: str) -> _At:
        step = json_path((key,))
        return _At(
            step if not self.path else f"{self.path}{step if step[0] == '[' else f'.{step}'}", (*self.steps, key)
        )

    def item(self, which: str) -> _At:
        return _At(f"{self.path}[{which}]", (*self.steps, ANY_ITEM))

    @property
    def field(self) -> str:
        return self.steps[-1] if self.steps else ""


def compare(before: JsonValue | Json, after: JsonValue | Json) -> Iterator[FieldChange]:
    """Yield the fields in which two states of an object differ, in the order of their paths."""
    yield from _compare(before, after, _At())


def _compare(before: object, after: object, at: _At) -> Iterator[FieldChange]:
    if isinstance(before, Mapping) and isinstance(after, Mapping) and len(at.steps) < _MOST_DEEP:
        yield from _mappings(before, after, at)
    elif isinstance(before, list) and isinstance(after, list) and len(at.steps) < _MOST_DEEP:
        yield from _lists(before, after, at)
    elif not _same(before, after):
        yield _changed(before, after, at)


def _mappings(before: Mapping[str, object], after: Mapping[str, object], at: _At) -> Iterator[FieldChange]:
    for key in sorted(before.keys() | after.keys()):
        here = at.key(key)
        if key not in after:
            yield FieldChange(here.path, Operation.REMOVE, before=shortened(before[key]), steps=here.steps)
        elif key not in before:
            yield FieldChange(here.path, Operation.ADD, after=shortened(after[key]), steps=here.steps)
        else:
            yield from _compare(before[key], after[key], here)


def _lists(before: Sequence[object], after: Sequence[object], at: _At) -> Iterator[FieldChange]:
    for keys in (*_KEYS.get(at.field, ()), *_ANY_KEYS):
        old, new = _keyed(before, keys), _keyed(after, keys)
        if old is not None and new is not None:
            yield from _keyed_lists(old, new, at)
            return
    start = _common(before, after)
    end = _common(before[start:][::-1], after[start:][::-1])
    old_items, new_items = before[start : len(before) - end], after[start : len(after) - end]
    if len(old_items) == len(new_items):
        for index, (one, other) in enumerate(zip(old_items, new_items, strict=True), start):
            yield from _compare(one, other, at.item(str(index)))
        return
    for index, item in enumerate(old_items, start):
        here = at.item(str(index))
        yield FieldChange(here.path, Operation.REMOVE, before=shortened(item), steps=here.steps)
    for index, item in enumerate(new_items, start):
        here = at.item(str(index))
        yield FieldChange(here.path, Operation.ADD, after=shortened(item), steps=here.steps)


def _keyed_lists(old: Mapping[str, object], new: Mapping[str, object], at: _At) -> Iterator[FieldChange]:
    for key in sorted(old.keys() | new.keys()):
        here = at.item(key)
        if key not in new:
            yield FieldChange(here.path, Operation.REMOVE, before=shortened(old[key]), steps=here.steps)
        elif key not in old:
            yield FieldChange(here.path, Operation.ADD, after=shortened(new[key]), steps=here.steps)
        else:
            yield from _compare(old[key], new[key], here)
    first, then = [key for key in old if key in new], [key for key in new if key in old]
    if first != then:
        was, becomes = shortened([*old]), shortened([*new])
        yield FieldChange(at.path, Operation.REORDER, was, becomes, steps=at.steps)


def _keyed(items: Sequence[object], keys: tuple[str, ...]) -> dict[str, object] | None:
    """Return items by what tells them apart, None where these keys don't."""
    found: dict[str, object] = {}
    for item in items:
        values = [item.get(key) for key in keys] if isinstance(item, Mapping) else [None]
        if any(isinstance(value, bool) or not isinstance(value, str | int) for value in values):
            return None
        found[",".join(f"{key}={value}" for key, value in zip(keys, values, strict=True))] = item
    return found if len(found) == len(items) else None


def _common(one: Sequence[object], other: Sequence[object]) -> int:
    """Return how many items two lists begin with alike."""
    count = 0
    for left, right in zip(one, other, strict=False):
        if not _same(left, right):
            break
        count += 1
    return count


def _same(one: object, other: object) -> bool:
    """Tell whether two values are the same JSON; to Python 1 is True as well."""
    return one == other and canonical_json(one) == canonical_json(other)


def _changed(before: object, after: object, at: _At) -> FieldChange:
    if isinstance(before, str) and isinstance(after, str) and ("\n" in before or "\n" in after):
        return FieldChange(at.path, Operation.REPLACE, diff=_unified(before, after), steps=at.steps)
    return FieldChange(at.path, Operation.REPLACE, shortened(before), shortened(after), steps=at.steps)


def _unified(before: str, after: str) -> str:
    old, new = before.splitlines(), after.splitlines()
    if min(len(old), len(new)) > _MOST_LINES:
        return f"@@ {len(old)} and {len(new)} lines are too many to compare @@\n"
    lines = [*difflib.unified_diff(old, new, lineterm="")][2:]
    text = "".join(f"{line}\n" for line in lines) or "@@ only line ends differ @@\n"
    if len(text) <= _LONGEST:
        return text
    kept = text[:_LONGEST].rpartition("\n")[0]
    return f"{kept}\n@@ {text.count(chr(10)) - kept.count(chr(10)) - 1} more lines are left out @@\n"


def shortened(value: object) -> JsonValue:
    """Return a value as it is told: one that is too large only by its size."""
    plain: JsonValue = value  # type: ignore[assignment]
    if isinstance(value, str) and len(value) <= _LONGEST // 4:
        return plain
    size = len(canonical_json(value))
    return plain if size <= _LONGEST else f"({size:,} bytes)"
