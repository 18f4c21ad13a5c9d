"""Two plans of a cluster compared: the entry of this package.

Most clusters of a fleet change alike. What an object's change comes to is worked out once for its two contents, what a
workload's does once for all its objects' contents, and every cluster that has the same gets the same result.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

import orjson

from felloe.annotations import policy
from felloe.bundle import Entry, Workload
from felloe.digest import Digest, canonical_json, digest
from felloe.identity import ObjectId, WorkloadId
from felloe.k8syaml import JsonValue
from felloe.masking import AFTER, BEFORE, MASK, is_secret, masked
from felloe.massprune import replaced
from hub.changes.fields import MOST_FIELDS, compare, shortened
from hub.changes.findings import Facts, of_object, of_workload
from hub.changes.model import (
    Action,
    FieldChange,
    Finding,
    ObjectChange,
    Placed,
    Reason,
    Severity,
    VariableChange,
    WorkloadChange,
)
from hub.changes.shown import workload_json
from hub.changes.templates import uses, variables_of
from hub.targeting import ClusterPlan, WorkloadPlan
from hub.targeting.plan import READY

Json = Mapping[str, JsonValue]

_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
_ASKED_NOW: Final = "requested_at"
_REVISION: Final = re.compile(r"\S*@(sha1|local):[0-9a-f]+")


@dataclass(frozen=True, slots=True)
class _Pair:
    """An object before and after; `origin` is the workload that had it before, where that is another one."""

    before: Entry | None
    after: Entry | None
    origin: WorkloadId | None = None


class Comparison:
    """Compares plans; one object of it serves a whole fleet."""

    def __init__(self, content: Callable[[Digest], bytes | None]) -> None:
        """`content` returns the canonical JSON of an object that the hub has, None where it has not."""
        self._content = content
        self._known: dict[object, WorkloadChange] = {}
        self._used: dict[Digest, frozenset[str]] = {}
        self._near: tuple[Mapping[Digest, bytes], ...] = ()

    def cluster(self, before: ClusterPlan | None, after: ClusterPlan, minor: int | None = None) -> tuple[Placed, ...]:
        """Return what changes on a cluster from one plan to the other, and what speaks against it.

        Both may bring blobs. `minor` is the cluster's version of Kubernetes 1, None where it is not known.
        """
        before = before or ClusterPlan(after.cluster)
        self._near = after.blobs, before.blobs
        moves = _Moves(before, after)
        found = (self._workload(identity, before, after, moves, minor) for identity in _apart(before, after))
        return tuple(each for each in found if each is not None)

    # -- one workload

    def _workload(
        self, identity: WorkloadId, before: ClusterPlan, after: ClusterPlan, moves: _Moves, minor: int | None
    ) -> Placed | None:
        old, new = before.bundle.by_id.get(identity), after.bundle.by_id.get(identity)
        said = after.by_id.get(identity)
        trouble = _trouble(before.by_id.get(identity), said, after.cluster)
        if old is new or (old is not None and new is not None and old.digest == new.digest):
            if not trouble:
                return None
            change = self._remembered(("same", identity, trouble), lambda: WorkloadChange(
                identity, said.origin if said else "", Action.SAME, findings=trouble
            ))  # fmt: skip
            return Placed(change)
        variables = _variables(old, new)
        names = tuple(each.name for each in variables)
        pairs = tuple(_pairs(identity, (old, new), moves, templates=bool(names)))
        unit = (said or before.by_id[identity]).origin
        key = (
            identity,
            unit,
            trouble,
            names,
            _options_key(old),
            _options_key(new),
            minor,
            _count(old),
            *map(_key, pairs),
        )
        change = self._remembered(key, lambda: self._made(identity, unit, (old, new), pairs, names, trouble, minor))
        if change.action is Action.SAME and not change.findings:
            return None
        secret = self._secret_variables(old, new) if variables else frozenset()
        return Placed(change, tuple(_hidden(each) if each.name in secret else each for each in variables))

    def _remembered(self, key: object, make: Callable[[], WorkloadChange]) -> WorkloadChange:
        known = self._known.get(key)
        if known is None:
            made = make()
            known = self._known[key] = replace(made, fingerprint=digest(canonical_json(workload_json(made))))
        return known

    def _made(
        self,
        identity: WorkloadId,
        unit: str,
        states: tuple[Workload | None, Workload | None],
        pairs: tuple[_Pair, ...],
        names: tuple[str, ...],
        trouble: tuple[Finding, ...],
        minor: int | None,
    ) -> WorkloadChange:
        old, new = states
        facts = Facts(new.options if new else old.options if old else None, going=new is None, minor=minor)
        objects: list[ObjectChange] = []
        findings = [*trouble]
        for pair in _renamed(pairs):
            change, said = self._object(pair, frozenset(names), facts)
            if change is not None:
                objects.append(change)
                findings += said
        options = tuple(compare(_options(old), _options(new))) if old and new else ()
        findings += of_workload(objects, len(old.entries) if old else 0, facts)
        action = Action.CREATE if old is None else Action.DELETE if new is None else Action.UPDATE
        if action is Action.UPDATE and not (objects or options or names):
            action = Action.SAME
        return WorkloadChange(
            identity, unit, action, tuple(objects), options, names if old and new else (), tuple(findings)
        )

    # -- one object

    def _object(
        self, pair: _Pair, names: frozenset[str], facts: Facts
    ) -> tuple[ObjectChange | None, tuple[Finding, ...]]:
        entry = pair.after or pair.before
        if entry is None:
            return None, ()
        old, new = self._read(pair.before), self._read(pair.after)
        unknown = (pair.before is not None and old is None) or (pair.after is not None and new is None)
        change = ObjectChange(entry.id, entry.api_version, _action(pair, old, facts), origin=pair.origin)
        if pair.before and pair.after and pair.before.id != pair.after.id:
            change = replace(change, former=pair.before.id)
        if unknown:
            message = "its content is not here, so that its fields can't be told; it comes with the next fetch"
            return change, (Finding(Reason.CONTENT_UNKNOWN, Severity.NOTE, message, entry.id),)
        if old is not None and new is not None:
            fields = [*_fields(entry.id, old, new)]
            if pair.after is not None and pair.after.template and names:
                fields += _uses(entry.id, new, names)
            told = tuple(islice(fields, MOST_FIELDS))
            change = replace(change, fields=told, left_out=len(fields) - len(told))
            if not fields and change.origin is None:
                return None, ()
        elif new is not None:
            change = replace(change, manifest=shortened(_cleaned(entry.id, {}, new)[1]))
        return change, tuple(of_object(change, old, new, facts))

    def _read(self, entry: Entry | None) -> dict[str, JsonValue] | None:
        blob = self._blob(entry.digest) if entry else None
        return orjson.loads(blob) if blob is not None else None

    def _blob(self, name: Digest) -> bytes | None:
        return next((blobs[name] for blobs in self._near if name in blobs), None) or self._content(name)

    def _secret_variables(self, *states: Workload | None) -> frozenset[str]:
        """Return the variables that are part of a Secret: their values are as secret."""
        found: set[str] = set()
        for entry in (entry for state in states if state for entry in state.entries):
            if entry.template and is_secret(entry.id):
                if entry.digest not in self._used:
                    obj = self._read(entry)
                    self._used[entry.digest] = variables_of(obj) if obj else frozenset()
                found |= self._used[entry.digest]
        return frozenset(found)


class _Moves:
    """Who had an object before, and who has it then; looked up only where a workload gets or loses one."""

    def __init__(self, before: ClusterPlan, after: ClusterPlan) -> None:
        self._plans = before, after
        self._owners: tuple[Mapping[ObjectId, tuple[WorkloadId, Entry]], ...] | None = None

    def former(self, identity: ObjectId) -> tuple[WorkloadId, Entry] | None:
        return self._both()[0].get(identity)

    def later(self, identity: ObjectId) -> tuple[WorkloadId, Entry] | None:
        return self._both()[1].get(identity)

    def _both(self) -> tuple[Mapping[ObjectId, tuple[WorkloadId, Entry]], ...]:
        if self._owners is None:
            self._owners = tuple(
                {entry.id: (workload.id, entry) for workload in plan.bundle.workloads for entry in workload.entries}
                for plan in self._plans
            )
        return self._owners


def _pairs(
    identity: WorkloadId, states: tuple[Workload | None, Workload | None], moves: _Moves, *, templates: bool
) -> Iterator[_Pair]:
    """Yield the objects of a workload that may change; those that another workload takes over are that one's.

    `templates`: variables change, and with them templates that stay as they are.
    """
    old, new = states
    before = {entry.id: entry for entry in old.entries} if old else {}
    after = {entry.id: entry for entry in new.entries} if new else {}
    for key in sorted(before.keys() | after.keys()):
        was, becomes = before.get(key), after.get(key)
        if was == becomes:
            if templates and becomes is not None and becomes.template:
                yield _Pair(was, becomes)
        elif becomes is None and moves.later(key) is not None:
            continue
        elif was is None and (former := moves.former(key)) is not None and former[0] != identity:
            yield _Pair(former[1], becomes, former[0])
        else:
            yield _Pair(was, becomes)


def _renamed(pairs: tuple[_Pair, ...]) -> Iterator[_Pair]:
    """Yield pairs, with what kustomize's generators make under a new name as one that changes."""
    gone = {pair.before.id: pair.before for pair in pairs if pair.before and pair.after is None}
    come = {pair.after.id for pair in pairs if pair.after and pair.before is None}
    followed = replaced(gone, come)
    former = {later: gone[earlier] for earlier, later in followed.items()}
    for pair in pairs:
        if pair.after is None and pair.before is not None and pair.before.id in followed:
            continue
        if pair.after is not None and pair.after.id in former:
            yield replace(pair, before=former[pair.after.id])
        else:
            yield pair


