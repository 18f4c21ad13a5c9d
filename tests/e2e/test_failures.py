"""Whatever is killed, restarted or away, the clusters end up as Git says, and nothing is lost or deleted by it."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from functools import partial

import pytest

from tests.fleet.fleet import Fleet
from tests.fleet.manifests import cluster, config_map, documents, kustomization, namespace, overlay, placement
from tests.fleet.processes import condition, eventually

pytestmark = pytest.mark.cluster

MANY = 300


def many(value: str, count: int = MANY) -> dict[str, str | None]:
    """Return a workload of many small objects."""
    objects = [config_map(f"item-{number:03}", "many", value=value) for number in range(count)]
    workload = kustomization("many", "./many")
    workload["metadata"] = {
        "name": "many",
        "namespace": "flux-system",
        "annotations": {"fleet.felloe.io/prune-limit": "100%"},
    }
    return {
        "many/all.yaml": documents(namespace("many"), *objects),
        "fleet/many.yaml": documents(workload, placement("many", "many", clusterNames=["dev"])),
    }


def values(fleet: Fleet, label: str = "fleet.felloe.io/workload-name=many") -> Mapping[str, str]:
    items = fleet.core("dev").list_namespaced_config_map("many", label_selector=label).items
    return {item.metadata.name: item.data["value"] for item in items}


def has_begun(fleet: Fleet, value: str) -> bool:
    return value in values(fleet).values()


def greets(fleet: Fleet, name: str, greeting: str) -> bool:
    return (fleet.data(name, "settings") or {}).get("greeting") == greeting


def test_a_spoke_killed_in_the_middle_of_an_apply_finishes_it(fleet: Fleet) -> None:
    fleet.deliver(many("0"))
    for attempt in range(1, 4):
        sha = fleet.commit(many(str(attempt)))
        eventually(partial(has_begun, fleet, str(attempt)), "the apply has begun")
        fleet.spokes["dev"].kill()
        fleet.spokes["dev"].start()
        fleet.wait(sha)
        assert values(fleet) == {f"item-{number:03}": str(attempt) for number in range(MANY)}
    # Half of them leave, and the spoke dies at some moment of applying or pruning.
    sha = fleet.commit(many("4", MANY // 2))
    time.sleep(random.uniform(0, 1))  # noqa: S311 - any moment will do
    fleet.spokes["dev"].kill()
    fleet.spokes["dev"].start()
    fleet.wait(sha)
    eventually(lambda: len(values(fleet)) == MANY // 2, "the other half is pruned")
    fleet.deliver({"many/all.yaml": None, "fleet/many.yaml": None})
    eventually(lambda: not values(fleet), "all of them are pruned")


def test_a_hub_killed_in_the_middle_of_a_delivery_goes_on(fleet: Fleet) -> None:
    for attempt in range(3):
        fleet.repository.commit(
            {"base/settings.yaml": documents(config_map("settings", greeting=f"hi {attempt}"))}, "x"
        )
        fleet.hub.felloe("reconcile", "source", "fleet")
        fleet.hub.kill()
        fleet.hub.start()
        for name in fleet.clusters:
            eventually(partial(greets, fleet, name, f"hi {attempt}"), f"{name} has what was committed before the kill")


def test_a_restarted_hub_has_the_same_roots_and_sends_nothing(fleet: Fleet) -> None:
    fleet.hub.felloe("wait", "--for", "healthy", "--timeout", "60s", timeout=90)
    before = {item["metadata"]["name"]: item["status"]["root"] for item in fleet.hub.get("clusters")}
    versions = {name: fleet.config_map(name, "settings").metadata.resource_version for name in fleet.clusters}
    fleet.hub.kill()
    fleet.hub.start()
    eventually(lambda: all(item["status"]["connected"] for item in fleet.hub.get("clusters")), "all come back")
    fleet.hub.felloe("wait", "--for", "healthy", "--timeout", "60s", timeout=90)
    assert {item["metadata"]["name"]: item["status"]["root"] for item in fleet.hub.get("clusters")} == before
    assert {name: fleet.config_map(name, "settings").metadata.resource_version for name in fleet.clusters} == versions


def test_with_the_hub_away_a_spoke_heals_restarts_and_reports_later(fleet: Fleet) -> None:
    want = fleet.data("staging", "settings")
    fleet.hub.stop()
    try:
        fleet.core("staging").patch_namespaced_config_map("settings", "shop", {"data": {"greeting": "hacked"}})
        eventually(lambda: fleet.data("staging", "settings") == want, "it heals without the hub")
        fleet.spokes["staging"].kill()
        fleet.core("staging").delete_namespaced_config_map("settings", "shop")
        fleet.spokes["staging"].start()
        eventually(lambda: fleet.data("staging", "settings") == want, "it restarts and heals without the hub")
    finally:
        fleet.hub.start()
    eventually(lambda: fleet.hub.get("clusters", "staging")[0]["status"]["connected"], "it comes back")
    fleet.hub.felloe("wait", "--for", "healthy", "--timeout", "60s", timeout=90)


def test_an_api_server_that_restarts_costs_nothing_but_time(fleet: Fleet) -> None:
    fleet.clusters["production"].restart_apiserver(kill=True)
    fleet.core("production").patch_namespaced_config_map("settings", "shop", {"data": {"greeting": "hacked"}})
    eventually(lambda: fleet.data("production", "settings")["greeting"] != "hacked", "drift is healed again")  # type: ignore[index]
    sha = fleet.deliver({"base/settings.yaml": documents(config_map("settings", greeting="after the restart"))})
    assert sha
    assert fleet.data("production", "settings")["greeting"] == "after the restart"  # type: ignore[index]


def test_a_label_change_moves_a_cluster_to_another_environment(fleet: Fleet) -> None:
    fleet.deliver({"fleet/clusters.yaml": documents(cluster("staging", "production"))})
    eventually(
        lambda: fleet.data("staging", "settings")["environment"] == "production",  # type: ignore[index]
        "it gets the other overlay",
    )
    (environment,) = fleet.hub.get("environments", "production")
    assert "staging" in str(environment["status"])
    fleet.deliver({"fleet/clusters.yaml": None})
    eventually(lambda: fleet.data("staging", "settings")["environment"] == "staging", "and back")  # type: ignore[index]


def test_a_cluster_that_joins_a_running_fleet_gets_its_placement(fleet: Fleet) -> None:
    fleet.deliver(
        {"base/settings.yaml": documents(config_map("settings", greeting="hello", cluster="${cluster_name}"))}
    )
    # The same cluster joins anew, with an empty disk and another name: what a reinstalled spoke does.
    fleet.spokes["staging"].stop()
    fleet.clusters["newcomer"] = fleet.clusters.pop("staging")
    fleet.join("newcomer", env="staging")
    eventually(lambda: fleet.data("newcomer", "settings")["cluster"] == "newcomer", "it gets the shop")  # type: ignore[index]
    workload = fleet.hub.workload("newcomer", "shop")
    eventually(lambda: condition(fleet.hub.workload("newcomer", "shop"), "Ready")["status"] == "True", str(workload))
    fleet.clusters["staging"] = fleet.clusters.pop("newcomer")


def test_overlays_that_stop_building_leave_the_last_good_state(fleet: Fleet) -> None:
    before = fleet.data("dev", "settings")
    fleet.commit({"environments/dev/kustomization.yaml": overlay("../../nowhere")})
    eventually(
        lambda: "nowhere" in condition(fleet.hub.workload("dev", "shop"), "Ready")["message"], "the workload says why"
    )
    assert fleet.data("dev", "settings") == before
    sha = fleet.revert()
    fleet.hub.felloe("wait", "-l", "env=dev", "--for", "applied", "--revision", sha, "--timeout", "60s", timeout=90)
