"""What is taken over is written down once and stays so, whatever else is under way for its workload."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from unittest.mock import AsyncMock, Mock

import pytest
from aiohttp import web

from felloe.bundle import Bundle, Workload
from felloe.errors import AdoptionError
from felloe.identity import ObjectId, WorkloadId
from felloe.tracing import OFF
from spoke.apply.engine import Engine
from spoke.apply.hold import Hold
from spoke.apply.inventories import Inventories
from spoke.apply.inventory import Inventory, Item
from spoke.cluster.namespace import OwnNamespace
from spoke.kube.client import KubeClient
from spoke.kube.discovery import Discovery
from spoke.state import StoredBundle
from tests.spoke.apiserver import serving
from tests.unit.spoke.apply.pieces import Pieces

APPS = Workload(WorkloadId("Kustomization", "flux-system", "apps"))
OLD, THEIRS = (ObjectId("", "ConfigMap", "shop", name) for name in ("old", "theirs"))
ITEM = Item("v1", 3, b"applied", b"fields")
MARKS = [(("kustomize.toolkit.fluxcd.io/name", "apps"),)]
LEFT_ALONE = Hold("Flux applies it", "kustomize-controller")
GIVEN_BACK = Hold("it is being given back", "kustomize-controller", release=True)
SECONDS = 20.0


class Gate:
    """Says who applies the workload."""

    def __init__(self, hold: Hold) -> None:
        self.hold = hold

    async def ready(self) -> None:
        """Know it already."""

    def holds(self, *_: object) -> Mapping[WorkloadId, Hold]:
        return {APPS.id: self.hold}


class Cluster:
    """An API server that keeps inventories, and answers what concerns other objects when it is told to."""

    def __init__(self) -> None:
        self.pieces = Pieces()
        self.asked = asyncio.Event()
        self.answers = asyncio.Event()

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        if "/felloe-system/" in request.path:
            return await self.pieces(request)
        if "/shop/" not in request.path:
            kind = {"resource": "configmaps", "responseKind": {"kind": "ConfigMap"}, "scope": "Namespaced"}
            core = {"metadata": {"name": ""}, "versions": [{"version": "v1", "resources": [kind]}]}
            return web.json_response(
                {"kind": "APIGroupDiscoveryList", "items": [core] if request.path == "/api" else []}
            )
        self.asked.set()
        await self.answers.wait()
        return web.json_response({"kind": "Status", "code": 404, "reason": "NotFound", "message": "gone"}, status=404)

    async def inventory(self, client: KubeClient) -> set[ObjectId]:
        found = (await Inventories(OwnNamespace(client)).load()).get(APPS.id)
        return {*found.items} if found else set()


def bundle(*workloads: Workload) -> StoredBundle:
    return StoredBundle(1, 1, Bundle(workloads), "", 0.0)


@asynccontextmanager
async def running(cluster: Cluster, gate: Gate, stored: StoredBundle) -> AsyncIterator[tuple[Engine, KubeClient, Mock]]:
    """Yield an engine at work, in a cluster in which the workload has an object already."""
    async with serving(cluster) as client, asyncio.timeout(SECONDS):
        await Inventories(OwnNamespace(client)).write(Inventory(APPS.id, {OLD: ITEM}))
        report = Mock()
        engine = Engine(client, Discovery(client), gate, Mock(), report, OFF, AsyncMock())
        work = asyncio.create_task(engine.run())
        try:
            engine.set_bundle(stored)
            yield engine, client, report
        finally:
            cluster.answers.set()
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)


async def test_what_is_taken_over_is_given_back_no_further() -> None:
    cluster, gate = Cluster(), Gate(GIVEN_BACK)
    async with running(cluster, gate, bundle(APPS)) as (engine, client, report):
        await cluster.asked.wait()
        gate.hold = LEFT_ALONE
        told = asyncio.Event()
        report.workload.side_effect = lambda _: told.set()
        await engine.inherit(APPS, {THEIRS: ITEM}, MARKS)
        cluster.answers.set()
        await told.wait()
        assert await cluster.inventory(client) == {OLD, THEIRS}
        assert engine.inventoried == {APPS.id: 2}


async def test_a_workload_that_has_left_inherits_nothing() -> None:
    cluster, gone = Cluster(), asyncio.Event()
    async with running(cluster, Gate(LEFT_ALONE), bundle()) as (engine, client, report):
        report.removed.side_effect = lambda _: gone.set()
        await cluster.asked.wait()
        with pytest.raises(AdoptionError, match="apps has left"):
            await engine.inherit(APPS, {THEIRS: ITEM}, MARKS)
        cluster.answers.set()
        await gone.wait()
        assert await cluster.inventory(client) == set()


async def test_a_workload_that_is_left_to_another_one_inherits() -> None:
    cluster = Cluster()
    async with running(cluster, Gate(LEFT_ALONE), bundle(APPS)) as (engine, client, _):
        await engine.inherit(APPS, {THEIRS: ITEM}, MARKS)
        assert await cluster.inventory(client) == {OLD, THEIRS}
