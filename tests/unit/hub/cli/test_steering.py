from __future__ import annotations

import os
import pty
import sys
from dataclasses import replace

import pytest

from hub.cli.asking import meant
from hub.fleet.strategy import ApprovalGate, Promotion, Stage
from hub.rollout.model import GateResult, Phase, StageState, Track, Verdict
from hub.status.facts import EnvironmentFacts
from hub.status.members import build_environment
from hub.status.resource import Collection
from hub.status.rollouts import RolloutFacts, build_rollout
from tests.unit.hub.api.inmemory import InMemoryHub, Threaded
from tests.unit.hub.cli.conftest import Felloe
from tests.unit.hub.rollouts import CAREFUL, FACTS, NOW, STATE, T

NAME = "shop@production"
WAITING = GateResult(Verdict.WAITING, T, T)
GATED = replace(STATE, stages={"canary": StageState(done_at=T), "rest": StageState(gates={"ok": WAITING})})
WEB = replace(FACTS, track=Track("placement/web"))


@pytest.fixture(autouse=True)
def rollouts(hub: Threaded) -> None:
    post(hub, FACTS)
    production = build_environment(EnvironmentFacts("production", promoted_from="staging"), {}, {}, NOW)
    hub.do(lambda h: h.board.replace(Collection.ENVIRONMENTS, [production]))


def post(hub: Threaded, *all_facts: RolloutFacts) -> None:
    def act(memory: InMemoryHub) -> None:
        for facts in all_facts:
            memory.board.post(build_rollout(facts, None, NOW))

    hub.do(act)


def calls(hub: Threaded) -> list[tuple[object, ...]]:
    """Return what was asked of the hub, without who did."""
    return [call[:2] + call[3:] for call in hub.hub.calls]


def test_what_is_not_dangerous_is_done_at_once(hub: Threaded, felloe: Felloe) -> None:
    done = felloe("rollout", "pause", NAME, "--reason", "lunch")
    assert (done.code, done.out) == (0, f"rollout {NAME}, release 12: paused\n")
    for act in ("resume", "retry"):
        assert felloe("rollout", act, NAME).code == 0
    assert calls(hub) == [
        ("pause", NAME, "lunch", "", "", 12),
        ("resume", NAME, "", "", "", 12),
        ("retry", NAME, "", "", "", 12),
    ]


@pytest.mark.parametrize("act", ["undo", "abort"])
def test_what_is_dangerous_is_shown_and_done_only_when_that_is_said(hub: Threaded, felloe: Felloe, act: str) -> None:
    shown = felloe("rollout", act, NAME, "--reason", "errors")
    assert (shown.code, shown.err) == (1, "\nNothing was done: --yes does it.\n")
    assert shown.out.startswith(f'rollout {NAME}, release 12, main@sha1:12 "Scale up" by ann\n')
    assert {"undo": "(1 of 4) return to release 11", "abort": "1 of 4 clusters have it and keep it"}[act] in shown.out
    assert not hub.hub.calls
    assert felloe("rollout", act, NAME, "--reason", "errors", "--yes").code == 0
    assert calls(hub) == [(act, NAME, "errors", "", "", 12)]


@pytest.mark.parametrize("act", ["undo", "abort"])
def test_everything_is_asked_for_explicitly(hub: Threaded, felloe: Felloe, act: str) -> None:
    post(hub, WEB, replace(WEB, track=Track("sync"), state=replace(STATE, phase=Phase.UNDONE)))
    for arguments in ([], [NAME, "--all"]):
        done = felloe("rollout", act, *arguments, "--reason", "x", "--yes")
        assert (done.code, "--all" in done.err) == (2, True)
    shown = felloe("rollout", act, "--all", "--reason", "x")
    assert (shown.code, shown.out.count("\nrollout") + shown.out.startswith("rollout")) == (1, 2)
    assert not hub.hub.calls
    assert felloe("rollout", act, "--all", "--reason", "x", "--yes").code == 0
    assert [call[1] for call in hub.hub.calls] == [NAME, "web"]


