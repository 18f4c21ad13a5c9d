"""What people do to rollouts on four real clusters, what they see meanwhile, and what the audit log keeps of it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.fleet.fleet import Fleet
from tests.fleet.processes import FELLOE, eventually
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


def entries(fleet: Fleet, sha: str, *actions: str) -> list[dict[str, Any]]:
    return [each for each in audit(fleet) if each.get("revision", "").endswith(sha) and each["action"] in actions]


def test_the_audit_log_tells_a_whole_rollout_and_a_watch_saw_it_through_a_hub_that_went_away(
    fleet: Fleet, tmp_path: Path
) -> None:
    before = versions(fleet)
    sha = fleet.commit(files(fleet, rollout("careful", CANARY, APPROVED)) | shop("1"))
    eventually(lambda: versions(fleet) == ["1", *before[1:]], "the canary has it, the others wait")
    environment = fleet.hub.client_environment()
    argv = [*FELLOE, "rollout", "watch", "shop", "--revision", sha, "--timeout", "2m"]
    told, trouble = tmp_path / "told", tmp_path / "trouble"
    with told.open("w") as out, trouble.open("w") as errors:
        watching = subprocess.Popen(argv, env=environment, stdout=out, stderr=errors, stdin=subprocess.DEVNULL)
    try:
        eventually(lambda: "waits for approval go" in told.read_text(), "the watch says what it waits for")
        fleet.hub.kill()
        eventually(lambda: "not current: " in trouble.read_text(), "it says that the hub is away")
        fleet.hub.start()
        eventually(lambda: "the hub is there again" in trouble.read_text(), "it is back")
        for name in NAMES:
            eventually(lambda name=name: fleet.is_connected(name), f"{name} is back")  # type: ignore[misc]
        eventually(lambda: bool(steer(fleet, "approve")), "it is approved")
        assert watching.wait(timeout=90) == 0, trouble.read_text()
    finally:
        watching.kill()
    assert told.read_text().splitlines()[-1].startswith("shop: ")
    assert "shop: Complete: release" in told.read_text()

    moves = entries(fleet, sha, "RolloutStarted", "RolloutClustersMoved", "RolloutApproved", "RolloutFinished")
    assert [(each["action"], each["who"], each.get("clusters")) for each in moves] == [
        ("RolloutStarted", "policy/careful", list(NAMES)),
        ("RolloutClustersMoved", "policy/careful", ["a"]),
        ("RolloutApproved", "admin", list(NAMES)),
        ("RolloutClustersMoved", "policy/careful", ["b", "c", "d"]),
        ("RolloutFinished", "policy/careful", list(NAMES)),
    ]
    assert {each["author"] for each in moves} == {"Ada Author <ada@example.com>"}
    assert {each["track"] for each in moves} == {"shop"}
    approved = moves[2]
    assert (approved["approver"], approved["reason"]) == ("admin", "a test")
    assert (approved["detail"]["stage"], approved["detail"]["gate"]) == ("rest", "go")
    export = tmp_path / "audit.jsonl"
    export.write_text(fleet.hub.felloe("audit", "-o", "json"))
    assert "begin with those of" in fleet.hub.felloe("audit", "verify", str(export))
    export.write_text(export.read_text().replace('"a test"', '"another"', 1))
    assert fleet.hub.felloe("audit", "verify", str(export), expect=1)
    history = fleet.hub.felloe("history", "--workload", "shop", "--limit", "4")
    assert history.count(sha[:8]) == 4
    assert history.count("by policy/careful") == 4
    assert history.count("by policy/careful, approved by admin") == 3, "the canary went without"


def test_people_pause_resume_abort_retry_and_undo(fleet: Fleet) -> None:
    deliver(fleet, files(fleet, rollout("careful", CANARY, REST)) | shop("1"), "1")
    fleet.commit(files(fleet, rollout("careful", {**CANARY, "soak": "1h"}, REST)) | shop("2"))
    eventually(lambda: "soaks until" in fleet.hub.felloe("rollout", "status", "shop"), "the canary soaks")
    assert "soaks until" in fleet.hub.felloe("fleet")
    fleet.hub.felloe("rollout", "pause", "--all", "--reason", "lunch")
    steer_without_yes = fleet.hub.felloe("rollout", "abort", "shop", "--reason", "x", expect=1)
    assert "ends here: 1 of 4 clusters have it" in steer_without_yes
    assert phase(fleet) == "Paused"
    fleet.hub.felloe("rollout", "resume", "shop")
    skipped = fleet.hub.felloe("rollout", "skip-soak", "shop", "--reason", "an outage", "--yes")
    assert "goes on without its soak" in skipped
    eventually(lambda: phase(fleet) == "Complete", "the rest has it")
    assert versions(fleet) == ["2"] * 4
    refused = fleet.hub.felloe("rollout", "abort", "shop", "--reason", "x", "--yes", expect=1)
    assert "can't be aborted: it is Complete" in refused

    fleet.commit(shop("3"))
    eventually(lambda: versions(fleet) == ["3", "2", "2", "2"], "the canary has it")
    steer(fleet, "abort")
    assert phase(fleet) == "Aborted"
    assert versions(fleet) == ["3", "2", "2", "2"]
    fleet.hub.felloe("rollout", "retry", "shop")
    eventually(lambda: phase(fleet) == "Progressing", "it goes on")
    assert "return to release" in fleet.hub.felloe("rollout", "undo", "--all", "--reason", "x", expect=1)
    assert phase(fleet) == "Progressing"
    fleet.hub.felloe("rollout", "undo", "--all", "--reason", "an incident", "--yes")
    eventually(lambda: versions(fleet) == ["2"] * 4, "the canary has what it had")
    assert phase(fleet) == "Undone"


def test_a_release_that_nobody_can_have_is_the_next_one_and_says_why(fleet: Fleet) -> None:
    deliver(fleet, files(fleet, rollout("careful", CANARY, REST)) | shop("4"), "4")
    fleet.commit(shop("5", other="${nobody_has_it}"))
    eventually(lambda: status(fleet).get("next", {}).get("cannotBeMade") is True, "it can't be made")
    for shown in (("rollout", "status", "shop"), ("rollout", "list"), ("fleet",)):
        assert "'nobody_has_it' has no value" in fleet.hub.felloe(*shown), shown
    assert versions(fleet) == ["4"] * 4
    deliver(fleet, shop("6"), "6")
    assert "next" not in status(fleet)


def test_forms_of_output_and_names_that_are_not_there(fleet: Fleet) -> None:
    for shown in (
        ("rollout", "list"),
        ("rollout", "status", "shop"),
        ("fleet",),
        ("top",),
        ("history", "--cluster", "a"),
    ):
        assert json.loads(fleet.hub.felloe(*shown, "-o", "json")), shown
    for wrong, said in (
        (("rollout", "status", "nope"), "there is no rollout 'nope'; there are: shop"),
        (("history", "--workload", "nope"), "there is no workload 'nope'"),
        (("promote", "shop", "--to", "nope", "--reason", "x", "--yes"), "there is no environment 'nope'"),
        (("rollout", "watch", "shop", "--revision", "feedfeed", "--timeout", "1s"), "revision feedfeed is not through"),
    ):
        assert said in fleet.hub.felloe(*wrong, expect=1)
    assert "Slowest to become healthy" in fleet.hub.felloe("top")
