"""Which approvals of a deletion have done their work: a spoke says so by what it no longer asks about."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from felloe.bundle import Bundle, workload_id_from_proto
from felloe.v1 import status_pb2
from hub.store import Approval


def spent(approvals: Iterable[Approval], status: status_pb2.ClusterStatus, bundle: Bundle | None) -> Iterator[Approval]:
    """Yield the approvals of a cluster that its whole status shows to be of no use any more.

    That is when the spoke asks about another deletion, has applied the workload whole, or has removed it. An approval
    that is kept for longer does no harm, for its name is good for one deletion.
    """
    said = {workload_id_from_proto(one.id): one for one in status.workloads}
    for approval in approvals:
        one = said.get(approval.workload)
        wanted = bundle.by_id.get(approval.workload) if bundle else None
        if one is None:
            if wanted is None:
                yield approval
        elif one.HasField("pending_prune"):
            if one.pending_prune.name != approval.prune:
                yield approval
        elif wanted is not None and one.applied_digest == wanted.digest:
            yield approval
