"""Rollouts on four real API servers that go wrong: what follows a failure, what is said of it, and what comes next."""

from __future__ import annotations

import kubernetes
import pytest

from tests.fleet.fleet import Fleet
from tests.fleet.manifests import config_map, documents, namespace
from tests.fleet.processes import eventually
from tests.fleet.rollouts import (
    CANARY,
    REST,
    approve,
    asked,
    audit,
    deliver,
    files,
    phase,
    rollout,
    shop,
    status,
    versions,
)

pytestmark = pytest.mark.cluster

SOAKING = {"name": "canary", "clusters": ["a"], "soak": "1h"}


def with_map(version: str, name: str) -> dict[str, str]:
    """The shop with one more ConfigMap."""
    maps = (config_map("settings", "shop", v=version), config_map(name, "shop", x="1"))
    return {"shop/all.yaml": documents(namespace("shop"), *maps)}


def full(fleet: Fleet, cluster: str) -> None:
    """Leave no room in a cluster for another ConfigMap than those that are there."""
    core = fleet.core(cluster)
    used = len(core.list_namespaced_config_map("shop").items)
    quota = kubernetes.client.V1ResourceQuota(
        metadata=kubernetes.client.V1ObjectMeta(name="few"),
        spec=kubernetes.client.V1ResourceQuotaSpec(hard={"count/configmaps": str(used)}),
    )
    core.create_namespaced_resource_quota("shop", quota)
    eventually(lambda: core.read_namespaced_resource_quota("few", "shop").status.used, "the quota holds")


def room(fleet: Fleet, cluster: str) -> None:
    fleet.core(cluster).delete_namespaced_resource_quota("few", "shop")


def maps(fleet: Fleet, name: str, *clusters: str) -> list[bool]:
    return [fleet.config_map(each, name) is not None for each in clusters]


def has_its_turn(fleet: Fleet, release: int) -> None:
    eventually(lambda: status(fleet)["release"] == release, f"release {release} has its turn")


def test_a_stage_goes_back_as_a_whole_and_the_one_before_keeps_what_it_has(fleet: Fleet) -> None:
    rest = {**REST, "onFailure": "RollBackStage"}
    deliver(fleet, files(fleet, rollout("careful", CANARY, rest)) | with_map("1", "old"), "1")
    full(fleet, "c")
    fleet.commit({"shop/all.yaml": with_map("2", "new")["shop/all.yaml"]})
    eventually(lambda: phase(fleet) == "Failed", "c has no room")
    eventually(lambda: versions(fleet) == ["2", "1", "1", "1"], "b went back")
    eventually(lambda: maps(fleet, "old", "b", "c", "d") == [True] * 3, "what was deleted is there again")
    eventually(lambda: maps(fleet, "new", "b", "c", "d") == [False] * 3, "what was added is gone")
    cause = 'configmaps "new" is forbidden: exceeded quota'
    for command in (("rollout", "status", "shop"), ("rollout", "list"), ("fleet",), ("audit",)):
        assert cause in fleet.hub.felloe(*command), command
    room(fleet, "c")
    fleet.hub.felloe("rollout", "retry", "shop")
    eventually(lambda: versions(fleet) == ["2"] * 4, "it goes on where it failed")


def test_everybody_goes_back_and_who_is_offline_when_it_comes_back(fleet: Fleet) -> None:
    last = {"name": "last", "onFailure": "RollBack", "gates": [{"name": "go", "approval": {}}]}
    middle = {"name": "middle", "clusters": ["d"]}
    deliver(fleet, files(fleet, rollout("careful", CANARY, middle, {"name": "last"})) | with_map("3", "old"), "3")
    full(fleet, "c")
    fleet.commit(files(fleet, rollout("careful", CANARY, middle, last)) | with_map("4", "new"))
    eventually(lambda: versions(fleet, "a", "d") == ["4", "4"], "all but the last stage have it")
    fleet.spokes["d"].stop()
    eventually(lambda: not fleet.is_connected("d"), "d is away")
    approve(fleet)
    eventually(lambda: versions(fleet, "a", "b", "c") == ["3"] * 3, "all that can went back")
    assert (phase(fleet), versions(fleet, "d")) == ("Failed", ["4"])
    goes_back = "it goes back when it comes back"
    eventually(lambda: goes_back in fleet.hub.felloe("rollout", "status", "shop"), "it is said what d does")
    fleet.spokes["d"].start()
    eventually(lambda: versions(fleet, "d") == ["3"], "so did d")
    eventually(lambda: maps(fleet, "old", "a", "d") == [True, True], "with what was deleted")
    room(fleet, "c")


