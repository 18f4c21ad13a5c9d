"""A newer release in the middle: supersede, queue or finish; and what people do to a rollout."""

from __future__ import annotations

from dataclasses import replace

import pytest

from felloe.errors import ConfigError
from hub.fleet.strategy import ApprovalGate, HttpGate, OnFailure, OnNewRelease, Share, Stage, Strategy
from hub.rollout import abort, approve, pause, resume, retry, skip_soak, succeed, undo
from hub.rollout.model import GateResult, Health, Phase, RolloutState, Verdict
from tests.unit.hub.rollout.simulated import Simulated, fleet

ONE_BY_ONE = [Stage("canary", clusters=("c",)), Stage("all", max_concurrent=Share(1))]


def state_of(world: Simulated) -> RolloutState:
    assert world.state is not None
    return world.state


def under_way(policy: OnNewRelease) -> Simulated:
    """Release 2 is on the canary and moving on a."""
    world = fleet(ONE_BY_ONE, "a", "b", "c")
    world.strategy = replace(world.strategy, on_new_release=policy)
    world.step()
    world.report()
    world.step()
    assert world.on(2) == ["a", "c"]
    return world


def test_supersede_begins_at_once_with_the_first_stage() -> None:
    world = under_way(OnNewRelease.SUPERSEDE)
    world.release(3)
    world.step()
    assert (world.on(3), world.on(2)) == (["c"], ["a"])
    assert state_of(world).healthy == {"a": 1, "b": 1, "c": 2}
    world.settle()
    assert (world.on(3), state_of(world).base) == (["a", "b", "c"], 3)


def test_queue_gives_every_release_its_turn() -> None:
    world = under_way(OnNewRelease.QUEUE)
    world.release(3)
    world.release(4)
    assert (state_of(world).release, state_of(world).queue) == (2, (3, 4))
    seen = set()
    for _ in range(30):
        world.step()
        world.report()
        seen.add(state_of(world).release)
    assert (seen, state_of(world).base) == ({2, 3, 4}, 4)


def test_finish_leaves_out_those_in_between() -> None:
    world = under_way(OnNewRelease.FINISH)
    world.release(3)
    world.release(4)
    assert state_of(world).queue == (4,)
    seen = set()
    for _ in range(30):
        world.step()
        world.report()
        seen.add(state_of(world).release)
    assert (seen, state_of(world).base) == ({2, 4}, 4)


def test_a_release_that_changes_nothing_here_loses_nothing_that_was_reached() -> None:
    world = fleet([Stage("canary", clusters=("c",), soak=600, gates=(ApprovalGate("ok"),))], "a", "c")
    world.step()
    world.state = approve(state_of(world), who="jo", reason="fine", now=world.now)
    world.settle()
    before = state_of(world)
    world.slice_of = lambda box, number: f"{box.name} at {min(number, 2)}"
    world.release(3, same=True)
    after = state_of(world)
    assert (after.release, after.stages, after.assigned) == (3, before.stages, {"a": 1, "c": 3})
    world.later(600)
    assert world.on(3) == ["a", "c"]


def test_what_is_the_same_in_both_releases_need_not_soak_again() -> None:
    world = fleet([Stage("canary", clusters=("c",), soak=600)], "a", "c")
    world.settle()
    world.now += 500
    world.slice_of = lambda box, number: f"{box.name} at {2 if (box.name, number) == ('c', 3) else number}"
    world.release(3)
    assert world.step().wake_at == world.now + 100
    world.later(100)
    assert world.on(3) == ["a", "c"]


def test_what_is_new_in_the_newer_release_does_soak() -> None:
    world = fleet([Stage("canary", clusters=("c",), soak=600)], "a", "c")
    world.settle()
    world.now += 500
    world.release(3)
    world.step()
    world.report()
    assert world.step().wake_at == world.now + 600


@pytest.mark.parametrize("policy", list(OnNewRelease))
def test_a_release_that_failed_is_left_for_the_next_one(policy: OnNewRelease) -> None:
    world = fleet([Stage("all", on_failure=OnFailure.ROLL_BACK)], "a")
    world.strategy = replace(world.strategy, on_new_release=policy)
    world.broken = {("a", 2)}
    world.settle()
    assert (world.phase, world.on(1)) == (Phase.FAILED, ["a"])
    world.now += 1
    world.settle()
    assert world.phase is Phase.FAILED, "not by itself"
    world.release(3)
    world.settle()
    assert (world.phase, world.on(3)) == (Phase.COMPLETE, ["a"])


