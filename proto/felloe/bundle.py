"""The bundle: the whole desired state of one cluster, and the root that names it.

A workload's digest covers all that changes what a spoke does for it: options, variables and entries. The root covers
every workload. A revision is no part of either: a commit that changes nothing for a cluster leaves its root as it was,
and the hub, which knows both, tells which revision a root stands for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from sys import intern
from typing import Final, NamedTuple

from felloe.digest import Digest, canonical_json, digest
from felloe.errors import BundleError
from felloe.identity import ObjectId, WorkloadId
from felloe.v1 import bundle_pb2 as pb

_A_WORKLOAD: Final = bytes([pb.Bundle.WORKLOADS_FIELD_NUMBER << 3 | 2])
"""The tag of an embedded message."""
_AT_ONCE: Final = 500
"""Entries that are put into words at a time: of a workload of thousands, all at once take ten times their size."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One object of a workload: who it is, the digest of its canonical JSON, and when it is applied.

    `ignore` are JSON pointers (RFC 6901) of fields that are left to others once the object is there.
    """

    id: ObjectId
    version: str
    digest: Digest
    wave: int
    size: int
    template: bool = False
    ignore: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        """Return the object's ``apiVersion``."""
        return f"{self.id.group}/{self.version}" if self.id.group else self.version


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """One object whose health a workload waits for, as in Flux' ``spec.healthChecks``."""

    api_version: str
    kind: str
    namespace: str
    name: str


class Dependency(NamedTuple):
    """A workload that another one waits for; `ready_expr`, CEL over `self` and `dep`, replaces the look at Ready."""

    id: WorkloadId
    ready_expr: str = ""


@dataclass(frozen=True, slots=True)
class HealthCheckExpr:
    """How the health of a kind is told, as in Flux' ``spec.healthCheckExprs``: CEL over the object."""

    api_version: str
    kind: str
    current: str
    failed: str = ""
    in_progress: str = ""


DELETION_POLICIES: Final = ("MirrorPrune", "Delete", "WaitForTermination", "Orphan")
DRIFT_MODES: Final = ("enabled", "warn", "disabled")
PRUNE_LIMIT: Final = 0.5


def deletes_at_removal(policy: str, *, prune: bool) -> bool:
    """Return whether a workload that goes takes its objects along; a suspended one never does."""
    return prune if policy == "MirrorPrune" else policy != "Orphan"


@dataclass(frozen=True, slots=True)
class ApplyOptions:
    """How a workload is applied. Times are seconds. The meaning of each is Flux' of the same name.

    Felloe's own: `drift` is what is done about changes in the cluster, one of DRIFT_MODES; `prune_limit` the share of
    the workload's objects that a new generation may delete without being asked; `force_prune` lets a Namespace or CRD
    be deleted although something that is not ours is in it. `labels` are, sorted, those of the object that it comes
    from.
    """

    prune: bool = False
    wait: bool = False
    suspend: bool = False
    timeout: float = 270.0
    interval: float = 300.0
    retry_interval: float = 300.0
    depends_on: tuple[Dependency, ...] = ()
    health_checks: tuple[HealthCheck, ...] = ()
    requested_at: str = ""
    force: bool = False
    deletion_policy: str = "MirrorPrune"
    service_account: str = ""
    health_check_exprs: tuple[HealthCheckExpr, ...] = ()
    drift: str = "enabled"
    prune_limit: float = PRUNE_LIMIT
    force_prune: bool = False
    labels: tuple[tuple[str, str], ...] = ()

    @property
    def deletes_at_removal(self) -> bool:
        """Return whether its objects are deleted when the workload itself goes, as Flux' deletionPolicy says."""
        return deletes_at_removal(self.deletion_policy, prune=self.prune)

    def canonical(self) -> dict[str, object]:
        """Return the options as plain JSON, for the digest: those that are not as by default.

        So an option that is added later changes no root of a workload that does not use it; the default of one that is
        here must never change. Numbers become floats: the message knows no other, and 300 and 300.0 are two texts in
        JSON.
        """
        plain = asdict(self)
        for name in ("timeout", "interval", "retry_interval", "prune_limit"):
            plain[name] = float(plain[name])
        plain["depends_on"] = [[*dependency.id, dependency.ready_expr] for dependency in self.depends_on]
        return {each.name: plain[each.name] for each in fields(self) if getattr(self, each.name) != each.default}


