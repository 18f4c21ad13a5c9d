"""Health by a workload's own expressions: Flux' order and its answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from felloe.bundle import HealthCheckExpr
from felloe.identity import ObjectId
from spoke.drift.live import Live, LiveObjects
from spoke.health import Health, HealthStatus
from spoke.health.cel import Cel
from spoke.health.expressions import NOT_EVALUATED, Evaluations, Rule, judge, rules, unreadable

CURRENT, IN_PROGRESS, FAILED = HealthStatus.CURRENT, HealthStatus.IN_PROGRESS, HealthStatus.FAILED
WIDGET = HealthCheckExpr(
    "test.example.com/v1",
    "Widget",
    current="status.phase == 'Done'",
    failed="status.phase == 'Broken'",
    in_progress="has(status.busy) && status.busy",
)
IDENTITY = ObjectId("test.example.com", "Widget", "shop", "w")


@pytest_asyncio.fixture
async def cel() -> AsyncIterator[Cel]:
    evaluator = Cel()
    yield evaluator
    await evaluator.close()


def widget(version: int = 1, generation: int = 1, **status: object) -> dict[str, object]:
    metadata = {"name": "w", "namespace": "shop", "uid": "u", "resourceVersion": str(version), "generation": generation}
    return {"apiVersion": "test.example.com/v1", "kind": "Widget", "metadata": metadata, "status": status}


def rule() -> Rule:
    return next(rules([WIDGET]))


@pytest.mark.parametrize(
    ("status", "expected", "said"),
    [
        ({"phase": "Done"}, CURRENT, "spec.healthCheckExprs[0].current is true"),
        ({"phase": "Broken"}, FAILED, "spec.healthCheckExprs[0].failed is true"),
        ({"phase": "Broken", "busy": True}, IN_PROGRESS, "spec.healthCheckExprs[0].inProgress is true"),
        ({"phase": "New"}, IN_PROGRESS, "none of spec.healthCheckExprs[0] is true yet"),
        ({}, HealthStatus.UNKNOWN, "spec.healthCheckExprs[0].failed: no such key: phase"),
    ],
)
async def test_in_progress_comes_before_failed_before_current(
    cel: Cel, status: dict[str, Any], expected: HealthStatus, said: str
) -> None:
    health = await judge(cel, rule(), widget(**status))
    assert (health.status, health.message) == (expected, said)


async def test_an_expression_that_can_not_be_read_is_named_by_its_field(cel: Cel) -> None:
    broken = HealthCheckExpr("v1", "Pod", current="true", failed="status.phase ==")
    assert "spec.healthCheckExprs[1].failed can't be read: at 1:16" in await unreadable(cel, [WIDGET, broken], {})
    nothing = HealthCheckExpr("v1", "Pod", current=" ")
    assert "spec.healthCheckExprs[0].current is empty" in await unreadable(cel, [nothing], {})
    assert "spec.dependsOn[2].readyExpr can't be read" in await unreadable(cel, [], {0: "true", 2: "dep."})
    assert await unreadable(cel, [WIDGET], {0: "dep.metadata.generation == 1"}) == ""


class Watched:
    """Live objects whose kind is judged by expressions, as the watch delivers them."""

    def __init__(self, cel: Cel) -> None:
        self.rule: Rule | None = rule()
        self.evaluations = Evaluations(cel)
        self.changes: list[Health | None] = []
        self.live = LiveObjects(
            lambda _: None, lambda _: (), self.changed, lambda _: self.rule, lambda *_: False, self.evaluations
        )

    def changed(self, identity: ObjectId, before: Live | None, now: Live | None) -> None:
        self.changes.append(now.health if now else None)

    @property
    def health(self) -> Health:
        known = self.live.get(IDENTITY)
        assert known
        return known.health

    async def until(self, status: HealthStatus) -> None:
        async with asyncio.timeout(20):
            while self.health.status is not status:  # noqa: ASYNC110 (what changes it runs in another task)
                await asyncio.sleep(0.01)


@pytest_asyncio.fixture
async def watched(cel: Cel) -> AsyncIterator[Watched]:
    watched = Watched(cel)
    task = asyncio.create_task(watched.evaluations.run())
    yield watched
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_what_the_watch_brings_is_judged_and_told_when_it_changes(watched: Watched) -> None:
    watched.live.seen(IDENTITY, widget(1, phase="New"))
    assert watched.health == NOT_EVALUATED
    await watched.until(IN_PROGRESS)
    watched.live.seen(IDENTITY, widget(2, phase="Done"))
    await watched.until(CURRENT)
    watched.live.seen(IDENTITY, widget(3, phase="Done"))
    assert watched.health.status is CURRENT  # the same generation: no step back while it is evaluated again
    watched.live.seen(IDENTITY, widget(4, generation=2, phase="Done"))
    assert watched.health == NOT_EVALUATED  # what was known of the older generation says nothing of this one
    await watched.until(CURRENT)


async def test_an_older_generation_and_a_deletion_need_no_expression(watched: Watched) -> None:
    watched.live.seen(IDENTITY, widget(1, generation=3, phase="Done", observedGeneration=2))
    assert watched.health.reason == "LatestGenerationNotObserved"
    dying = widget(2, phase="Done")
    dying["metadata"]["deletionTimestamp"] = "2026-03-01T10:00:00Z"  # type: ignore[index]
    watched.live.seen(IDENTITY, dying)
    assert watched.health.status is HealthStatus.TERMINATING


async def test_the_answer_for_an_older_state_does_not_count(cel: Cel) -> None:
    watched = Watched(cel)
    watched.live.seen(IDENTITY, widget(1, phase="Done"))
    watched.live.seen(IDENTITY, widget(2, phase="Broken"))
    task = asyncio.create_task(watched.evaluations.run())
    await watched.until(FAILED)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert [health.status for health in watched.changes if health] == [IN_PROGRESS, IN_PROGRESS, FAILED]


async def test_a_costly_expression_is_followed_by_a_pause_four_times_as_long(cel: Cel) -> None:
    costly = next(rules([HealthCheckExpr("v1", "X", "true")]))
    assert (await judge(cel, costly, {})).status is CURRENT
    readings = iter([100.0, 100.5])
    pauses: list[float] = []
    done = asyncio.Event()

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        done.set()

    evaluations = Evaluations(cel, pause, lambda: next(readings))
    evaluations.ask("x", costly, {}, lambda _: None)
    task = asyncio.create_task(evaluations.run())
    async with asyncio.timeout(20):
        await done.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert pauses == [2.0]


async def test_other_expressions_judge_again(watched: Watched) -> None:
    watched.live.seen(IDENTITY, widget(1, phase="New"))
    await watched.until(IN_PROGRESS)
    watched.rule = next(rules([HealthCheckExpr("test.example.com/v1", "Widget", current="status.phase == 'New'")]))
    watched.live.seen(IDENTITY, widget(1, phase="New"))
    assert watched.health == NOT_EVALUATED
    await watched.until(CURRENT)
    watched.rule = None
    watched.live.seen(IDENTITY, widget(1, phase="New"))
    assert watched.health.message == "it exists, and its kind reports no readiness"
