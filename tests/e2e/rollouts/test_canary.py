"""Rollouts on four real API servers: canary then rest, failure and undo, offline clusters, gates, promotion."""

from __future__ import annotations

from functools import partial

import pytest

from tests.fleet.fleet import Fleet
from tests.fleet.manifests import environment
from tests.fleet.processes import eventually
from tests.fleet.rollouts import (
    APPROVED,
    CANARY,
    NAMES,
    REST,
    audit,
    deliver,
    files,
    phase,
    rollout,
    shop,
    status,
    steer,
    versions,
)

pytestmark = pytest.mark.cluster

BAD_KEY = "not a key"


def test_the_canary_comes_first_and_the_rest_one_after_the_other(fleet: Fleet) -> None:
    fleet.spokes["a"].stop()  # what the canary has not shown to be healthy goes to nobody
    eventually(lambda: not fleet.is_connected("a"), "a is away")
    sha = fleet.commit(files(fleet, rollout("careful", CANARY, REST, offline="Wait")) | shop("1"))
    eventually(lambda: status(fleet)["revision"].endswith(sha), "the rollout is for the new commit")
    assert versions(fleet) == ["0"] * 4
    fleet.spokes["a"].start()
    fleet.wait(sha, "healthy")
    assert versions(fleet) == ["1"] * 4
    moved = [
        line["clusters"]
        for line in audit(fleet)
        if line["action"] == "RolloutClustersMoved" and line["revision"].endswith(sha)
    ]
    assert moved == [["a"], ["b"], ["c"], ["d"]]


def test_a_failing_canary_stops_everything_and_undo_restores_it(fleet: Fleet) -> None:
    deliver(fleet, files(fleet, rollout("careful", CANARY, REST)) | shop("2"), "2")
    fleet.commit(shop("3", not_a_key="refused"))
    eventually(lambda: phase(fleet) == "Paused", "the canary's failure pauses the rollout")
    shown = fleet.hub.felloe("rollout", "status", "shop")
    assert BAD_KEY in shown
    assert versions(fleet, "b", "c", "d") == ["2", "2", "2"]
    assert steer(fleet, "undo").strip()
    eventually(lambda: versions(fleet) == ["2"] * 4, "a has what it had before")
    assert phase(fleet) == "Undone"
    fleet.revert()
    eventually(lambda: phase(fleet) == "Complete", "the revert goes through")
    assert versions(fleet) == ["2"] * 4


def test_an_offline_cluster_is_passed_over_and_catches_up(fleet: Fleet) -> None:
    deliver(fleet, files(fleet, rollout("careful", CANARY, REST)) | shop("4"), "4")
    fleet.spokes["c"].stop()
    eventually(lambda: not fleet.is_connected("c"), "c is away")
    fleet.commit(shop("5"))
    eventually(lambda: versions(fleet, "a", "b", "d") == ["5", "5", "5"], "the others have it")
    eventually(lambda: phase(fleet) == "Complete", "nobody waits for c")
    assert versions(fleet, "c") == ["4"]
    fleet.spokes["c"].start()
    eventually(lambda: versions(fleet, "c") == ["5"], "c has caught up")


def test_a_gate_is_opened_by_a_person_whose_name_is_kept(fleet: Fleet) -> None:
    fleet.commit(files(fleet, rollout("careful", CANARY, APPROVED)) | shop("6"))
    eventually(lambda: "go" in fleet.hub.felloe("rollout", "status", "shop"), "it waits for the gate")
    eventually(lambda: versions(fleet) == ["6", "5", "5", "5"], "the canary has it")
    steer(fleet, "approve", "shop", "--stage", "rest", "--gate", "go")
    eventually(lambda: versions(fleet) == ["6"] * 4, "all have it")
    lines = audit(fleet, "RolloutApproved")
    assert [(line["who"], line["reason"], line["track"]) for line in lines] == [("admin", "a test", "shop")]


def test_a_newer_commit_in_the_middle_takes_its_place(fleet: Fleet) -> None:
    fleet.commit(files(fleet, rollout("careful", CANARY, APPROVED)) | shop("7"))
    eventually(lambda: versions(fleet) == ["7", "6", "6", "6"], "the canary has the first one")
    fleet.commit(shop("8"))
    eventually(lambda: versions(fleet) == ["8", "6", "6", "6"], "the canary has the second one")
    eventually(lambda: "go" in fleet.hub.felloe("rollout", "status", "shop"), "it waits for the gate")
    eventually(lambda: bool(steer(fleet, "approve", "shop", "--stage", "rest", "--gate", "go")), "it is approved")
    eventually(lambda: versions(fleet) == ["8"] * 4, "all have the second one")


def test_a_hub_that_is_killed_in_the_middle_goes_on_where_it_was(fleet: Fleet) -> None:
    fleet.commit(files(fleet, rollout("careful", CANARY, APPROVED)) | shop("9"))
    eventually(lambda: versions(fleet) == ["9", "8", "8", "8"], "the canary has it")
    fleet.hub.kill()
    fleet.hub.start()
    for name in NAMES:
        eventually(partial(fleet.is_connected, name), f"{name} is connected")
    assert versions(fleet) == ["9", "8", "8", "8"]
    eventually(lambda: bool(steer(fleet, "approve", "shop", "--stage", "rest", "--gate", "go")), "it is approved")
    eventually(lambda: versions(fleet) == ["9"] * 4, "all have it")


def test_a_release_is_promoted_over_three_environments(fleet: Fleet) -> None:
    chain = [environment(name) for name in ("dev", "staging", "production")]
    chain[1]["spec"] |= {"promotesFrom": "dev"}  # type: ignore[operator]
    chain[2]["spec"] |= {"promotesFrom": {"environment": "staging", "approval": True}}  # type: ignore[operator]
    fleet.commit(files(fleet, *chain) | shop("9"))
    eventually(lambda: "shop@production" in fleet.hub.felloe("rollout", "list"), "environments have rollouts")
    sha = fleet.commit(shop("10"))
    eventually(lambda: versions(fleet) == ["10", "10", "9", "9"], "production waits for a person")
    eventually(lambda: "production" in fleet.hub.felloe("fleet"), "it is shown")
    fleet.hub.felloe("promote", "shop", "--to", "production", "--revision", sha, "--reason", "seen", "--yes")
    eventually(lambda: versions(fleet) == ["10"] * 4, "production has it")
    history = fleet.hub.felloe("history", "--cluster", "c")
    assert sha[:7] in history
    assert "admin" in history
