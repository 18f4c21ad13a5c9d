from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pytest

from hub.status.facts import EnvironmentFacts, EventFacts, PlacementFacts
from hub.status.members import build_environment, build_placement
from hub.status.resource import Collection
from tests.unit.hub.api.inmemory import APPS, NOW, REVISION, Served, cluster, workload, workload_summary

Line = dict[str, dict[str, object]]


async def names(client: httpx.AsyncClient, path: str) -> list[str]:
    answer = await client.get(f"/api/v1/{path}")
    assert answer.status_code == 200, answer.text
    assert (answer.json()["kind"], answer.json()["apiVersion"]) == ("List", "v1")
    return [item["metadata"]["name"] for item in answer.json()["items"]]


async def lines(response: httpx.Response) -> AsyncIterator[tuple[str, str]]:
    """Yield (type, name) of a watch, heartbeats left out."""
    async for line in response.aiter_lines():
        told = json.loads(line)
        metadata = told["object"]["metadata"]
        if told["type"] != "BOOKMARK" or "annotations" in metadata:
            yield told["type"], metadata.get("name", "")


async def next_line(told: AsyncIterator[tuple[str, str]]) -> tuple[str, str]:
    return await asyncio.wait_for(anext(told), 10)


@pytest.mark.parametrize("token", ["", "Bearer", "Bearer wrong", "Basic YWRtaW46", "Bearer é"])
async def test_without_the_token_nothing_is_told(anyone: httpx.AsyncClient, token: str) -> None:
    headers = {b"Authorization": token.encode()} if token else {}
    for path in ("/api/v1/clusters", "/api/v1/nothing", "/api/v1/events?watch=true"):
        answer = await anyone.get(path, headers=headers)
        assert answer.status_code == 401
        assert (answer.json()["kind"], answer.json()["reason"]) == ("Status", "Unauthorized")


async def test_lists_and_their_filters(admin: httpx.AsyncClient) -> None:
    assert await names(admin, "clusters") == ["dev-1", "prod-1", "prod-2"]
    assert await names(admin, "clusters?labelSelector=env%3Dprod") == ["prod-1", "prod-2"]
    assert await names(admin, "clusters?labelSelector=env+notin+(prod)") == ["dev-1"]
    assert await names(admin, "workloads?cluster=prod-1") == ["apps"]
    assert await names(admin, "workloads?name=flux-system/apps") == ["apps", "apps"]
    assert await names(admin, "workloads?name=other/apps") == []
    assert await names(admin, "sources") == ["fleet"]
    assert await names(admin, "environments") == []


@pytest.mark.parametrize(
    ("path", "code", "says"),
    [
        ("nothing", 404, "clusters, sources"),
        ("nothing/at/all", 404, "/api/v1/nothing/at/all"),
        ("clusters?labelSelector=a+b", 422, "label selector"),
        ("clusters?watch=maybe", 400, "maybe"),
        ("sources?cluster=dev-1", 400, "not a cluster's"),
        ("clusters?lableSelector=a", 400, "lableSelector"),
        ("events?since=yesterday", 400, "yesterday"),
        ("clusters/none/render", 404, "none"),
        ("clusters/dev-1/render?workload=none", 404, "none"),
    ],
)
async def test_what_is_not_there_is_told_as_a_status(admin: httpx.AsyncClient, path: str, code: int, says: str) -> None:
    answer = await admin.get(f"/api/v1/{path}")
    assert answer.status_code == code
    status = answer.json()
    assert (status["kind"], status["status"], status["code"]) == ("Status", "Failure", code)
    assert says in status["message"]


async def test_a_watch_tells_all_there_is_and_then_each_change(admin: httpx.AsyncClient, running: Served) -> None:
    board = running.hub.board
    async with admin.stream("GET", "/api/v1/clusters?watch=true&labelSelector=env%3Dprod") as response:
        told = lines(response)
        assert [await next_line(told) for _ in range(3)] == [("ADDED", "prod-1"), ("ADDED", "prod-2"), ("BOOKMARK", "")]
        board.post(cluster("prod-2", workload_summary(), env="prod"))
        assert await next_line(told) == ("MODIFIED", "prod-2")
        board.post(cluster("dev-1", env="other"))
        board.post(cluster("dev-1", env="prod"))
        assert await next_line(told) == ("ADDED", "dev-1")
        board.post(cluster("prod-1", env="dev"))
        assert await next_line(told) == ("DELETED", "prod-1")
        board.withdraw_cluster("prod-2")
        assert await next_line(told) == ("DELETED", "prod-2")


