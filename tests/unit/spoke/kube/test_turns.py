"""Writes to one object come one after the other, also those that nobody waits for any more."""

from __future__ import annotations

import asyncio
import contextlib

from aiohttp import web

from tests.spoke.apiserver import serving


class Slow:
    """A server whose first write takes until it is told to end it."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.end = asyncio.Event()
        self.done: list[str] = []

    async def __call__(self, request: web.Request) -> web.Response:
        body = await request.text() if request.method == "PATCH" else request.method
        if not self.begun.is_set():
            self.begun.set()
            await self.end.wait()
        self.done.append(body)
        return web.json_response({"kind": "X"})


async def given_up(write: asyncio.Task[object], server: Slow) -> None:
    await server.begun.wait()
    write.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await write


async def test_a_newer_write_waits_for_the_one_that_was_given_up() -> None:
    server = Slow()
    async with serving(server) as client:
        old = asyncio.create_task(client.apply("/api/v1/x/one", b"old"))
        await given_up(old, server)
        new = asyncio.create_task(client.apply("/api/v1/x/one", b"new"))
        await client.apply("/api/v1/x/other", b"other")
        server.end.set()
        await new
    assert server.done == ["other", "old", "new"]


async def test_a_look_waits_for_the_write_that_was_given_up() -> None:
    server = Slow()
    async with serving(server) as client:
        old = asyncio.create_task(client.apply("/api/v1/x/one", b"old"))
        await given_up(old, server)
        look = asyncio.create_task(client.get("/api/v1/x/one"))
        await client.get("/api/v1/x/other")
        server.end.set()
        await look
    assert server.done == ["GET", "old", "GET"]


async def test_a_client_that_is_closed_waits_for_nothing() -> None:
    server = Slow()
    async with serving(server) as client:
        old = asyncio.create_task(client.apply("/api/v1/x/one", b"old"))
        await given_up(old, server)
        server.end.set()
