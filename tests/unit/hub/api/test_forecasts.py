"""The API streams a plan, bounds what it tells, makes few at a time, and says where one broke off."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import httpx
import orjson
import pytest

from felloe.errors import ConfigError, FelloeError, SourceError
from felloe.identity import ObjectId
from hub.api import forecasts as plans
from hub.changes.grouping import Groups, Seen
from hub.changes.model import Action, FieldChange, ObjectChange, Operation, Placed, WorkloadChange
from hub.planning.forecast import Forecast, Progress
from hub.planning.order import StageOrder, TrackOrder
from hub.rollout.model import Track
from tests.unit.hub.api.inmemory import APPS, Served

ORDER = (
    TrackOrder(Track("sync", "dev"), (StageOrder("canary", ("dev-1",), 3, ("ok (approval)",), 600.0),), "careful"),
)


def placed(number: int, size: int = 1) -> Placed:
    field = FieldChange("data.v", Operation.REPLACE, "1", "2" * size)
    objects = (ObjectChange(ObjectId("", "ConfigMap", "shop", f"c{number}"), "v1", Action.UPDATE, (field,)),)
    return Placed(WorkloadChange(APPS, "sync", Action.UPDATE, objects, fingerprint=number.to_bytes(4)))


def forecast(groups: Groups, **more: object) -> Forecast:
    return Forecast("main@sha1:2", "main@sha1:1", groups, ORDER, "a subject", "Ada", **more)  # type: ignore[arg-type]


def two_clusters() -> Groups:
    groups = Groups()
    groups.add(Seen("dev-1", environment="dev"), [placed(1)])
    groups.add(Seen("prod-1", environment="production"), [])
    return groups


def lines(answer: httpx.Response) -> list[dict[str, object]]:
    return [line for line in map(orjson.loads, answer.content.splitlines()) if line["type"] != "PROGRESS"]


async def ask(admin: httpx.AsyncClient, content: bytes = b"", **params: str) -> httpx.Response:
    return await admin.post("/api/v1/plan", params=params, content=content)


async def test_groups_and_what_they_come_to(running: Served, admin: httpx.AsyncClient) -> None:
    running.hub.forecasts = [Progress("comparing", 1, 2), forecast(two_clusters(), troubles={"c": "no", "b": "no"})]
    answer = await ask(admin, revision="feature", cluster="dev-1", labelSelector="env=dev")
    assert answer.status_code == 200
    group, end = lines(answer)
    assert group["type"] == "GROUP"
    assert group["object"] == {
        "title": "cluster dev-1", "clusters": ["dev-1"], "paused": 0,
        "workloads": [{
            "kind": "Kustomization", "namespace": "flux-system", "name": "apps", "unit": "sync", "change": "update",
            "options": [], "variables": [], "findings": [],
            "stages": [{"track": "sync@dev", "stage": "canary", "clusters": 1}],
            "objects": [{
                "apiVersion": "v1", "kind": "ConfigMap", "namespace": "shop", "name": "c1", "change": "update",
                "fields": [{"path": "data.v", "operation": "replace", "before": "1", "after": "2"}],
            }],
        }],
    }  # fmt: skip
    assert end == {"type": "END", "object": {
        "kind": "Plan", "revision": "main@sha1:2", "baseRevision": "main@sha1:1", "subject": "a subject",
        "author": "Ada", "clusters": 4, "changedClusters": 1,
        "objects": {"create": 0, "update": 1, "delete": 0, "release": 0},
        "order": [{
            "track": "sync@dev", "rollout": "careful", "after": "", "afterSoak": "", "afterApproval": False,
            "stages": [{
                "name": "canary", "clusters": ["dev-1"], "members": 3, "gates": ["ok (approval)"], "soak": "10m",
            }],
        }],
        "findings": {"note": 0, "warning": 0, "error": 0},
        "failed": [{"message": "no", "clusters": ["b", "c"]}], "groupsWithoutFields": 0, "groupsLeftOut": 0,
    }}  # fmt: skip
    assert running.hub.calls == [("plan", "feature", 0, "dev-1")]


async def test_a_checkout_is_the_body(running: Served, admin: httpx.AsyncClient) -> None:
    running.hub.forecasts = [forecast(Groups())]
    assert (await ask(admin, b"archive")).status_code == 200
    assert running.hub.calls == [("plan", "", 7, "")]


@pytest.mark.parametrize(
    ("content", "params", "code", "says"),
    [
        (b"", {}, 400, "either ?revision="),
        (b"archive", {"revision": "main"}, 400, "either ?revision="),
        (b"", {"revision": "main", "what": "1"}, 400, "unknown parameter 'what'"),
        (b"", {"revision": "main", "labelSelector": "=,="}, 422, "says nothing"),
        (b"x" * 2000, {}, 413, "longer than 1000 bytes"),
    ],
)
async def test_what_can_not_begin(
    running: Served, admin: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, content: bytes,
    params: dict[str, str], code: int, says: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(plans, "MOST_BYTES", 1000)
    answer = await ask(admin, content, **params)
    assert answer.status_code == code
    assert says in answer.json()["message"]
    assert running.hub.calls == []


@pytest.mark.parametrize(
    ("error", "code"), [(ConfigError("it does not load"), 422), (SourceError("no such ref"), 502), (KeyError("x"), 500)]
)
async def test_what_ends_in_an_error_says_so(
    running: Served, admin: httpx.AsyncClient, error: Exception, code: int
) -> None:
    running.hub.forecasts = [error]
    (last,) = lines(await ask(admin, revision="main"))
    assert last["type"] == "ERROR"
    status = last["object"]
    assert isinstance(status, dict)
    assert status["code"] == code
    assert str(error) in status["message"] or not isinstance(error, FelloeError)


async def test_only_two_are_made_at_a_time(running: Served, admin: httpx.AsyncClient) -> None:
    gate = asyncio.Event()
    running.hub.forecasts = [gate, forecast(Groups())]
    waiting = [asyncio.create_task(ask(admin, revision="main")) for _ in range(2)]
    async with asyncio.timeout(10):
        while len(running.hub.calls) < 2:  # noqa: ASYNC110 -- a test asks from outside
            await asyncio.sleep(0.01)
    assert (await ask(admin, revision="main")).status_code == 429
    gate.set()
    assert [lines(each)[-1]["type"] for each in await asyncio.gather(*waiting)] == ["END", "END"]
    assert lines(await ask(admin, revision="main"))[-1]["type"] == "END"


async def test_a_client_that_goes_ends_its_plan(running: Served, admin: httpx.AsyncClient) -> None:
    running.hub.forecasts = [asyncio.Event()]
    for _ in range(3):  # more than may be under way
        async with admin.stream("POST", "/api/v1/plan", params={"revision": "main"}) as answer:
            assert answer.status_code == 200
            await anext(answer.aiter_lines())
        await asyncio.sleep(0.2)


def told(groups: Groups) -> tuple[list[dict[str, object]], dict[str, object]]:
    answer = plans._Told(forecast(groups))
    shown = [orjson.loads(line)["object"] for line in answer.groups()]
    return shown, answer.summary()


def fields(group: dict[str, object]) -> Sequence[object]:
    workloads = group["workloads"]
    assert isinstance(workloads, list)
    found: Sequence[object] = workloads[0]["objects"][0]["fields"]
    return found


def test_a_large_answer_loses_fields_first_and_then_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = Groups()
    for number in range(10):
        groups.add(Seen(f"c{number}"), [placed(number, 1000)])
    monkeypatch.setattr(plans, "_DETAILED", 5000)
    shown, summary = told(groups)
    assert [bool(fields(group)) for group in shown].count(False) == summary["groupsWithoutFields"] == 7
    monkeypatch.setattr(plans, "_TOLD", 6000)
    shown, summary = told(groups)
    assert len(shown) + int(str(summary["groupsLeftOut"])) == 10
    assert len(shown) < 9
    assert summary["objects"] == {"create": 0, "update": 10, "delete": 0, "release": 0}


async def test_a_plan_that_takes_too_long_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never() -> object:
        await asyncio.Event().wait()
        yield

    run = plans._Run(never(), seconds=0.01)  # type: ignore[arg-type]
    *_, last = [orjson.loads(line) async for line in run.lines()]
    assert (last["type"], last["object"]["code"]) == ("ERROR", 503)
    assert "not done within" in last["object"]["message"]


async def test_it_needs_a_credential(anyone: httpx.AsyncClient) -> None:
    assert (await anyone.post("/api/v1/plan", params={"revision": "main"})).status_code == 401
