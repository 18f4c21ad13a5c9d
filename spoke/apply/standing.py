"""How a workload stands, as conditions with the types and reasons that Flux' users know: pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from felloe.bundle import object_id_to_proto, workload_id_to_proto
from felloe.digest import Digest
from felloe.identity import ObjectId, WorkloadId
from felloe.v1 import status_pb2 as pb
from spoke.apply.guard import Pending
from spoke.health import Health, HealthStatus, combine

PROBLEMS_AT_MOST: Final = 50
_NAMED: Final = 3
_MESSAGE_AT_MOST: Final = 2000

TRUE: Final = pb.CONDITION_STATUS_TRUE
FALSE: Final = pb.CONDITION_STATUS_FALSE
UNKNOWN: Final = pb.CONDITION_STATUS_UNSPECIFIED


@dataclass(frozen=True, slots=True)
class Verdict:
    """The status, reason and message of a condition."""

    status: pb.ConditionStatus
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Failure:
    """Why something was not done, with the API server's own message."""

    reason: str
    message: str


@dataclass(slots=True)
class Standing:
    """What is known of a workload beyond its inventory; lives as long as the spoke knows the workload.

    Times are seconds since 1970, 0 for never.
    """

    id: WorkloadId
    healthy_digest: Digest | None = None
    healthy_at: float = 0.0
    received_at: float = 0.0
    healed: int = 0
    conditions: dict[str, pb.Condition] = field(default_factory=dict)

    def set(self, kind: str, verdict: Verdict, now: float) -> None:
        """Set a condition; its transition time changes with its status only, as in metav1.Condition."""
        before = self.conditions.get(kind)
        same = before is not None and before.status == verdict.status
        self.conditions[kind] = pb.Condition(
            type=kind,
            status=verdict.status,
            reason=verdict.reason,
            message=verdict.message[:_MESSAGE_AT_MOST],
            last_transition_time=before.last_transition_time if before and same else timestamp(now),
        )


def ready_while_failing(failures: Mapping[ObjectId, Failure], total: int, held: int = 0) -> Verdict:
    """Return Ready for a workload of which objects could not be applied or pruned; `held` wait for them."""
    first = next(iter(failures.values()))
    reasons = {failure.reason for failure in failures.values()}
    reason = "ReconciliationFailed" if len(reasons) > 1 or first.reason == "ApplyFailed" else first.reason
    named = [f"{identity}: {failure.message}" for identity, failure in sorted(failures.items())[:_NAMED]]
    more = f"; and {len(failures) - _NAMED} more" if len(failures) > _NAMED else ""
    more += f"; {held} of later waves wait for that" if held else ""
    return Verdict(FALSE, reason, f"{len(failures)} of {total} objects failed: " + "; ".join(named) + more)


def applied(objects: int) -> str:
    """Return what to say of a workload that is applied whole."""
    return f"applied {objects} object{'' if objects == 1 else 's'}"


def claimed_elsewhere(foreign: Iterable[ObjectId], claims: Mapping[ObjectId, WorkloadId]) -> dict[ObjectId, Failure]:
    """Return why the objects that another workload claims too are not applied for this one."""
    return {
        identity: Failure(
            "ApplyFailed", f"{claims[identity]} wants this object too, and comes first: remove it from one"
        )
        for identity in foreign
        if identity in claims
    }


def healthy(judged: Iterable[tuple[ObjectId, Health]], total: int, *, overdue: bool, timeout: float) -> Verdict:
    """Return Healthy from the objects that are not CURRENT, of `total`; `overdue` says that the time is up."""
    bad = list(judged)
    if not bad:
        return Verdict(TRUE, "Healthy", f"{total} of {total} objects healthy")
    worst = combine(bad)
    if worst.status is HealthStatus.FAILED:
        return Verdict(FALSE, "HealthCheckFailed", worst.message)
    if overdue:
        return Verdict(FALSE, "HealthCheckFailed", f"not healthy after {timeout:g}s: {worst.message}")
    return Verdict(UNKNOWN, "Progressing", f"{total - len(bad)} of {total} objects healthy; {worst.message}")


def problems(failures: Mapping[ObjectId, Failure], unhealthy: Mapping[ObjectId, Health]) -> list[pb.ObjectProblem]:
    """Return every object that is not as it should be, by id; a failed apply says more than the health it led to."""
    found = {identity: Failure(health.status.value, health.message) for identity, health in unhealthy.items()}
    found |= failures
    return [
        pb.ObjectProblem(id=object_id_to_proto(identity), reason=failure.reason, message=failure.message)
        for identity, failure in sorted(found.items())
    ]


def status(
    standing: Standing,
    *,
    digest: Digest,
    applied_digest: Digest | None,
    applied_at: float,
    objects: int,
    troubles: list[pb.ObjectProblem],
    pending: Pending | None = None,
) -> pb.WorkloadStatus:
    """Return the message that tells how a workload stands."""
    message = pb.WorkloadStatus(
        id=workload_id_to_proto(standing.id),
        digest=digest,
        applied_digest=applied_digest or b"",
        healthy_digest=standing.healthy_digest or b"",
        conditions=[standing.conditions[kind] for kind in sorted(standing.conditions, reverse=True)],
        objects=objects,
        problems=troubles[:PROBLEMS_AT_MOST],
        problem_count=len(troubles),
        healed=standing.healed,
    )
    if pending is not None:
        message.pending_prune.CopyFrom(pending.to_proto())
    for name, seconds in (
        ("received_at", standing.received_at),
        ("applied_at", applied_at),
        ("healthy_at", standing.healthy_at),
    ):
        if seconds:
            getattr(message, name).CopyFrom(timestamp(seconds))
    return message


def timestamp(seconds: float) -> Timestamp:
    """Return the message of a time in seconds since 1970."""
    stamp = Timestamp()
    stamp.FromNanoseconds(int(seconds * 1_000_000_000))
    return stamp
