"""A unit that a cluster is to lose is gone when the spoke has removed all of it, and not when it was told so."""

from __future__ import annotations

import pytest

from felloe.bundle import workload_id_to_proto
from felloe.identity import WorkloadId
from felloe.v1 import status_pb2 as pb
from hub.planning.rollouts.evidence import evidence, said_of
from hub.rollout.model import Health
from hub.targeting import ClusterPlan

GONE = WorkloadId("Kustomization", "flux-system", "shop")


@pytest.mark.parametrize(
    ("reason", "status", "health"),
    [
        ("ReconciliationSucceeded", pb.CONDITION_STATUS_TRUE, Health.PROGRESSING),
        ("Progressing", pb.CONDITION_STATUS_UNSPECIFIED, Health.PROGRESSING),
        ("PruneNeedsApproval", pb.CONDITION_STATUS_FALSE, Health.PROGRESSING),
        ("InventoryOfAnotherHub", pb.CONDITION_STATUS_FALSE, Health.HEALTHY),
    ],
)
def test_what_is_still_being_removed_is_not_gone(reason: str, status: pb.ConditionStatus, health: Health) -> None:
    plan = ClusterPlan("a")
    said = pb.ClusterStatus(root=plan.bundle.root)
    ready = pb.Condition(type="Ready", status=status, reason=reason, message="waits for finalizers")
    said.workloads.add(id=workload_id_to_proto(GONE), conditions=[ready])
    found = evidence(plan, "placement/shop", said, said_of(said))
    assert found.health is health
    if status != pb.CONDITION_STATUS_TRUE and health is Health.PROGRESSING:
        assert found.message == "Kustomization/flux-system/shop is being removed: waits for finalizers"


def test_what_is_removed_is_gone_when_the_spoke_says_so() -> None:
    plan = ClusterPlan("a")
    said = pb.ClusterStatus(root=plan.bundle.root)
    assert evidence(plan, "placement/shop", said, said_of(said)).health is Health.HEALTHY
    said.root = b"older"
    assert evidence(plan, "placement/shop", said, said_of(said)).health is Health.PROGRESSING
