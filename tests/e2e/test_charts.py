"""What the charts make is admitted by a real API server, and a spoke lives on the rights that its chart gives it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes
import pytest
import yaml
from kubernetes.client.exceptions import ApiException

from tests.charts import Object, of_kind, render
from tests.cluster.controlplane import ControlPlane
from tests.cluster.fixtures import ClusterPool
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
from tests.fleet.processes import Spoke, condition, eventually

pytestmark = pytest.mark.cluster

RELEASE_NAMESPACE = "agents"
VERBS = ["get", "list", "watch", "create", "patch", "delete"]
RESTRICTED = {
    "rbac": {
        "clusterAdmin": False,
        "rules": [
            {"apiGroups": [""], "resources": ["configmaps"], "verbs": VERBS},
            {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": VERBS},
        ],
    }
}


def install(cluster: ControlPlane, objects: list[Object]) -> None:
    """Apply objects as Helm does, its namespaces first; the API server refuses a field that it doesn't know."""
    dynamic = cluster.dynamic()
    for item in sorted(objects, key=lambda item: item["kind"] != "Namespace"):
        resource = dynamic.resources.get(api_version=item["apiVersion"], kind=item["kind"])
        path = resource.path(name=item["metadata"]["name"], namespace=item["metadata"].get("namespace"))
        for dry_run in ("&dryRun=All", ""):
            dynamic.request(
                "patch",
                f"{path}?fieldManager=helm&fieldValidation=Strict{dry_run}",
                body=item,
                content_type="application/apply-patch+yaml",
            )


def release_namespace(name: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
    }


@pytest.mark.parametrize(
    ("chart", "values"), [("hub", {}), ("spoke", {}), ("spoke", RESTRICTED)], ids=["hub", "spoke", "restricted spoke"]
)
def test_a_namespace_of_the_restricted_standard_admits_the_chart_s_pod(
    clusters: ClusterPool, chart: str, values: dict[str, object]
) -> None:
    (cluster,) = clusters.get(1, nodes=True)
    core = kubernetes.client.CoreV1Api(cluster.client())
    objects = render(chart, values, namespace=RELEASE_NAMESPACE)
    install(cluster, [release_namespace(RELEASE_NAMESPACE), *objects])
    bare: Any = {"metadata": {"name": "bare"}, "spec": {"containers": [{"name": "a", "image": "a"}]}}
    with pytest.raises(ApiException, match="PodSecurity"):
        core.create_namespaced_pod(RELEASE_NAMESPACE, bare, dry_run="All")
    # The controller makes the pod as the chart's own service account would have it: admitted, or it is not there.
    labels = {"app.kubernetes.io/name": f"felloe-{chart}"}
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    eventually(lambda: core.list_namespaced_pod(RELEASE_NAMESPACE, label_selector=selector).items, "it is admitted")
    claims = core.list_namespaced_persistent_volume_claim(RELEASE_NAMESPACE).items
    assert len(claims) == (1 if chart == "hub" else 0)


def service_account_kubeconfig(cluster: ControlPlane, account: Object, file: Path) -> Path:
    """A kubeconfig with a token of a service account, as its pod would be given one."""
    core = kubernetes.client.CoreV1Api(cluster.client())
    metadata = account["metadata"]
    request: Any = {"spec": {"audiences": [], "expirationSeconds": 3600}}
    answer = core.create_namespaced_service_account_token(metadata["name"], metadata["namespace"], request)
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": answer.status.token if answer.status else ""}
    file.touch(mode=0o600)
    file.write_text(json.dumps(config))
    return file


