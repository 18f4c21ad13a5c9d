"""How a cluster is with a unit that it was given: told only by what its spoke says of exactly these workloads. Pure.

Health that was reported for something older never counts, however good it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from felloe.bundle import Workload, workload_id_from_proto
from felloe.identity import WorkloadId
from felloe.v1 import status_pb2 as pb
from hub.rollout.model import Health
from hub.targeting import ClusterPlan

_WAITING: Final = frozenset(
    {"DependencyNotReady", "PruneNeedsApproval", "ClusterHeldByAnotherSpoke", "AppliedByFlux", "DesiredStateOutdated"}
)
"""Reasons of a Ready that is False while nothing has failed."""

_OF_ANOTHER_HUB: Final = "InventoryOfAnotherHub"
"""The reason of a Ready that is False because what an earlier hub left is nobody's to delete."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """How a cluster is with a unit. `soon`: it failed in a way that may pass by itself, as a CRD that comes late."""

    health: Health
    message: str = ""
    soon: bool = False


_HEALTHY: Final = Evidence(Health.HEALTHY)


Said = Mapping[WorkloadId, pb.WorkloadStatus]
"""What a spoke said of each workload."""


def said_of(status: pb.ClusterStatus) -> Said:
    """Return what a status says of each workload."""
    return {workload_id_from_proto(one.id): one for one in status.workloads}


def evidence(plan: ClusterPlan, unit: str, status: pb.ClusterStatus | None, said: Said, refusal: str = "") -> Evidence:
    """Return how a cluster is with a unit of the plan that was published for it, by its spoke's whole status.

    `said` is what that says of each workload, which all units of a cluster share. `refusal` is why its spoke can't take
    the bundle, empty where it can. A unit that the plan does not have any more is healthy once nothing is left that the
    spoke is to remove; whose that was is not known any more, so whatever is left counts.
    """
    if refusal:
        return Evidence(Health.FAILED, refusal)
    if status is None:
        return Evidence(Health.PROGRESSING, "its spoke has not said anything yet")
    own = [each for each in plan.workloads if each.origin == unit]
    if not own:
        if status.root != plan.bundle.root:
            return Evidence(Health.PROGRESSING, "its spoke has not taken it yet")
        left = list(_leaving(plan, said))
        return Evidence(Health.PROGRESSING, "; ".join(left)) if left else _HEALTHY
    found = list(_of_workloads(plan, [each.id for each in own], said))
    for health in (Health.FAILED, Health.PROGRESSING):
        worst = [each for each in found if each.health is health]
        if worst:
            return Evidence(health, "; ".join(each.message for each in worst), all(each.soon for each in worst))
    return _HEALTHY


def _leaving(plan: ClusterPlan, said: Said) -> Iterator[str]:
    """Return what the spoke is still removing, in words; what an earlier hub left there stays, and is no part of it."""
    for identity, one in said.items():
        ready = next((each for each in one.conditions if each.type == "Ready"), None)
        if identity not in plan.bundle.by_id and (ready is None or ready.reason != _OF_ANOTHER_HUB):
            why = f": {ready.message}" if ready and ready.status != pb.CONDITION_STATUS_TRUE and ready.message else ""
            yield f"{identity} is being removed{why}"


def _of_workloads(plan: ClusterPlan, own: list[WorkloadId], said: Said) -> Iterator[Evidence]:
    for identity in own:
        workload = plan.bundle.by_id.get(identity)
        if workload is not None and not workload.options.suspend:
            yield _of_workload(workload, said.get(identity))


def _of_workload(workload: Workload, said: pb.WorkloadStatus | None) -> Evidence:
    if said is None or said.digest != workload.digest:
        return Evidence(Health.PROGRESSING, f"{workload.id} has not been taken yet")
    conditions = {each.type: each for each in said.conditions}
    ready, healthy = conditions.get("Ready"), conditions.get("Healthy")
    if healthy is not None and healthy.status == pb.CONDITION_STATUS_FALSE:
        return Evidence(Health.FAILED, f"{workload.id}: {healthy.message}")
    if ready is not None and ready.status == pb.CONDITION_STATUS_FALSE:
        if ready.reason in _WAITING or not said.problem_count:
            return Evidence(Health.PROGRESSING, f"{workload.id}: {ready.message}")
        return Evidence(Health.FAILED, f"{workload.id}: {ready.message}", soon=True)
    is_healthy = healthy is not None and healthy.status == pb.CONDITION_STATUS_TRUE
    if is_healthy and said.applied_digest == workload.digest and said.healthy_digest == workload.digest:
        return _HEALTHY
    message = healthy.message if healthy is not None else "not judged yet"
    return Evidence(Health.PROGRESSING, f"{workload.id}: {message}")
