"""The pace of rollouts on four real API servers: windows, freezes, soaks, shares, order, limits and timeouts.

Windows and freezes are reckoned from the time at which a test runs, with hours to spare on both sides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.fleet.fleet import Fleet
from tests.fleet.manifests import config_map, documents, git_repository, kustomization, placement
from tests.fleet.processes import eventually
from tests.fleet.rollouts import NAMES, audit, files, phase, rollout, shop, status, versions

pytestmark = pytest.mark.cluster

TOKYO = ZoneInfo("Asia/Tokyo")
"""A zone without daylight saving time, and never that of the machine's clock."""

CANARY = {"name": "canary", "clusters": ["a"]}
REST = {"name": "rest", "maxConcurrent": 1}
KNOB = {"apiVersion": "v1", "kind": "ConfigMap", "name": "knob", "namespace": "shop"}
"""Where there is none, the shop of that cluster is not healthy."""


def moves(fleet: Fleet, sha: str) -> list[str]:
    """Return which clusters got a commit, in the order in which they were let through."""
    return [
        name
        for line in audit(fleet)
        if line["action"] == "RolloutClustersMoved" and line["revision"].endswith(sha)
        for name in line["clusters"]
    ]


def stages(fleet: Fleet) -> dict[str, list[str]]:
    """Return which clusters are in which stage."""
    found: dict[str, list[str]] = {}
    for one in status(fleet)["clusters"]:
        found.setdefault(one["stage"], []).append(one["name"])
    return found


def says(fleet: Fleet) -> str:
    return str(next(one["message"] for one in status(fleet)["conditions"] if one["type"] == "Ready"))


def through(fleet: Fleet, changed: Mapping[str, str], version: str) -> str:
    """Commit, wait until the rollout is complete everywhere, and return the commit."""
    sha = fleet.commit(changed)
    eventually(lambda: status(fleet)["revision"].endswith(sha), "the rollout is for the new commit")
    eventually(lambda: phase(fleet) == "Complete", "the rollout is complete")
    assert versions(fleet) == [version] * 4
    return sha


def commit(fleet: Fleet, changed: Mapping[str, str], message: str = "a change") -> str:
    """Commit, and wait until the rollout is about it; return the commit."""
    sha = fleet.commit(changed, message)
    eventually(lambda: status(fleet)["revision"].endswith(sha), "the rollout is for the new commit")
    return sha


def test_a_window_that_is_shut_holds_a_rollout_until_a_commit_opens_it(fleet: Fleet) -> None:
    before = versions(fleet)
    opens = (datetime.now(TOKYO) + timedelta(hours=6)).replace(minute=0, second=0, microsecond=0)
    window = {"schedule": f"0 {opens.hour} * * *", "duration": "1h", "timeZone": "Asia/Tokyo"}
    held = rollout("careful", CANARY | {"soak": "10m"}, REST, windows=[window])
    commit(fleet, files(fleet, held) | shop("1"))
    commit(fleet, shop("2"), "Fix the checkout\n\nFelloe-Urgent: the shop is down")
    told = f"({opens:%a %Y-%m-%d %H:%M} in Asia/Tokyo)"
    assert told in says(fleet), "urgent commits leave out soaks, not windows"
    shown = fleet.hub.felloe("rollout", "status", "shop")
    assert "Urgent:    the shop is down" in shown
    assert shown.count("no window is open until") >= len(NAMES)
    assert f"stage canary: {says(fleet).partition('; ')[2]}" in fleet.hub.felloe("fleet")
    assert versions(fleet) == before
    opened = rollout("careful", CANARY | {"soak": "10m"}, REST)
    urgent = fleet.commit(files(fleet, opened), "Open the window\n\nFelloe-Urgent: the shop is down")
    eventually(lambda: versions(fleet) == ["2"] * 4, "all have it, without the soak")
    eventually(lambda: phase(fleet) == "Complete", "it is complete")
    skipped = [line for line in audit(fleet, "RolloutSoakSkipped") if line["revision"].endswith(urgent)]
    assert [line["detail"]["stage"] for line in skipped] == ["canary"]
    assert "the shop is down" in skipped[0]["reason"]


