"""Requests to an API server that is busy, broken or refuses."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Callable
from email.utils import formatdate

import orjson
import pytest
from aiohttp import web

from felloe.errors import KubernetesError
from spoke.kube.client import KubeClient
from spoke.kube.pace import MOST
from tests.spoke.apiserver import serving, status


async def test_an_apply_says_who_we_are_and_takes_over() -> None:
    async def handler(request: web.Request) -> web.Response:
        assert request.method == "PATCH"
        assert dict(request.query) == {
            "fieldManager": "felloe",
            "force": "true",
            "fieldValidation": "Ignore",
        }
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


@pytest.mark.parametrize(
    "message",
    [
        "failed to create typed patch object (inv/web; apps/v1, Kind=Deployment): .spec.replica: field not declared",
        "etcdserver: request is too large",
        'Internal error occurred: failed calling webhook "a.example.com": context deadline exceeded',
    ],
)
async def test_what_fails_the_same_each_time_is_told_at_once_and_not_taken_to_be_done_later(message: str) -> None:
    tries, lost = 0, 0

    async def handler(_: web.Request) -> web.Response:
        nonlocal tries
        tries += 1
        return status(500, "InternalError", message)

    def count() -> None:
        nonlocal lost
        lost += 1

    async with serving(handler) as client:
        with pytest.raises(KubernetesError, match=message[:20]):
            await client.apply("/api/v1/namespaces/x/configmaps/a", b"{}", lost=count)
    assert (tries, lost) == (1, 0)


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


@pytest.mark.parametrize(
    "refusal",
    [
        lambda: status(429, "TooManyRequests", "busy", **{"Retry-After": "1"}),
        lambda: status(504, "Timeout", "the request timed out", **{"Retry-After": "1"}),
        lambda: web.json_response(
            {"kind": "Status", "code": 500, "message": "later", "details": {"retryAfterSeconds": 1}}, status=500
        ),
        lambda: status(503, "ServiceUnavailable", "later", **{"Retry-After": formatdate(time.time() + 2, usegmt=True)}),
    ],
    ids=["429", "504", "in the body", "a date"],
)
async def test_a_pause_that_is_asked_for_is_kept(refusal: Callable[[], web.Response]) -> None:
    tries: list[float] = []

    async def handler(_: web.Request) -> web.Response:
        tries.append(time.monotonic())
        return refusal() if len(tries) == 1 else web.json_response({"kind": "X"})

    async with serving(handler) as client:
        assert await client.get("/api/v1/x") == {"kind": "X"}
    assert tries[1] - tries[0] >= 0.99


async def test_a_redirect_is_not_followed() -> None:
    seen = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(request.path)
        return web.Response(status=302, headers={"Location": "/elsewhere"})

    async with serving(handler, token="secret") as client:
        with pytest.raises(KubernetesError):
            await client.get("/api/v1/x")
    assert seen == ["/api/v1/x"]


async def test_who_is_impersonated_is_named_and_checked_before_each_request() -> None:
    seen: list[str] = []
    there = True

    async def handler(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Impersonate-User", ""))
        assert "Impersonate-Group" not in request.headers
        return web.json_response({})

    async def check() -> None:
        if not there:
            raise KubernetesError("is not there", status=403)

    async with serving(handler) as client:
        acting = client.impersonating("system:serviceaccount:shop:deployer", check)
        await acting.get("/api/v1/x")
        await acting.apply("/api/v1/x", b"{}")
        await acting.delete("/api/v1/x", "uid")
        async with acting.stream("/api/v1/x", {"watch": "1"}, accept="application/json", seconds=5):
            pass
        await client.get("/api/v1/x")
        there = False
        with pytest.raises(KubernetesError, match="is not there"):
            await acting.get("/api/v1/x")
        with pytest.raises(KubernetesError, match="is not there"):
            async with acting.stream("/api/v1/x", {"watch": "1"}, accept="application/json", seconds=5):
                pass
    assert seen == ["system:serviceaccount:shop:deployer"] * 4 + [""]


async def test_a_watch_in_which_nothing_arrives_any_more_ends() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"{}\n")
        await asyncio.sleep(30)
        return response

    async def follow(client: KubeClient) -> None:
        async with client.stream("/api/v1/x", {}, accept="application/json", seconds=300) as content:
            parts = content.iter_any()
            assert await anext(parts) == b"{}\n"
            await anext(parts)

    async with serving(handler, silent_seconds=0.2) as client, asyncio.timeout(20):
        with pytest.raises(KubernetesError, match="can't be reached"):
            await follow(client)


async def test_a_connection_notices_when_its_other_end_is_gone() -> None:
    options: list[int] = []

    async def handler(_: web.Request) -> web.Response:
        for descriptor in os.listdir("/proc/self/fd"):  # noqa: PTH208 - nothing blocks there
            with contextlib.suppress(OSError), socket.socket(fileno=os.dup(int(descriptor))) as found:
                if found.family == socket.AF_INET and found.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE):
                    options.append(found.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT))
        return web.json_response({})

    async with serving(handler) as client:
        await client.get("/api/v1/x")
    assert 30000 in options


async def test_small_requests_are_not_compared_with_large_ones() -> None:
    """A record is written before the first object, both are ConfigMaps, and its time would make theirs look short."""

    async def handler(_: web.Request) -> web.Response:
        return web.json_response({})

    async with serving(handler) as client:
        for _ in range(12):
            await client.apply("/api/v1/namespaces/felloe-system/configmaps/inventory", b"x" * 50_000)
        for number in range(40):
            await client.apply(f"/api/v1/namespaces/shop/configmaps/{number}", b"x")
        assert len(client._pace._alone) == 2


@pytest.mark.parametrize("cancelled_first", [True, False], ids=["while it is asked", "before it is asked once more"])
async def test_an_apply_that_was_sent_and_not_answered_is_told_of_also_when_its_caller_is_gone(
    *, cancelled_first: bool
) -> None:
    asked, answer, lost = asyncio.Event(), asyncio.Event(), asyncio.Event()
    requests = 0

    async def handler(request: web.Request) -> web.Response:
        nonlocal requests
        requests += 1
        asked.set()
        if requests == 1:
            await answer.wait()
            assert request.transport
            request.transport.abort()
        else:
            await asyncio.Event().wait()
        return web.json_response({})

    async with serving(handler) as client, asyncio.timeout(10):
        apply = asyncio.create_task(client.apply("/api/v1/x/y", b"{}", lost=lost.set))
        await asked.wait()
        if cancelled_first:
            apply.cancel()
        answer.set()
        await lost.wait()
        apply.cancel()
        await asyncio.gather(apply, return_exceptions=True)


async def test_an_apply_whose_connection_was_closed_before_its_answer_may_be_done_late() -> None:
    """It was an old one, so that the request is made once more at once; the first may be under way all the same."""
    lost: list[None] = []
    applies = 0

    async def handler(request: web.Request) -> web.Response:
        nonlocal applies
        await request.read()
        if request.method == "PATCH" and (applies := applies + 1) == 1:
            assert request.transport
            request.transport.abort()
        return web.json_response({})

    async with serving(handler) as client:
        await client.get("/api/v1/x/y")
        await client.apply("/api/v1/x/y", b"{}", lost=lambda: lost.append(None))
    assert applies == 2
    assert len(lost) == 1


async def test_an_apply_with_an_answer_is_not_lost() -> None:
    lost: list[None] = []

    async def handler(_: web.Request) -> web.Response:
        return status(409, "Conflict", "no")

    async with serving(handler) as client:
        with pytest.raises(KubernetesError):
            await client.apply("/api/v1/x/y", b"{}", lost=lambda: lost.append(None))
    assert not lost
