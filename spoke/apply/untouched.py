"""What is said of workloads that are left alone: nothing of them is applied and nothing is deleted, and why."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final

from felloe.digest import Digest
from felloe.identity import WorkloadId
from spoke.apply import standing
from spoke.apply.given import Report
from spoke.apply.inventory import Inventory
from spoke.apply.standing import Standing, Verdict

HELD: Final = "ClusterHeldByAnotherSpoke"
OUTDATED: Final = "DesiredStateOutdated"
FAILED: Final = "ReconciliationFailed"


def tell(report: Report, workloads: Iterable[tuple[WorkloadId, Digest]], reason: str, message: str) -> None:
    """Report workloads, each with the digest of its newest content, as not Ready for one reason."""
    for identity, digest in workloads:
        known = Standing(identity)
        known.set("Ready", Verdict(standing.FALSE, reason, message), time.time())
        report.workload(
            standing.status(known, digest=digest, applied_digest=None, applied_at=0.0, objects=0, troubles=[])
        )


def outdated(inventory: Inventory, generation: int) -> str:
    """Return what to say of a workload whose inventory was written for a newer bundle than the one at hand."""
    return (
        f"the newest desired state that this spoke has is generation {generation}, but generation"
        f" {inventory.origin.generation} was applied: nothing is applied or deleted until the hub has been reached"
    )