@pytest.fixture(scope="module")
def fleet(clusters: ClusterPool, kustomize_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A spoke with just the rights that the restricted chart gives its service account; the namespace shop is there."""
    (cluster,) = clusters.get(1, nodes=True)
    objects = render("spoke", RESTRICTED, namespace=RELEASE_NAMESPACE)
    rights = [item for item in objects if item["kind"] != "Deployment"]
    install(cluster, [release_namespace(RELEASE_NAMESPACE), namespace("shop"), *rights])
    folder = tmp_path_factory.mktemp("restricted")
    kubeconfig = service_account_kubeconfig(cluster, of_kind(objects, "ServiceAccount"), folder / "kubeconfig")
    web = deployment("web") | {"metadata": {"name": "web", "namespace": "shop"}}
    with Fleet(folder, {"dev": cluster}, kustomize_binary) as fleet:
        fleet.repository.commit(
            {
                "fleet/fleet.yaml": documents(
                    git_repository("config", fleet.url),
                    kustomization("allowed", "./allowed", wait=True, timeout="2m"),
                    placement("allowed", "allowed"),
                ),
                "allowed/all.yaml": documents(config_map("settings", "shop", a="1"), web),
            },
            "the shop",
        )
        fleet.hub.start()
        token = fleet.hub.token("dev", env="dev")
        spoke = Spoke(fleet.keeper, folder / "spoke", fleet.hub.address, kubeconfig, token)
        fleet.spokes["dev"] = spoke.start()
        eventually(lambda: fleet.is_connected("dev"), "the spoke is connected")
        yield fleet


def test_a_restricted_spoke_applies_and_judges_what_it_may(fleet: Fleet) -> None:
    fleet.hub.felloe("wait", "--for", "healthy", "--timeout", "60s", timeout=90)
    assert fleet.data("dev", "settings") == {"a": "1"}
    workload = fleet.hub.workload("dev", "allowed")
    assert condition(workload, "Ready")["status"] == "True"
    assert condition(workload, "Healthy")["status"] == "True"


def test_a_restricted_spoke_heals_what_it_may(fleet: Fleet) -> None:
    fleet.core("dev").patch_namespaced_config_map("settings", "shop", {"data": {"a": "edited"}})
    eventually(lambda: fleet.data("dev", "settings") == {"a": "1"}, "the edit is undone")


def test_what_a_restricted_spoke_may_not_do_is_told_in_the_api_server_s_words_and_stops_nothing_else(
    fleet: Fleet,
) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "password", "namespace": "shop"},
        "stringData": {"password": "s3cret-of-the-shop"},
    }
    files = {
        "fleet/mixed.yaml": documents(kustomization("mixed", "./mixed"), placement("mixed", "mixed")),
        "mixed/all.yaml": documents(config_map("beside", "shop", a="1"), secret, namespace("forbidden")),
    }
    fleet.commit(files)
    refusals = (
        '(get|patch) resource "secrets" in API group "" in the namespace "shop"',
        '(get|patch) resource "namespaces" in API group "" in the namespace "forbidden"',
    )

    def told() -> bool:
        workload = fleet.hub.workload("dev", "mixed")
        failing = json.dumps(workload["status"]).replace('\\"', '"')
        return condition(workload, "Ready")["status"] == "False" and all(
            re.search(f'User "system:serviceaccount:{RELEASE_NAMESPACE}:felloe-spoke" cannot {why}', failing)
            for why in refusals
        )

    eventually(told, f"both refusals are told: {fleet.hub.workload('dev', 'mixed')['status']}")
    eventually(lambda: fleet.data("dev", "beside") == {"a": "1"}, "the ConfigMap beside them is applied")
    assert "s3cret" not in fleet.hub.felloe("describe", "workload", "mixed", "--cluster", "dev")
    assert condition(fleet.hub.workload("dev", "allowed"), "Ready")["status"] == "True"
    # Taken out of Git again, there is nothing left to complain about: it never was in the cluster.
    fleet.deliver({"mixed/all.yaml": documents(config_map("beside", "shop", a="2"))}, to="healthy")
    assert fleet.data("dev", "beside") == {"a": "2"}


def test_a_restricted_spoke_says_why_a_deployment_is_not_healthy(fleet: Fleet) -> None:
    nowhere: Any = deployment("nowhere") | {"metadata": {"name": "nowhere", "namespace": "shop"}}
    nowhere["spec"]["template"]["spec"]["nodeSelector"] = {"there": "is-none"}
    files = {
        "fleet/why.yaml": documents(kustomization("why", "./why"), placement("why", "why")),
        "why/all.yaml": documents(nowhere),
    }
    fleet.commit(files)

    def told() -> bool:
        health = condition(fleet.hub.workload("dev", "why"), "Healthy")["message"]
        return "pod nowhere-" in health and "Unschedulable: " in health

    eventually(told, "the pod and why no node takes it are told")
    fleet.deliver(dict.fromkeys(files))


def test_a_restricted_spoke_prunes_what_it_may(fleet: Fleet) -> None:
    more = {
        "fleet/more.yaml": documents(kustomization("more", "./more"), placement("more", "more")),
        "more/all.yaml": documents(config_map("more", "shop", a="1")),
    }
    fleet.deliver(more)
    assert fleet.data("dev", "more") == {"a": "1"}
    fleet.deliver(dict.fromkeys(more))
    eventually(lambda: fleet.data("dev", "more") is None, "it is pruned")
