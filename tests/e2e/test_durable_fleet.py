"""A spoke as a process on an empty disk, beside a second one, and killed: seen from the hub."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.controlplane import ControlPlane
from tests.cluster.fixtures import ClusterPool
from tests.fleet.fleet import Fleet
from tests.fleet.manifests import config_map, documents, git_repository, kustomization, namespace, placement
from tests.fleet.processes import Spoke, condition, eventually

pytestmark = pytest.mark.cluster

APPLIED = b"event=Applied workload=Kustomization/flux-system/shop"


@pytest.fixture(scope="module")
def cluster(clusters: ClusterPool) -> ControlPlane:
    (found,) = clusters.get(1, nodes=True)
    return found


@pytest.fixture(scope="module")
def fleet(cluster: ControlPlane, kustomize_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with Fleet(tmp_path_factory.mktemp("durable"), {"dev": cluster}, kustomize_binary) as fleet:
        fleet.repository.commit(
            {
                "fleet/fleet.yaml": documents(
                    git_repository("config", fleet.url), kustomization("shop", "./shop"), placement("shop", "shop")
                ),
                "shop/all.yaml": documents(
                    namespace("shop"), config_map("settings", "shop", a="1"), config_map("more", "shop", a="1")
                ),
            },
            "the shop",
        )
        fleet.hub.start()
        fleet.join("dev", env="dev")
        fleet.hub.felloe("wait", "--for", "applied", "--timeout", "60s", timeout=90)
        yield fleet


def secrets(cluster: ControlPlane) -> set[str]:
    found = cluster.api.get_json("/api/v1/namespaces/felloe-system/secrets")["items"]
    return {str(item["metadata"]["name"]) for item in found}


def test_on_an_empty_disk_it_heals_without_its_hub_and_joins_without_a_new_token(
    fleet: Fleet, cluster: ControlPlane
) -> None:
    eventually(lambda: {"felloe-spoke-identity", "desired-state"} <= secrets(cluster), "all is in the cluster")
    spoke = fleet.spokes["dev"]
    fleet.hub.stop()
    spoke.stop()
    shutil.rmtree(spoke.state)
    fleet.core("dev").patch_namespaced_config_map("settings", "shop", {"data": {"a": "by hand"}})
    spoke.start()
    eventually(lambda: fleet.data("dev", "settings") == {"a": "1"}, "the edit is undone")
    assert fleet.data("dev", "more") == {"a": "1"}
    fleet.hub.start()
    eventually(lambda: fleet.is_connected("dev"), "it is connected")
    fleet.deliver({"shop/all.yaml": documents(namespace("shop"), config_map("settings", "shop", a="2"))})
    assert fleet.data("dev", "settings") == {"a": "2"}
    assert fleet.data("dev", "more") is None


def test_a_second_spoke_tells_its_hub_who_has_the_cluster(fleet: Fleet, cluster: ControlPlane) -> None:
    second = Spoke(
        fleet.keeper, fleet.folder / "second", fleet.hub.address, cluster.kubeconfig, fleet.hub.token("copy", env="dev")
    )
    second.start()
    try:

        def told() -> bool:
            ready = condition(fleet.hub.workload("copy", "shop"), "Ready")
            return (ready["status"], ready["reason"]) == ("False", "ClusterHeldByAnotherSpoke")

        eventually(told, "the second one says so")
        message = condition(fleet.hub.workload("copy", "shop"), "Ready")["message"]
        assert f"cluster dev of the hub {fleet.hub.address}, since 20" in message
        assert condition(fleet.hub.workload("dev", "shop"), "Ready")["status"] == "True"
    finally:
        second.stop()


def test_killed_it_goes_on_at_once_and_writes_nothing(fleet: Fleet, cluster: ControlPlane) -> None:
    spoke = fleet.spokes["dev"]
    spoke.kill()
    logged = spoke.process.log.stat().st_size
    mark = cluster.audit_mark()
    spoke.start()
    eventually(lambda: APPLIED in spoke.process.log.read_bytes()[logged:], "it has looked at every object", 15.0)
    assert b"ClusterHeldByAnotherSpoke" not in spoke.process.log.read_bytes()[logged:]
    written = {
        (event.verb, event.resource)
        for event in cluster.audit_since(mark, user_agent="felloe-spoke/")
        if event.verb not in ("get", "list", "watch")
    }
    assert written == {("update", "leases")}