def test_a_freeze_stops_a_rollout_between_its_stages(fleet: Fleet) -> None:
    before = versions(fleet)
    today = datetime.now(TOKYO).date()
    first, last = today - timedelta(days=1), today + timedelta(days=1)
    freeze = {"first": f"{first}", "last": f"{last}", "timeZone": "Asia/Tokyo"}
    soaking = CANARY | {"soak": "10m"}
    commit(fleet, files(fleet, rollout("careful", soaking, REST)) | shop("3"))
    eventually(lambda: versions(fleet) == ["3", *before[1:]], "the canary has it")
    commit(fleet, files(fleet, rollout("careful", soaking, REST, freezes=[freeze])))
    eventually(lambda: "canary soaks until" in says(fleet), "its soak goes on")
    fleet.hub.felloe("rollout", "skip-soak", "shop", "--reason", "seen", "--yes")
    eventually(lambda: "stage rest" in says(fleet), "it is the others' turn")
    end = f"({last + timedelta(days=1):%a %Y-%m-%d} 00:00 in Asia/Tokyo)"
    assert f"frozen ({first} to {last}, Asia/Tokyo): clusters may move from" in says(fleet)
    assert says(fleet).endswith(end)
    assert versions(fleet) == ["3", *before[1:]]
    through(fleet, files(fleet, rollout("careful", soaking, REST)), "3")


def test_a_soak_is_waited_for_and_can_be_left_out_with_a_reason(fleet: Fleet) -> None:
    commit(fleet, files(fleet, rollout("careful", CANARY | {"soak": "3s"}, REST)) | shop("4"))
    eventually(lambda: phase(fleet) == "Complete", "the soak ends by itself")
    canary = status(fleet)["stages"][0]
    healthy, done = (datetime.fromisoformat(canary[name]) for name in ("healthyAt", "doneAt"))
    assert (done - healthy).total_seconds() >= 2, "times are shown to the second"
    commit(fleet, files(fleet, rollout("careful", CANARY | {"soak": "10m"}, REST)) | shop("5"))
    eventually(lambda: "soaks for 9m" in fleet.hub.felloe("rollout", "status", "shop"), "what is left of it is shown")
    assert "about 9m" in fleet.hub.felloe("rollout", "status", "shop")
    assert versions(fleet) == ["5", "4", "4", "4"]
    fleet.hub.felloe("rollout", "skip-soak", "shop", "--reason", "the dashboard is green", "--yes")
    eventually(lambda: versions(fleet) == ["5"] * 4, "all have it")
    eventually(lambda: phase(fleet) == "Complete", "it is complete")
    assert "soak skipped: admin: the dashboard is green" in fleet.hub.felloe("rollout", "status", "shop")
    *_, line = audit(fleet, "RolloutSoakSkipped")
    assert (line["who"], line["reason"]) == ("admin", "the dashboard is green")


def test_shares_are_of_the_whole_fleet_and_order_is_as_said(fleet: Fleet) -> None:
    shares: list[dict[str, object]] = [
        {"name": "one", "share": 1},
        {"name": "few", "share": "5%"},
        {"name": "half", "share": "50%"},
    ]
    sha = through(fleet, files(fleet, rollout("careful", *shares, REST)) | shop("6"), "6")
    assert stages(fleet) == {"one": ["a"], "few": ["b"], "half": ["c", "d"]}
    assert "no cluster is in stage rest" in fleet.hub.felloe("rollout", "status", "shop")
    assert moves(fleet, sha) == ["a", "b", "c", "d"]
    by_label = {"name": "all", "maxConcurrent": 1, "order": {"by": "Label", "label": "env"}}
    sha = through(fleet, files(fleet, rollout("careful", by_label)) | shop("7"), "7")
    assert moves(fleet, sha) == ["a", "c", "d", "b"], "dev, production, staging"


def test_a_random_order_is_the_same_after_the_hub_was_restarted(fleet: Fleet) -> None:
    line = {"name": "all", "maxConcurrent": 1, "order": {"by": "Random", "seed": "2"}}
    gated = line | {"gates": [{"name": "go", "approval": {}}]}
    sha = commit(fleet, files(fleet, rollout("careful", gated)) | shop("8"))
    eventually(lambda: "waits for gate go" in says(fleet), "it waits")
    fleet.hub.kill()
    fleet.hub.start()
    for name in NAMES:
        eventually(partial(fleet.is_connected, name), f"{name} is connected")
    fleet.hub.felloe("rollout", "approve", "shop", "--reason", "go", "--yes")
    eventually(lambda: phase(fleet) == "Complete", "it is complete")
    before = moves(fleet, sha)
    sha = through(fleet, files(fleet, rollout("careful", line)) | shop("9"), "9")
    assert moves(fleet, sha) == before
    assert sorted(before) == list(NAMES) != before


