"""What else goes when an object is applied: fields that kubectl or a predecessor of ours set and Git does not.

The API server can't be asked: an apply makes those fields ours first (spoke.drift.fields), and only then removes what
the manifest lacks, which a dry run of one request does not show. Here the same is worked out on what the dry run
answered. A default that the API server would fill in for a removed field is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from felloe.labels import FIELD_MANAGER
from spoke.drift.fields import item_key, taken_over
from spoke.kube.shapes import mapping

Json = Mapping[str, object]


def without_taken(obj: Json) -> Json:
    """Return an object as a dry run of our apply answered it, without the fields that we would take over and drop."""
    metadata = obj.get("metadata")
    managers = taken_over(metadata) if isinstance(metadata, Mapping) else None
    if not managers or not isinstance(metadata, Mapping):
        return obj
    manifest = _owned(entry for entry in _entries(metadata) if _ours(entry))
    ours = _owned(entry for entry in managers if _ours(entry))
    others = _owned(entry for entry in managers if not _ours(entry))
    dropped = obj
    for fields in ours:
        dropped = mapping(_without(dropped, _minus(fields, [*manifest, *others])))
    return dropped


def _minus(fields: Json, others: Sequence[Json]) -> Json:
    """Return what of a fieldsV1 set is in none of the others."""
    left: dict[str, object] = {}
    for key, below in fields.items():
        theirs = [mapping(other[key]) for other in others if key in other]
        if key == ".":
            continue
        if not theirs:
            left[key] = below
        elif all(theirs) and (deeper := _minus(mapping(below), theirs)):
            left[key] = deeper
    return left


def _without(value: object, gone: Json) -> object:
    """Return a value without the fields of a fieldsV1 set."""
    if isinstance(value, Mapping):
        return _fields_without(value, gone)
    if isinstance(value, list):
        kept = []
        for item in value:
            key = item_key(item, gone)
            below = mapping(gone[key]) if key is not None else {}
            if key is None:
                kept.append(item)
            elif below and "." not in below:
                kept.append(_without(item, below))
        return kept
    return value


def _fields_without(value: Json, gone: Json) -> Json:
    kept = dict(value)
    for key, below in gone.items():
        name = key.removeprefix("f:")
        if not key.startswith("f:") or name not in kept:
            continue
        inside = mapping(below)
        rest = _without(kept[name], inside) if inside else None
        if rest or (inside and "." not in inside):
            kept[name] = rest
        else:
            del kept[name]
    return kept


def _owned(entries: Iterable[Json]) -> list[Json]:
    return [mapping(entry.get("fieldsV1")) for entry in entries]


def _ours(entry: Json) -> bool:
    return entry.get("manager") == FIELD_MANAGER and entry.get("operation") == "Apply" and not entry.get("subresource")


def _entries(metadata: Json) -> list[Json]:
    entries = metadata.get("managedFields")
    return [entry for entry in entries if isinstance(entry, Mapping)] if isinstance(entries, list) else []
