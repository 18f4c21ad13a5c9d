"""`felloe diff` tells what an apply would do to a real cluster, shows no secret, and changes nothing."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes.client
import pytest

from tests.cluster.fixtures import ClusterPool
from tests.fleet.fleet import Fleet
from tests.fleet.manifests import (
    config_map,
    deployment,
    documents,
    git_repository,
    kustomization,
    namespace,
    overlay,
    placement,
    shop,
)
from tests.fleet.processes import eventually

pytestmark = pytest.mark.cluster

OLD, NEW, OTHER = "correct-horse", "battery-staple", "tr0ub4dor"
"""Values of a Secret: in the first commit, in a later one, and put there by hand."""


def secret(value: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "login"},
        "stringData": {"password": value, "user": "shop"},
    }


RESOURCES = ["namespace.yaml", "settings.yaml", "web.yaml", "login.yaml", "notes.yaml"]
BASE = {
    "base/kustomization.yaml": overlay(*RESOURCES, namespace="shop"),
    "base/login.yaml": documents(secret(OLD)),
    "base/notes.yaml": documents(config_map("notes", text="a note")),
}


@pytest.fixture(scope="module")
def fleet(clusters: ClusterPool, kustomize_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """The shop with a secret, applied on one cluster."""
    (cluster,) = clusters.get(1, nodes=True)
    with Fleet(tmp_path_factory.mktemp("fleet"), {"dev": cluster}, kustomize_binary) as fleet:
        fleet.repository.commit(shop(fleet.url, ["dev"]) | BASE, "the shop")
        fleet.hub.start()
        fleet.join("dev", env="dev")
        fleet.hub.felloe("wait", "--for", "healthy", "--timeout", "2m", timeout=150)
        yield fleet


def diff(fleet: Fleet, *arguments: str, expect: int = 1) -> str:
    return fleet.hub.felloe("diff", "--cluster", "dev", *arguments, expect=expect)


def objects(fleet: Fleet, *arguments: str, expect: int = 1) -> dict[str, Any]:
    """The objects of a diff as JSON, by name."""
    told = json.loads(diff(fleet, "-o", "json", *arguments, expect=expect))
    return {item["name"]: item for item in told["items"]}


def versions(fleet: Fleet) -> dict[str, str]:
    """The resourceVersion of everything that the shop is made of."""
    core, apps = fleet.core("dev"), kubernetes.client.AppsV1Api(fleet.clusters["dev"].client())
    found = [
        *core.list_namespaced_config_map("shop").items,
        *core.list_namespaced_secret("shop").items,
        *apps.list_namespaced_deployment("shop").items,
    ]
    return {f"{type(item).__name__}/{item.metadata.name}": item.metadata.resource_version for item in found}


def branch(fleet: Fleet, name: str, files: dict[str, str]) -> str:
    """Commit to a branch that nobody follows; later branches begin where the last one ended."""
    fleet.repository.switch(name)
    return fleet.repository.commit(files, name)


def test_nothing_differs(fleet: Fleet) -> None:
    assert diff(fleet, expect=0) == ""
    assert diff(fleet, "--workload", "shop", "--revision", "main", expect=0) == ""


def test_what_was_changed_by_hand_is_shown_without_secrets(fleet: Fleet) -> None:
    fleet.hub.felloe("suspend", "workload", "shop")
    core = fleet.core("dev")
    core.patch_namespaced_config_map("settings", "shop", {"data": {"greeting": "go away"}})
    core.patch_namespaced_secret("login", "shop", {"data": {"password": base64.b64encode(OTHER.encode()).decode()}})
    core.delete_namespaced_config_map("notes", "shop")
    before = versions(fleet)

    shown = diff(fleet)
    assert "--- LIVE/v1.ConfigMap.shop.settings\n+++ MERGED/v1.ConfigMap.shop.settings\n" in shown
    assert "-  greeting: go away\n+  greeting: hello\n" in shown
    assert "-  password: '*** (before)'\n+  password: '*** (after)'\n   user: '***'\n" in shown
    assert "--- LIVE/v1.ConfigMap.shop.notes\n+++ MERGED/v1.ConfigMap.shop.notes\n@@ -0,0 " in shown
    assert "+  text: a note\n" in shown
    assert "note: Kustomization/flux-system/shop: it is suspended" in shown
    assert "5 objects: 1 to create, 2 to change" in shown
    assert "managedFields" not in shown
    assert "resourceVersion" not in shown

    everything = shown + diff(fleet, "-o", "json") + (fleet.hub.folder / "hub.log").read_text()
    for value in (OLD, OTHER):
        assert value not in everything
        assert base64.b64encode(value.encode()).decode() not in everything
    assert versions(fleet) == before

    fleet.hub.felloe("resume", "workload", "shop")
    eventually(lambda: diff(fleet, expect=0) == "", "the edits are healed")


def test_what_kubectl_set_and_git_does_not_have_goes_too(fleet: Fleet) -> None:
    fleet.hub.felloe("suspend", "workload", "shop")
    fleet.core("dev").patch_namespaced_config_map(
        "settings", "shop", {"data": {"extra": "by hand"}}, field_manager="kubectl-edit"
    )
    fleet.core("dev").patch_namespaced_config_map(
        "settings", "shop", {"data": {"other": "of a controller"}}, field_manager="some-controller"
    )
    shown = diff(fleet)
    assert "-  extra: by hand\n" in shown
    assert "-  other" not in shown
    fleet.hub.felloe("resume", "workload", "shop")
    eventually(lambda: "extra" not in (fleet.data("dev", "settings") or {}), "the apply does what the diff said")
    assert (fleet.data("dev", "settings") or {})["other"] == "of a controller"
    eventually(lambda: diff(fleet, expect=0) == "", "nothing differs any more")


def test_another_revision_is_compared_and_not_applied(fleet: Fleet) -> None:
    commit = branch(
        fleet,
        "feature",
        {
            "base/kustomization.yaml": overlay(*RESOURCES[:-1], "new.yaml", namespace="shop"),
            "base/web.yaml": documents(deployment("web", replicas=3)),
            "base/login.yaml": documents(secret(NEW)),
            "base/new.yaml": documents(config_map("new", where="${cluster_name}")),
        },
    )
    before = versions(fleet)
    shown = diff(fleet, "--revision", "feature")
    assert "-  replicas: 1\n+  replicas: 3\n" in shown
    assert "+  where: dev\n" in shown
    assert "--- LIVE/v1.ConfigMap.shop.notes\n+++ MERGED/v1.ConfigMap.shop.notes\n@@ -1," in shown
    assert "-  text: a note\n" in shown
    assert "+  password: '*** (after)'\n" in shown
    assert NEW not in shown
    assert "6 objects: 1 to create, 2 to change, 1 to delete" in shown

    told = objects(fleet, "--revision", commit, "--workload", "flux-system/shop")
    assert {name: item["change"] for name, item in told.items()} == {
        "web": "update", "login": "update", "new": "create", "notes": "delete"
    }  # fmt: skip
    assert versions(fleet) == before
    assert diff(fleet, expect=0) == ""
    assert fleet.hub.get("sources")[0]["status"]["artifact"]["revision"].startswith("main@")


def test_what_is_not_there_yet_is_shown_as_it_is_in_git(fleet: Fleet) -> None:
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.org"},
        "spec": {
            "group": "example.org",
            "scope": "Namespaced",
            "names": {"kind": "Widget", "plural": "widgets", "singular": "widget", "listKind": "WidgetList"},
            "versions": [
                {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
            ],
        },
    }
    widget = {"apiVersion": "example.org/v1", "kind": "Widget", "metadata": {"name": "w", "namespace": "attic"}}
    branch(
        fleet,
        "attic",
        {
            "environments/dev/kustomization.yaml": overlay("../../base", "attic.yaml"),
            "environments/dev/attic.yaml": documents(
                namespace("attic"), config_map("box", "attic", old="things"), definition, widget
            ),
        },
    )
    told = objects(fleet, "--revision", "attic")
    assert {name for name, item in told.items() if item["change"] == "create"} == {
        "attic", "box", "widgets.example.org", "w", "new"
    }  # fmt: skip
    assert "+  old: things\n" in told["box"]["diff"]
    assert "namespace is not there yet" in told["box"]["message"]
    assert "its kind is not defined yet" in told["w"]["message"]


def test_an_object_that_can_not_be_compared_leaves_the_others(fleet: Fleet) -> None:
    web = deployment("web", replicas=3)
    web["spec"]["selector"]["matchLabels"] = {"app": "other"}  # type: ignore[index]
    web["spec"]["template"]["metadata"]["labels"] = {"app": "other"}  # type: ignore[index]
    alone = config_map("new", where="nowhere")
    alone["metadata"]["annotations"] = {"kustomize.toolkit.fluxcd.io/reconcile": "disabled"}  # type: ignore[index]
    branch(
        fleet,
        "trouble",
        {
            "environments/dev/kustomization.yaml": overlay("../../base"),
            "environments/dev/attic.yaml": None,  # type: ignore[dict-item]
            "base/web.yaml": documents(web),
            "base/new.yaml": documents(alone),
        },
    )
    shown = diff(fleet, "--revision", "trouble", expect=2)
    assert "error: Kustomization/flux-system/shop: Deployment/shop/web: " in shown
    assert "spec.selector can't be changed: to delete it and make it again, set spec.force: true" in shown
    assert "skipped: Kustomization/flux-system/shop: ConfigMap/shop/new: it is left alone" in shown
    assert "-  text: a note\n" in shown


def test_what_would_be_made_again_is_said(fleet: Fleet) -> None:
    web = deployment("web", replicas=3)
    web["metadata"]["annotations"] = {"fleet.felloe.io/force": "enabled"}  # type: ignore[index]
    web["spec"]["selector"]["matchLabels"] = {"app": "other"}  # type: ignore[index]
    web["spec"]["template"]["metadata"]["labels"] = {"app": "other"}  # type: ignore[index]
    branch(fleet, "force", {"base/web.yaml": documents(web)})
    told = objects(fleet, "--revision", "force")["web"]
    assert told["change"] == "recreate"
    assert told["message"] == "it is deleted and made again: spec.selector can't be changed"
    assert "-      app: web\n+      app: other\n" in told["diff"]
    assert "name: web-" not in told["diff"]


def test_a_workload_is_compared_with_the_rights_of_its_service_account(fleet: Fleet) -> None:
    core = fleet.core("dev")
    core.create_namespace({"metadata": {"name": "flux-system"}})
    core.create_namespaced_service_account("flux-system", {"metadata": {"name": "powerless"}})
    for account, said in (
        ("nobody", "the service account flux-system/nobody that this workload is applied as is not there"),
        ("powerless", 'User "system:serviceaccount:flux-system:powerless" cannot get resource "configmaps"'),
    ):
        applied = kustomization("shop", "./environments/${env}", serviceAccountName=account)
        branch(fleet, account, {
            "fleet/shop.yaml": documents(git_repository("config", fleet.url), applied, placement("shop", "shop"))
        })  # fmt: skip
        shown = diff(fleet, "--revision", account, expect=2)
        (line,) = [line for line in shown.splitlines() if "ConfigMap/shop/settings: " in line]
        assert line.startswith("error: Kustomization/flux-system/shop: ")
        assert said in line
        assert " not comparable\n" in shown


def test_an_overlay_that_does_not_build_is_an_error(fleet: Fleet) -> None:
    branch(fleet, "broken", {"base/kustomization.yaml": overlay("nowhere.yaml")})
    shown = diff(fleet, "--revision", "broken", expect=2)
    assert "error: Kustomization/flux-system/shop: it stays as it is at broken: " in shown
    assert "nowhere.yaml" in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--cluster", "dev", "--revision", "nowhere"], "there is no ref nowhere; it has the branches"),
        (["--cluster", "dev", "--workload", "nothing"], "cluster dev has no workload 'nothing'; there are:"),
        (["--cluster", "nowhere"], "there is no cluster 'nowhere'; there are: dev"),
        ([], "Missing option '--cluster'"),
    ],
)
def test_what_can_not_be_asked_is_no_difference(fleet: Fleet, arguments: list[str], said: str) -> None:
    assert said in fleet.hub.felloe("diff", *arguments, expect=2)


def test_a_cluster_that_is_away_is_said_at_once(fleet: Fleet) -> None:
    fleet.spokes["dev"].stop()
    eventually(lambda: not fleet.is_connected("dev"), "the hub knows that the spoke is gone")
    assert "error: cluster dev is not connected (last seen 20" in diff(fleet, expect=2)