def test_all_can_be_stopped_without_a_question_and_only_what_moves_is(hub: Threaded, felloe: Felloe) -> None:
    post(hub, replace(WEB, state=replace(STATE, phase=Phase.COMPLETE)))
    assert felloe("rollout", "pause", "--all").code == 0
    assert [call[1] for call in hub.hub.calls] == [NAME]
    done = felloe("rollout", "resume", "--all")
    assert (done.code, done.err) == (1, "error: there is no rollout to resume: of 2, none is paused\n")


def test_what_one_rollout_refuses_does_not_keep_the_others(hub: Threaded, felloe: Felloe) -> None:
    post(hub, WEB)
    hub.do(lambda h: h.refused.update({NAME: "its release is not kept any more"}))
    done = felloe("rollout", "undo", "--all", "--reason", "x", "--yes")
    assert (done.code, done.err) == (1, f"error: {NAME}: its release is not kept any more\n")
    assert [call[1] for call in hub.hub.calls] == ["web"]


@pytest.mark.parametrize("act", ["approve", "abort", "undo", "skip-soak"])
def test_a_reason_is_needed(hub: Threaded, felloe: Felloe, act: str) -> None:
    for reason in ([], ["--reason", " "]):
        done = felloe("rollout", act, NAME, "--yes", *reason)
        assert (done.code, "--reason" in done.err) == (2, True)
    assert not hub.hub.calls


def test_the_approval_that_waits_is_found(hub: Threaded, felloe: Felloe) -> None:
    post(hub, replace(FACTS, state=GATED))
    done = felloe("rollout", "approve", NAME, "--reason", "fine", "--yes")
    assert done.out.endswith(f"gate ok of stage rest of rollout {NAME}, release 12: approved\n"), done.err
    assert calls(hub) == [("approve", NAME, "fine", "rest", "ok", 12)]


def test_of_several_approvals_one_is_named(hub: Threaded, felloe: Felloe) -> None:
    last = Stage("last", gates=(ApprovalGate("ok"), ApprovalGate("legal")))
    post(hub, replace(FACTS, strategy=replace(CAREFUL, stages=(*CAREFUL.stages, last))))
    done = felloe("rollout", "approve", NAME, "--reason", "fine", "--yes")
    assert (done.code, "--stage last --gate legal" in done.err) == (1, True)
    assert felloe("rollout", "approve", NAME, "--gate", "legal", "--reason", "fine", "--yes").code == 0
    done = felloe("rollout", "approve", NAME, "--gate", "smok", "--reason", "fine", "--yes")
    assert (done.code, "there are: --stage rest --gate ok" in done.err) == (1, True)
    assert felloe("rollout", "approve", NAME, "--gate", "smoke", "--reason", "fine", "--yes").code == 0
    assert [call[3:5] for call in calls(hub)] == [("last", "legal"), ("rest", "smoke")]


def test_the_soak_that_goes_on_is_skipped(hub: Threaded, felloe: Felloe) -> None:
    post(hub, replace(FACTS, state=replace(STATE, stages={})))
    done = felloe("rollout", "skip-soak", NAME, "--reason", "hotfix", "--yes")
    assert (done.code, "has a soak" in done.err) == (1, True)
    post(hub, FACTS)
    assert felloe("rollout", "skip-soak", NAME, "--reason", "hotfix", "--yes").code == 0
    assert calls(hub) == [("skip-soak", NAME, "hotfix", "canary", "", 12)]


def test_a_rollout_that_is_not_there_is_told_with_what_is(hub: Threaded, felloe: Felloe) -> None:
    done = felloe("rollout", "pause", "shop")
    assert (done.code, done.err) == (1, f"error: there is no rollout 'shop'; there are: {NAME}\n")


