"""What `felloe plan` foretells of a commit is what happens on real clusters once it is merged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.fixtures import ClusterPool
from tests.fleet.fleet import Fleet
from tests.fleet.manifests import config_map, deployment, documents, overlay, shop
from tests.fleet.processes import eventually

pytestmark = pytest.mark.cluster

SECRET = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"}}
OLD, NEW = "correct-horse", "battery-staple"
RESOURCES = ("namespace.yaml", "settings.yaml", "web.yaml", "login.yaml", "notes.yaml")


@pytest.fixture(scope="module")
def fleet(clusters: ClusterPool, kustomize_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """The shop on a cluster of each of two environments."""
    dev, production = clusters.get(2, nodes=True)
    named = {"dev": dev, "production": production}
    with Fleet(tmp_path_factory.mktemp("fleet"), named, kustomize_binary) as fleet:
        base = {
            "base/kustomization.yaml": overlay(*RESOURCES, namespace="shop"),
            "base/login.yaml": documents({**SECRET, "stringData": {"password": OLD}}),
            "base/notes.yaml": documents(config_map("notes", text="a note")),
        }
        fleet.repository.commit(shop(fleet.url, list(named)) | base, "the shop")
        fleet.hub.start()
        for name in named:
            fleet.join(name, env=name)
        fleet.hub.felloe("wait", "--for", "healthy", "--timeout", "2m", timeout=150)
        yield fleet


def plan(fleet: Fleet, *arguments: str, expect: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(fleet.hub.felloe("plan", "-o", "json", *arguments, expect=expect, timeout=120))
    return found


def objects(plan: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The objects of a plan's only group, by name."""
    (group,) = plan["groups"]
    return {each["name"]: each for workload in group["workloads"] for each in workload["objects"]}


def versions(fleet: Fleet, cluster: str) -> dict[str, str]:
    core = fleet.core(cluster)
    found = [*core.list_namespaced_config_map("shop").items, *core.list_namespaced_secret("shop").items]
    return {item.metadata.name: item.metadata.resource_version for item in found}


def test_a_branch_is_planned_and_what_was_planned_happens_when_it_is_merged(fleet: Fleet) -> None:
    before = {name: versions(fleet, name) for name in ("dev", "production")}
    main = fleet.repository.head
    fleet.repository.switch("feature")
    patches = [{"path": "settings.yaml"}, {"path": "web.yaml"}]
    web = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 2}}
    fleet.repository.commit(
        {
            "environments/production/kustomization.yaml": overlay(
                "../../base", "new.yaml", namespace="shop", patches=[*patches, {"path": "notes.yaml"}]
            ),
            "environments/production/web.yaml": documents(web),
            "environments/production/new.yaml": documents(config_map("new", where="${cluster_name}")),
            "environments/production/notes.yaml": documents(
                {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "notes"}, "$patch": "delete"}
            ),
            "environments/production/settings.yaml": documents(config_map("settings", environment="live")),
        },
        "more of production",
    )
    planned = plan(fleet, "--branch", "feature")
    told = objects(planned)
    assert planned["groups"][0]["clusters"] == ["production"]
    assert {name: each["change"] for name, each in told.items()} == {
        "new": "create", "notes": "delete", "settings": "update", "web": "update",
    }  # fmt: skip
    assert [field["path"] for field in told["web"]["fields"]] == ["spec.replicas"]
    assert [(field["path"], field["after"]) for field in told["settings"]["fields"]] == [("data.environment", "live")]
    assert {name: versions(fleet, name) for name in before} == before, "nothing was changed"

    fleet.repository.set_ref("refs/heads/main", fleet.repository.head)
    fleet.hub.felloe("reconcile", "source", "felloe-system/fleet")
    fleet.hub.felloe("wait", "--for", "healthy", "--timeout", "2m", timeout=150)
    eventually(lambda: "notes" not in versions(fleet, "production"), "what goes is pruned")
    after = versions(fleet, "production")
    assert versions(fleet, "dev") == before["dev"]
    changed = {
        name for name in before["production"].keys() | after if before["production"].get(name) != after.get(name)
    }
    assert changed == {"new", "notes", "settings"}
    assert fleet.data("production", "new") == {"where": "production"}
    back = plan(fleet, "--revision", main)
    assert {name: each["change"] for name, each in objects(back).items()} == {
        "new": "delete", "notes": "create", "settings": "update", "web": "update",
    }  # fmt: skip


def test_a_checkout_with_warnings_of_this_cluster_s_version_and_no_secret(fleet: Fleet) -> None:
    fleet.repository.switch("main")
    work = fleet.repository.work
    other = deployment("web")
    other["spec"]["selector"]["matchLabels"] = {"app": "other"}  # type: ignore[index]
    other["spec"]["template"]["metadata"]["labels"] = {"app": "other"}  # type: ignore[index]
    job = {"apiVersion": "batch/v1beta1", "kind": "CronJob", "metadata": {"name": "nightly"}, "spec": {}}
    (work / "base/web.yaml").write_text(documents(other))
    (work / "base/login.yaml").write_text(documents({**SECRET, "stringData": {"password": NEW}}, job))
    (work / "base/kustomization.yaml").write_text(overlay(*RESOURCES[1:], namespace="shop"))
    shown = fleet.hub.felloe("plan", "--path", str(work), "--cluster", "dev", timeout=120)
    assert "spec.selector.matchLabels.app can't be changed" in shown
    assert "batch/v1beta1 CronJob is not served from Kubernetes 1.25 on, which is this cluster's version" in shown
    assert "the namespace is deleted" in shown
    assert '~ stringData.password: "*** (before)" → "*** (after)"' in shown
    everything = shown + json.dumps(plan(fleet, "--path", str(work))) + (fleet.hub.folder / "hub.log").read_text()
    assert OLD not in everything
    assert NEW not in everything
    fleet.hub.felloe("plan", "--path", str(work), "--strict", expect=1, timeout=120)
