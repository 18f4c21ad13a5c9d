"""A repository that `flux bootstrap` made works as it is: no file added, nothing of Flux installed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import kubernetes
import pytest

from tests.cluster.fixtures import ClusterPool
from tests.fleet.fleet import Fleet
from tests.fleet.manifests import Files, config_map, documents, kustomization, namespace, overlay
from tests.fleet.processes import condition, eventually

pytestmark = pytest.mark.cluster

FLUX = {"app.kubernetes.io/part-of": "flux", "app.kubernetes.io/instance": "flux-system"}
PUBLIC_URL = "https://git.example.com/team/fleet.git"


def components() -> str:
    """Return what ``gotk-components.yaml`` holds, in small: a namespace, a CRD and an account, all labelled."""
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "kustomizations.kustomize.toolkit.fluxcd.io", "labels": FLUX},
        "spec": {"group": "kustomize.toolkit.fluxcd.io"},
    }
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "kustomize-controller", "namespace": "flux-system", "labels": FLUX},
    }
    return documents(namespace("flux-system") | {"metadata": {"name": "flux-system", "labels": FLUX}}, crd, account)


def bootstrap(name: str) -> Files:
    """Return ``clusters/<name>`` as `flux bootstrap` writes it, with infrastructure and apps that it renders itself."""
    sync: list[dict[str, object]] = [
        {
            "apiVersion": "source.toolkit.fluxcd.io/v1",
            "kind": "GitRepository",
            "metadata": {"name": "flux-system", "namespace": "flux-system"},
            "spec": {"interval": "1m0s", "ref": {"branch": "main"}, "url": PUBLIC_URL},
        },
        kustomization("flux-system", f"./clusters/{name}", "flux-system"),
    ]
    folder = f"clusters/{name}"
    return {
        f"{folder}/flux-system/gotk-components.yaml": components(),
        f"{folder}/flux-system/gotk-sync.yaml": documents(*sync),
        f"{folder}/flux-system/kustomization.yaml": overlay("gotk-components.yaml", "gotk-sync.yaml"),
        f"{folder}/infrastructure.yaml": documents(kustomization("infrastructure", "./infrastructure", "flux-system")),
        f"{folder}/apps.yaml": documents(
            kustomization("apps", f"./apps/{name}", "flux-system", dependsOn=[{"name": "infrastructure"}])
        ),
        "infrastructure/namespaces.yaml": documents(namespace("apps")),
        # What apps/ renders is a Kustomization again: nested, as Flux users do.
        f"apps/{name}/nested.yaml": documents(kustomization("nested", "./nested", "flux-system")),
        f"apps/{name}/settings.yaml": documents(
            config_map("settings", "apps", cluster=name, literal="${NOT_A_VARIABLE}")
        ),
        "nested/settings.yaml": documents(config_map("nested", "apps", a="1")),
    }


@pytest.fixture(scope="module")
def flux(clusters: ClusterPool, kustomize_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    members = dict(zip(("one", "two"), clusters.get(2, nodes=True), strict=True))
    folder = tmp_path_factory.mktemp("flux")
    with Fleet(folder, members, kustomize_binary, options=["--sync-path=clusters/${cluster_name}"]) as fleet:
        fleet.hub.options = [*fleet.hub.options, f"--instead-of={PUBLIC_URL}={fleet.url}"]
        fleet.repository.commit(bootstrap("one") | bootstrap("two"), "flux bootstrap")
        fleet.hub.start()
        fleet.join("one")
        fleet.join("two")
        fleet.hub.felloe("wait", "--for", "applied", "--timeout", "90s", timeout=120)
        yield fleet


def test_every_cluster_is_what_flux_would_make_it(flux: Fleet) -> None:
    for name in ("one", "two"):
        assert flux.data(name, "settings", "apps") == {"cluster": name, "literal": "${NOT_A_VARIABLE}"}
        assert flux.data(name, "nested", "apps") == {"a": "1"}
        names = {item["metadata"]["name"] for item in flux.hub.get("workloads", "--cluster", name)}
        assert names == {"flux-system", "infrastructure", "apps", "nested"}


def test_flux_s_own_controllers_are_left_out_and_that_is_said(flux: Fleet) -> None:
    accounts = flux.core("one").list_namespaced_service_account("flux-system").items
    assert "kustomize-controller" not in {account.metadata.name for account in accounts}
    extensions = kubernetes.client.ApiextensionsV1Api(flux.clusters["one"].client())
    assert extensions.list_custom_resource_definition().items == []
    assert "Flux" in flux.hub.felloe("describe", "workload", "flux-system", "--cluster", "one")


def test_a_kustomization_that_leaves_git_takes_its_objects_along(flux: Fleet) -> None:
    flux.deliver({"apps/one/nested.yaml": None})
    eventually(lambda: flux.data("one", "nested", "apps") is None, "what it had is pruned")
    assert flux.data("two", "nested", "apps") == {"a": "1"}


def test_a_cycle_is_reported_and_hurts_nobody_else(flux: Fleet) -> None:
    flux.commit({"nested/again.yaml": documents(kustomization("apps", "./apps/two", "flux-system"))})
    eventually(
        lambda: "apps" in condition(flux.hub.workload("two", "nested"), "Ready")["message"],
        "it names the cycle",
    )
    assert flux.data("two", "settings", "apps") is not None
    sha = flux.revert()
    flux.wait(sha)
