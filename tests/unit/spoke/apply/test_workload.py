"""A workload's task that can do nothing for now waits: it neither turns in circles nor forgets what it has to do."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import cast
from unittest.mock import AsyncMock, Mock

import pytest

from felloe.bundle import Entry, Workload
from felloe.digest import canonical_json, digest
from felloe.errors import KubernetesError
from felloe.identity import ObjectId, WorkloadId
from felloe.waves import own_wave
from spoke.apply import workload as module
from spoke.apply.context import Context, Delivery
from spoke.apply.deletion import Leaving
from spoke.apply.inventory import Inventory, Item
from spoke.apply.latecomers import Latecomers
from spoke.apply.objects import Applied
from spoke.apply.pruning import Outcome
from spoke.apply.standing import Failure, Standing
from spoke.apply.state import State
from spoke.apply.workload import WorkloadTask
from spoke.drift.live import Live, LiveObjects
from spoke.health import Health, HealthStatus
from spoke.kube.pace import Pace

SHOP = WorkloadId("Kustomization", "flux-system", "shop")
A, B, OLD = (ObjectId("", "ConfigMap", "shop", name) for name in ("a", "b", "old"))
LATE_SECONDS = 6.4
ROUNDS_AT_MOST = 20
"""Of a task that turns in circles there are hundreds a second."""


def _live(fingerprint: bytes = b"applied", version: int = 1) -> Live:
    health = Health(HealthStatus.CURRENT, "", "")
    return Live("uid", version, fingerprint, SHOP, health, terminating=False)


class Surroundings:
    """What a task works with, but for an API server; `refused` says what is not applied, `rounds` counts."""

    def __init__(self, *known: ObjectId) -> None:
        self.rounds = 0
        self.refused: dict[ObjectId, KubernetesError] = {}
        self.applied: list[ObjectId] = []
        items = {identity: Item("v1", own_wave(0)) for identity in known}
        self.state = State(Inventory(SHOP, items=items), Standing(SHOP))
        self.live = LiveObjects(self._expected, lambda _: (), lambda *_: None, lambda _: None, lambda *_: False, Mock())
        self.latecomers = Latecomers(LATE_SECONDS)
        self.changed = Mock()

    def task(self, waves: Mapping[ObjectId, int], annotations: Mapping[str, str] | None = None) -> WorkloadTask:
        blobs, entries = {}, []
        for identity, wave in waves.items():
            metadata = {"name": identity.name, "namespace": "shop", "annotations": dict(annotations or {})}
            blob = canonical_json({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
            blobs[digest(blob)] = blob
            entries.append(Entry(identity, "v1", digest(blob), wave, len(blob)))
        context = SimpleNamespace(
            client=SimpleNamespace(work=Pace().work),
            objects=SimpleNamespace(
                resource=AsyncMock(), strangers=AsyncMock(return_value={}), apply=self._apply, read=AsyncMock()
            ),
            inventories=SimpleNamespace(write=AsyncMock(), unsure=lambda _: False),
            live=self.live,
            watches=SimpleNamespace(ensure=AsyncMock(return_value=None), release=Mock()),
            arrivals=SimpleNamespace(lacking=self._round),
            blobs=blobs,
            report=Mock(),
            tracer=Mock(),
            peers=SimpleNamespace(
                claims={},
                recorded=lambda _: False,
                rule_of=lambda _: None,
                waits_for=AsyncMock(return_value=""),
                changed=self.changed,
                told=Mock(),
            ),
            cel=Mock(),
            inquiries=Mock(),
            record=SimpleNamespace(hurry=Mock(), recorded=AsyncMock()),
            latecomers=self.latecomers,
            service_account="",
        )
        workload = Workload(SHOP, entries=tuple(entries))
        return WorkloadTask(cast("Context", context), workload, self.state, Delivery(0.0, "", b"", 1, 1))

    def _expected(self, identity: ObjectId) -> bytes | None:
        item = self.state.inventory.items.get(identity)
        return item.fingerprint if item else None

    def _round(self, *_: object) -> None:
        self.rounds += 1

    async def _apply(self, identity: ObjectId, *_: object) -> Applied:
        self.applied.append(identity)
        if error := self.refused.pop(identity, None):
            if error.status == 504:
                self.live.take(identity, _live())  # it was made all the same, and its watch tells
            else:
                self.refused[identity] = error
            raise error
        return Applied(_live(version=len(self.applied)), created=True)


async def _rounds_of(task: WorkloadTask, surroundings: Surroundings, seconds: float) -> int:
    running = asyncio.create_task(task.run())
    await asyncio.sleep(seconds)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return surroundings.rounds


async def test_what_waits_for_an_earlier_wave_is_not_looked_at_again_and_again_for_latecomers() -> None:
    surroundings = Surroundings(A, B)  # a spoke before this one began with both
    surroundings.latecomers.from_before([A, B])
    surroundings.refused[A] = KubernetesError("denied by a webhook", status=400)
    task = surroundings.task({A: own_wave(-5), B: own_wave(5)})
    assert await _rounds_of(task, surroundings, 1.0) <= ROUNDS_AT_MOST
    assert surroundings.applied == [A]


async def test_who_hands_an_object_over_is_woken_after_each_request_for_it() -> None:
    surroundings = Surroundings()
    task = surroundings.task({A: own_wave(0)})
    running = asyncio.create_task(task.run())
    async with asyncio.timeout(20):
        while not task.settled:  # noqa: ASYNC110 -- a test asks from outside
            await asyncio.sleep(0.01)
        before = surroundings.changed.call_count
        surroundings.live.forget(A)
        task.touched(A, None)
        while surroundings.changed.call_count == before:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert surroundings.applied == [A, A]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_an_object_that_was_made_without_an_answer_and_is_made_once_only_is_done() -> None:
    surroundings = Surroundings()
    surroundings.refused[A] = KubernetesError("gateway timeout", status=504)
    task = surroundings.task({A: own_wave(0)}, {"fleet.felloe.io/ssa": "IfNotPresent"})
    assert await _rounds_of(task, surroundings, 2.0) <= ROUNDS_AT_MOST
    assert surroundings.applied == [A]
    assert A not in surroundings.live.doubtful


async def test_what_is_on_its_way_is_not_looked_at_while_an_object_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    surroundings = Surroundings(OLD)

    async def prune(*_: object) -> Outcome:
        surroundings.refused[A] = KubernetesError("denied by a webhook", status=400)
        surroundings.live.take(A, _live(b"changed", version=9))
        task.touched(A, surroundings.live.get(A))
        return Outcome(leaving={OLD: Leaving(datetime.now(UTC))})

    monkeypatch.setattr(module, "prune", prune)
    task = surroundings.task({A: own_wave(0)})
    assert await _rounds_of(task, surroundings, 1.0) <= ROUNDS_AT_MOST


async def test_a_deletion_that_fails_after_all_seemed_done_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    surroundings = Surroundings(OLD)
    refused = Outcome(failures={OLD: Failure("Terminating", "held by a finalizer")}, asked=False)
    outcomes = [Outcome(dropped={OLD}), refused, Outcome(lingering={OLD})]

    async def prune(*_: object) -> Outcome:
        return outcomes.pop() if outcomes else Outcome(dropped={OLD})

    monkeypatch.setattr(module, "prune", prune)
    task = surroundings.task({A: own_wave(0)})
    assert await _rounds_of(task, surroundings, 2.0) <= ROUNDS_AT_MOST
    assert not outcomes
    assert task.settled
