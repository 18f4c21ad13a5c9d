"""What can go wrong around a rollout is told, and never stops anything but what it has to."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest

from hub.fleet.labels import LabelSelector
from hub.fleet.strategy import Offline, OnFailure, Share, Stage, Strategy
from hub.rollout import state_json, state_of
from hub.rollout.model import GateResult, Health, Phase, RolloutState, StageState, Verdict
from tests.unit.hub.rollout.simulated import Simulated, fleet

CANARY = Stage("canary", LabelSelector((("canary", "true"),)), soak=600)


def held(world: Simulated) -> RolloutState:
    assert world.state is not None
    return world.state


def test_a_selector_that_matches_nothing_holds_up_nobody_and_is_told() -> None:
    world = fleet([CANARY], "a", "b")
    world.settle()
    assert world.phase is Phase.COMPLETE
    [warning] = [note for note in world.notes if note.reason == "StageWarning"]
    assert warning.message == "shop: stage 'canary' has no clusters: none of the 2 of this rollout is meant by it"
    assert warning.warning


def test_a_label_change_in_the_middle_moves_no_cluster_past_its_stage() -> None:
    world = fleet([CANARY], "a", "b", labels={"a": {"canary": "true"}})
    world.step()
    world.boxes["a"].labels = {}
    world.boxes["b"].labels = {"canary": "true"}
    world.settle()
    assert (world.on(2), held(world).stage_of) == (["a"], {"a": "canary", "b": "the rest"})


def test_a_label_change_that_makes_another_slice_is_waited_for_anew() -> None:
    world = fleet([replace(CANARY, soak=0, timeout=60)], "a", "b", labels={"a": {"canary": "true"}})
    world.slice_of = lambda box, number: f"{box.name} at {number} {box.labels}"
    world.broken = {("a", 2)}
    world.settle()
    assert held(world).failed == {"a": "CrashLoopBackOff"}
    world.broken.clear()
    world.now += 1000
    world.boxes["a"].labels = {"canary": "true", "fixed": "true"}
    world.step()
    assert held(world).failed == {}, "what failed was another slice"
    assert held(world).admitted_at["a"] == world.now


def test_a_cluster_deleted_in_the_middle_is_not_waited_for() -> None:
    world = fleet([Stage("all", max_concurrent=Share(1))], "a", "b")
    world.step()
    del world.boxes["a"]
    world.settle()
    assert (world.phase, world.on(2)) == (Phase.COMPLETE, ["b"])
    assert "a" not in {*held(world).assigned, *held(world).stage_of, *held(world).healthy, *held(world).admitted_at}


def test_all_clusters_deleted_in_the_middle_is_the_end_of_it() -> None:
    world = fleet([CANARY], "a")
    world.step()
    world.boxes.clear()
    world.settle()
    assert (world.phase, held(world).assigned) == (Phase.COMPLETE, {})


def test_a_new_cluster_gets_what_completed_until_its_stage_is_open() -> None:
    world = fleet([CANARY], "a", "b", labels={"a": {"canary": "true"}})
    world.step()
    world.join("c")
    world.settle()
    assert (world.on(1), world.on(2)) == (["b", "c"], ["a"])
    fresh = Simulated(Strategy("careful", (CANARY,)))
    fresh.join("a", labels={"canary": "true"})
    fresh.join("c")
    fresh.release(1)
    assert fresh.step().waits["c"] == "it waits for stage 'canary'"
    assert fresh.on(1) == ["a"]


def test_who_joins_after_the_end_gets_it_within_the_limits() -> None:
    world = fleet([Stage("all", max_concurrent=Share(2))], "a")
    world.settle()
    world.join("b", "c", "d")
    world.step()
    assert (world.on(2), world.phase) == (["a", "b", "c"], Phase.COMPLETE)
    world.settle()
    assert world.on(2) == ["a", "b", "c", "d"]


def test_who_joins_after_the_end_and_fails_stops_the_next_ones_and_nobody_else() -> None:
    world = fleet([Stage("all", max_concurrent=Share(1))], "a")
    world.settle()
    world.broken = {("b", 2)}
    world.join("b", "c")
    world.settle()
    assert (world.phase, world.on(2)) == (Phase.COMPLETE, ["a", "b"])
    assert world.step().waits == {"b": "CrashLoopBackOff", "c": "too many failed: b"}


def test_a_cluster_that_turns_bad_long_after_the_end_is_no_failure_of_the_release() -> None:
    world = fleet([Stage("all")], "a", "b")
    world.settle()
    world.boxes["a"].health = Health.FAILED
    world.join("c")
    world.settle()
    assert (world.on(2), held(world).failed) == (["a", "b", "c"], {})


def test_a_target_that_cant_be_made_counts_as_failed_and_leaves_what_there_is() -> None:
    world = fleet([Stage("all", max_failures=1)], "a", "b", "c")
    world.boxes["a"].unresolved = "variable region has no value"
    world.settle()
    assert (world.phase, world.on(1), world.on(2)) == (Phase.COMPLETE, ["a"], ["b", "c"])
    assert held(world).failed == {"a": "variable region has no value"}
    world.boxes["a"].unresolved = ""
    world.settle()
    assert (world.on(2), held(world).failed) == (["a", "b", "c"], {})


def test_a_stage_is_not_done_because_all_of_it_is_offline() -> None:
    world = fleet([CANARY], "a", "b", labels={"a": {"canary": "true"}})
    world.boxes["a"].online = False
    world.settle()
    assert (world.phase, world.on(2)) == (Phase.PROGRESSING, [])
    assert world.step().waits == {
        "a": "it is offline; it follows when it comes back",
        "b": "it waits for stage 'canary': none of its clusters has tried the release: a offline or paused",
    }
    world.boxes["a"].online = True
    world.settle()
    assert world.on(2) == ["a"]


def test_a_canary_that_falls_silent_with_the_release_has_failed() -> None:
    world = fleet([replace(CANARY, timeout=60)], "a", "b", labels={"a": {"canary": "true"}})
    world.step()
    world.boxes["a"].online = False
    world.later(59)
    assert held(world).phase is Phase.PROGRESSING
    world.later(1)
    assert held(world).phase is Phase.PAUSED
    assert held(world).failed == {"a": "not healthy 1m after it was given the release, and it is offline"}


def test_one_of_many_that_goes_offline_holds_up_nobody() -> None:
    world = fleet(
        [replace(CANARY, soak=0, timeout=60)], "a", "b", "c", labels={"a": {"canary": "true"}, "b": {"canary": "true"}}
    )
    world.step()
    world.boxes["a"].online = False
    world.report()
    world.settle()
    world.later(60)
    assert (world.phase, world.on(2)) == (Phase.COMPLETE, ["a", "b", "c"])


def test_an_offline_cluster_that_is_waited_for_has_no_timeout() -> None:
    world = fleet([Stage("all", timeout=60)], "a")
    world.strategy = replace(world.strategy, offline=Offline.WAIT)
    world.step()
    world.boxes["a"].online = False
    world.later(10_000)
    assert world.phase is Phase.PROGRESSING
    world.boxes["a"].online = True
    assert world.step().wake_at == world.now + 60


@pytest.mark.parametrize("back", [1.0, 100.0, 86_400.0])
def test_a_clock_that_was_set_back_blocks_for_no_longer_than_the_soak(back: float) -> None:
    world = fleet([CANARY], "a", "b", labels={"a": {"canary": "true"}})
    world.settle()
    world.later(-back)
    world.later(600)
    assert world.on(2) == ["a", "b"]


def test_a_clock_that_was_set_back_fails_nobody_early() -> None:
    world = fleet([Stage("all", timeout=60)], "a")
    world.step()
    world.later(-86_400)
    assert world.later(59).wake_at == world.now + 1
    world.later(1)
    assert world.phase is Phase.PAUSED


def test_a_release_that_is_not_kept_any_more_is_nothing_to_go_back_to() -> None:
    world = fleet([Stage("all")], "a")
    world.releases.discard(1)
    world.strategy = replace(
        world.strategy, stages=(replace(world.strategy.stages[0], on_failure=OnFailure.ROLL_BACK),)
    )
    world.broken = {("a", 2)}
    world.settle()
    assert (world.phase, world.on(2)) == (Phase.FAILED, ["a"])
    assert any("there is nothing that these could go back to: a" in note.message for note in world.notes)


def test_a_strategy_that_changes_in_the_middle_places_all_anew_and_keeps_what_was_reached() -> None:
    world = fleet([CANARY], "a", "b", labels={"a": {"canary": "true"}})
    world.settle()
    world.strategy = Strategy("fast", (Stage("everybody"),))
    world.settle()
    assert (world.phase, world.on(2), held(world).strategy) == (Phase.COMPLETE, ["a", "b"], "fast")


def test_the_state_outlives_a_restart_whole_and_unknown_fields_are_passed_over() -> None:
    state = RolloutState(
        12,
        Phase.PAUSED,
        began_at=1.5,
        ended_at=2.25,
        base=11,
        former=9,
        strategy="careful",
        queue=(13, 14),
        stages={
            "z": StageState(
                1.0, 2.0, 3.0, {"ok": GateResult(Verdict.PASSED, 1.0, 0.5, "fine", "jo")}, "hotfix", 7, 4.0
            ),
            "a": StageState(),
        },
        stage_of={"a": "z", "b": "z", "c": "a"},
        assigned={"a": 12, "b": 12, "c": 11},
        admitted_at={"a": 1.1, "b": 1.1},
        slices={"a": 5, "b": 6},
        healthy={"a": 11, "c": 11},
        done=frozenset("a"),
        fallen=frozenset("a"),
        failed={"b": 'why: "not" known'},
        accepted=frozenset("b"),
        retried=frozenset("b"),
        reason="lunch",
        who="jo",
    )
    read = state_of(state_json(state))
    assert read == state
    assert list(read.stages) == ["z", "a"], "in their order"
    newer = orjson.loads(state_json(state)) | {"somethingNew": {"a": 1}}
    assert state_of(orjson.dumps(newer).decode()) == state
    assert state_of('{"release": 3, "phase": "Complete"}') == RolloutState(3, Phase.COMPLETE)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"release": 1, "phase": "Dreaming"}', '{"release": [], "phase": "Failed"}']
)
def test_a_state_that_cant_be_read_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        state_of(text)