async def test_environments_and_placements_of_a_cluster(admin: httpx.AsyncClient, running: Served) -> None:
    facts = [EnvironmentFacts("dev", clusters=("dev-1",)), EnvironmentFacts("prod", clusters=("prod-1", "prod-2"))]
    clusters = {posted.resource.name: posted.resource for posted in running.hub.board.list(Collection.CLUSTERS)}
    running.hub.board.replace(Collection.ENVIRONMENTS, [build_environment(one, clusters, {}, NOW) for one in facts])
    placement = PlacementFacts("flux-system", "apps", (APPS,), clusters=("dev-1", "prod-1"))
    running.hub.board.replace(Collection.PLACEMENTS, [build_placement(placement, clusters, {}, NOW)])
    assert await names(admin, "environments?cluster=prod-2") == ["prod"]
    assert await names(admin, "placements?cluster=prod-2") == []
    assert await names(admin, "placements?cluster=dev-1") == ["apps"]
    shown = (await admin.get("/api/v1/environments?name=prod")).json()["items"][0]
    assert (shown["status"]["readyClusters"], shown["status"]["conditions"][0]["status"]) == (1, "Unknown")


async def test_a_quiet_watch_shows_that_it_is_alive(admin: httpx.AsyncClient) -> None:
    async with admin.stream("GET", "/api/v1/placements?watch=true") as response:
        told = response.aiter_lines()
        types = [json.loads(await asyncio.wait_for(anext(told), 10))["type"] for _ in range(3)]
    assert types == ["BOOKMARK"] * 3


async def test_events_are_listed_from_a_number_and_watched(admin: httpx.AsyncClient, running: Served) -> None:
    items = (await admin.get("/api/v1/events?since=1")).json()["items"]
    assert [item["reason"] for item in items] == ["FetchFailed"]
    async with admin.stream("GET", "/api/v1/events?watch=true&cluster=dev-1") as response:
        told = response.aiter_lines()
        assert json.loads(await anext(told))["object"]["involvedObject"]["name"] == "apps"
        running.hub.events.add(EventFacts(NOW, "Normal", "Elsewhere", "", "prod-1"))
        running.hub.events.add(EventFacts(NOW, "Normal", "Pruned", "", "dev-1"))
        while (line := json.loads(await asyncio.wait_for(anext(told), 10)))["type"] == "BOOKMARK":
            pass
        assert line["object"]["reason"] == "Pruned"


async def test_a_watcher_from_before_a_restart_of_the_hub_misses_no_events(admin: httpx.AsyncClient) -> None:
    assert len((await admin.get("/api/v1/events?since=999")).json()["items"]) == 2


async def test_a_server_that_stops_ends_its_watches(admin: httpx.AsyncClient, running: Served) -> None:
    async with admin.stream("GET", "/api/v1/clusters?watch=true") as response:
        told = response.aiter_lines()
        await anext(told)
        stopping = asyncio.create_task(running.server.stop())
        async for _ in told:
            pass
        await asyncio.wait_for(stopping, 10)


async def test_a_token_is_made_as_asked(admin: httpx.AsyncClient, running: Served) -> None:
    asked = {"cluster": "new-1", "labels": {"env": "dev"}, "ttlSeconds": 60}
    answer = await admin.post("/api/v1/tokens", json=asked)
    assert answer.status_code == 201
    assert answer.json()["token"] == "felloe1.secret"
    assert answer.json()["expiresAt"] == "2026-01-02T03:05:05Z"
    assert running.hub.calls == [("token", "new-1", {"env": "dev"}, timedelta(minutes=1))]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({}, "cluster"),
        ({"cluster": "Not A Name"}, "Not A Name"),
        ({"cluster": "a", "labels": {"a b": "c"}}, "a b"),
        ({"cluster": "a", "labels": []}, "labels"),
        ({"cluster": "a", "labels": {"a": 1}}, "a=1"),
        ({"cluster": "a", "ttlSeconds": "soon"}, "ttlSeconds"),
        ({"cluster": "a", "ttlSeconds": 0}, "ttlSeconds"),
        ({"cluster": "a", "ttlSeconds": 1e12}, "ttlSeconds"),
        ({"cluster": "a", "tll": 1}, "tll"),
    ],
)
async def test_a_token_for_something_impossible_is_refused(
    admin: httpx.AsyncClient, running: Served, asked: dict[str, object], says: str
) -> None:
    answer = await admin.post("/api/v1/tokens", json=asked)
    assert answer.status_code == 422
    assert says in answer.json()["message"]
    assert not running.hub.calls


