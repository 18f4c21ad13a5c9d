"""Requests to an API server that is busy, broken or refuses."""

from __future__ import annotations

import asyncio

import orjson
import pytest
from aiohttp import web

from felloe.errors import KubernetesError
from spoke.kube.pace import MOST
from tests.spoke.apiserver import serving, status


async def test_an_apply_says_who_we_are_and_takes_over() -> None:
    async def handler(request: web.Request) -> web.Response:
        assert request.method == "PATCH"
        assert dict(request.query) == {"fieldManager": "felloe", "force": "true"}
        assert request.headers["Content-Type"] == "application/apply-patch+yaml"
        assert request.headers["Authorization"] == "Bearer secret"
        assert request.headers["User-Agent"].startswith("felloe-spoke/")
        return web.json_response(await request.json(), status=201)

    async with serving(handler, token="secret") as client:
        answer = await client.apply("/api/v1/x", b'{"kind":"X"}')
    assert (answer.json(), answer.created) == ({"kind": "X"}, True)


@pytest.mark.parametrize(
    "refusal",
    [
        lambda: status(429, "TooManyRequests", "busy", **{"Retry-After": "0"}),
        lambda: status(503, "ServiceUnavailable", "soon"),
        lambda: status(500, "InternalError", "etcdserver: leader changed"),
        lambda: web.Response(status=502, text="bad gateway"),
    ],
)
async def test_what_passes_is_tried_again(refusal: type[web.Response]) -> None:
    tries = 0

    async def handler(_: web.Request) -> web.Response:
        nonlocal tries
        tries += 1
        return refusal() if tries < 3 else web.json_response({"kind": "X"})

    async with serving(handler) as client:
        assert await client.get("/api/v1/x") == {"kind": "X"}
    assert tries == 3


@pytest.mark.parametrize("code", [400, 401, 403, 404, 409, 422])
async def test_what_does_not_pass_is_told_once_in_the_servers_words(code: int) -> None:
    tries = 0

    async def handler(_: web.Request) -> web.Response:
        nonlocal tries
        tries += 1
        return status(code, "Reason", "the server's own words")

    async with serving(handler) as client:
        with pytest.raises(KubernetesError, match=r"^the server's own words$") as caught:
            await client.get("/api/v1/x")
    assert (caught.value.status, caught.value.reason, tries) == (code, "Reason", 1)


async def test_a_server_that_is_away_is_status_zero_and_names_it() -> None:
    async def handler(request: web.Request) -> web.Response:
        assert request.transport
        request.transport.abort()
        return web.Response()

    async with serving(handler) as client:
        with pytest.raises(
            KubernetesError, match=r"GET /api/v1/x: the API server http://127.* can't be reached"
        ) as caught:
            await client.get("/api/v1/x")
    assert caught.value.status == 0


async def test_an_answer_that_is_no_json_is_an_error() -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(text="<html>a proxy's login page</html>")

    async with serving(handler) as client:
        with pytest.raises(KubernetesError, match="no JSON"):
            await client.get("/api/v1/x")


async def test_a_delete_is_of_just_this_object() -> None:
    bodies = []

    async def handler(request: web.Request) -> web.Response:
        bodies.append(await request.json())
        return web.json_response({})

    async with serving(handler) as client:
        await client.delete("/api/v1/x", "the-uid", "7")
    assert bodies[0]["preconditions"] == {"uid": "the-uid", "resourceVersion": "7"}
    assert bodies[0]["propagationPolicy"] == "Background"


async def test_no_more_requests_are_in_flight_than_agreed() -> None:
    now = most = 0

    async def handler(_: web.Request) -> web.Response:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.01)
        now -= 1
        return web.Response(body=orjson.dumps({}))

    async with serving(handler) as client:
        await asyncio.gather(*(client.get("/api/v1/x") for _ in range(8 * MOST)))
    assert 1 < most <= MOST
