"""Units that a rollout keeps from the newest release: which they are, and what they are on one cluster.

A unit is what moves as one: the workloads that one Placement gives a cluster, or those below its sync path. `resolve`
is told which units to leave as they are in another plan, and settles what that means for the rest: an object stays with
the workload that has it until the other one, which the newest release gives it to, may come.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from felloe.bundle import Bundle
from felloe.digest import Digest
from felloe.identity import ObjectId, WorkloadId
from hub.targeting.plan import NOTHING, ClusterPlan, Slice, WorkloadPlan


@dataclass(frozen=True)
class Held:
    """One unit that is to be as it is in `plan`, whatever the newest release says; `note` tells people why.

    `release` is the number of the release that it is at, 0 where it is what the cluster has from before.
    """

    unit: str
    plan: ClusterPlan
    note: str
    release: int = 0

    @cached_property
    def workloads(self) -> Mapping[WorkloadId, WorkloadPlan]:
        """Return its workloads by who they are."""
        return {each.id: each for each in self.plan.workloads if each.origin == self.unit}

    @property
    def slice(self) -> Slice:
        """Return what the unit is to be."""
        return self.plan.slices.get(self.unit, NOTHING)

    @property
    def blobs(self) -> Mapping[Digest, bytes]:
        """Return those of its objects that its plan brings along."""
        if not self.plan.blobs:
            return {}
        own = (self.plan.bundle.by_id.get(identity) for identity in self.workloads)
        names = {entry.digest for workload in own if workload for entry in workload.entries}
        return {name: self.plan.blobs[name] for name in names if name in self.plan.blobs}


def with_held(previous: ClusterPlan | None, held: Mapping[str, Held]) -> ClusterPlan | None:
    """Return the plan that goes on where nothing new may be made: the one of before, with these units as they stay."""
    if not held:
        return previous
    base = previous or ClusterPlan(next(iter(held.values())).plan.cluster)
    staying = {identity: each for unit in held.values() for identity, each in unit.workloads.items()}
    others = [each for each in base.workloads if each.origin not in held and each.id not in staying]
    workloads = [*others, *staying.values()]
    bundles = [base.bundle.by_id.get(each.id) for each in others]
    bundles += [unit.plan.bundle.by_id.get(identity) for unit in held.values() for identity in unit.workloads]
    return replace(
        base,
        bundle=Bundle(tuple(each for each in bundles if each is not None), base.bundle.approved_prunes),
        workloads=tuple(sorted(workloads, key=lambda each: each.id)),
    )


def moving_away(before: ClusterPlan, now: ClusterPlan, newest: ClusterPlan) -> frozenset[str]:
    """Return the units that lose an object which the newest release gives to a unit that is held.

    They are to be held as well: otherwise the object would be deleted, and made again when the other one may come.
    """
    coming = (_objects(before) - _objects(now)) & _objects(newest)
    if not coming:
        return frozenset()
    losing = (each for each in before.bundle.workloads if any(entry.id in coming for entry in each.entries))
    return frozenset(before.by_id[each.id].origin for each in losing if each.id in before.by_id)


def _objects(plan: ClusterPlan) -> set[ObjectId]:
    return {entry.id for workload in plan.bundle.workloads for entry in workload.entries}