@pytest.mark.parametrize("policy", [OnNewRelease.QUEUE, OnNewRelease.FINISH])
def test_a_fix_does_not_wait_for_what_was_paused_over_failures(policy: OnNewRelease) -> None:
    world = under_way(policy)
    world.broken = {("a", 2)}
    world.settle()
    assert world.phase is Phase.PAUSED
    world.release(3)
    world.settle()
    assert (world.phase, world.on(3)) == (Phase.COMPLETE, ["a", "b", "c"])
    world = under_way(policy)
    world.state = pause(state_of(world), who="jo", reason="lunch", now=world.now)
    world.release(3)
    world.settle()
    assert (world.phase, state_of(world).release) == (Phase.PAUSED, 2), "a person's pause holds"


@pytest.mark.parametrize("policy", [OnNewRelease.QUEUE, OnNewRelease.FINISH])
def test_undo_leaves_out_what_was_made_on_top_of_it(policy: OnNewRelease) -> None:
    world = under_way(policy)
    world.release(3)
    world.state = undo(state_of(world), who="jo", reason="broken", now=world.now)
    world.settle()
    assert (world.phase, world.on(1)) == (Phase.UNDONE, ["a", "b", "c"])
    again = succeed(world.state, 3, world.strategy, world.now, same=False)
    assert again is world.state
    world.release(4)
    world.settle()
    assert (world.phase, world.on(4)) == (Phase.COMPLETE, ["a", "b", "c"])


def test_an_older_release_is_gone_to_only_when_somebody_wants_it() -> None:
    world = fleet([Stage("all")], "a")
    world.settle()
    same = succeed(world.state, 1, world.strategy, world.now, same=False)
    assert same is world.state
    assert succeed(world.state, 1, world.strategy, world.now, same=False, back=True).release == 1


def test_a_persons_pause_outlives_the_release_and_the_engines_does_not() -> None:
    world = under_way(OnNewRelease.SUPERSEDE)
    world.state = pause(state_of(world), who="jo", reason="lunch", now=world.now)
    world.release(3)
    assert (world.phase, state_of(world).reason, world.step().waits["c"]) == (
        Phase.PAUSED,
        "lunch",
        "the rollout is paused: lunch",
    )
    world = under_way(OnNewRelease.SUPERSEDE)
    world.broken = {("a", 2)}
    world.settle()
    assert world.phase is Phase.PAUSED
    world.release(3)
    world.settle()
    assert state_of(world).phase is Phase.COMPLETE


def test_nobody_moves_while_it_is_paused() -> None:
    world = under_way(OnNewRelease.SUPERSEDE)
    world.state = pause(state_of(world), who="jo", reason="", now=world.now)
    world.settle()
    assert world.on(2) == ["a", "c"]
    world.state = resume(state_of(world), who="jo", reason="", now=world.now)
    world.settle()
    assert world.phase is Phase.COMPLETE


def test_resume_goes_on_in_spite_of_what_failed_and_stops_at_the_next_failure() -> None:
    world = fleet([Stage("all", max_concurrent=Share(1))], "a", "b", "c")
    world.broken = {("a", 2), ("b", 2)}
    world.settle()
    assert world.on(2) == ["a"]
    world.state = resume(state_of(world), who="jo", reason="known", now=world.now)
    world.settle()
    assert (world.phase, world.on(2)) == (Phase.PAUSED, ["a", "b"])


def test_retry_gives_those_that_failed_another_chance() -> None:
    world = fleet([Stage("all", timeout=60)], "a")
    world.broken = {("a", 2)}
    world.settle()
    world.state = retry(state_of(world), who="jo", reason="fixed", now=world.now)
    world.step()
    assert state_of(world).phase is Phase.PROGRESSING, "what it reported before the retry is not held against it"
    world.later(60)
    assert state_of(world).phase is Phase.PAUSED, "but it has to change in time"
    world.state = retry(state_of(world), who="jo", reason="fixed", now=world.now)
    world.broken.clear()
    world.settle()
    assert state_of(world).phase is Phase.COMPLETE


def test_retry_of_one_that_was_rolled_back_begins_with_the_first_stage() -> None:
    world = fleet([Stage("canary", clusters=("c",)), Stage("all", on_failure=OnFailure.ROLL_BACK)], "a", "c")
    world.broken = {("a", 2)}
    world.settle()
    assert (world.phase, world.on(1)) == (Phase.FAILED, ["a", "c"])
    world.broken.clear()
    world.state = retry(state_of(world), who="jo", reason="fixed", now=world.now)
    world.step()
    assert world.on(2) == ["c"]
    world.settle()
    assert world.phase is Phase.COMPLETE


