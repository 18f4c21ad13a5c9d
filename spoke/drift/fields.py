"""Which fields of an object are ours, by ``metadata.managedFields``, and who took one away.

The format is fieldsV1 (https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management):
``f:<name>`` is a field, ``k:<keys as JSON>`` the item of a list with these keys, ``v:<value>`` an item of a set, ``.``
the thing itself; what has nothing below it is owned whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final, NamedTuple

import orjson

from felloe.annotations import policy
from felloe.labels import FIELD_MANAGER, WORKLOAD_LABELS
from spoke.kube.shapes import mapping

Json = Mapping[str, object]

FINGERPRINT_BYTES: Final = 12
_LONGEST_VALUE: Final = 60
_PREDECESSORS: Final = frozenset(
    {
        "before-first-apply",
        "kustomize-controller",
        "helm",
        "helm-controller",
        "argocd-controller",
        "argocd-application-controller",
    }
)
_THE_CLUSTERS: Final = {
    "f:metadata": frozenset({"f:finalizers", "f:ownerReferences"}),
    "f:spec": frozenset(
        {
            "f:clusterIP",
            "f:clusterIPs",
            "f:healthCheckNodePort",
            "f:nodeName",
            "f:replicas",
            "f:volumeName",
        }
    ),
}
"""What controllers set, often in the name of the manager that wrote last. It is taken over only if Git sets it: an
object that is adopted must not be scaled to one, unbound or released."""

LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
_IDENTITY: Final = frozenset({"apiVersion", "kind"})
_IDENTITY_METADATA: Final = frozenset({"name", "namespace"})


def fingerprint(metadata: Json, counted: Callable[[Json], Json] = lambda owned: owned) -> bytes:
    """Return what names the set of fields that we own on an object, or have to take over; empty where we own none.

    `counted` returns the part of a set of fields that counts.
    """
    own = _own(metadata)
    if own is None:
        return b""
    sets = [(own.get("apiVersion"), counted(mapping(own.get("fieldsV1"))))]
    sets += [(taken.entry.get("apiVersion"), counted(taken.fields)) for taken in _by_hand(metadata)]
    marks = [sets[0], *((version, fields) for version, fields in sets[1:] if fields)]
    text = orjson.dumps(marks, option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(text, digest_size=FINGERPRINT_BYTES).digest()


def taken_over(metadata: Json) -> list[Json] | None:
    """Return managedFields in which we own what was written by those we succeed; None where there is nothing to take.

    Without this a field that leaves Git would stay, because kubectl, which created the object long ago, owns it too.
    """
    by_hand = _by_hand(metadata)
    if not by_hand:
        return None
    own = _own(metadata)
    # The API server knows an applier by its name, whatever version it last wrote, and converts what it owns.
    ours: Json = own or {**by_hand[0].entry, "manager": FIELD_MANAGER, "operation": "Apply", "fieldsV1": {}}
    fields = mapping(ours.get("fieldsV1"))
    for taken in by_hand:
        fields = _union(fields, taken.fields)
    left = {id(taken.entry): taken.rest for taken in by_hand}
    others = [
        {**entry, "fieldsV1": left[id(entry)]} if id(entry) in left else entry
        for entry in _entries(metadata)
        if entry is not own and left.get(id(entry), entry)
    ]
    return [*others, {**ours, "fieldsV1": fields}]


def handed_over(metadata: Json, manager: str) -> list[Json]:
    """Return managedFields in which what was ours belongs to another manager that applies: the inverse of `taken_over`.

    Our labels are not among it.
    """
    own = _own(metadata)
    others = [entry for entry in _entries(metadata) if entry is not own]
    if own is None:
        return others
    fields = _without_labels(mapping(own.get("fieldsV1")))
    for other in others:
        if _key(other) == (manager, "Apply", own.get("apiVersion"), ""):
            fields = _union(fields, mapping(other.get("fieldsV1")))
            others.remove(other)
            break
    return [*others, {**own, "manager": manager, "fieldsV1": fields}]


def _key(entry: Json) -> tuple[object, ...]:
    return entry.get("manager"), entry.get("operation"), entry.get("apiVersion"), entry.get("subresource") or ""


def _without_labels(fields: Json) -> dict[str, object]:
    metadata = mapping(fields.get("f:metadata"))
    labels = mapping(metadata.get("f:labels"))
    rest = {key: below for key, below in labels.items() if key.removeprefix("f:") not in WORKLOAD_LABELS}
    metadata = {key: below for key, below in metadata.items() if key != "f:labels"} | (
        {"f:labels": rest} if rest else {}
    )
    return {key: below for key, below in fields.items() if key != "f:metadata"} | (
        {"f:metadata": metadata} if metadata else {}
    )


class _Taken(NamedTuple):
    """What is taken over of an entry of managedFields, and what stays with its manager."""

    entry: Json
    fields: Json
    rest: Json


def _by_hand(metadata: Json) -> list[_Taken]:
    """Return what is taken over: what was written by hand, by Flux, Helm or Argo CD (fluxcd/pkg, ssa, takes kubectl's).

    Unlike there, ``kubectl rollout restart`` is left alone: undoing it would restart everything once more. As there,
    nothing is taken over with ``ssa: Merge``.
    """
    entries = [
        entry
        for entry in _entries(metadata)
        if not entry.get("subresource") and _succeeded(str(entry.get("manager") or ""))
    ]
    if not entries or policy(metadata).merged:
        return []
    own = _own(metadata)
    ours = mapping(own.get("fieldsV1")) if own else {}
    found = []
    for entry in entries:
        fields, rest = _parted(mapping(entry.get("fieldsV1")), ours)
        if fields:
            found.append(_Taken(entry, fields, rest))
    return found


def _succeeded(manager: str) -> bool:
    return manager in _PREDECESSORS or (manager.startswith("kubectl") and manager != "kubectl-rollout")


def _parted(fields: Json, ours: Json) -> tuple[Json, Json]:
    """Return which fields are taken over, and which stay: status, and what the cluster sets unless it is ours."""
    rest: dict[str, object] = {}
    taken = dict(fields)
    if "f:status" in taken and "f:status" not in ours:
        rest["f:status"] = taken.pop("f:status")
    for name, names in _THE_CLUSTERS.items():
        below, own = mapping(fields.get(name)), mapping(ours.get(name))
        stays = {key: value for key, value in below.items() if key in names and key not in own}
        if stays:
            rest[name] = stays
            del taken[name]
            if moves := {key: value for key, value in below.items() if key not in stays}:
                taken[name] = moves
    return taken, rest


def _union(one: Json, other: Json) -> dict[str, object]:
    both = {key: _union(mapping(one[key]), mapping(other[key])) for key in one.keys() & other.keys()}
    return {**one, **other, **both}


@dataclass(frozen=True, slots=True)
class Change:
    """What somebody else did to an object of ours: `values` are Git's and the cluster's, path by path, where told."""

    paths: tuple[str, ...]
    manager: str = ""
    time: str = ""
    values: tuple[tuple[object, object], ...] = ()

    def __str__(self) -> str:
        """Return a sentence such as ``kubectl-edit changed spec.replicas (2 → 5) at 2026-11-21T08:00:00Z``."""
        told = [f"({_shown(ours)} → {_shown(theirs)})" for ours, theirs in self.values]
        named = [" ".join(words) for words in zip_longest(self.paths, told[: len(self.paths)], fillvalue="")]
        shown = ", ".join(map(str.rstrip, named[:5])) + (f" and {len(named) - 5} more" if len(named) > 5 else "")
        at = f" at {self.time}" if self.time else ""
        return f"{self.manager or 'somebody'} changed {shown or 'fields that are not in Git'}{at}"


def change(desired: Json, metadata: Json, live: Json | None = None) -> Change:
    """Return which fields of `desired` are no longer ours on an object with this metadata, and who took them.

    Where no manager owns them (somebody removed them), it is the one who wrote the object last. With `live`, the
    object as it is, the values are told too: never give a Secret.
    """
    own = _own(metadata)
    lost = tuple(_lost(desired, mapping(own.get("fieldsV1") if own else None), ()))
    others = [entry for entry in _entries(metadata) if entry is not own and entry.get("subresource") != "status"]
    others.sort(key=lambda entry: str(entry.get("time") or ""), reverse=True)
    takers = [entry for entry in others if any(_owns(mapping(entry.get("fieldsV1")), path) for path in lost)]
    who = next(iter(takers or others), {})
    named = {_name(path): path for path in lost}
    values = [(_value(desired, named[name]), _value(live, named[name])) for name in sorted(named)] if live else []
    return Change(tuple(sorted(named)), str(who.get("manager") or ""), str(who.get("time") or ""), tuple(values))


def _value(obj: object, path: _Path) -> object:
    """Return what an object has at a path of fieldsV1 keys, None where it has nothing."""
    for key in path:
        kind, _, rest = key.partition(":")
        if kind == "f":
            obj = obj.get(rest) if isinstance(obj, Mapping) else None
        elif kind == "k":
            wanted = orjson.loads(rest)
            items = obj if isinstance(obj, list) else []
            fitting = (item for item in items if isinstance(item, Mapping) and wanted.items() <= item.items())
            obj = next(fitting, None)
        else:
            return None
    return obj


def _shown(value: object) -> str:
    text = "none" if value is None else orjson.dumps(value).decode(errors="replace")
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"


_Path = tuple[str, ...]


def _lost(desired: object, owned: Json, at: _Path) -> Iterator[_Path]:
    """Yield the paths, in fieldsV1 keys, of what `desired` sets and `owned` lacks."""
    if isinstance(desired, Mapping):
        for name, value in desired.items():
            if (not at and name in _IDENTITY) or (at == ("f:metadata",) and name in _IDENTITY_METADATA):
                continue
            key = f"f:{name}"
            below = owned.get(key)
            if below is None:
                yield from _leaves(value, (*at, key))
            elif isinstance(below, Mapping) and below:
                yield from _lost(value, below, (*at, key))
    elif isinstance(desired, list):
        for item in desired:
            found = item_key(item, owned)
            if found is None:
                yield (*at, _described(item, owned))
            elif below := mapping(owned[found]):
                yield from _lost(item, below, (*at, found))


def _leaves(value: object, at: _Path) -> Iterator[_Path]:
    if isinstance(value, Mapping) and value:
        for name, below in value.items():
            yield from _leaves(below, (*at, f"f:{name}"))
    elif value is not None:
        yield at


def item_key(item: object, owned: Json) -> str | None:
    """Return the key under which an item of a list is owned, None if it is not."""
    if not isinstance(item, Mapping):
        key = "v:" + orjson.dumps(item).decode()
        return key if key in owned else None
    for key in owned:
        if key.startswith("k:"):
            wanted = orjson.loads(key[2:])
            # A key field that the manifest leaves out was filled in by a default (a port's protocol).
            if all(item.get(name, value) == value for name, value in wanted.items()):
                return key
    return None


def _described(item: object, owned: Json) -> str:
    if isinstance(item, Mapping):
        names = next((list(orjson.loads(key[2:])) for key in owned if key.startswith("k:")), ["name"])
        return "k:" + orjson.dumps({name: item[name] for name in names if name in item}).decode()
    return "v:"


def _owns(owned: Json, path: _Path) -> bool:
    for key in path:
        below = owned.get(key)
        if not isinstance(below, Mapping):
            return False
        if not below:
            return True
        owned = below
    return True


def _name(path: _Path) -> str:
    """Return a path as people write it: ``spec.containers[web].image``; items of sets are not told, being values."""
    name = ""
    for key in path:
        kind, _, rest = key.partition(":")
        if kind == "f":
            name += f".{rest}" if name else rest
        elif kind == "k":
            name += "[" + ",".join(str(value) for value in orjson.loads(rest).values()) + "]"
        else:
            name += "[]"
    return name


def _own(metadata: Json) -> Json | None:
    for entry in _entries(metadata):
        if entry.get("manager") == FIELD_MANAGER and entry.get("operation") == "Apply" and not entry.get("subresource"):
            return entry
    return None


def _entries(metadata: Json) -> Iterator[Json]:
    entries = metadata.get("managedFields")
    return (entry for entry in entries if isinstance(entry, Mapping)) if isinstance(entries, list) else iter(())