@dataclass(frozen=True)
class Workload:
    """One workload of a cluster. Entries are kept sorted by id, whatever order they are given in."""

    id: WorkloadId
    options: ApplyOptions = field(default_factory=ApplyOptions)
    entries: tuple[Entry, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "entries", tuple(sorted(self.entries, key=lambda entry: entry.id)))
        for before, after in zip(self.entries, self.entries[1:], strict=False):
            if before.id == after.id:
                raise BundleError(f"{self.id} names {after.id} twice")

    @cached_property
    def digest(self) -> Digest:
        """Return the sha256 over all that changes what a spoke does for this workload."""
        words = hashlib.sha256(canonical_json([*_said_first(self), dict(self.variables)])[:-1] + b",")
        for some in _said_last(self):
            words.update(some)
        words.update(b"]")
        return Digest(words.digest())


def _said_first(workload: Workload) -> list[object]:
    return [[*workload.id], workload.options.canonical()]


def _said_last(workload: Workload) -> Iterator[bytes]:
    """Yield, piece by piece, the canonical JSON of a workload's entries."""
    yield b"["
    for number, some in enumerate(_some(workload.entries)):
        rows = [
            [*entry.id, entry.version, entry.digest.hex(), entry.wave, entry.template, *entry.ignore] for entry in some
        ]
        yield (b"," if number else b"") + canonical_json(rows)[1:-1]
    yield b"]"


def _some(entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    return (entries[start : start + _AT_ONCE] for start in range(0, len(entries), _AT_ONCE))


class Pattern:
    """A workload that many clusters get, each with values of its own for the variables in `open`.

    What they have in common is sorted and put into words once: `with_values` costs the digest of that and no more.
    """

    def __init__(self, workload: Workload, open_: tuple[str, ...]) -> None:
        self.workload = workload
        self.open = open_
        self._before = canonical_json(_said_first(workload))[:-1] + b","
        self._after = b"".join((b",", *_said_last(workload), b"]"))

    def with_values(self, values: Mapping[str, str]) -> Workload:
        """Return the workload with these values of its open variables."""
        variables = {**self.workload.variables, **values}
        made = object.__new__(Workload)  # its entries are sorted and known to be distinct
        vars(made).update(vars(self.workload))
        vars(made)["variables"] = variables
        vars(made)["digest"] = digest(self._before + canonical_json(variables) + self._after)
        return made


@dataclass(frozen=True)
class Bundle:
    """The whole desired state of one cluster. Workloads are kept sorted by id.

    `approved_prunes` names the deletions (`pending_prune` of a workload's status) that a person approved. They are not
    part of a workload: what is to be deleted may belong to one that is no longer here.
    """

    workloads: tuple[Workload, ...] = ()
    approved_prunes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "workloads", tuple(sorted(self.workloads, key=lambda workload: workload.id)))
        object.__setattr__(self, "approved_prunes", tuple(sorted(set(self.approved_prunes))))
        if len(self.by_id) != len(self.workloads):
            raise BundleError("a bundle names a workload twice")

    @cached_property
    def by_id(self) -> Mapping[WorkloadId, Workload]:
        """Return the workloads by who they are."""
        return {workload.id: workload for workload in self.workloads}

    @cached_property
    def root(self) -> Digest:
        """Return the sha256 over all workloads and what was approved: equal roots, equal desired state."""
        rows = [[*workload.id, workload.digest.hex()] for workload in self.workloads]
        if not self.approved_prunes:
            return digest(canonical_json(rows))
        return digest(canonical_json({"workloads": rows, "approved_prunes": list(self.approved_prunes)}))

    def digests(self) -> set[Digest]:
        """Return the digests of every object that this bundle needs."""
        return {entry.digest for workload in self.workloads for entry in workload.entries}