def test_who_is_offline_fails_where_the_strategy_says_so(fleet: Fleet) -> None:
    away = {"name": "away", "clusters": ["c"], "timeout": "3s", "maxFailures": 1}
    fleet.spokes["c"].stop()
    eventually(lambda: not fleet.is_connected("c"), "c is away")
    fleet.commit(files(fleet, rollout("careful", CANARY, away, {"name": "rest"}, offline="Fail")) | shop("7"))
    eventually(lambda: phase(fleet) == "Complete" and versions(fleet, "a", "b", "d") == ["7"] * 3, "one may fail")
    why = "not healthy 3s after it was given the release, and it is offline"
    assert why in fleet.hub.felloe("rollout", "status", "shop")
    assert "failed with it: c" in fleet.hub.felloe("audit")
    fleet.spokes["c"].start()
    eventually(lambda: versions(fleet, "c") == ["7"], "it gets the release all the same")


def test_every_queued_release_has_its_turn_and_a_fix_does_not_wait_for_a_failure(fleet: Fleet) -> None:
    held = {"name": "canary", "clusters": ["a"], "gates": [{"name": "go", "approval": {}}]}
    fleet.commit(files(fleet, rollout("careful", held, {"name": "rest"}, onNewRelease="Queue")) | shop("8"))
    eventually(lambda: asked(fleet) == ["go"], "it waits for the gate")
    first = status(fleet)["release"]
    fleet.commit(shop("9", not_a_key="refused"))
    fleet.commit(shop("10"))
    eventually(lambda: status(fleet)["queue"] == [first + 1, first + 2], "the others wait for it")
    for release in (first, first + 1, first + 2):
        has_its_turn(fleet, release)
        approve(fleet)
    eventually(lambda: versions(fleet) == ["10"] * 4, "the fix is everywhere, nobody had to resume anything")
    reasons = [each["reason"] for each in audit(fleet, "RolloutPaused")]
    assert "not a key" in reasons[-1]


def test_an_urgent_commit_leaves_out_soaks_and_says_why_but_no_gate(fleet: Fleet) -> None:
    gated = {"name": "rest", "gates": [{"name": "go", "approval": {}}], "soak": "1h"}
    fleet.commit(
        files(fleet, rollout("careful", SOAKING, gated)) | shop("11"), "fix\n\nFelloe-Urgent: incident 17, it is down"
    )
    eventually(lambda: asked(fleet) == ["go"], "only the gate holds")
    assert versions(fleet) == ["11", "10", "10", "10"]
    approve(fleet)
    eventually(lambda: phase(fleet) == "Complete", "no soak either")
    lines = audit(fleet, "RolloutSoakSkipped")
    assert ["incident 17, it is down" in each["reason"] for each in lines] == [True, True]


def test_a_revert_has_its_own_strategy_and_a_revert_of_it_the_usual_one(fleet: Fleet) -> None:
    fast = rollout("fast", {"name": "all"})
    careful = rollout("careful", SOAKING, REST, onRevert="fast")
    fleet.commit(files(fleet, careful, fast) | shop("12"), "settled\n\nFelloe-Urgent: to be through")
    eventually(lambda: phase(fleet) == "Complete" and versions(fleet) == ["12"] * 4, "all have it")
    fleet.commit(shop("13"))
    eventually(lambda: versions(fleet) == ["13", "12", "12", "12"], "the canary has it")
    fleet.revert()
    eventually(lambda: phase(fleet) == "Complete", "the way back is not soaked")
    assert (versions(fleet), status(fleet)["stages"][0]["name"]) == (["12"] * 4, "all")
    fleet.revert()
    eventually(lambda: versions(fleet, "a") == ["13"], "the canary has it again")
    eventually(lambda: "soakEndsAt" in status(fleet)["stages"][0], "and soaks")
    assert versions(fleet) == ["13", "12", "12", "12"]
