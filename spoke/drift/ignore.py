"""Fields that Git sets once and then leaves to others: an autoscaler's replicas, an injected CA bundle.

An entry names them by JSON pointers (RFC 6901). They are set when the object is made. Later they are sent as they are
in the cluster: leaving them out would have the API server remove what only we own. And who owns them is no drift.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from spoke.drift.fields import Json, item_key

_ABSENT: Final = object()


def carried_over(desired: Json, live: Json, pointers: Sequence[str]) -> Json:
    """Return `desired` with what is live at the pointers: the live value, or nothing where there is none."""
    carried: object = desired
    for pointer in pointers:
        carried = _carried(carried, live, _tokens(pointer))
    return carried if isinstance(carried, Mapping) else {}


def without(owned: Json, obj: Json, pointers: Sequence[str]) -> Json:
    """Return a fieldsV1 set without the fields at the pointers; `obj` tells which item of a list an index means."""
    for pointer in pointers:
        owned = _without(owned, obj, _tokens(pointer))
    return owned


def _carried(desired: object, live: object, path: Sequence[str]) -> object:
    token, rest = path[0], path[1:]
    if isinstance(desired, Mapping):
        if token not in desired:
            return desired  # what Git does not set is somebody else's already
        below = live.get(token, _ABSENT) if isinstance(live, Mapping) else _ABSENT
        value = _carried(desired[token], None if below is _ABSENT else below, rest) if rest else below
        kept = {name: each for name, each in desired.items() if name != token}
        return kept if value is _ABSENT else {**kept, token: value}
    if isinstance(desired, list) and token.isdigit() and int(token) < len(desired) and rest:
        index = int(token)
        return [
            *desired[:index],
            _carried(desired[index], _twin(desired[index], index, live), rest),
            *desired[index + 1 :],
        ]
    return desired


def _twin(item: object, index: int, live: object) -> object:
    """Return the live item of a list that one in Git stands for: the one with its name, else the one at its place."""
    if not isinstance(live, list):
        return None
    name = item.get("name") if isinstance(item, Mapping) else None
    if name is not None:
        return next((each for each in live if isinstance(each, Mapping) and each.get("name") == name), None)
    return live[index] if index < len(live) else None


def _without(owned: Json, obj: object, path: Sequence[str]) -> Json:
    token, rest = path[0], path[1:]
    key: str | None
    below: object
    if isinstance(obj, list):
        below = obj[int(token)] if token.isdigit() and int(token) < len(obj) else None
        key = item_key(below, owned)
    else:
        below = obj.get(token) if isinstance(obj, Mapping) else None
        key = f"f:{token}"
    if key is None or key not in owned:
        return owned
    inside = owned[key]
    smaller = _without(inside, below, rest) if rest and isinstance(inside, Mapping) else {}
    kept = {name: each for name, each in owned.items() if name != key}
    # A parent whose only fields were ignored ones counts for nothing either.
    return {**kept, key: smaller} if smaller else kept


def _tokens(pointer: str) -> list[str]:
    return [token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:]]
