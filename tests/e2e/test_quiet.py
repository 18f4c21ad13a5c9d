"""A cluster in which nothing of ours changes is left alone: no request but the watches, which the API server ends.

And the renewals of the spoke's lease, one in ten seconds.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.controlplane import ControlPlane
from tests.cluster.fixtures import ClusterPool
from tests.cluster.requests import AuditEvent
from tests.fleet.fleet import Fleet
from tests.fleet.manifests import (
    config_map,
    deployment,
    documents,
    git_repository,
    kustomization,
    namespace,
    placement,
)
from tests.fleet.processes import eventually

pytestmark = pytest.mark.cluster

QUIET_SECONDS = 40.0
OBJECTS = 50
SPOKE = "felloe-spoke/"


@pytest.fixture(scope="module")
def cluster(clusters: ClusterPool) -> ControlPlane:
    (found,) = clusters.get(1, nodes=True)
    return found


@pytest.fixture(scope="module")
def fleet(cluster: ControlPlane, kustomize_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A namespace, a Deployment with pods and a lot of ConfigMaps, healthy."""
    web = deployment("web", replicas=3) | {"metadata": {"name": "web", "namespace": "shop"}}
    many = [config_map(f"settings-{number}", "shop", number=str(number)) for number in range(OBJECTS - 2)]
    with Fleet(tmp_path_factory.mktemp("quiet"), {"dev": cluster}, kustomize_binary) as fleet:
        fleet.repository.commit(
            {
                "fleet/fleet.yaml": documents(
                    git_repository("config", fleet.url),
                    kustomization("shop", "./shop", wait=True, timeout="2m"),
                    placement("shop", "shop"),
                ),
                "shop/all.yaml": documents(namespace("shop"), web, *many),
            },
            "the shop",
        )
        fleet.hub.start()
        fleet.join("dev", env="dev")
        fleet.hub.felloe("wait", "--for", "healthy", "--timeout", "2m", timeout=150)
        assert any(cluster.audit_since(user_agent=SPOKE)), "the audit log knows the spoke"
        yield fleet


def requests(cluster: ControlPlane, mark: int) -> list[AuditEvent]:
    """What the spoke asked for since a mark, watches and renewals of its lease apart."""
    return [
        event
        for event in cluster.audit_since(mark, user_agent=SPOKE)
        if event.verb != "watch" and (event.verb, event.resource) != ("update", "leases")
    ]


def shown(events: list[AuditEvent]) -> str:
    return "\n".join(f"{event.verb} {event.uri} {event.code}" for event in events)


def test_a_quiet_cluster_costs_no_request(fleet: Fleet, cluster: ControlPlane) -> None:
    mark = cluster.audit_mark()
    time.sleep(QUIET_SECONDS)
    asked = requests(cluster, mark)
    assert not asked, shown(asked)
    renewals = [event for event in cluster.audit_since(mark, user_agent=SPOKE) if event.resource == "leases"]
    assert 1 <= len(renewals) <= QUIET_SECONDS / 10 + 2, shown(renewals)


def test_pods_that_come_and_go_cost_no_request(fleet: Fleet, cluster: ControlPlane) -> None:
    core = fleet.core("dev")
    mark = cluster.audit_mark()
    for _ in range(3):
        old = {pod.metadata.name for pod in core.list_namespaced_pod("shop").items}
        for name in old:
            core.delete_namespaced_pod(name, "shop", grace_period_seconds=0)

        def replaced(old: set[str] = old) -> bool:
            pods = core.list_namespaced_pod("shop").items
            ready = [pod for pod in pods if pod.status.phase == "Running" and not pod.metadata.deletion_timestamp]
            return len(ready) == 3 and not old & {pod.metadata.name for pod in pods}

        eventually(replaced, "the pods are replaced")
    eventually(lambda: available(cluster) == 3, "the Deployment is whole again")
    asked = requests(cluster, mark)
    assert not asked, shown(asked)


def available(cluster: ControlPlane) -> int:
    status = cluster.api.get_json("/apis/apps/v1/namespaces/shop/deployments/web")["status"]
    return int(status.get("availableReplicas", 0))


def test_a_spoke_that_starts_again_writes_nothing(fleet: Fleet, cluster: ControlPlane) -> None:
    spoke = fleet.spokes["dev"]
    spoke.stop()
    logged = spoke.process.log.stat().st_size
    mark = cluster.audit_mark()
    spoke.start()

    def settled() -> bool:
        """Whether it has looked at every object and found that all is as it should be."""
        return b"event=Applied workload=Kustomization/flux-system/shop" in spoke.process.log.read_bytes()[logged:]

    eventually(settled, "it has looked at every object")
    asked = requests(cluster, mark)
    assert {event.verb for event in asked} == {"get", "list"}, shown(asked)
    # The version, what kinds there are, the lease, what the spoke keeps in the cluster (identity, inventory, head and
    # names of the desired state), and a list of each kind: no request per object.
    assert len(asked) < 16, shown(asked)
    core = fleet.core("dev")
    core.patch_namespaced_config_map("settings-0", "shop", {"data": {"number": "edited"}})
    eventually(lambda: fleet.data("dev", "settings-0") == {"number": "0"}, "it watches again: an edit is undone")
