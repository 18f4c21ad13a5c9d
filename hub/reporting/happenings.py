"""What happened, told by how the board was and how it is now: fetches, what fails to build, a fleet that does not load.

One place for it: whatever leads to a change of a source or a workload, its event is there once, and no step of the hub
needs to think of it. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Final

from felloe.identity import WorkloadId
from hub.status.facts import EventFacts
from hub.status.resource import Key, Resource

_FETCHED: Final = "Fetched"


def source_events(before: Mapping[Key, Resource], now_there: Iterable[Resource], now: datetime) -> Iterator[EventFacts]:
    """Return an event for each source that has another revision than before, or fails, or fails otherwise."""
    for source in now_there:
        was, ready = before.get(source.key), source.condition("Ready")
        involved = WorkloadId(source.kind, source.namespace, source.name)
        if ready is None:
            continue
        if ready.status == "False" and _is_new(was, source):
            yield EventFacts(now, "Warning", ready.reason, ready.message, involved=involved)
        elif ready.status == "True" and (was is None or _artifact(was) != _artifact(source)):
            yield EventFacts(now, "Normal", _FETCHED, ready.message, involved=involved)


def held_events(
    before: Mapping[Key, Resource], workloads: Iterable[Resource], held: Collection[WorkloadId], now: datetime
) -> Iterator[EventFacts]:
    """Return an event for each workload that the hub began to hold back, or holds back for another reason.

    `held` are those of which the hub itself says that they are not ready; the rest is the spoke's to tell.
    """
    for workload in workloads:
        identity = WorkloadId(workload.kind, workload.namespace, workload.name)
        ready = workload.condition("Ready")
        if identity in held and ready is not None and _is_new(before.get(workload.key), workload):
            yield EventFacts(now, "Warning", ready.reason, ready.message, workload.cluster, identity)


def _is_new(was: Resource | None, resource: Resource) -> bool:
    """Say whether Ready says something else than before."""
    ready, earlier = resource.condition("Ready"), was.condition("Ready") if was else None
    if ready is None or earlier is None:
        return ready is not earlier
    return (ready.status, ready.reason, ready.message) != (earlier.status, earlier.reason, earlier.message)


def _artifact(source: Resource) -> object:
    return source.status.get("artifact")
