"""When an approval of a deletion has done its work."""

from __future__ import annotations

import pytest

from felloe.bundle import Bundle, Workload, workload_id_to_proto
from felloe.identity import WorkloadId
from felloe.v1 import status_pb2 as pb
from hub.reporting.approvals import spent
from hub.store import Approval

APPS = WorkloadId("Kustomization", "flux-system", "apps")
APPROVAL = Approval("dev", APPS, "one", "somebody", 1.0)
WANTED = Bundle((Workload(APPS),), ("one",))
DIGEST = WANTED.workloads[0].digest


def said(applied: bytes = b"older", pending: str = "") -> pb.ClusterStatus:
    workload = pb.WorkloadStatus(id=workload_id_to_proto(APPS), applied_digest=applied)
    if pending:
        workload.pending_prune.name = pending
    return pb.ClusterStatus(workloads=[workload])


@pytest.mark.parametrize(
    ("status", "bundle", "done"),
    [
        (said(pending="one"), WANTED, False),
        (said(), WANTED, False),
        (pb.ClusterStatus(), WANTED, False),
        (said(), Bundle(), False),
        (said(pending="one"), Bundle(), False),
        (said(pending="two"), WANTED, True),
        (said(DIGEST), WANTED, True),
        (pb.ClusterStatus(), Bundle(), True),
    ],
)
def test_an_approval_lasts_until_its_deletion_is_done_or_another_one(
    status: pb.ClusterStatus, bundle: Bundle, done: bool
) -> None:
    assert list(spent([APPROVAL], status, bundle)) == ([APPROVAL] if done else [])
