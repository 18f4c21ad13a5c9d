"""What targeting decides for one cluster: its bundle, and for each workload where it comes from and what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final, NamedTuple

from felloe.bundle import Bundle, Workload
from felloe.digest import Digest, digest
from felloe.identity import WorkloadId

SYNC_ORIGIN: Final = "sync"
PLACEMENT_ORIGIN: Final = "placement/"

READY: Final = "Ready"
UNSUPPORTED: Final = "Unsupported"
CONFLICT: Final = "Conflict"

PROGRESSING: Final = "Progressing"
"""The reason of a condition that will soon be another one: something is being fetched, or rendered."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition as Kubernetes has them; `status` is ``True``, ``False`` or ``Unknown``."""

    type: str
    status: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class WorkloadPlan:
    """One workload of a cluster, whether or not it got into the bundle.

    `revision` is what the bundle holds, empty where it holds nothing of this workload; `attempted` is the newest that
    was tried. `kept_previous`: the bundle goes on holding what it held. `suspend`: Git says so (a person's own
    suspension is not recorded here). `parent` is the workload whose objects define this one.
    """

    id: WorkloadId
    origin: str
    parent: WorkloadId | None = None
    source: str = ""
    revision: str = ""
    attempted: str = ""
    path: str = ""
    suspend: bool = False
    kept_previous: bool = False
    conditions: tuple[Condition, ...] = ()
    notes: tuple[str, ...] = ()

    def moved(self, revision: str, to: str) -> WorkloadPlan:
        """Return the same with one revision in the place of another."""
        if revision not in (self.revision, self.attempted):
            return self
        return replace(
            self,
            revision=to if self.revision == revision else self.revision,
            attempted=to if self.attempted == revision else self.attempted,
        )


class Slice(NamedTuple):
    """What a unit is on one cluster: a digest over its workloads, whatever people asked of these.

    `unresolved` says why it is not what its release wants, empty where it is; `pending`: that will be known soon.
    """

    digest: str
    unresolved: str = ""
    pending: bool = False


NOTHING: Final = Slice("")
"""The slice of a unit that a cluster is not to have."""


@dataclass(frozen=True)
class ClusterPlan:
    """What one cluster is to have. `blobs` holds the canonical JSON of the objects that were resolved now.

    Objects of workloads that were kept as they were are not among the blobs: the hub has them from before. Two plans
    are equal whatever blobs they bring.
    """

    cluster: str
    bundle: Bundle = field(default_factory=Bundle)
    workloads: tuple[WorkloadPlan, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    environment: str = ""
    placements: tuple[str, ...] = ()
    paused: bool = False
    conditions: tuple[Condition, ...] = ()
    blobs: Mapping[Digest, bytes] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def by_id(self) -> Mapping[WorkloadId, WorkloadPlan]:
        """Return the workloads by who they are."""
        return {workload.id: workload for workload in self.workloads}

    def moved(self, revision: str, to: str) -> ClusterPlan:
        """Return the plan with one revision in the place of another, wherever its workloads tell theirs."""
        return replace(self, workloads=tuple(each.moved(revision, to) for each in self.workloads))

    def without_blobs(self) -> ClusterPlan:
        """Return the plan as it is worth keeping, once its objects are stored."""
        return replace(self, blobs={})

    @cached_property
    def children(self) -> Mapping[WorkloadId | None, tuple[WorkloadId, ...]]:
        """Return who defines whom; None defines those that no workload does."""
        found: dict[WorkloadId | None, list[WorkloadId]] = {}
        for workload in self.workloads:
            found.setdefault(workload.parent, []).append(workload.id)
        return {parent: tuple(ids) for parent, ids in found.items()}

    @cached_property
    def slices(self) -> Mapping[str, Slice]:
        """Return the slice of each unit that the cluster has."""
        by_unit: dict[str, list[WorkloadPlan]] = {}
        for each in self.workloads:
            by_unit.setdefault(each.origin, []).append(each)
        return {unit: _slice(self, workloads) for unit, workloads in by_unit.items()}


def _slice(plan: ClusterPlan, workloads: list[WorkloadPlan]) -> Slice:
    lines: list[str] = []
    troubles: list[str] = []
    pending = False
    for each in sorted(workloads, key=lambda one: one.id):
        workload = plan.bundle.by_id.get(each.id)
        if workload is not None:
            lines.append(f"{each.id} {_unasked(workload, each).digest.hex()}")
        for condition in each.conditions:
            pending = pending or (condition.type, condition.reason) == (READY, PROGRESSING)
            if (condition.type, condition.status) == (READY, "False"):
                troubles.append(f"{each.id}: {condition.message}")
    return Slice(digest("\n".join(lines).encode()).hex(), "; ".join(troubles), pending)


def _unasked(workload: Workload, plan: WorkloadPlan) -> Workload:
    """Return a workload without what a person asked of it: a suspension, or to be applied again."""
    options = workload.options
    if not options.requested_at and options.suspend == plan.suspend:
        return workload
    return replace(workload, options=replace(options, requested_at="", suspend=plan.suspend))