def test_who_is_offline_when_all_go_back_is_told_until_it_is_back() -> None:
    world = fleet([Stage("canary", clusters=("c",)), Stage("all", on_failure=OnFailure.ROLL_BACK)], "a", "b", "c")
    world.broken = {("a", 2)}
    world.step()
    world.report()
    world.step()
    world.boxes["c"].online = False
    world.boxes["b"].online = False
    world.settle()
    assert (world.phase, world.on(1)) == (Phase.FAILED, ["a", "b", "c"])
    told = "it is offline, and has not said that it has release 1 again; it goes back when it comes back: the rollout"
    assert [told in world.step().waits[name] for name in ("a", "b", "c")] == [False, True, True]
    world.boxes["c"].online = True
    world.settle()
    assert told not in world.step().waits["c"]


def test_undo_takes_it_back_everywhere_also_when_it_is_complete() -> None:
    world = under_way(OnNewRelease.SUPERSEDE)
    world.state = undo(state_of(world), who="jo", reason="broken", now=world.now)
    assert (world.phase, world.on(1)) == (Phase.UNDONE, ["a", "b", "c"])
    world.settle()
    assert world.on(1) == ["a", "b", "c"], "and it stays so"
    world = under_way(OnNewRelease.SUPERSEDE)
    world.settle()
    assert world.phase is Phase.COMPLETE
    world.state = undo(state_of(world), who="jo", reason="broken", now=world.now)
    assert (world.phase, world.on(1), state_of(world).base) == (Phase.UNDONE, ["a", "b", "c"], 1)
    world.join("d")
    world.settle()
    assert world.on(1) == ["a", "b", "c", "d"], "who joins gets what the others have"


def test_undo_with_nothing_to_go_back_to_says_so() -> None:
    world = Simulated(Strategy("careful"))
    world.join("a")
    world.release(1)
    world.settle()
    with pytest.raises(ConfigError, match=r"no release before it completed .* revert the commit instead"):
        undo(state_of(world), who="jo", reason="", now=world.now)


def test_abort_leaves_everything_as_it_is() -> None:
    world = under_way(OnNewRelease.SUPERSEDE)
    world.state = abort(state_of(world), who="jo", reason="no", now=world.now)
    world.settle()
    assert (world.phase, world.on(2), world.on(1)) == (Phase.ABORTED, ["a", "c"], ["b"])
    assert world.step().waits == {"b": "it was aborted: no"}


def test_a_gate_is_passed_by_a_person_who_is_remembered() -> None:
    world = fleet([Stage("canary", clusters=("c",)), Stage("all", gates=(ApprovalGate("ok"),))], "a", "c")
    with pytest.raises(ConfigError, match="waits for no gate now"):
        approve(state_of(world), who="jo", reason="", now=world.now)
    world.settle()
    step = world.step()
    assert (step.ask, step.waits) == ((("all", "ok"),), {"a": "it waits for approval 'ok'"})
    with pytest.raises(ConfigError, match="gate 'other' does not wait for anybody; what waits is: 'ok' of stage 'all'"):
        approve(state_of(world), gate="other", who="jo", reason="", now=world.now)
    world.state = approve(state_of(world), who="jo", reason="looks good", now=world.now)
    known = state_of(world).stages["all"].gates["ok"]
    assert (known.verdict, known.who, known.message) == (Verdict.PASSED, "jo", "looks good")
    world.settle()
    assert world.phase is Phase.COMPLETE


def test_two_gates_that_wait_have_to_be_named() -> None:
    world = fleet([Stage("all", gates=(ApprovalGate("ok"), ApprovalGate("legal")))], "a")
    world.step()
    with pytest.raises(ConfigError, match="several gates wait, name one of them: 'ok' of stage 'all', 'legal' of"):
        approve(state_of(world), who="jo", reason="", now=world.now)
    world.state = approve(state_of(world), gate="ok", who="jo", reason="", now=world.now)
    world.step()
    assert world.on(2) == []
    world.state = approve(state_of(world), gate="legal", who="jo", reason="", now=world.now)
    world.step()
    assert world.on(2) == ["a"]


