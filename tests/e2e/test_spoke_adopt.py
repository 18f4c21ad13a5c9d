"""What Flux applies is left to Flux, taken over whole, and given back: with the real kustomize-controller."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from felloe.bundle import ApplyOptions
from felloe.errors import AdoptionError
from felloe.v1 import status_pb2 as pb
from spoke.adopt.adoption import Decision
from spoke.adopt.plan import Fate, Plan
from tests.cluster.controlplane import ControlPlane
from tests.cluster.fixtures import ClusterPool
from tests.cluster.flux import Flux
from tests.fleet.manifests import Files, documents, kustomization, namespace
from tests.spoke.cluster import Admin
from tests.spoke.driver import Spoke, eventually, ready, running
from tests.spoke.manifests import Manifest, Wanted, config_map, deployment

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio]

KEEP, PRUNE = Decision(prune=False), Decision(prune=True)
_NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def cluster(clusters: ClusterPool) -> ControlPlane:
    return clusters.get(1, nodes=True)[0]


@pytest.fixture(scope="module")
def controller(cluster: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flux]:
    with Flux(cluster, tmp_path_factory.mktemp("flux")) as flux:
        yield flux


@pytest.fixture
def flux(controller: Flux) -> Iterator[Flux]:
    yield controller
    controller.forget()


class World:
    """One repository, as Flux has fetched it and as the hub made bundles of it: a root, and workloads below it."""

    def __init__(self, flux: Flux, admin: Admin, namespace: str) -> None:
        self._flux = flux
        self._admin = admin
        self.namespace = namespace
        self.revision = ""

    def shop(self, **settings: str) -> list[Manifest]:
        """Return what most tests have: a namespace, settings, and a Deployment of two pods."""
        return [
            namespace(self.namespace),
            self.config_map("settings", **settings),
            deployment(self.namespace, "web", 2),
        ]

    def config_map(self, name: str, **data: str) -> Manifest:
        """Return a ConfigMap in its namespace."""
        return config_map(self.namespace, name, **data)

    def data(self, name: str) -> dict[str, str] | None:
        """Return the data of a ConfigMap in the cluster, None where it is not there."""
        found = self._admin.config_map(self.namespace, name)
        return found["data"] if found else None

    def facts(self) -> dict[str, Any]:
        """Return what must stay the same whoever applies: uids, generations, and the pods with their uids."""
        found: dict[str, Any] = {}
        for api, kind in (("v1", "ConfigMap"), ("apps/v1", "Deployment"), ("apps/v1", "ReplicaSet"), ("v1", "Pod")):
            for name in sorted(self._admin.names(api, kind, self.namespace)):
                metadata = (self._admin.get(api, kind, name, self.namespace) or {})["metadata"]
                found[f"{kind}/{name}"] = (metadata["uid"], metadata.get("generation"))
        found["Namespace"] = (self._admin.get("v1", "Namespace", self.namespace) or {})["metadata"]["uid"]
        return found

    def owners(self) -> tuple[str, str, set[str]]:
        """Return Felloe's and Flux's owner of the settings, and the managers of their fields."""
        found = self._admin.config_map(self.namespace, "settings")
        assert found
        labels = found["metadata"].get("labels") or {}
        return (
            labels.get("fleet.felloe.io/workload-name", ""),
            labels.get("kustomize.toolkit.fluxcd.io/name", ""),
            {entry["manager"] for entry in found["metadata"]["managedFields"]},
        )

    def commit(self, **workloads: list[Manifest]) -> None:
        """Let Flux fetch it."""
        self.revision = f"main@sha1:{abs(hash(str(workloads))):040x}"[:50]
        roots = [kustomization(name, f"./{name}", "flux-system") for name in workloads]
        files: Files = {
            "clusters/one/apps.yaml": documents(*roots, kustomization("root", "./clusters/one", "flux-system"))
        }
        files |= {f"{name}/all.yaml": documents(*objects) for name, objects in workloads.items()}
        self._flux.publish(files, self.revision)

    async def applied(self, *names: str) -> None:
        """Wait until Flux has applied it."""
        for name in names:
            await eventually(lambda name=name: self._flux.ready(name, self.revision), f"Flux applies {name}")  # type: ignore[misc]

    async def bootstrap(self, **workloads: list[Manifest]) -> None:
        """Let Flux install all of it, from its root."""
        self.commit(**workloads)
        self._flux.apply(kustomization("root", "./clusters/one", "flux-system"))
        await self.applied("root", *workloads)


@pytest.fixture
def world(flux: Flux, admin: Admin) -> World:
    return World(flux, admin, f"shop-{next(_NUMBERS)}")


def wanted(name: str, objects: list[Manifest]) -> Wanted:
    return Wanted(name, objects, ApplyOptions(prune=True, retry_interval=2.0))


def held(status: pb.WorkloadStatus) -> bool:
    return ready(status)[1] == "AppliedByFlux"


def fates(plan: Plan) -> dict[str, Fate]:
    return {row.flux.name.name: row.fate for row in plan.rows}


def deletions(cluster: ControlPlane, mark: int) -> list[tuple[str, str]]:
    """Objects that somebody deleted: inventories of the spoke apart."""
    return [
        (event.resource, event.name)
        for event in cluster.audit_since(mark)
        if event.verb in ("delete", "deletecollection") and event.namespace != "felloe-system"
    ]


async def test_a_cluster_is_handed_over_and_back_without_a_restart_or_a_deleted_object(
    cluster: ControlPlane, flux: Flux, world: World, spoke: Spoke, admin: Admin
) -> None:
    await world.bootstrap(apps=world.shop(a="1", b="1"))
    await eventually(lambda: len(admin.names("v1", "Pod", world.namespace)) == 2, "the pods are there")
    before, mark = world.facts(), cluster.audit_mark()

    spoke.want(wanted("apps", world.shop(a="1", b="1")), wanted("root", []))
    await spoke.until("apps", held, "is left to Flux")
    assert world.owners() == ("", "apps", {"kustomize-controller"})

    plan = await spoke.adoption.plan()
    assert fates(plan) == {"root": Fate.ADOPT, "apps": Fate.ADOPT}
    assert [row.flux.name.name for row in plan.rows] == ["root", "apps"]
    assert len(plan.rows[1].moving or {}) == 3
    assert world.owners()[0] == "", "a plan changes nothing"

    assert "flux-system/apps" in await spoke.adoption.adopt(Decision())
    await spoke.until_applied("apps")
    await spoke.until_event("Adopted", "apps")
    assert world.owners() == ("apps", "", {"felloe"})
    assert world.facts() == before

    # What leaves Git leaves the cluster: a field that Flux had set, and an object that it had applied.
    spoke.want(wanted("apps", world.shop(a="2")), wanted("root", []))
    await spoke.until_applied("apps")
    assert world.data("settings") == {"a": "2"}
    flux.reconcile("apps")
    flux.reconcile("root")

    assert fates(await spoke.adoption.undo_plan()) == {"root": Fate.RETURN, "apps": Fate.RETURN}
    await spoke.adoption.undo()
    await spoke.until("apps", held, "is left to Flux again")
    world.commit(apps=world.shop(a="3"))
    await world.applied("root", "apps")
    assert world.owners() == ("", "apps", {"kustomize-controller"})
    assert world.data("settings") == {"a": "3"}
    assert world.facts() == before
    assert deletions(cluster, mark) == []
    assert admin.names("v1", "ConfigMap", "felloe-system") == {"kube-root-ca.crt"}
    found = flux.kustomization("apps")
    assert found
    assert "suspend" not in found["spec"]
    assert not [key for key in found["metadata"].get("annotations") or {} if "felloe" in key]


async def test_after_undo_flux_prunes_what_leaves_git_also_what_only_felloe_had_applied(
    world: World, spoke: Spoke, admin: Admin
) -> None:
    extra = world.config_map("extra", a="1")
    old = world.config_map("old", a="1")
    await world.bootstrap(apps=[*world.shop(a="1"), old])
    spoke.want(wanted("apps", [*world.shop(a="1"), old, extra]))
    await spoke.until("apps", held, "is left to Flux")
    await spoke.adoption.adopt(Decision())
    await spoke.until_applied("apps")
    await spoke.adoption.undo()
    world.commit(apps=[*world.shop(a="1"), extra])
    await world.applied("apps")
    await eventually(lambda: world.data("old") is None, "Flux prunes what it had before")
    world.commit(apps=world.shop(a="1"))
    await world.applied("apps")
    await eventually(lambda: world.data("extra") is None, "Flux prunes what came in between")


@pytest.mark.parametrize("decision", [KEEP, PRUNE], ids=["keep", "prune"])
async def test_what_nobody_wants_is_asked_for_first(
    cluster: ControlPlane, world: World, spoke: Spoke, admin: Admin, decision: Decision
) -> None:
    await world.bootstrap(apps=[*world.shop(a="1"), world.config_map("old", a="1")])
    mark = cluster.audit_mark()
    spoke.want(wanted("apps", world.shop(a="1")))
    await spoke.until("apps", held, "is left to Flux")
    with pytest.raises(AdoptionError, match=r"ConfigMap shop-\d+/old.*--leftovers"):
        await spoke.adoption.adopt(Decision())
    assert world.owners()[:2] == ("", "apps")
    await spoke.adoption.adopt(decision)
    await spoke.until_applied("apps")
    if decision.prune:
        await eventually(lambda: world.data("old") is None, "it is pruned")
        assert deletions(cluster, mark) == [("configmaps", "old")]
    else:
        assert world.data("old") is not None
        assert deletions(cluster, mark) == []


async def test_what_leaves_git_during_the_handover_is_pruned_all_the_same(
    flux: Flux, world: World, spoke: Spoke, admin: Admin
) -> None:
    old = world.config_map("old", a="1")
    await world.bootstrap(apps=[*world.shop(a="1"), old])
    # It waits for something that is not there, so that the handover is done and nothing applied when Git moves on.
    waiting = replace(
        wanted("apps", [*world.shop(a="1"), old]), options=replace(wanted("apps", []).options, suspend=True)
    )
    spoke.want(waiting)
    await spoke.until("apps", held, "is left to Flux")
    await spoke.adoption.adopt(Decision())
    assert world.owners()[:2] == ("", "apps")
    spoke.want(wanted("apps", world.shop(a="1")))
    await spoke.until_applied("apps")
    await eventually(lambda: world.data("old") is None, "it is pruned")


async def test_what_a_person_suspended_in_flux_stays_as_it_is_until_that_is_asked_for(
    flux: Flux, world: World, spoke: Spoke, admin: Admin
) -> None:
    await world.bootstrap(apps=world.shop(a="1"))
    flux.patch_kustomization("apps", {"spec": {"suspend": True}})
    spoke.want(wanted("root", []), wanted("apps", world.shop(a="2")))
    await spoke.until("apps", held, "is left to Flux")
    assert fates(await spoke.adoption.plan())["apps"] is Fate.FROZEN
    await spoke.adoption.adopt(Decision())
    await spoke.until_applied("root")
    assert world.data("settings") == {"a": "1"}
    await spoke.adoption.adopt(Decision(frozen=True))
    await spoke.until_applied("apps")
    assert world.data("settings") == {"a": "2"}
    await spoke.adoption.undo()
    assert (flux.kustomization("apps") or {})["spec"]["suspend"] is True
    assert "suspend" not in (flux.kustomization("root") or {})["spec"]


async def test_a_handover_that_was_cut_off_goes_on_when_it_is_asked_again(
    cluster: ControlPlane, flux: Flux, world: World, admin: Admin, tmp_path: Path
) -> None:
    names = ("one", "two", "three")
    objects = {name: [namespace(world.namespace), world.config_map(name, a="1")][name != "one" :] for name in names}
    await world.bootstrap(**objects)
    mark = cluster.audit_mark()
    desired = [wanted("root", []), *(wanted(name, objects[name]) for name in names)]

    def written(annotation: str) -> int:
        found = [flux.kustomization(name) or {} for name in ("root", *names)]
        return sum(annotation in (each["metadata"].get("annotations") or {}) for each in found)

    for undo in (False, True):
        for writes in (1, 3):
            async with running(cluster.kubeconfig, tmp_path / f"{undo}-{writes}") as spoke:
                spoke.want(*desired)
                await spoke.until("three", lambda status: True, "is known")
                act = asyncio.create_task(spoke.adoption.undo() if undo else spoke.adoption.adopt(Decision()))
                key = "fleet.felloe.io/flux-suspend"
                count = 4 - writes if undo else writes
                await eventually(lambda: (written(key) <= count) if undo else (written(key) >= count), "half way")  # noqa: B023
                act.cancel()
                await asyncio.gather(act, return_exceptions=True)
        async with running(cluster.kubeconfig, tmp_path / f"{undo}-end") as spoke:
            spoke.want(*desired)
            await spoke.until("three", lambda status: True, "is known")
            await (spoke.adoption.undo() if undo else spoke.adoption.adopt(Decision()))
            for name in names:
                await (spoke.until(name, held, "is left") if undo else spoke.until_applied(name))
        assert written("fleet.felloe.io/adopted") == (0 if undo else 4)
    world.commit(**objects)
    await world.applied("root", *names)
    assert deletions(cluster, mark) == []


async def test_what_flux_gets_later_is_left_to_it_as_well(
    cluster: ControlPlane, flux: Flux, world: World, spoke: Spoke
) -> None:
    late = [world.config_map("late", a="1")]
    await world.bootstrap(apps=world.shop(a="1"))
    mark = cluster.audit_mark()
    spoke.want(wanted("root", []), wanted("apps", world.shop(a="1")), wanted("late", late))
    await spoke.until_applied("late")
    world.commit(apps=world.shop(a="1"), late=late)
    await spoke.until("late", held, "is left to Flux now")
    await world.applied("root", "late")
    # Both know it; handed over and back it is Flux's alone, and goes with it.
    await spoke.adoption.adopt(Decision())
    for name in ("apps", "late"):
        await spoke.until_applied(name)
    await spoke.adoption.undo()
    await spoke.until("late", held, "is left to Flux again")
    spoke.want(wanted("root", []), wanted("apps", world.shop(a="1")))
    await spoke.until_removed("late")
    assert world.data("late") == {"a": "1"}, "it is Flux's to prune"
    world.commit(apps=world.shop(a="1"))
    await eventually(lambda: flux.kustomization("late") is None, "Flux removes it")
    await eventually(lambda: world.data("late") is None, "and prunes what it had")
    assert deletions(cluster, mark) == [("kustomizations", "late"), ("configmaps", "late")]


async def test_what_flux_got_later_and_git_lost_is_flux_s_to_prune(
    cluster: ControlPlane, world: World, spoke: Spoke
) -> None:
    late = [world.config_map("late", a="1")]
    await world.bootstrap(apps=world.shop(a="1"))
    spoke.want(wanted("root", []), wanted("apps", world.shop(a="1")), wanted("late", late))
    await spoke.until_applied("late")
    world.commit(apps=world.shop(a="1"), late=late)
    await world.applied("root", "late")
    await spoke.until("late", held, "is left to Flux now")
    mark = cluster.audit_mark()
    spoke.want(wanted("root", []), wanted("apps", world.shop(a="1")))
    await spoke.until_removed("late")
    assert world.data("late") == {"a": "1"}, "it is Flux's to prune"
    assert deletions(cluster, mark) == []


async def test_a_flux_that_is_down_is_taken_over_too_and_leaves_it_when_it_is_up_again(
    cluster: ControlPlane, flux: Flux, world: World, spoke: Spoke
) -> None:
    await world.bootstrap(apps=world.shop(a="1"))
    spoke.want(wanted("root", []), wanted("apps", world.shop(a="2")))
    await spoke.until("apps", held, "is left to Flux")
    mark = cluster.audit_mark()
    flux.stop()
    try:
        await spoke.adoption.adopt(Decision())
        await spoke.until_applied("apps")
    finally:
        flux.start()
    world.commit(apps=world.shop(a="3"))
    flux.reconcile("apps")
    await eventually(
        lambda: (flux.kustomization("apps") or {})["status"]["observedGeneration"] == 2, "Flux has seen it"
    )
    assert world.data("settings") == {"a": "2"}
    assert deletions(cluster, mark) == []