def test_a_promotion_is_shown_and_done_only_when_that_is_said(hub: Threaded, felloe: Felloe) -> None:
    staging = replace(FACTS, track=Track("placement/shop", "staging"), state=replace(STATE, release=12))
    behind = replace(STATE, release=11, phase=Phase.COMPLETE)
    post(hub, staging, replace(FACTS, state=behind, promotion=Promotion("staging", approval=True)))
    shown = felloe("promote", "shop", "--to", "production", "--reason", "tested")
    assert shown.out.splitlines() == [
        'shop goes on to production as staging runs it: release 12, main@sha1:12 "Scale up" by ann',
        '  there is release 11, main@sha1:11 "before"',
    ]
    assert (shown.code, hub.hub.calls) == (1, [])
    done = felloe("promote", "shop@staging", "--to", "production", "--revision", "1234abcd", "--reason", "x", "--yes")
    assert done.code == 0, done.err
    assert hub.hub.calls[0][:3] == ("promote", NAME, "1234abcd")
    wrong = felloe("promote", "shop@dev", "--to", "production", "--reason", "x", "--yes")
    assert (wrong.code, "from staging, not from dev" in wrong.err) == (1, True)
    nowhere = felloe("promote", "shop", "--to", "produktion", "--reason", "x", "--yes")
    assert (nowhere.code, "there are: production" in nowhere.err) == (1, True)
    assert len(hub.hub.calls) == 1


def test_a_promotion_may_leave_out_the_soak_and_says_so(hub: Threaded, felloe: Felloe) -> None:
    post(hub, replace(FACTS, promotion=Promotion("staging", soak=7200.0)))
    shown = felloe("promote", "shop", "--to", "production", "--reason", "outage")
    assert "  it comes when it has soaked for 120m\n" in shown.out
    done = felloe("promote", "shop", "--to", "production", "--skip-soak", "--reason", "outage", "--yes")
    assert "  its soak of 120m is left out\n" in done.out
    assert [call[-1] for call in hub.hub.calls] == [True]


def test_nobody_is_asked_about_a_promotion_that_there_is_not(hub: Threaded, felloe: Felloe) -> None:
    for unit, to, said in (
        ("shop", "produktion", "there is no environment 'produktion'; there are: production"),
        ("cart", "production", "nothing called 'cart' is promoted to production"),
        ("shop", "production", "nothing is promoted to production: its Environment has no promotesFrom"),
    ):
        done = felloe("promote", unit, "--to", to, "--reason", "x")
        assert (done.code, done.out) == (1, "")
        assert done.err.startswith(f"error: {said}")


def test_nobody_is_asked_about_what_can_not_be_done(hub: Threaded, felloe: Felloe) -> None:
    post(hub, replace(FACTS, state=replace(STATE, phase=Phase.COMPLETE, base=12, former=0)))
    aborted = felloe("rollout", "abort", NAME, "--reason", "x")
    assert (aborted.code, aborted.out) == (1, "")
    assert aborted.err == f"error: rollout {NAME} can't be aborted: it is Complete, not paused or progressing\n"
    undone = felloe("rollout", "undo", NAME, "--reason", "x")
    assert (undone.code, undone.out) == (1, "")
    assert "no release completed before release 12; revert the commit instead" in undone.err
    assert "of 1, none has a release to go back to" in felloe("rollout", "undo", "--all", "--reason", "x").err
    assert not hub.hub.calls


@pytest.mark.parametrize(("answer", "is_meant"), [("y", True), ("n", False), ("", False)])
def test_a_terminal_is_asked(monkeypatch: pytest.MonkeyPatch, answer: str, is_meant: bool) -> None:
    master, slave = pty.openpty()
    with (
        os.fdopen(master, "wb", buffering=0) as terminal,
        os.fdopen(slave) as own,
        os.fdopen(os.dup(slave), "w") as out,
    ):
        monkeypatch.setattr(sys, "stdin", own)
        monkeypatch.setattr(sys, "stdout", out)
        terminal.write(f"{answer}\n".encode())
        assert meant("Sure?", yes=False, otherwise="Nothing was done") is is_meant
        monkeypatch.undo()


def test_names_of_rollouts_are_completed(hub: Threaded, felloe: Felloe) -> None:
    asked = {"_FELLOE_COMPLETE": "complete_bash", "COMP_WORDS": "felloe rollout status sh", "COMP_CWORD": "3"}
    assert felloe(**asked).out.split() == [NAME]
