"""Who applies a workload is known before anything is applied, and costs nothing where Flux is not there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from felloe.bundle import Bundle
from spoke.adopt.flux import Name, read
from spoke.adopt.gate import FluxGate
from spoke.apply.hold import Hold
from spoke.apply.plan import claims
from spoke.kube.discovery import Discovery
from tests.spoke.apiserver import Handler, serving, status
from tests.unit.spoke.adopt.samples import bundle, thing, workload_id

COLLECTION = "/apis/kustomize.toolkit.fluxcd.io/v1/kustomizations"
KIND = {"resource": "kustomizations", "responseKind": {"kind": "Kustomization"}, "scope": "Namespaced"}
WEB = thing("web")
BUNDLE = bundle(apps=[WEB])


def kustomization(name: str, **annotations: str) -> dict[str, object]:
    entries = [{"id": WEB.inventory_id, "v": "v1"}]
    metadata = {"namespace": "flux-system", "name": name, "annotations": annotations, "resourceVersion": "1"}
    return {"metadata": metadata, "status": {"inventory": {"entries": entries}}}


class Cluster:
    """An API server with or without Flux, that remembers what it was asked."""

    def __init__(self, *kustomizations: dict[str, object], installed: bool = True, refuses: int = 0) -> None:
        self.kustomizations = list(kustomizations)
        self.installed = installed
        self.refuses = refuses
        self.asked: list[str] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        if request.path != COLLECTION:
            versions = [{"version": "v1", "resources": [KIND] if self.installed else []}]
            items = [{"metadata": {"name": "kustomize.toolkit.fluxcd.io"}, "versions": versions}]
            return web.json_response(
                {"kind": "APIGroupDiscoveryList", "items": items if "apis" in request.path else []}
            )
        if self.refuses:
            return status(self.refuses, "Forbidden", "no rights")
        if "watch" in request.query:
            await asyncio.sleep(3600)
        return web.json_response({"metadata": {"resourceVersion": "1"}, "items": self.kustomizations})


@asynccontextmanager
async def gate(handler: Handler, changed: Callable[[], None] = lambda: None) -> AsyncIterator[FluxGate]:
    async with serving(handler) as client:
        gate = FluxGate(client, Discovery(client))
        task = asyncio.create_task(gate.run(changed))
        try:
            async with asyncio.timeout(20):
                await gate.ready()
                yield gate
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def held(gate: FluxGate, desired: Bundle = BUNDLE) -> dict[str, Hold]:
    holds = gate.holds(desired, claims(desired.workloads))
    return {identity.name: hold for identity, hold in holds.items()}


async def test_where_flux_is_not_installed_its_kind_is_never_asked_for() -> None:
    cluster = Cluster(installed=False)
    async with gate(cluster.answer) as asked:
        await asked.ready()
        assert held(asked) == {}
    assert COLLECTION not in cluster.asked


async def test_what_flux_applies_is_held_until_it_was_taken_over() -> None:
    taken = {"fleet.felloe.io/adopted": "true"}
    async with gate(Cluster(kustomization("apps")).answer) as flux:
        assert "flux-system/apps" in held(flux)["apps"].reason
        assert not held(flux)["apps"].release
    async with gate(Cluster(kustomization("apps", **taken)).answer) as flux:
        assert held(flux) == {}


async def test_what_is_given_back_is_released_with_the_labels_of_its_kustomization() -> None:
    releasing = {"fleet.felloe.io/adopted": "releasing"}
    async with gate(Cluster(kustomization("apps", **releasing)).answer) as flux:
        hold = held(flux)["apps"]
        assert hold.release
        assert dict(hold.labels)["kustomize.toolkit.fluxcd.io/name"] == "apps"
        assert hold.theirs == {WEB}


async def test_a_workload_that_left_the_bundle_is_held_as_well() -> None:
    async with gate(Cluster(kustomization("gone")).answer) as flux:
        assert workload_id("gone") in flux.holds(bundle(), {})


async def test_where_it_can_t_be_seen_what_flux_applies_nothing_is_touched() -> None:
    async with gate(Cluster(refuses=403).answer) as flux:
        assert "no rights" in held(flux)["apps"].reason


async def test_an_event_that_was_on_the_way_does_not_undo_what_is_known_already() -> None:
    async with gate(Cluster(kustomization("apps")).answer) as flux:
        newer = kustomization("apps", **{"fleet.felloe.io/adopted": "true"})
        flux.learned(read(newer | {"metadata": {**newer["metadata"], "resourceVersion": "7"}}))  # type: ignore[dict-item]
        flux.seen(kustomization("apps"))
        assert held(flux) == {}
        (known,) = flux.known({Name("flux-system", "apps")})
        assert known.ours
