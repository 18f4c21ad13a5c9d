"""Records that are written while a newer bundle, or an error, cuts in."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from aiohttp import web

from felloe.errors import KubernetesError
from felloe.identity import WorkloadId
from spoke.apply.inventories import Inventories
from spoke.apply.inventory import Inventory
from spoke.cluster.namespace import OwnNamespace
from tests.spoke.apiserver import serving, status

APPS = WorkloadId("Kustomization", "flux-system", "apps")


async def test_a_record_whose_writing_was_cut_short_is_not_known_until_it_is_written_again() -> None:
    begun = asyncio.Event()
    end = asyncio.Event()

    async def handler(_: web.Request) -> web.Response:
        begun.set()
        await end.wait()
        return web.json_response({"kind": "ConfigMap"})

    async with serving(handler) as client:
        inventories = Inventories(OwnNamespace(client))
        assert not inventories.unsure(APPS)
        write = asyncio.create_task(inventories.write(Inventory(APPS)))
        await begun.wait()
        write.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await write
        assert inventories.unsure(APPS)
        end.set()
        await inventories.write(Inventory(APPS))
        assert not inventories.unsure(APPS)


async def test_a_record_that_was_refused_is_not_known() -> None:
    async def handler(_: web.Request) -> web.Response:
        return status(403, "Forbidden", "no")

    async with serving(handler) as client:
        inventories = Inventories(OwnNamespace(client))
        with pytest.raises(KubernetesError):
            await inventories.write(Inventory(APPS))
        assert inventories.unsure(APPS)
