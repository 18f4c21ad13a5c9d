"""A Flux monorepo and its cluster move to Felloe, and back, by `felloe adopt flux`: with the real Flux beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.fixtures import ClusterPool
from tests.cluster.flux import Flux
from tests.fleet.fleet import Fleet
from tests.fleet.manifests import Files, config_map, deployment, documents, kustomization, namespace, overlay
from tests.fleet.processes import condition, eventually
from tests.spoke.cluster import Admin

pytestmark = pytest.mark.cluster

PUBLIC_URL = "https://git.example.com/team/fleet.git"
LABELS = {"app.kubernetes.io/part-of": "flux", "app.kubernetes.io/instance": "flux-system"}
NAMES = ("flux-system", "infrastructure", "apps", "nested")


def repository(**settings: str) -> Files:
    """Return a repository as `flux bootstrap` makes it, with Flux's own components, and nested Kustomizations."""
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "helm-controller", "namespace": "flux-system", "labels": LABELS},
    }
    source: dict[str, object] = {
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": "GitRepository",
        "metadata": {"name": "flux-system", "namespace": "flux-system"},
        "spec": {"interval": "1h", "ref": {"branch": "main"}, "url": PUBLIC_URL},
    }
    folder = "clusters/east"
    return {
        f"{folder}/flux-system/gotk-components.yaml": documents(account),
        f"{folder}/flux-system/gotk-sync.yaml": documents(
            source, kustomization("flux-system", f"./{folder}", "flux-system")
        ),
        f"{folder}/flux-system/kustomization.yaml": overlay("gotk-components.yaml", "gotk-sync.yaml"),
        f"{folder}/infrastructure.yaml": documents(kustomization("infrastructure", "./infrastructure", "flux-system")),
        # As users write it who once resumed a Kustomization in Git: its parent would let it go on.
        f"{folder}/apps.yaml": documents(
            kustomization("apps", "./apps", "flux-system", dependsOn=[{"name": "infrastructure"}], suspend=False)
        ),
        "infrastructure/namespaces.yaml": documents(namespace("shop")),
        "apps/kustomization.yaml": overlay("all.yaml", "nested.yaml"),
        "apps/nested.yaml": documents(kustomization("nested", "./nested", "flux-system")),
        "apps/all.yaml": documents(
            config_map("settings", "shop", **settings),
            {**deployment("web", 2), "metadata": {"name": "web", "namespace": "shop"}},
        ),
        "nested/nested.yaml": documents(config_map("nested", "shop", a="1")),
    }


class Both:
    """One repository that both controllers follow."""

    def __init__(self, fleet: Fleet, flux: Flux) -> None:
        self.fleet = fleet
        self.flux = flux

    def push(self, files: Files) -> str:
        """Commit, and let both know; return the commit."""
        sha = self.fleet.commit(files)
        self.flux.publish(files, f"main@sha1:{sha}")
        return f"main@sha1:{sha}"


@pytest.fixture(scope="module")
def both(clusters: ClusterPool, kustomize_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    (cluster,) = clusters.get(1, nodes=True)
    folder = tmp_path_factory.mktemp("adopt")
    with (
        Flux(cluster, tmp_path_factory.mktemp("controller")) as flux,
        Fleet(folder, {"east": cluster}, kustomize_binary, options=["--sync-path=clusters/${cluster_name}"]) as fleet,
    ):
        fleet.hub.options = [*fleet.hub.options, f"--instead-of={PUBLIC_URL}={fleet.url}"]
        fleet.repository.commit({"README.md": "the fleet"})
        fleet.hub.start()
        yield Both(fleet, flux)


def facts(admin: Admin) -> dict[str, tuple[str, object]]:
    """What must stay: uid and generation of every object and pod."""
    found = {}
    for api, kind in (("v1", "ConfigMap"), ("apps/v1", "Deployment"), ("apps/v1", "ReplicaSet"), ("v1", "Pod")):
        for name in sorted(admin.names(api, kind, "shop")):
            metadata = (admin.get(api, kind, name, "shop") or {})["metadata"]
            found[f"{kind}/{name}"] = (metadata["uid"], metadata.get("generation"))
    return found


def test_a_flux_cluster_is_handed_over_and_back(both: Both) -> None:
    fleet, flux = both.fleet, both.flux
    admin = Admin(fleet.clusters["east"])
    revision = both.push(repository(a="1"))
    flux.apply(kustomization("flux-system", "./clusters/east", "flux-system"))
    for name in NAMES:
        eventually(lambda name=name: flux.ready(name, revision), f"Flux applies {name}")  # type: ignore[misc]
    eventually(lambda: len(admin.names("v1", "Pod", "shop")) == 2, "the pods are there")
    before, mark = facts(admin), fleet.clusters["east"].audit_mark()

    fleet.join("east")

    def left_to_flux() -> bool:
        ready = [condition(fleet.hub.workload("east", name), "Ready") for name in NAMES]
        return all(each["reason"] == "AppliedByFlux" for each in ready)

    eventually(left_to_flux, "nothing is touched that Flux applies")
    shown = fleet.hub.felloe("adopt", "flux", "--cluster", "east")
    assert shown.count("is taken over") == 4
    assert "(5 objects of Flux itself stay)" in shown  # an account, a source, three Kustomizations
    assert facts(admin) == before

    done = fleet.hub.felloe("adopt", "flux", "--cluster", "east", "--yes", timeout=120)
    assert "taken over: " in done
    fleet.wait(revision.partition(":")[2], "healthy")
    assert facts(admin) == before
    assert fleet.hub.felloe("events").count("Adopted") >= 4

    # Flux, though it runs and sees the commit, is out of it; Felloe prunes what Flux had applied.
    files = repository(b="2") | {"nested/nested.yaml": documents(config_map("renamed", "shop", a="1"))}
    revision = both.push(files)
    fleet.wait(revision.partition(":")[2])
    assert fleet.data("east", "settings") == {"b": "2"}
    eventually(lambda: fleet.data("east", "nested") is None, "it is pruned")
    for name in NAMES:
        flux.reconcile(name)

    files["apps/all.yaml"] = repository(c="3")["apps/all.yaml"]
    assert "given back" in fleet.hub.felloe("adopt", "flux", "--cluster", "east", "--undo", "--yes", timeout=180)
    eventually(left_to_flux, "Felloe leaves it to Flux again")
    revision = both.push(files)
    for name in NAMES:
        eventually(lambda name=name: flux.ready(name, revision), f"Flux applies {name} again")  # type: ignore[misc]
    assert fleet.data("east", "settings") == {"c": "3"}
    now = facts(admin)
    assert {name: now.get(name) for name in before} == {**before, "ConfigMap/nested": None}
    deleted = [
        (event.resource, event.name)
        for event in fleet.clusters["east"].audit_since(mark)
        if event.verb == "delete" and event.namespace != "felloe-system"
    ]
    assert deleted == [("configmaps", "nested")]
    assert "fleet.felloe.io" not in str((admin.config_map("shop", "settings") or {})["metadata"])


def test_what_can_t_be_asked_is_said(both: Both) -> None:
    hub = both.fleet.hub
    assert "nowhere" in hub.felloe("adopt", "flux", "--cluster", "nowhere", expect=1)
    both.fleet.spokes["east"].stop()
    eventually(lambda: not both.fleet.is_connected("east"), "it is away")
    assert "not connected" in hub.felloe("adopt", "flux", "--cluster", "east", expect=1)
