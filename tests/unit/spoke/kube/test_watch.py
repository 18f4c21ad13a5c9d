"""Lists and watches that end in every way they can."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import orjson
from aiohttp import web

from felloe.errors import KubernetesError
from spoke.kube.watch import Key, Reflector, key_of
from tests.spoke.apiserver import Handler, serving, status


class Recorder:
    def __init__(self) -> None:
        self.log: list[str] = []
        self.moved = asyncio.Event()

    def seen(self, obj: dict[str, Any]) -> None:
        self._note(f"seen {key_of(obj)[1]}")

    def gone(self, obj: dict[str, Any]) -> None:
        self._note(f"gone {key_of(obj)[1]}")

    def listed(self, keys: set[Key], version: int) -> None:
        self._note(f"listed {sorted(name for _, name in keys)} at {version}")

    def failed(self, error: KubernetesError) -> None:
        self._note(f"failed {error}")

    def _note(self, line: str) -> None:
        self.log.append(line)
        self.moved.set()


def obj(name: str, version: int) -> dict[str, Any]:
    return {"metadata": {"namespace": "shop", "name": name, "resourceVersion": str(version)}}


def page(*items: dict[str, Any], version: int, token: str = "") -> web.Response:
    return web.json_response({"metadata": {"resourceVersion": str(version), "continue": token}, "items": list(items)})


async def events(request: web.Request, *lines: dict[str, Any]) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    data = b"".join(orjson.dumps(line) + b"\n" for line in lines)
    for start in range(0, len(data), 7):  # an event may arrive in any number of pieces
        await response.write(data[start : start + 7])
    return response


async def follow(handler: Handler, until: Callable[[list[str]], bool]) -> list[str]:
    sink = Recorder()
    async with serving(handler) as client:
        task = asyncio.create_task(Reflector(client, "/api/v1/things", {"labelSelector": "ours"}, sink).run())
        async with asyncio.timeout(20):
            while not until(sink.log):
                sink.moved.clear()
                await sink.moved.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return sink.log


async def test_a_list_of_pages_and_then_what_changes() -> None:
    watched: list[str] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        assert request.query["labelSelector"] == "ours"
        if "watch" not in request.query:
            if "continue" in request.query:
                return page(obj("b", 2), version=3)
            return page(obj("a", 1), version=3, token="next")
        watched.append(request.query["resourceVersion"])
        if len(watched) == 1:
            return await events(
                request,
                {"type": "ADDED", "object": obj("c", 4)},
                {"type": "BOOKMARK", "object": obj("", 9)},
            )
        return await events(request, {"type": "DELETED", "object": obj("a", 10)})

    log = await follow(handler, lambda log: "gone a" in log)
    assert log[:4] == ["seen a", "seen b", "listed ['a', 'b'] at 3", "seen c"]
    assert watched[:2] == ["3", "9"]


async def test_a_version_that_is_too_old_leads_to_a_new_list() -> None:
    lists = 0

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal lists
        if "watch" not in request.query:
            lists += 1
            return page(obj("a", lists), version=lists)
        if lists == 1:
            gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
            return await events(request, {"type": "ERROR", "object": gone})
        return await events(request, {"type": "ADDED", "object": obj("b", 5)})

    log = await follow(handler, lambda log: "seen b" in log)
    assert log[:5] == ["seen a", "listed ['a'] at 1", "seen a", "listed ['a'] at 2", "seen b"]


async def test_a_broken_connection_goes_on_where_it_was_without_a_list() -> None:
    watches = 0

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal watches
        if "watch" not in request.query:
            return page(version=1)
        watches += 1
        if watches == 1:
            response = await events(request, {"type": "ADDED", "object": obj("a", 7)})
            assert request.transport
            request.transport.abort()
            return response
        assert request.query["resourceVersion"] in {"1", "7"}
        return await events(request, {"type": "ADDED", "object": obj("b", 8)})

    log = await follow(handler, lambda log: "seen b" in log)
    assert [line for line in log if line.startswith("listed")] == ["listed [] at 1"]


async def test_a_refusal_is_told_and_tried_again() -> None:
    tries = 0

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal tries
        tries += 1
        if tries < 3:
            return status(403, "Forbidden", "you may not list things")
        if "watch" in request.query:
            return await events(request)
        return page(version=1)

    log = await follow(handler, lambda log: "listed [] at 1" in log)
    assert log[0] == "failed you may not list things"


async def test_a_server_that_is_busy_for_a_moment_is_not_listed_again() -> None:
    watches: list[str] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            return page(obj("a", 1), version=3)
        watches.append(request.query["resourceVersion"])
        codes = {1: 429, 2: 500, 3: 503, 4: 504}
        if code := codes.get(len(watches)):
            return status(code, "Reason", "busy")
        return await events(request, {"type": "ADDED", "object": obj("b", 5)})

    log = await follow(handler, lambda log: "seen b" in log)
    assert [line for line in log if line.startswith(("listed", "failed"))] == ["listed ['a'] at 3"]
    assert watches[:5] == ["3"] * 5


async def test_a_pause_that_the_server_asks_for_is_kept_before_the_next_watch() -> None:
    at: list[float] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            return page(version=3)
        at.append(asyncio.get_running_loop().time())
        if len(at) == 1:
            return status(429, "TooManyRequests", "busy", **{"Retry-After": "1"})
        return await events(request, {"type": "ADDED", "object": obj("b", 5)})

    await follow(handler, lambda log: "seen b" in log)
    assert at[1] - at[0] >= 0.99


async def test_whatever_ends_a_watch_with_an_error_leads_to_a_new_list() -> None:
    lists = 0

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal lists
        if "watch" not in request.query:
            lists += 1
            return page(version=lists)
        if lists < 3:
            error = {"kind": "Status", "code": 500, "reason": "InternalError", "message": "etcd event is lost"}
            return await events(request, {"type": "ERROR", "object": error})
        return await events(request, {"type": "ADDED", "object": obj("b", 5)})

    log = await follow(handler, lambda log: "seen b" in log)
    assert [line for line in log if line.startswith("listed")][:3] == [f"listed [] at {number}" for number in (1, 2, 3)]


async def test_an_expired_page_begins_the_list_anew() -> None:
    lists = 0

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal lists
        if "watch" in request.query:
            return await events(request)
        if "continue" in request.query:
            return status(410, "Expired", "the continue token is too old") if lists == 1 else page(version=9)
        lists += 1
        return page(obj("a", 1), version=9, token="next")

    log = await follow(handler, lambda log: any(line.startswith("listed") for line in log))
    assert log == ["seen a", "seen a", "listed ['a'] at 9"]


async def test_what_is_refused_is_tried_at_once_when_rights_change() -> None:
    allowed = False

    async def handler(request: web.Request) -> web.StreamResponse:
        if not allowed:
            return status(403, "Forbidden", "you may not list things")
        if "watch" in request.query:
            return await events(request)
        return page(version=1)

    sink = Recorder()
    async with serving(handler) as client, asyncio.timeout(20):
        reflector = Reflector(client, "/api/v1/things", {}, sink)
        task = asyncio.create_task(reflector.run())
        while len(sink.log) < 5:  # by now it asks rarely
            sink.moved.clear()
            reflector.again()
            await sink.moved.wait()
        allowed = True
        sink.moved.clear()
        reflector.again()
        while "listed [] at 1" not in sink.log:
            await sink.moved.wait()
            sink.moved.clear()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
