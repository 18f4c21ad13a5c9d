"""What a real spoke reports of a real cluster decides what it gets there, and an override makes it different."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.controlplane import ControlPlane
from tests.cluster.fixtures import ClusterPool
from tests.fleet.fleet import Fleet
from tests.fleet.manifests import config_map, documents, git_repository, kustomization, namespace, placement
from tests.fleet.processes import condition, eventually

pytestmark = pytest.mark.cluster

NODES = 120
VERSION = "facts.felloe.io/kubernetes-version"
SET = '[{"op": "replace", "path": "/data/colour", "value": "${colour}"}]'


def by_version(operator: str, version: str) -> dict[str, object]:
    return {"matchExpressions": [{"key": VERSION, "operator": operator, "values": [version]}]}


def app(name: str) -> str:
    return documents(namespace("shop"), config_map(name, "shop", colour="red"))


def placed(fleet: Fleet, *placements: dict[str, object]) -> dict[str, str]:
    objects = [git_repository("config", fleet.url)]
    objects += [kustomization(name, f"./apps/{name}") for name in ("new", "old")]
    return {"fleet/all.yaml": documents(*objects, *placements)}


def new(**spec: object) -> dict[str, object]:
    override = {
        "clusterSelector": {"matchLabels": {"facts.felloe.io/provider": "aws"}},
        "variables": {"colour": "green"},
        "patches": [{"patch": SET, "target": {"kind": "ConfigMap"}}],
    }
    return placement("new", "new", clusterSelector=by_version("Gte", "1.20"), overrides=[override], **spec)


def old() -> dict[str, object]:
    return placement("old", "old", clusterSelector=by_version("Lt", "1.20"))


def add_nodes(cluster: ControlPlane) -> None:
    """Have many nodes, which no kubelet plays; the first by name says which provider they are of."""
    nodes = cluster.dynamic().resources.get(api_version="v1", kind="Node")
    for number in range(NODES):
        labels = {"topology.kubernetes.io/region": "eu-1", "topology.kubernetes.io/zone": f"eu-1{'ab'[number % 2]}"}
        node: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": f"a-{number:03}", "labels": labels},
            "spec": {"providerID": f"aws:///eu-1a/i-{number}"},
        }
        nodes.create(body=node)


@pytest.fixture(scope="module")
def fleet(clusters: ClusterPool, kustomize_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with clusters.fresh("facts") as cluster:
        add_nodes(cluster)
        with Fleet(tmp_path_factory.mktemp("fleet"), {"dev": cluster}, kustomize_binary) as fleet:
            apps = {f"apps/{name}/app.yaml": app(name) for name in ("new", "old")}
            fleet.repository.commit(apps | placed(fleet, new(), old()))
            fleet.hub.start()
            fleet.join("dev")
            yield fleet


def test_a_cluster_is_selected_by_what_its_spoke_reports_and_gets_its_override(fleet: Fleet) -> None:
    eventually(lambda: fleet.data("dev", "new") == {"colour": "green"}, "the override is applied")
    assert fleet.data("dev", "old") is None
    (cluster,) = fleet.hub.get("clusters", "-l", f"{VERSION}>=1.20,facts.felloe.io/node-count>={NODES}")
    labels = cluster["metadata"]["labels"]
    found = {key.removeprefix("facts.felloe.io/"): value for key, value in labels.items()}
    assert found["node-count"] == str(NODES)
    assert (found["provider"], found["region"], "zone" in found) == ("aws", "eu-1", False)
    assert fleet.hub.get("clusters", "-l", f"{VERSION}<1.20") == []


def test_the_command_line_explains_why(fleet: Fleet) -> None:
    eventually(lambda: fleet.data("dev", "new") == {"colour": "green"}, "the override is applied")
    shown = fleet.hub.felloe("explain", "placement", "old", "--cluster", "dev")
    assert "cluster dev does not get what Placement old places" in shown
    assert f"{VERSION} < 1.20" in shown
    answer = json.loads(
        fleet.hub.felloe("explain", "variable", "colour", "--cluster", "dev", "--workload", "new", "-o", "json")
    )
    assert (answer["value"], answer["chain"][-1]["by"]) == ("green", "Placement new, spec.overrides[0]")
    (idle,) = fleet.hub.get("placements", "old")
    selected = condition(idle, "Selected")
    assert (selected["status"], selected["reason"]) == ("False", "NoClusterMatches")


def test_a_second_placement_of_a_workload_moves_nothing_and_is_told_on_the_cluster(fleet: Fleet) -> None:
    eventually(lambda: fleet.data("dev", "new") == {"colour": "green"}, "the override is applied")
    fleet.commit(placed(fleet, new(), old(), placement("again", "new", clusterSelector={})), "the same workload again")

    def conflict() -> str:
        (cluster,) = fleet.hub.get("clusters", "dev")
        return next((one["message"] for one in cluster["status"]["conditions"] if one["type"] == "Conflict"), "")

    eventually(conflict, "the conflict is told")
    assert "Placement again and Placement new give cluster dev the same workload" in conflict()
    assert fleet.data("dev", "new") == {"colour": "green"}
    fleet.commit(placed(fleet, new(), old()), "once is enough")
    eventually(lambda: not conflict(), "the conflict is over")
    assert fleet.data("dev", "new") == {"colour": "green"}