@pytest.mark.parametrize(("body", "code"), [(b"{", 400), (b"[]", 400), (b"x" * 70_000, 413)])
async def test_a_body_that_is_none_is_refused(admin: httpx.AsyncClient, body: bytes, code: int) -> None:
    assert (await admin.post("/api/v1/tokens", content=body)).status_code == code


async def test_actions_reach_what_they_name(admin: httpx.AsyncClient, running: Served) -> None:
    assert (await admin.post("/api/v1/sources/flux-system/fleet/reconcile")).json()["revision"] == REVISION
    await admin.post("/api/v1/workloads/flux-system/apps/reconcile")
    await admin.post("/api/v1/workloads/flux-system/apps/suspend", json={"cluster": "dev-1"})
    await admin.post("/api/v1/workloads/flux-system/apps/resume", json={"cluster": "dev-1"})
    assert running.hub.calls == [
        ("fetch", "GitRepository", "flux-system", "fleet"),
        ("apply", APPS, ("dev-1", "prod-1")),
        ("suspend", APPS, ("dev-1",)),
        ("resume", APPS, ("dev-1",)),
    ]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("sources/flux-system/none/reconcile", {}),
        ("workloads/flux-system/none/suspend", {}),
        ("workloads/flux-system/apps/resume", {"cluster": "prod-2"}),
    ],
)
async def test_actions_on_what_is_not_there_do_nothing(
    admin: httpx.AsyncClient, running: Served, path: str, body: dict[str, object]
) -> None:
    assert (await admin.post(f"/api/v1/{path}", json=body)).status_code == 404
    assert not running.hub.calls


async def test_a_name_that_means_two_things_is_asked_back(admin: httpx.AsyncClient, running: Served) -> None:
    running.hub.board.replace_cluster(
        cluster("dev-1"), [workload("dev-1", namespace="one"), workload("dev-1", namespace="two")]
    )
    answer = await admin.get("/api/v1/clusters/dev-1/render?workload=apps")
    assert answer.status_code == 409
    assert "Kustomization/two/apps" in answer.json()["message"]


async def test_errors_of_the_hub_are_told_in_its_words(admin: httpx.AsyncClient, running: Served) -> None:
    running.hub.source_error = "https://git.example.com: wrong credentials"
    answer = await admin.post("/api/v1/sources/flux-system/fleet/reconcile")
    assert answer.status_code == 502
    assert answer.json()["message"] == "https://git.example.com: wrong credentials"


async def test_a_get_where_a_post_belongs(admin: httpx.AsyncClient) -> None:
    answer = await admin.get("/api/v1/workloads/flux-system/apps/suspend")
    assert (answer.status_code, answer.json()["reason"]) == (405, "MethodNotAllowed")


async def test_probes_and_metrics_need_no_token(anyone: httpx.AsyncClient, running: Served) -> None:
    assert (await anyone.get("/healthz")).text == "ok\n"
    assert (await anyone.get("/readyz")).status_code == 200
    running.hub.reasons.append("the link does not listen yet")
    answer = await anyone.get("/readyz")
    assert (answer.status_code, answer.text) == (503, "the link does not listen yet\n")
    assert "felloe_spokes_connected 2.0" in (await anyone.get("/metrics")).text


async def test_resource_versions_grow_with_changes(admin: httpx.AsyncClient, running: Served) -> None:
    before = (await admin.get("/api/v1/clusters")).json()["metadata"]["resourceVersion"]
    running.hub.board.post(cluster("dev-1", workload_summary()))
    answer = (await admin.get("/api/v1/clusters")).json()
    assert int(answer["metadata"]["resourceVersion"]) > int(before)
    assert answer["items"][0]["metadata"]["resourceVersion"] == answer["metadata"]["resourceVersion"]
    assert len(running.hub.board.list(Collection.CLUSTERS)) == 3
