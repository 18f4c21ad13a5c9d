"""One spoke at a time has a cluster: whoever holds its lease, judged by one's own clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from spoke.cluster.lease import Holder, Lease, Times
from spoke.cluster.namespace import OwnNamespace
from tests.spoke.apiserver import serving, status

TIMES = Times(duration=1.8, give_up=1.2, renew=0.3, retry=0.1, request=1.0)


class Server:
    """An API server with one lease, and optimistic concurrency as a real one has it."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.version = 0
        self.away = False
        self.silent = False
        self.writes = 0

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        if self.silent:
            await asyncio.sleep(10)
        if self.away:
            return status(403, "Forbidden", "no")
        if request.method == "GET":
            return web.json_response(self.lease) if self.lease else status(404, "NotFound", "not found")
        sent = await request.json()
        if request.method == "POST":
            if self.lease is not None:
                return status(409, "AlreadyExists", "already exists")
        elif self.lease is None:
            return status(404, "NotFound", "not found")
        elif sent["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            return status(409, "Conflict", "the object has been modified")
        return web.json_response(self.put(sent))

    def put(self, lease: dict[str, Any]) -> dict[str, Any]:
        self.version += 1
        self.writes += 1
        self.lease = lease | {"metadata": lease["metadata"] | {"resourceVersion": str(self.version)}}
        return self.lease

    @property
    def holder(self) -> str:
        assert self.lease
        return str(self.lease["spec"]["holderIdentity"])


class Rig:
    """Leases of several spokes on one server."""

    def __init__(self, server: Server, own: OwnNamespace) -> None:
        self.server = server
        self.own = own
        self.held: list[Holder] = []
        self.refused: list[str] = []

    def lease(self, instance: str) -> Lease:
        return Lease(self.own, instance, lambda: (f"hub-of-{instance}:1", instance), TIMES)

    async def take(self, lease: Lease, seconds: float = 10.0) -> None:
        async with asyncio.timeout(seconds):
            await lease.take(self.held.append, self.refused.append)


@asynccontextmanager
async def rigged() -> AsyncIterator[Rig]:
    server = Server()
    async with serving(server) as client:
        yield Rig(server, OwnNamespace(client))


async def test_the_first_has_it_and_the_second_is_told_who() -> None:
    async with rigged() as rig:
        one, two = rig.lease("one"), rig.lease("two")
        await rig.take(one)
        keeping = asyncio.create_task(one.keep())
        with pytest.raises(TimeoutError):
            await rig.take(two, TIMES.duration * 2)
        assert rig.server.holder == "one"
        assert str(rig.held[0]).startswith("another spoke, cluster one of the hub hub-of-one:1, since 20")
        keeping.cancel()


async def test_who_holds_it_is_said_as_soon_as_it_is_known() -> None:
    async with rigged() as rig:
        who = ("", "")
        lease = Lease(rig.own, "one", lambda: who, replace(TIMES, renew=60.0, give_up=60.0))
        await rig.take(lease)
        keeping = asyncio.create_task(lease.keep())
        lease.tell()
        who = ("hub:1", "east")
        lease.tell()
        async with asyncio.timeout(10):
            while rig.server.writes < 2:  # noqa: ASYNC110 -- the server is another task
                await asyncio.sleep(0.01)
        assert rig.server.lease
        assert rig.server.lease["metadata"]["annotations"]["fleet.felloe.io/cluster"] == "east"
        keeping.cancel()


async def test_one_that_is_not_renewed_is_taken_and_its_holder_finds_out() -> None:
    async with rigged() as rig:
        one, two = rig.lease("one"), rig.lease("two")
        await rig.take(one)
        await rig.take(two)
        assert rig.server.holder == "two"
        assert await asyncio.wait_for(one.keep(), 10) == "it could not be renewed for 1.2 s"


async def test_one_that_is_taken_out_of_turn_is_let_go_at_the_next_renewal() -> None:
    async with rigged() as rig:
        one = rig.lease("one")
        await rig.take(one)
        assert rig.server.lease
        taken = rig.server.lease["spec"] | {"holderIdentity": "two"}
        rig.server.put(rig.server.lease | {"spec": taken})
        assert "it was taken by another spoke" in await asyncio.wait_for(one.keep(), 10)


async def test_one_that_is_given_up_is_taken_at_once() -> None:
    async with rigged() as rig:
        one, two = rig.lease("one"), rig.lease("two")
        await rig.take(one)
        await one.release()
        await rig.take(two)
        assert not rig.held


async def test_the_same_folder_goes_on_at_once_after_a_kill() -> None:
    async with rigged() as rig:
        await rig.take(rig.lease("one"))
        await rig.take(rig.lease("one"))
        assert not rig.held


async def test_a_copy_of_the_folder_does_not_take_it_back_and_forth() -> None:
    async with rigged() as rig:
        one, copy = rig.lease("one"), rig.lease("one")
        await rig.take(one)
        await rig.take(copy)
        keeping = asyncio.create_task(copy.keep())
        assert "it was taken by" in await asyncio.wait_for(one.keep(), 10)
        with pytest.raises(TimeoutError):
            await rig.take(one, TIMES.duration * 2)
        assert rig.held
        keeping.cancel()


async def test_it_is_given_up_in_time_when_it_can_not_be_renewed() -> None:
    async with rigged() as rig:
        one = rig.lease("one")
        await rig.take(one)
        rig.server.away = True
        assert await asyncio.wait_for(one.keep(), 10) == "it could not be renewed for 1.2 s"
        rig.server.away = False
        await rig.take(one)
        assert not rig.held, "nobody else had it meanwhile"


async def test_it_is_kept_by_one_request_a_renewal() -> None:
    async with rigged() as rig:
        one = rig.lease("one")
        await rig.take(one)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(one.keep(), 2.0)
        assert rig.server.holder == "one"
        assert 2 <= rig.server.writes <= 8


async def test_a_refusal_names_the_rights_that_are_missing() -> None:
    async with rigged() as rig:
        rig.server.away = True
        with pytest.raises(TimeoutError):
            await rig.take(rig.lease("one"), 0.3)
    assert (
        "needs get, create and update of leases (coordination.k8s.io) in the namespace felloe-system"
        in (rig.refused[0])
    )


async def test_a_server_that_does_not_answer_is_told_as_that() -> None:
    async with rigged() as rig:
        rig.server.silent = True
        with pytest.raises(TimeoutError):
            await rig.take(rig.lease("one"), TIMES.request * 3)
    assert rig.refused[0].endswith("can't be had: no answer in time")
