"""The API streams differences, says where they broke off, and lets go of the spoke with its client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import orjson
import pytest

from felloe.errors import FelloeError
from felloe.v1 import bundle_pb2
from felloe.v1 import diff_pb2 as pb
from hub.link.queries import AwayError, QueryError
from tests.unit.hub.api.inmemory import Served

APPS = bundle_pb2.WorkloadId(kind="Kustomization", namespace="flux-system", name="apps")
DIFFERENCES = [
    pb.Difference(
        object=pb.ObjectDifference(
            workload=APPS,
            id=bundle_pb2.ObjectId(kind="ConfigMap", namespace="shop", name="settings"),
            api_version="v1",
            change=pb.CHANGE_UPDATE,
            diff="-a\n+b\n",
        )
    ),
    pb.Difference(workload=pb.WorkloadDifference(id=APPS, objects=3, same=2)),
]


def lines(answer: httpx.Response) -> list[dict[str, object]]:
    return [orjson.loads(line) for line in answer.content.splitlines()]


async def test_differences_are_lines_of_json(running: Served, admin: httpx.AsyncClient) -> None:
    running.hub.differences = DIFFERENCES
    answer = await admin.get("/api/v1/clusters/dev-1/diff", params={"workload": "apps", "revision": "main"})
    assert answer.status_code == 200
    changed, summary, end = lines(answer)
    assert changed == {
        "type": "OBJECT",
        "object": {
            "workload": {"kind": "Kustomization", "namespace": "flux-system", "name": "apps"},
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "namespace": "shop",
            "name": "settings",
            "change": "update",
            "message": "",
            "diff": "-a\n+b\n",
        },
    }
    assert summary["type"] == "WORKLOAD"
    assert end["type"] == "END"
    assert running.hub.calls == [("diff", "dev-1", "apps", "main"), ("diff left",)]


@pytest.mark.parametrize(
    ("path", "error", "code", "says"),
    [
        ("dev-1/diff", AwayError("cluster dev-1 is not connected"), 503, "not connected"),
        ("dev-9/diff", None, 404, "there is no cluster 'dev-9'"),
        ("dev-1/diff?what=1", None, 400, "unknown parameter 'what'"),
    ],
)
async def test_what_can_not_begin_is_an_error(
    running: Served, admin: httpx.AsyncClient, path: str, error: FelloeError | None, code: int, says: str
) -> None:
    running.hub.diff_error = error
    answer = await admin.get(f"/api/v1/clusters/{path}")
    assert answer.status_code == code
    assert says in answer.json()["message"]


async def test_an_answer_that_breaks_off_says_so(running: Served, admin: httpx.AsyncClient) -> None:
    running.hub.differences = DIFFERENCES[:1]
    running.hub.diff_error = QueryError("the spoke is gone")
    *_, last = lines(await admin.get("/api/v1/clusters/dev-1/diff"))
    assert last["type"] == "ERROR"
    assert last["object"] == {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "the spoke is gone", "reason": "BadGateway", "code": 502,
    }  # fmt: skip


async def test_the_spoke_is_let_go_when_the_client_goes(running: Served, admin: httpx.AsyncClient) -> None:
    async def endless() -> AsyncIterator[pb.Difference]:
        yield DIFFERENCES[0]
        await asyncio.Event().wait()

    running.hub._differences = endless  # type: ignore[method-assign]
    async with admin.stream("GET", "/api/v1/clusters/dev-1/diff") as answer:
        await anext(answer.aiter_lines())
        assert ("diff left",) not in running.hub.calls
    async with asyncio.timeout(10):
        while ("diff left",) not in running.hub.calls:  # noqa: ASYNC110 -- a test asks from outside
            await asyncio.sleep(0.01)


async def test_it_needs_the_credential(anyone: httpx.AsyncClient) -> None:
    assert (await anyone.get("/api/v1/clusters/dev-1/diff")).status_code == 401
