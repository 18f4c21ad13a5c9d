from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from hub.fleet.strategy import Promotion, Stage
from hub.rollout.model import (
    GateResult,
    Health,
    Member,
    Phase,
    RolloutState,
    StageState,
    Track,
    Verdict,
)
from hub.rollout.stages import REST
from hub.status.board import Board
from hub.status.facts import Condition
from hub.status.fleet import fleet_view
from hub.status.resource import Collection, Resource
from hub.status.rollouts import MOST_CLUSTERS, RolloutFacts, build_rollout, rollout_key
from tests.unit.hub.api.inmemory import cluster
from tests.unit.hub.rollouts import DONE, FACTS, MOVING, NOW, STATE, T, member


def shown(facts: RolloutFacts = FACTS, before: Resource | None = None, now: datetime = NOW) -> Mapping[str, Any]:
    return build_rollout(facts, before, now).as_json(1)


def stage(rollout: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(one for one in rollout["status"]["stages"] if one["name"] == name)
    return found


def test_a_rollout_says_what_goes_where_and_how_far_it_is() -> None:
    rollout = shown()
    assert (rollout["kind"], rollout["metadata"]["name"]) == ("Rollout", "shop@production")
    assert rollout["spec"] == {"unit": "placement/shop", "environment": "production", "strategy": "careful"}
    status = rollout["status"]
    assert (status["phase"], status["release"], status["revision"]) == ("Progressing", 12, "main@sha1:12")
    assert (status["baseRelease"], status["baseRevision"]) == (11, "main@sha1:11")
    assert (status["subject"], status["author"]) == ("Scale up", "ann")
    assert (status["beganAt"], "endedAt" in status) == ("2026-01-02T11:59:00Z", False)
    assert stage(rollout, "canary")["moving"] == 1
    counts = {name: stage(rollout, "rest")[name] for name in ("clusters", "done", "offline", "waiting")}
    assert counts == {"clusters": 3, "done": 0, "offline": 1, "waiting": 2}
    ready = status["conditions"][0]
    assert (ready["status"], ready["message"]) == ("Unknown", "release 12: stage canary, 0 of 1 done")


def test_a_stage_that_no_cluster_is_in_is_a_warning() -> None:
    assert [one["type"] for one in shown()["status"]["conditions"]] == ["Ready"]
    strategy = replace(FACTS.strategy, stages=(*FACTS.strategy.stages, Stage("empty")))
    warning = shown(replace(FACTS, strategy=strategy))["status"]["conditions"][1]
    assert (warning["type"], warning["status"], warning["reason"]) == ("Selected", "False", "NoClusterMatches")
    assert warning["message"].startswith("no cluster is in stage empty: ")


def test_each_cluster_says_why_it_is_not_done() -> None:
    rows = {
        row["name"]: (row["stage"], row["release"], row["state"], row["message"])
        for row in shown()["status"]["clusters"]
    }
    assert rows == {
        "a": ("canary", 12, "Moving", "2 of 3 replicas"),
        "b": ("rest", 11, "Waiting", "stage canary comes first"),
        "c": ("rest", 11, "Offline", "stage canary comes first"),
        "d": ("rest", 11, "Paused", "the cluster is paused"),
    }


@pytest.mark.parametrize(
    ("changed", "state"),
    [
        (DONE, "Done"),
        (replace(DONE, online=False), "Done"),
        (replace(DONE, health=Health.FAILED, message="crash"), "Failed"),
        (replace(MOVING, unresolved="no such path"), "Failed"),
    ],
)
def test_healthy_with_the_release_is_done_and_failed_says_why(changed: Member, state: str) -> None:
    failed = replace(STATE, failed={"a": "not healthy after 15m"})
    rollout = shown(replace(FACTS, state=failed, members=(changed,)))
    row = rollout["status"]["clusters"][0]
    assert (row["state"], row["message"]) == (state, "" if state == "Done" else "not healthy after 15m")


def test_what_went_back_does_not_move() -> None:
    gone_back = replace(STATE, phase=Phase.UNDONE, who="ann", reason="it smells", ended_at=T, assigned={"a": 12})
    rollout = shown(replace(FACTS, state=gone_back))
    assert rollout["status"]["clusters"][0]["state"] == "Waiting"
    ready = rollout["status"]["conditions"][0]
    assert (ready["status"], ready["reason"]) == ("False", "Undone")
    assert ready["message"] == "release 12: undone by ann: it smells"


def test_a_soak_and_a_gate_are_told_as_what_is_waited_for() -> None:
    soaking = replace(STATE, stages={"canary": StageState(started_at=T - 60, healthy_at=T)})
    rollout = shown(replace(FACTS, state=soaking, members=(DONE, *FACTS.members[1:])))
    assert stage(rollout, "canary")["soakEndsAt"] == "2026-01-02T12:10:00Z"
    assert rollout["status"]["conditions"][0]["message"].endswith("soaks until 2026-01-02T12:10:00Z")
    asked = StageState(gates={"ok": GateResult(Verdict.WAITING, T, T), "smoke": GateResult(Verdict.PASSED, T, T)})
    gated = replace(STATE, stages={"canary": StageState(healthy_at=T, done_at=T, soak_skipped="hotfix"), "rest": asked})
    rollout = shown(replace(FACTS, state=gated))
    assert (stage(rollout, "canary")["soakSkipped"], stage(rollout, "canary")["soakSeconds"]) == ("hotfix", 0)
    assert "soakEndsAt" not in stage(rollout, "canary")
    gates = [(gate["name"], gate["type"], gate["verdict"]) for gate in stage(rollout, "rest")["gates"]]
    assert gates == [("ok", "approval", "Waiting"), ("smoke", "http", "Passed")]
    assert rollout["status"]["conditions"][0]["message"] == "release 12: stage rest waits for gate ok"
    assert stage(shown(), "rest")["gates"][0]["verdict"] == "NotAsked"


def test_clusters_of_no_stage_of_the_strategy_are_shown_last() -> None:
    assert [one["name"] for one in shown()["status"]["stages"]] == ["canary", "rest"]
    others = replace(STATE, stage_of={**STATE.stage_of, "d": REST})
    assert [one["name"] for one in shown(replace(FACTS, state=others))["status"]["stages"]] == ["canary", "rest", REST]


def test_before_a_first_release_it_waits_for_the_environment_before() -> None:
    state = RolloutState(0, reason="nothing has come to staging yet", strategy="careful")
    rollout = shown(RolloutFacts(FACTS.track, state, FACTS.strategy, upcoming=12, upcoming_waits=state.reason))
    assert (rollout["status"]["phase"], "beganAt" in rollout["status"]) == ("Waiting", False)
    assert rollout["status"]["conditions"][0]["message"] == "nothing has come to staging yet"


def test_what_was_before_a_complete_release_is_the_one_that_an_undo_returns_to() -> None:
    complete = replace(STATE, phase=Phase.COMPLETE, ended_at=T, base=12, former=11)
    assert shown(replace(FACTS, state=complete))["status"]["baseRelease"] == 11


def test_a_complete_rollout_says_who_is_behind() -> None:
    complete = replace(STATE, phase=Phase.COMPLETE, ended_at=T)
    rollout = shown(replace(FACTS, state=complete, members=(DONE, member("c", online=False))))
    ready = rollout["status"]["conditions"][0]
    assert (ready["status"], ready["message"]) == ("True", "release 12 is on 1 of 2 clusters, 1 offline")


def test_how_long_clusters_took_is_measured_where_they_are_seen_to_get_done() -> None:
    first = build_rollout(FACTS, None, NOW)
    assert first.status["meanSeconds"] == 0
    done = replace(FACTS, state=replace(STATE, admitted_at={}), members=(DONE, *FACTS.members[1:]))
    second = build_rollout(done, first, NOW)
    assert (second.status["meanSeconds"], second.status["measuredClusters"]) == (60, 1)
    later = build_rollout(done, second, NOW + timedelta(hours=1))
    assert later.status == second.status
    assert build_rollout(replace(done, state=replace(STATE, release=13)), second, NOW).status["measuredClusters"] == 0


def test_a_condition_keeps_its_time_until_its_status_changes() -> None:
    first = build_rollout(FACTS, None, NOW)
    second = build_rollout(replace(FACTS, waits={}), first, NOW + timedelta(hours=1))
    assert second.conditions[0].since == NOW


def test_of_very_many_clusters_those_that_are_not_done_are_listed() -> None:
    number = MOST_CLUSTERS + 50
    members = [member(f"c{i:05}", given="new", release=12) for i in range(number)]
    members[-1] = replace(members[-1], health=Health.PROGRESSING)
    state = replace(STATE, stage_of={one.name: "rest" for one in members}, assigned={one.name: 12 for one in members})
    built = build_rollout(replace(FACTS, state=state, members=members), None, NOW)
    rollout = built.as_json(1)
    rows: Any = rollout["status"]
    assert (len(rows["clusters"]), rows["moreClusters"], rows["clusters"][-1]["state"]) == (MOST_CLUSTERS, 50, "Moving")
    assert stage(rollout, "rest")["done"] == number - 1
    assert f"c{number - 40:05}" in built.members


def test_a_track_is_found_by_the_name_that_people_use() -> None:
    for track in (Track("placement/shop", "production"), Track("placement/shop"), Track("sync", "staging")):
        assert Track.named(str(track)) == track
    board = Board()
    board.post(build_rollout(FACTS, None, NOW))
    assert board.get(Collection.ROLLOUTS, rollout_key(FACTS.track)) is not None


# -- the fleet


def environment(name: str, promoted_from: str = "") -> Resource:
    return Resource(Collection.ENVIRONMENTS, "Environment", name, spec={"promotedFrom": promoted_from})


def in_environment(name: str, environment: str, **more: Any) -> Resource:
    return replace(cluster(name, **more), spec={"environment": environment})


def view(rollouts: list[RolloutFacts], *clusters: Resource, circle: bool = False) -> Any:
    environments = [environment("dev", "production" if circle else ""), environment("production", "staging")]
    environments.append(environment("staging", "dev"))
    return fleet_view(environments, clusters, [build_rollout(facts, None, NOW) for facts in rollouts])


def test_environments_come_in_the_order_of_promotion_and_say_what_they_run() -> None:
    fleet = view([FACTS], in_environment("a", "production"), in_environment("x", "", connected=False))
    names = [one["name"] for one in fleet["environments"]]
    assert names == ["dev", "staging", "production", ""]
    production, others = fleet["environments"][2:]
    assert (production["promotedFrom"], production["clusters"], production["ready"]) == ("staging", 1, 1)
    assert others["offline"] == 1
    (track,) = production["tracks"]
    assert (track["name"], track["phase"], track["release"], track["baseRelease"]) == (
        "shop@production",
        "Progressing",
        12,
        11,
    )
    assert (track["clusters"], track["moving"], track["done"]) == (4, 1, 0)
    assert len(view([FACTS], circle=True)["environments"]) == 3


def waits(facts: RolloutFacts) -> list[tuple[str, bool]]:
    return [(one["kind"], one["stuck"]) for one in view([facts])["waits"]]


def test_what_waits_is_told_and_what_is_stuck_comes_with_what_helps() -> None:
    (moving,) = view([FACTS])["waits"]
    assert (moving["message"], moving["stuck"]) == ("stage canary: 1 moving: a: 2 of 3 replicas", False)
    soaking = replace(STATE, stages={"canary": StageState(healthy_at=T)})
    assert waits(replace(FACTS, state=soaking)) == [("Soak", False)]
    gates = {"ok": GateResult(Verdict.WAITING, T, T), "smoke": GateResult(Verdict.WAITING, T, T, "HTTP 500")}
    gated = replace(STATE, stages={"canary": StageState(done_at=T), "rest": StageState(gates=gates)})
    approval, gate = view([replace(FACTS, state=gated)])["waits"]
    assert approval["command"] == 'felloe rollout approve shop@production --stage rest --gate ok --reason "…"'
    assert gate["message"] == "stage rest: gate smoke: HTTP 500"
    paused = replace(STATE, phase=Phase.PAUSED, failed={"a": "crash"}, reason="1 of 1 failed")
    (wait,) = view([replace(FACTS, state=paused)])["waits"]
    assert (wait["kind"], wait["stuck"]) == ("Paused", True)
    assert wait["message"] == "release 12: paused: 1 of 1 failed; a: crash"
    assert wait["command"] == "felloe rollout retry shop@production"
    (wait,) = view([replace(FACTS, state=replace(STATE, phase=Phase.PAUSED, who="ann"))])["waits"]
    assert wait["command"] == "felloe rollout resume shop@production"


def test_where_nothing_happens_by_itself_any_more_it_is_stuck() -> None:
    """A window that never opens, an offline cluster that the stage waits for."""
    waiting = replace(FACTS, members=(member("a", online=False),), waits={"a": "no window is open until tomorrow"})
    assert waits(replace(waiting, wake_at=T + 3600)) == [("Clusters", False)]
    assert waits(waiting) == [("Clusters", True)]


def test_what_waits_for_the_environment_before_is_stuck_only_where_one_must_approve() -> None:
    complete = replace(STATE, phase=Phase.COMPLETE, release=11)
    behind = replace(FACTS, state=complete, upcoming=12, upcoming_waits="staging soaks for 20m more")
    by_itself = replace(behind, promotion=Promotion("staging", 3600.0))
    assert waits(by_itself) == [("Promotion", False)]
    asked = replace(behind, promotion=Promotion("staging", approval=True), upcoming_asks=True)
    (wait,) = view([asked])["waits"]
    assert wait["stuck"] is True
    assert wait["command"] == 'felloe promote shop --to production --reason "…"'
    assert wait["message"] == "release 12 waits: staging soaks for 20m more"


def failing(message: str) -> Condition:
    return Condition("Ready", "False", "WorkloadsFailing", message, NOW)


def test_failing_clusters_are_stuck_and_not_all_are_named() -> None:
    fleet = view([], *(in_environment(f"c{i:02}", "dev", ready=failing(f"web: crash {i}")) for i in range(25)))
    assert [one["name"] for one in fleet["waits"]][:2] == ["c00", "c01"]
    assert (len(fleet["waits"]), fleet["waits"][-1]["message"]) == (21, "5 more clusters are failing")


def test_what_all_clusters_fail_with_is_said_once() -> None:
    fleet = view([], *(in_environment(f"c{i:02}", "dev", ready=failing("no such path")) for i in range(25)))
    (wait,) = fleet["waits"]
    assert (wait["name"], wait["message"]) == ("c00, c01, c02, c03, c04 and 20 more", "no such path")
    assert wait["command"] == "felloe describe cluster c00"


def test_until_when_windows_let_nothing_move_is_said_wherever_one_looks() -> None:
    until = "no window is open until tomorrow"
    state = replace(STATE, stages={"canary": StageState(done_at=T)})
    members = (DONE, member("b"), member("c"))
    facts = replace(FACTS, state=state, members=members, waits={"b": until, "c": until}, shut=until, wake_at=T)
    rollout = shown(facts)
    assert rollout["status"]["shut"] == until
    assert rollout["status"]["conditions"][0]["message"] == f"release 12: stage rest, 0 of 2 done; {until}"
    assert view([facts])["waits"] == [
        {
            "name": "shop@production",
            "kind": "Window",
            "message": f"stage rest: {until}",
            "command": "",
            "stuck": False,
        }
    ]
    assert waits(replace(facts, wake_at=None)) == [("Window", True)]
    assert "shut" not in shown(replace(facts, members=(DONE,)))["status"], "nobody waits for it"
    assert "shut" not in shown(replace(facts, state=replace(state, phase=Phase.ABORTED)))["status"]
