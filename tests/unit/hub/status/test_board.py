from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from hub.status.board import Board
from hub.status.events import EventLog
from hub.status.facts import EventFacts
from hub.status.resource import Collection, Key, Resource

APPS = Key("shop-1", "Kustomization", "flux-system", "apps")


def workload(objects: int = 0, name: str = "apps") -> Resource:
    status = {"objects": objects}
    return Resource(Collection.WORKLOADS, "Kustomization", name, "flux-system", "shop-1", status=status)


def shop(revision: str = "") -> Resource:
    return Resource(Collection.CLUSTERS, "Cluster", "shop-1", status={"revision": revision})


async def test_a_watcher_is_told_once_of_what_changed_many_times() -> None:
    board = Board()
    with board.subscribe(Collection.WORKLOADS) as subscription:
        for objects in range(5):
            board.post(workload(objects))
        await asyncio.wait_for(subscription.wait(), 5)
        assert subscription.take() == (APPS,)
        assert subscription.take() == ()


async def test_what_stays_the_same_wakes_nobody() -> None:
    board = Board()
    assert board.post(workload())
    version = board.version
    with board.subscribe(Collection.WORKLOADS) as subscription:
        assert not board.post(workload())
        assert subscription.take() == ()
    assert board.version == version


async def test_replacing_a_cluster_withdraws_the_workloads_it_no_longer_has() -> None:
    board = Board()
    board.replace_cluster(shop(), [workload(), workload(name="infra")])
    with board.subscribe(Collection.WORKLOADS) as subscription:
        assert board.replace_cluster(shop("1"), [workload()])
        assert subscription.take() == (APPS._replace(name="infra"),)
    assert set(board.of_cluster("shop-1")) == {APPS, Key("", "Cluster", "", "shop-1")}
    assert board.withdraw_cluster("shop-1")
    assert not board.of_cluster("shop-1")
    assert not board.list(Collection.WORKLOADS)


async def test_replacing_a_collection_withdraws_the_rest() -> None:
    board = Board()
    sources = [Resource(Collection.SOURCES, "GitRepository", name, "flux-system") for name in ("a", "b")]
    board.replace(Collection.SOURCES, sources)
    assert board.replace(Collection.SOURCES, sources[:1])
    assert [posted.resource.name for posted in board.list(Collection.SOURCES)] == ["a"]


async def test_events_are_numbered_bounded_and_awaited() -> None:
    log = EventLog(size=2)
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    waiting = asyncio.create_task(log.wait(2))
    for reason in ("A", "B", "C"):
        log.add(EventFacts(moment, "Normal", reason, ""))
    await asyncio.wait_for(waiting, 5)
    assert [(one.seq, one.event.reason) for one in log.since(0)] == [(2, "B"), (3, "C")]
    assert [one.seq for one in log.since(2)] == [3]
