"""Stages go one after the other, within their limits, and what fails stops there."""

from __future__ import annotations

import pytest

from hub.fleet.strategy import EVERYWHERE_AT_ONCE, Offline, OnFailure, Share, Stage
from hub.rollout.model import Health, Phase
from tests.unit.hub.rollout.simulated import Simulated, fleet


def test_the_next_stage_begins_when_the_one_before_is_healthy_on_this_release_and_has_soaked() -> None:
    world = fleet([Stage("canary", clusters=("c",), soak=600)], "a", "b", "c")
    step = world.step()
    assert world.on(2) == ["c"]
    assert step.waits["a"] == "it waits for stage 'canary'"
    world.report()
    assert world.step().wake_at == world.now + 600
    assert world.later(599).waits["a"].startswith("it waits for stage 'canary': it soaks until ")
    world.later(1)
    assert world.on(2) == ["a", "b", "c"]
    world.settle()
    assert world.phase is Phase.COMPLETE
    assert world.state is not None
    assert (world.state.base, world.state.former) == (2, 1)


def test_health_from_before_the_release_does_not_count() -> None:
    world = fleet([Stage("canary", clusters=("c",))], "a", "c")
    world.step(publish=False)
    assert world.boxes["c"].health is Health.HEALTHY, "with release 1"
    for _ in range(3):
        world.step(publish=False)
    assert world.on(2) == ["c"]


def test_a_cluster_that_falls_back_during_the_soak_starts_it_anew() -> None:
    world = fleet([Stage("canary", clusters=("c",), soak=600)], "a", "c")
    world.settle()
    world.later(599)
    world.boxes["c"].health = Health.PROGRESSING
    world.later(2)
    world.report()
    assert world.step().wake_at == world.now + 600
    world.later(599)
    assert world.on(2) == ["c"]
    world.later(1)
    assert world.on(2) == ["a", "c"]


def test_no_more_than_max_concurrent_move_at_a_time() -> None:
    world = fleet([Stage("all", max_concurrent=Share(2))], "a", "b", "c", "d", "e")
    assert world.step().waits["c"] == "2 moving, at most 2 may at a time (maxConcurrent)"
    assert world.on(2) == ["a", "b"]
    world.report("b")
    world.step()
    assert world.on(2) == ["a", "b", "c"]
    world.settle()
    assert world.phase is Phase.COMPLETE


def test_no_healthy_cluster_is_taken_beyond_max_unavailable_but_a_broken_one_always_gets_the_fix() -> None:
    world = fleet([Stage("all", max_unavailable=Share(1))], "a", "b", "c", "d")
    world.boxes["d"].health = Health.FAILED
    assert world.step().waits["a"] == "1 unavailable, at most 1 may be (maxUnavailable)"
    assert world.on(2) == ["d"]
    world.report("d")
    world.step()
    assert world.on(2) == ["a", "d"]


@pytest.mark.parametrize(
    ("policy", "phase", "on_2"),
    [
        (OnFailure.PAUSE, Phase.PAUSED, ["a", "c"]),
        (OnFailure.CONTINUE, Phase.COMPLETE, ["a", "b", "c", "d"]),
        (OnFailure.ROLL_BACK_STAGE, Phase.FAILED, ["c"]),
        (OnFailure.ROLL_BACK, Phase.FAILED, []),
    ],
)
def test_what_follows_when_more_fail_than_may(policy: OnFailure, phase: Phase, on_2: list[str]) -> None:
    stages = [Stage("canary", clusters=("c",)), Stage("all", max_concurrent=Share(1), on_failure=policy)]
    world = fleet(stages, "a", "b", "c", "d")
    world.broken = {("a", 2)}
    world.settle()
    assert (world.phase, world.on(2)) == (phase, on_2)
    assert world.state is not None
    assert world.state.failed == {"a": "CrashLoopBackOff"}


def test_as_many_failures_as_may_are_borne() -> None:
    world = fleet([Stage("all", max_concurrent=Share(1), max_failures=1)], "a", "b", "c")
    world.broken = {("a", 2)}
    world.settle()
    assert world.phase is Phase.COMPLETE


def test_a_cluster_that_is_not_healthy_in_time_has_failed() -> None:
    world = fleet([Stage("all", timeout=60)], "a")
    assert world.step().wake_at == world.now + 60
    world.later(60)
    assert world.phase is Phase.PAUSED
    assert world.state is not None
    assert world.state.failed == {"a": "not healthy 1m after it was given the release"}


@pytest.mark.parametrize(
    ("offline", "phase", "on_2"),
    [
        (Offline.SKIP, Phase.COMPLETE, ["a"]),
        (Offline.WAIT, Phase.PROGRESSING, ["a"]),
        (Offline.FAIL, Phase.PAUSED, ["a", "b"]),
    ],
)
def test_an_offline_cluster_is_skipped_waited_for_or_fails(offline: Offline, phase: Phase, on_2: list[str]) -> None:
    world = fleet([Stage("all", timeout=60)], "a", "b")
    world.strategy = type(world.strategy)("careful", world.strategy.stages, offline=offline)
    world.boxes["b"].online = False
    world.settle()
    world.later(60)
    assert (world.phase, world.on(2)) == (phase, on_2)
    world.boxes["b"].online = True
    world.settle()
    assert world.on(2) == ["a", "b"]


def test_everywhere_at_once_is_everywhere_at_once() -> None:
    world = Simulated(EVERYWHERE_AT_ONCE)
    world.join("a", "b", "c")
    world.boxes["b"].online = False
    world.boxes["c"].unresolved = "no such variable"
    world.release(1)
    world.step()
    assert world.on(1) == ["a"]
    world.boxes["b"].online = True
    world.settle()
    assert (world.on(1), world.phase) == (["a", "b"], Phase.COMPLETE)


def test_a_hub_that_restarts_goes_on_where_it_was() -> None:
    world = fleet([Stage("canary", clusters=("c",), soak=600), Stage("all", max_concurrent=Share(1))], "a", "b", "c")
    for _ in range(20):
        world.step()
        before = world.state
        world.restart()
        assert world.state == before
        world.report()
        world.now += 300
    assert world.phase is Phase.COMPLETE