class Frame:
    """The bundles of all clusters that have workloads of the same ids.

    What they have in common is sorted and put into words once: `bundle` costs the root's digest and little more.
    """

    def __init__(self, ids: Iterable[WorkloadId]) -> None:
        """Raise BundleError where an id stands twice."""
        self.ids = tuple(sorted(ids))
        if len({*self.ids}) != len(self.ids):
            raise BundleError("a bundle names a workload twice")
        rows = [canonical_json([*each])[:-1].replace(b"%", b"%%") + b',"%s"]' for each in self.ids]
        self._rows = "[" + b",".join(rows).decode() + "]"

    def bundle(self, workloads: Sequence[Workload]) -> Bundle:
        """Return the bundle of these workloads, which are in the order of `ids`, in which nothing was approved."""
        made = object.__new__(Bundle)  # they are sorted and known to be distinct
        vars(made)["workloads"] = tuple(workloads)
        vars(made)["approved_prunes"] = ()
        vars(made)["root"] = digest((self._rows % tuple([each.digest.hex() for each in workloads])).encode())
        return made


@dataclass(frozen=True, slots=True)
class Delta:
    """What turns one bundle into another."""

    changed: tuple[Workload, ...]
    removed: tuple[WorkloadId, ...]
    approved_prunes: tuple[str, ...] = ()
    """All that are approved then, whatever was before."""


def delta(base: Bundle | None, target: Bundle) -> Delta:
    """Return what changed from `base` to `target`; without a base, everything."""
    old = base.by_id if base else {}
    changed = tuple(w for w in target.workloads if (before := old.get(w.id)) is None or before.digest != w.digest)
    return Delta(changed, tuple(sorted(old.keys() - target.by_id.keys())), target.approved_prunes)


def patch(base: Bundle | None, change: Delta) -> Bundle:
    """Return the bundle that `change` makes of `base`. Raise BundleError where it removes what is not there."""
    workloads = dict(base.by_id) if base else {}
    for gone in change.removed:
        if workloads.pop(gone, None) is None:
            raise BundleError(f"a manifest removes {gone}, which its base does not have")
    workloads.update((workload.id, workload) for workload in change.changed)
    return Bundle(tuple(workloads.values()), change.approved_prunes)


def workload_to_proto(workload: Workload) -> pb.Workload:
    """Return the message of a workload."""
    message = _without_entries(workload)
    _add(message, workload.entries)
    return message


def _add(message: pb.Workload, entries: Iterable[Entry]) -> None:
    for entry in entries:
        _fill_in(message.entries.add(), entry)  # one that is made apart, and copied, has a KiB of its own


def _without_entries(workload: Workload) -> pb.Workload:
    o = workload.options
    return pb.Workload(
        id=workload_id_to_proto(workload.id),
        options=pb.ApplyOptions(
            prune=o.prune,
            wait=o.wait,
            suspend=o.suspend,
            timeout=o.timeout,
            interval=o.interval,
            retry_interval=o.retry_interval,
            depends_on=[pb.Dependency(id=workload_id_to_proto(i), ready_expr=expr) for i, expr in o.depends_on],
            health_checks=[pb.HealthCheck(**asdict(check)) for check in o.health_checks],
            requested_at=o.requested_at,
            force=o.force,
            deletion_policy=o.deletion_policy,
            service_account=o.service_account,
            health_check_exprs=[pb.HealthCheckExpr(**asdict(expr)) for expr in o.health_check_exprs],
            drift=o.drift,
            prune_limit=o.prune_limit,
            force_prune=o.force_prune,
            labels=dict(o.labels),
        ),
        variables=dict(workload.variables),
    )


def entry_to_proto(entry: Entry) -> pb.Entry:
    """Return the message of an entry."""
    message = pb.Entry()
    _fill_in(message, entry)
    return message


def _fill_in(message: pb.Entry, entry: Entry) -> None:
    identity = message.id
    identity.group, identity.kind, identity.namespace, identity.name = entry.id
    message.version, message.digest, message.wave, message.size = entry.version, entry.digest, entry.wave, entry.size
    message.template = entry.template
    message.ignore.extend(entry.ignore)