def _action(pair: _Pair, old: Json | None, facts: Facts) -> Action:
    if pair.before is None:
        return Action.CREATE
    if pair.after is not None:
        return Action.UPDATE
    metadata = old.get("metadata") if old else None
    prunable = policy(metadata if isinstance(metadata, Mapping) else {}).prunable
    return Action.DELETE if facts.deletes and prunable else Action.RELEASE


def _fields(identity: ObjectId, old: Json, new: Json) -> Iterator[FieldChange]:
    yield from compare(*_cleaned(identity, old, new))


def _uses(identity: ObjectId, new: Json, names: frozenset[str]) -> Iterator[FieldChange]:
    """Yield the fields that change by variables alone; what stands around them in a Secret is as secret."""
    for change in uses(new, names):
        yield replace(change, before=MASK, after=MASK) if is_secret(identity) else change


def _cleaned(identity: ObjectId, old: Json, new: Json) -> tuple[Json, Json]:
    """Return two states without what nobody is to see."""
    if not is_secret(identity):
        return old, new
    before, after = masked(old, new)
    return _without_copy(before), _without_copy(after)


def _without_copy(state: Mapping[str, object]) -> Json:
    """Return a Secret without kubectl's copy of it."""
    plain: dict[str, JsonValue] = orjson.loads(orjson.dumps(state))
    metadata = plain.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    if isinstance(annotations, dict):
        annotations.pop(_LAST_APPLIED, None)
    return plain