def test_a_gate_that_cant_be_reached_waits_then_fails_and_is_asked_again_on_resume() -> None:
    world = fleet([Stage("all", gates=(HttpGate("smoke", "http://gate.invalid"),))], "a")
    assert world.step().ask == (("all", "smoke"),)
    world.answers["all", "smoke"] = GateResult(Verdict.WAITING, world.now, world.now, "no such host")
    assert world.step().waits == {"a": "it waits for 'smoke': no such host"}
    world.now += 3600
    world.answers["all", "smoke"] = GateResult(Verdict.FAILED, world.now, world.now, "no such host")
    world.step()
    assert (world.phase, state_of(world).reason) == (Phase.PAUSED, "stage 'all': gate 'smoke' failed: no such host")
    world.now += 1
    world.state = resume(state_of(world), who="jo", reason="dns", now=world.now)
    assert world.step().ask == (("all", "smoke"),), "what it said before is an answer to another question"
    world.answers["all", "smoke"] = GateResult(Verdict.PASSED, world.now, world.now)
    world.settle()
    assert world.phase is Phase.COMPLETE


def test_a_gate_counts_as_it_is_when_the_stage_begins() -> None:
    world = fleet([Stage("all", gates=(ApprovalGate("ok"), HttpGate("smoke", "http://gate.invalid")))], "a")
    world.step()
    world.answers["all", "smoke"] = GateResult(Verdict.PASSED, world.now, world.now)
    assert world.step().ask == (("all", "ok"), ("all", "smoke"))
    world.now += 60
    world.answers["all", "smoke"] = GateResult(Verdict.WAITING, world.now, world.now, "HTTP 500")
    world.step()
    world.state = approve(state_of(world), gate="ok", who="jo", reason="", now=world.now)
    assert world.step().waits == {"a": "it waits for 'smoke': HTTP 500"}


def test_continue_does_not_go_on_in_spite_of_a_gate() -> None:
    world = fleet([Stage("all", gates=(ApprovalGate("ok"),), on_failure=OnFailure.CONTINUE)], "a")
    world.step()
    world.answers["all", "ok"] = GateResult(Verdict.FAILED, world.now, world.now, "refused", "jo")
    world.step()
    assert (world.phase, world.on(2)) == (Phase.PAUSED, [])


def test_a_soak_is_left_out_for_a_reason_that_is_kept() -> None:
    world = fleet([Stage("canary", clusters=("c",), soak=600)], "a", "c")
    world.settle()
    with pytest.raises(ConfigError, match="without a reason"):
        skip_soak(state_of(world), who="jo", reason=" ", now=world.now)
    with pytest.raises(ConfigError, match="stage 'all' is not under way; under way is 'canary'"):
        skip_soak(state_of(world), "all", who="jo", reason="hotfix", now=world.now)
    world.state = skip_soak(state_of(world), who="jo", reason="hotfix", now=world.now)
    world.step()
    assert world.on(2) == ["a", "c"]
    assert state_of(world).stages["canary"].soak_skipped == "jo: hotfix"


def test_an_urgent_release_soaks_nowhere_and_says_why() -> None:
    world = fleet([Stage("canary", clusters=("c",), soak=600)], "a", "c")
    world.urgent = "CVE-2026-1"
    world.settle()
    assert world.phase is Phase.COMPLETE
    assert state_of(world).stages["canary"].soak_skipped == "urgent: CVE-2026-1"
    assert "SoakSkipped" in world.reasons()


@pytest.mark.parametrize(
    ("act", "phase", "message"),
    [
        (pause, Phase.COMPLETE, "can't pause: the rollout of release 2 is Complete, not Progressing"),
        (resume, Phase.PROGRESSING, "can't resume: the rollout of release 2 is Progressing, not Paused"),
        (abort, Phase.FAILED, "can't abort: the rollout of release 2 is Failed, not Paused or Progressing"),
        (undo, Phase.UNDONE, "can't undo: the rollout of release 2 is Undone"),
        (retry, Phase.PROGRESSING, "can't retry release 2: no cluster failed at it"),
        (approve, Phase.ABORTED, "can't approve: the rollout of release 2 is Aborted"),
        (skip_soak, Phase.COMPLETE, "can't skip the soak: the rollout of release 2 is Complete"),
    ],
)
def test_an_act_that_makes_no_sense_says_what_it_needs(act: object, phase: Phase, message: str) -> None:
    assert callable(act)
    with pytest.raises(ConfigError) as refused:
        act(RolloutState(2, phase), who="jo", reason="because", now=1.0)
    assert message in str(refused.value)


def test_a_frozen_cluster_is_not_touched_and_not_waited_for() -> None:
    world = fleet([Stage("canary", clusters=("c",)), Stage("all")], "a", "b", "c")
    world.boxes["a"].frozen = True
    world.settle()
    assert (world.phase, world.on(2)) == (Phase.COMPLETE, ["b", "c"])
    assert world.step().waits == {"a": "the cluster is paused"}
    world.boxes["a"].frozen = False
    world.boxes["a"].health = Health.HEALTHY
    world.settle()
    assert world.on(2) == ["a", "b", "c"]
