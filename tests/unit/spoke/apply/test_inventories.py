"""Records that are written while a newer bundle, or an error, cuts in."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

import pytest
from aiohttp import web

from felloe.errors import KubernetesError
from felloe.identity import ObjectId, WorkloadId
from spoke.apply.inventories import Inventories
from spoke.apply.inventory import Inventory, Item
from spoke.cluster.namespace import OwnNamespace
from tests.spoke.apiserver import serving, status
from tests.unit.spoke.apply.pieces import Pieces

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


class _Pieces(Pieces):
    async def loaded(self, namespace: OwnNamespace) -> Inventory | None:
        return (await Inventories(namespace).load()).get(APPS)


def _item(number: int) -> ObjectId:
    return ObjectId("", "ConfigMap", "shop", f"item-{number}")


async def test_little_that_changed_is_written_alone_until_it_is_much() -> None:
    pieces = _Pieces()
    async with serving(pieces) as client:
        namespace = OwnNamespace(client)
        inventories, inventory = Inventories(namespace), Inventory(APPS)
        inventory.items = {_item(number): Item("v1", 1, b"a") for number in range(1000)}
        await inventories.write(inventory)
        (whole,) = pieces.written
        for number in range(200):
            inventory = replace(inventory, items=dict(inventory.items), applied_at=float(number))
            inventory.items[_item(number)] = Item("v1", 1, b"b")
            del inventory.items[_item(999 - number)]
            inventory.items[_item(1000 + number)] = Item("v1", 1)
            await inventories.write(inventory)
            if number % 20 == 0:
                assert await pieces.loaded(namespace) == inventory
        assert await pieces.loaded(namespace) == inventory
        assert 5 <= pieces.written.count(whole) <= 20
        await inventories.delete(inventory)
        assert not pieces.kept


async def test_after_a_start_and_after_a_write_that_failed_all_is_written() -> None:
    pieces = _Pieces()
    failing = False

    async def handler(request: web.Request) -> web.Response:
        return status(403, "Forbidden", "no") if failing else await pieces(request)

    async with serving(handler) as client:
        namespace = OwnNamespace(client)
        inventory = Inventory(APPS, {_item(number): Item("v1", 1, b"a") for number in range(100)})
        await Inventories(namespace).write(inventory)
        inventories = Inventories(namespace)
        inventory = (await inventories.load())[APPS]
        for fails in (False, False, True, False):
            inventory.items[_item(0)] = Item("v1", 1, b"b")
            failing = fails
            with contextlib.suppress(KubernetesError):
                await inventories.write(inventory)
        assert [name.rpartition("-")[2] for name in pieces.written] == ["0", "0", "changes", "0"]
        assert await pieces.loaded(namespace) == inventory


@pytest.mark.parametrize("requests", range(8))
async def test_killed_while_it_is_forgotten_nothing_is_left_that_was_right_once(requests: int) -> None:
    pieces = _Pieces()
    allowed = 1000

    async def handler(request: web.Request) -> web.Response:
        nonlocal allowed
        allowed -= 1
        return await pieces(request) if allowed >= 0 else status(403, "Forbidden", "no")

    async with serving(handler) as client:
        namespace = OwnNamespace(client)
        inventories = Inventories(namespace)
        inventory = Inventory(APPS, {_item(number): Item("v1", 1, b"a") for number in range(100)}, prune=True)
        await inventories.write(inventory)
        inventory.items[_item(0)] = Item("v1", 1, b"b")
        await inventories.write(inventory)
        inventories = Inventories(namespace)
        inventory = replace((await inventories.load())[APPS], prune=False)
        await inventories.write(inventory)  # whole: the changes are outdated from now on
        allowed = requests
        with contextlib.suppress(KubernetesError):
            await inventories.delete(replace(inventory, items={}))
        allowed = 1000
        left = await pieces.loaded(namespace)
        assert left is None or not left.prune
        assert left is None or not requests or not left.items
        if left is not None:
            again = Inventories(namespace)
            await again.delete((await again.load())[APPS])
        assert not pieces.kept