def _apart(before: ClusterPlan, after: ClusterPlan) -> list[WorkloadId]:
    """Return the workloads that may change, or can't be made; most are the very same in both plans."""
    had, has = before.bundle.workloads, after.bundle.workloads
    known, stays = set(map(id, had)), set(map(id, has))
    found = {each.id for each in has if id(each) not in known}
    found |= {each.id for each in had if id(each) not in stays}
    return sorted(found.union(each.id for each in after.workloads if _is_troubled(each)))


def _is_troubled(plan: WorkloadPlan) -> bool:
    return bool(plan.conditions) and any(each.type == READY and each.status != "True" for each in plan.conditions)


def _trouble(before: WorkloadPlan | None, after: WorkloadPlan | None, cluster: str) -> tuple[Finding, ...]:
    """Return why a workload has no new version; what speaks against the one that it has now already is not told."""
    known = {_REVISION.sub("", each.message) for each in before.conditions} if before else set()
    found = []
    for each in after.conditions if after else ():
        if each.type == READY and each.status != "True" and _REVISION.sub("", each.message) not in known:
            message = each.message.replace(f"cluster {cluster}:", "this cluster:")  # the same on many is told once
            if each.status == "Unknown":
                found.append(Finding(Reason.KEPT, Severity.NOTE, message))
            else:
                found.append(Finding(Reason.NOT_BUILT, Severity.ERROR, message))
    return tuple(found)


def _variables(old: Workload | None, new: Workload | None) -> tuple[VariableChange, ...]:
    if old is None or new is None or old.variables == new.variables:
        return ()
    names = sorted(old.variables.keys() | new.variables.keys())
    changes = (VariableChange(name, old.variables.get(name), new.variables.get(name)) for name in names)
    return tuple(change for change in changes if change.before != change.after)


def _hidden(change: VariableChange) -> VariableChange:
    return VariableChange(
        change.name, None if change.before is None else BEFORE, None if change.after is None else AFTER
    )


def _options(state: Workload) -> dict[str, JsonValue]:
    plain: dict[str, JsonValue] = orjson.loads(canonical_json(state.options.canonical()))
    plain.pop(_ASKED_NOW, None)
    return {_camel(name): value for name, value in plain.items()}


def _options_key(state: Workload | None) -> object:
    return replace(state.options, requested_at="") if state else None


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(other.capitalize() for other in others)


def _count(state: Workload | None) -> int:
    return len(state.entries) if state else 0


def _key(pair: _Pair) -> object:
    return (
        pair.before and (pair.before.id, pair.before.digest),
        pair.after and (pair.after.id, pair.after.digest),
        pair.origin,
    )