def workload_from_proto(message: pb.Workload, known: Workload | None = None) -> Workload:
    """Return the workload of a message. Raise BundleError where a digest is none or an id stands twice.

    Where `known`, another state of it, has the same entries, the two share them.
    """
    o = message.options
    there = {entry.id: entry for entry in known.entries} if known else {}
    return Workload(
        id=workload_id_from_proto(message.id),
        options=ApplyOptions(
            prune=o.prune,
            wait=o.wait,
            suspend=o.suspend,
            timeout=o.timeout,
            interval=o.interval,
            retry_interval=o.retry_interval,
            depends_on=tuple(Dependency(workload_id_from_proto(each.id), each.ready_expr) for each in o.depends_on),
            health_checks=tuple(
                HealthCheck(check.api_version, check.kind, check.namespace, check.name) for check in o.health_checks
            ),
            requested_at=o.requested_at,
            force=o.force,
            deletion_policy=o.deletion_policy,
            service_account=o.service_account,
            health_check_exprs=tuple(
                HealthCheckExpr(each.api_version, each.kind, each.current, each.failed, each.in_progress)
                for each in o.health_check_exprs
            ),
            drift=o.drift,
            prune_limit=o.prune_limit,
            force_prune=o.force_prune,
            labels=tuple(sorted(o.labels.items())),
        ),
        variables=dict(message.variables),
        entries=tuple([_shared(_entry_from_proto(entry), there) for entry in message.entries]),
    )


def _shared(entry: Entry, there: Mapping[ObjectId, Entry]) -> Entry:
    known = there.get(entry.id)
    if known is None:
        return entry
    return known if known == entry else replace(entry, id=known.id)


def _entry_from_proto(entry: pb.Entry) -> Entry:
    said = entry.id
    identity = ObjectId(intern(said.group), intern(said.kind), intern(said.namespace), said.name)
    if len(entry.digest) != 32:
        raise BundleError(f"the digest of {identity} has {len(entry.digest)} bytes instead of 32")
    version, name, ignore = intern(entry.version), Digest(entry.digest), tuple(entry.ignore)
    return Entry(identity, version, name, entry.wave, entry.size, entry.template, ignore)


def bundle_to_proto(bundle: Bundle) -> pb.Bundle:
    """Return the message of a bundle."""
    workloads = [workload_to_proto(workload) for workload in bundle.workloads]
    return pb.Bundle(workloads=workloads, approved_prunes=bundle.approved_prunes)


def bundle_to_pieces(bundle: Bundle) -> Iterator[bytes]:
    """Yield what joined is a bundle's serialized message, which is a fraction of the message itself.

    By the encoding of Protocol Buffers, lists go on where serialized messages are joined, and what is embedded comes
    after its field's tag and its length.
    """
    for workload in bundle.workloads:
        said = [_without_entries(workload).SerializeToString()]
        for some in _some(workload.entries):
            part = pb.Workload()
            _add(part, some)
            said.append(part.SerializeToString())
        yield _A_WORKLOAD + _varint(sum(map(len, said)))
        yield from said
    yield pb.Bundle(approved_prunes=bundle.approved_prunes).SerializeToString()


def _varint(number: int) -> bytes:
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])


def bundle_from_proto(message: pb.Bundle) -> Bundle:
    """Return the bundle of a message. Raise BundleError where it is not well-formed."""
    workloads = tuple(workload_from_proto(workload) for workload in message.workloads)
    return Bundle(workloads, tuple(message.approved_prunes))


def object_id_to_proto(identity: ObjectId) -> pb.ObjectId:
    """Return the message of an object's identity."""
    return pb.ObjectId(group=identity.group, kind=identity.kind, namespace=identity.namespace, name=identity.name)


def object_id_from_proto(message: pb.ObjectId) -> ObjectId:
    """Return the object's identity of a message."""
    return ObjectId(message.group, message.kind, message.namespace, message.name)


def workload_id_to_proto(identity: WorkloadId) -> pb.WorkloadId:
    """Return the message of a workload's identity."""
    return pb.WorkloadId(kind=identity.kind, namespace=identity.namespace, name=identity.name)


def workload_id_from_proto(message: pb.WorkloadId) -> WorkloadId:
    """Return the workload's identity of a message."""
    return WorkloadId(message.kind, message.namespace, message.name)


def missing(needed: Iterable[Digest], here: Iterable[Digest]) -> tuple[Digest, ...]:
    """Return what is needed and not here, in sorted order."""
    return tuple(sorted(set(needed) - set(here)))
