"""What a judgement says, and how the judgements of a workload's objects become one that a person can act on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from functools import total_ordering

NAMED_IN_A_SUMMARY = 3
"""How many objects `combine` names; the rest are counted."""


@total_ordering
class HealthStatus(Enum):
    """The statuses of kstatus (values are its spelling), best first: a greater one is worse."""

    CURRENT = "Current"
    IN_PROGRESS = "InProgress"
    TERMINATING = "Terminating"
    NOT_FOUND = "NotFound"
    UNKNOWN = "Unknown"
    FAILED = "Failed"

    @property
    def severity(self) -> int:
        """Return how bad it is, 0 for CURRENT."""
        return list(HealthStatus).index(self)

    def __lt__(self, other: HealthStatus) -> bool:
        return self.severity < other.severity


@dataclass(frozen=True, slots=True)
class Health:
    """One judgement: `reason` is one CamelCase word for machines, `message` a sentence for people."""

    status: HealthStatus
    reason: str
    message: str


def combine(healths: Iterable[tuple[object, Health]]) -> Health:
    """Return the health of a workload from its objects, given as (what to call it, health), such as `dict.items()`.

    The status and reason are the worst object's; the message names up to three that are not CURRENT, worst first and
    then by name, so that it is the same for the same objects in any order.
    """
    judged = [(str(name), health) for name, health in healths]
    bad = [(name, health) for name, health in judged if health.status is not HealthStatus.CURRENT]
    if not bad:
        return Health(HealthStatus.CURRENT, "Healthy", f"{len(judged)} of {len(judged)} objects healthy")
    bad.sort(key=lambda item: (-item[1].status.severity, item[0]))
    parts = [f"{name}: {health.message}" for name, health in bad[:NAMED_IN_A_SUMMARY]]
    if len(bad) > NAMED_IN_A_SUMMARY:
        parts.append(f"and {len(bad) - NAMED_IN_A_SUMMARY} more")
    worst = bad[0][1]
    return Health(worst.status, worst.reason, "; ".join(parts))
