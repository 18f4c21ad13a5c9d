"""What the hub is told, once, and again where it may not have arrived."""

from __future__ import annotations

import asyncio

import pytest

from felloe.bundle import workload_id_to_proto
from felloe.identity import WorkloadId
from felloe.v1 import status_pb2 as pb
from spoke.link import StatusFeed
from spoke.report.reporter import EVENTS_AT_MOST, Reporter

APPS, OTHER = WorkloadId("Kustomization", "flux-system", "apps"), WorkloadId("Kustomization", "flux-system", "other")


def status(identity: WorkloadId, objects: int) -> pb.WorkloadStatus:
    return pb.WorkloadStatus(id=workload_id_to_proto(identity), objects=objects)


def told(message: pb.ClusterStatus) -> list[tuple[str, int]]:
    return [(workload.id.name, workload.objects) for workload in message.workloads]


async def changes(feed: StatusFeed) -> pb.ClusterStatus:
    async with asyncio.timeout(10):
        return await feed.changes()


async def test_only_what_changed_is_told_and_as_it_is_now() -> None:
    reporter = Reporter()
    reporter.bundle(2, 7, b"root", "trace")
    reporter.workload(status(APPS, 1))
    reporter.workload(status(OTHER, 1))
    first = await changes(reporter)
    assert (first.epoch, first.generation, first.root, first.traceparent) == (2, 7, b"root", "trace")
    assert told(first) == [("apps", 1), ("other", 1)]
    reporter.workload(status(APPS, 2))
    reporter.workload(status(APPS, 3))
    assert told(await changes(reporter)) == [("apps", 3)]


async def test_the_full_status_has_everything_that_is_left() -> None:
    reporter = Reporter()
    reporter.learned({"kubernetes_version": "v1.36.3"})
    reporter.workload(status(APPS, 1))
    reporter.workload(status(OTHER, 1))
    await changes(reporter)
    reporter.removed(OTHER)
    full = reporter.full()
    assert full.full
    assert told(full) == [("apps", 1)]
    assert full.facts == {"kubernetes_version": "v1.36.3"}


async def test_a_removed_workload_is_told_unless_it_comes_back() -> None:
    reporter = Reporter()
    reporter.workload(status(APPS, 1))
    reporter.removed(APPS)
    message = await changes(reporter)
    assert (told(message), [identity.name for identity in message.removed]) == ([], ["apps"])
    reporter.removed(APPS)
    reporter.workload(status(APPS, 2))
    message = await changes(reporter)
    assert (told(message), list(message.removed)) == ([("apps", 2)], [])


async def test_with_nothing_to_tell_it_waits_and_cancelled_it_loses_nothing() -> None:
    reporter = Reporter()
    waiting = asyncio.create_task(reporter.changes())
    await asyncio.sleep(0)
    reporter.event("Applied", "done", APPS)
    await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert [event.message for event in (await changes(reporter)).events] == ["done"]


async def test_events_that_may_not_have_arrived_come_again_first() -> None:
    reporter = Reporter()
    reporter.event("Applied", "one", APPS)
    lost = await changes(reporter)
    reporter.event("Applied", "two", APPS)
    reporter.requeue(lost)
    assert [event.message for event in (await changes(reporter)).events] == ["one", "two"]


async def test_while_nobody_listens_the_newest_events_are_kept() -> None:
    reporter = Reporter()
    for number in range(EVENTS_AT_MOST + 5):
        reporter.event("Applied", str(number), APPS)
    messages: list[str] = []
    while len(messages) < EVENTS_AT_MOST:
        messages += [event.message for event in (await changes(reporter)).events]
    assert (messages[0], messages[-1]) == ("5", str(EVENTS_AT_MOST + 4))