def test_an_unhealthy_cluster_stops_the_others_and_a_timeout_ends_the_wait(fleet: Fleet) -> None:
    limits = {"name": "all", "maxUnavailable": 1}
    for name in NAMES:
        fleet.core(name).create_namespaced_config_map("shop", config_map("knob"))
    through(fleet, with_knob(fleet, limits) | shop("10"), "10")
    fleet.core("b").delete_namespaced_config_map("knob", "shop")
    eventually(lambda: cluster(fleet, "b")["state"] == "Moving", "b is not healthy any more")
    commit(fleet, shop("11"))
    eventually(lambda: versions(fleet) == ["10", "11", "10", "10"], "a fix reaches who is unhealthy, and nobody else")
    eventually(
        lambda: cluster(fleet, "c")["message"] == "1 unavailable, at most 1 may be (maxUnavailable)", "c says why"
    )
    assert "1 moving: b: Kustomization/flux-system/shop" in fleet.hub.felloe("fleet")
    commit(fleet, with_knob(fleet, limits | {"timeout": "2s"}))
    eventually(lambda: phase(fleet) == "Paused", "b has failed, which pauses the rollout")
    assert cluster(fleet, "b")["message"].startswith("not healthy 2s after it was given the release: Kustomization/")
    assert "ConfigMap shop/knob: not found" in cluster(fleet, "b")["message"]
    assert versions(fleet) == ["10", "11", "10", "10"]
    fleet.core("b").create_namespaced_config_map("shop", config_map("knob"))
    eventually(lambda: cluster(fleet, "b")["state"] == "Done", "b is healthy")
    fleet.hub.felloe("rollout", "resume", "shop", "--reason", "b is well")
    eventually(lambda: phase(fleet) == "Complete", "it is complete")
    assert versions(fleet) == ["11"] * 4


def with_knob(fleet: Fleet, stage: Mapping[str, object]) -> dict[str, str]:
    """The fleet's objects; the shop is healthy where its knob is."""
    return {
        "fleet/fleet.yaml": documents(
            git_repository("config", fleet.url),
            kustomization("shop", "./shop", healthChecks=[KNOB], timeout="5m"),
            placement("shop", "shop", clusterSelector={}, rollout="careful"),
            rollout("careful", stage),
        )
    }


def cluster(fleet: Fleet, name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(one for one in status(fleet)["clusters"] if one["name"] == name)
    return found


@pytest.fixture
def restored(fleet: Fleet) -> Iterator[Fleet]:
    """The fleet, whose repository is afterwards what it was before."""
    good = fleet.repository.head
    yield fleet
    fleet.restore(good)


def test_a_strategy_with_mistakes_is_refused_with_each_and_changes_nothing(restored: Fleet) -> None:
    fleet = restored
    through(fleet, files(fleet, rollout("careful", CANARY, REST)) | shop("12"), "12")
    canary, rest = CANARY | {"soak": "-5m", "share": "0%"}, REST | {"share": "120%", "order": {"by": "Age"}}
    windows = [
        {"schedule": "0 25 * * *", "duration": "8h", "timeZone": "Europe/Atlantis"},
        {"schedule": "@daily", "duration": "1h"},
    ]
    freezes = [{"first": "2026-12-33", "last": "2026-12-24"}]
    bad = rollout("careful", canary, rest, windows=windows, freezes=freezes)
    fleet.repository.commit(files(fleet, bad) | shop("13"))
    said = fleet.hub.felloe("reconcile", "source", "fleet", expect=1)
    for mistake in (
        "spec.stages[0].soak: '-5m' is no duration",
        "spec.stages[0].share: must be a number from 1 on or a percentage up to 100%",
        "spec.stages[1].share: must be a number from 1 on or a percentage up to 100%",
        "spec.stages[1].order.by: must be one of Name, Label, Random, not 'Age'",
        "spec.windows[0].schedule: '0 25 * * *' is no schedule, its hour is wrong; write cron's five fields",
        "spec.windows[0].timeZone: 'Europe/Atlantis' is no time zone of the IANA database",
        "spec.windows[1].schedule: '@daily' is no schedule",
        "spec.freezes[0].first: '2026-12-33' is no day",
    ):
        assert f"fleet/fleet.yaml: Rollout careful: {mistake}" in said
    fleet_view = fleet.hub.felloe("fleet")
    assert "clusters a, b, c, d: 8 mistakes: fleet/fleet.yaml: Rollout careful: " in fleet_view
    assert ", and 7 more: felloe get sources" in fleet_view
    assert phase(fleet) == "Complete"
    assert versions(fleet) == ["12"] * 4


def test_stages_that_overlap_are_told_and_the_first_one_has_the_cluster(fleet: Fleet) -> None:
    first = CANARY | {"clusters": ["a", "b"]}
    second = {"name": "staging", "clusterSelector": {"matchLabels": {"env": "staging"}}}
    through(fleet, files(fleet, rollout("careful", first, second)) | shop("14"), "14")
    assert stages(fleet) == {"canary": ["a", "b"], "the rest": ["c", "d"]}
    told = fleet.hub.felloe("describe", "rollout", "shop")
    assert "stages 'canary' and 'staging' overlap: b match both and go with 'canary'" in told
    assert "no cluster is in stage staging" in told
