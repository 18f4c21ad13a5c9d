"""Jobs that the cluster removes by itself (ttlSecondsAfterFinished): gone is then no drift, and no success either.

What a Job did last is told by the watch that saw it go. One that failed stays a failure after it is gone, until its
desired state changes or a reconciliation is asked for. One that had not ended was deleted by somebody, and comes back.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, NamedTuple

from spoke.apply.inventory import Item
from spoke.health import Health, HealthStatus

JOB: Final = ("batch", "Job")
_GONE: Final = "it is gone, as its ttlSecondsAfterFinished says"
_FAILED: Final = Health(HealthStatus.FAILED, "JobFailed", f"the Job failed; {_GONE}")


class Expiry(NamedTuple):
    """How a Job ended: `health` tells that it failed, None that it did not; `item` is what is written down of it."""

    health: Health | None
    item: Item


def expiry(item: Item, last: Health | None) -> Expiry | None:
    """Return how a Job ended that is not there, None where it did not end.

    `last` is its health when it went. Where nobody saw that, it ended as its `item` says: doing it again could do harm.
    """
    if last is None:
        return Expiry(_FAILED if item.failed else None, item)
    if last.status is HealthStatus.FAILED:
        return Expiry(replace(last, message=f"{last.message}; {_GONE}"), replace(item, failed=True))
    return Expiry(None, item) if last.status is HealthStatus.CURRENT else None
