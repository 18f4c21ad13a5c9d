from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import httpx
import pytest
import pytest_asyncio

from hub.rollout.model import Phase
from hub.status.facts import EnvironmentFacts
from hub.status.members import build_environment
from hub.status.resource import Collection
from hub.status.rollouts import build_rollout
from tests.unit.hub.api.inmemory import Served
from tests.unit.hub.rollouts import FACTS, NOW, STATE

PATH = "/api/v1/rollouts/shop%40production"


@pytest_asyncio.fixture
async def admin(running: Served, admin: httpx.AsyncClient) -> httpx.AsyncClient:
    running.hub.board.post(build_rollout(FACTS, None, NOW))
    production = EnvironmentFacts("production", promoted_from="staging", clusters=("prod-1",))
    running.hub.board.replace(Collection.ENVIRONMENTS, [build_environment(production, {}, {}, NOW)])
    return admin


async def test_rollouts_are_a_list_like_the_others(admin: httpx.AsyncClient) -> None:
    for query in ("", "?name=shop%40production", "?labelSelector=fleet.felloe.io/environment%3Dproduction"):
        (rollout,) = (await admin.get(f"/api/v1/rollouts{query}")).json()["items"]
        assert (rollout["kind"], rollout["metadata"]["name"]) == ("Rollout", "shop@production")
    assert (await admin.get("/api/v1/rollouts?cluster=dev-1")).json()["items"] == []


async def test_the_rollouts_of_a_cluster(running: Served, admin: httpx.AsyncClient) -> None:
    member = replace(FACTS.members[0], name="prod-1")
    running.hub.board.post(build_rollout(replace(FACTS, members=(member,)), None, NOW))
    assert len((await admin.get("/api/v1/rollouts?cluster=prod-1")).json()["items"]) == 1


async def test_every_act_reaches_the_hub_with_who_and_why(running: Served, admin: httpx.AsyncClient) -> None:
    asked = {
        "pause": {},
        "resume": {},
        "retry": {"reason": " network is back "},
        "abort": {"reason": "no"},
        "undo": {"reason": "no", "release": 12},
        "approve": {"reason": "looks good", "stage": "rest", "gate": "ok"},
        "skip-soak": {"reason": "hotfix", "stage": "canary"},
    }
    for act, body in asked.items():
        answer = await admin.post(f"{PATH}/{act}", json=body)
        assert (answer.status_code, answer.json()["act"]) == (200, act), answer.text
    name = "shop@production"
    assert [call[:2] + call[3:] for call in running.hub.calls] == [
        ("pause", name, "", "", "", 0),
        ("resume", name, "", "", "", 0),
        ("retry", name, "network is back", "", "", 0),
        ("abort", name, "no", "", "", 0),
        ("undo", name, "no", "", "", 12),
        ("approve", name, "looks good", "rest", "ok", 0),
        ("skip-soak", name, "hotfix", "canary", "", 0),
    ]
    assert {call[2] for call in running.hub.calls} == {"admin"}


@pytest.mark.parametrize(
    ("act", "body", "code", "says"),
    [
        ("explode", {}, 404, "there are pause, resume, approve, abort, undo, retry, skip-soak"),
        ("undo", {}, 422, "reason: say why"),
        ("abort", {"reason": "  "}, 422, "reason: say why"),
        ("undo", {"reason": "x" * 1001}, 422, "at most 1000"),
        ("undo", {"reason": "no", "release": 11}, 409, "at release 12 now, not at 11"),
        ("undo", {"reason": "no", "release": "12"}, 422, "release: must be"),
        ("approve", {"reason": "y", "gate": "ok"}, 422, "stage: say which one; there are: canary, rest"),
        ("approve", {"reason": "y", "gate": "ok", "stage": "canary"}, 404, "no gate 'ok'; there are no gates"),
        ("approve", {"reason": "y", "stage": "rest"}, 422, "gate: say which one; there are: ok, smoke"),
        ("approve", {"reason": "y", "stage": "rest", "gate": "smok"}, 404, "there are: ok, smoke"),
        ("skip-soak", {"reason": "y", "stage": "last"}, 404, "no stage 'last'"),
        ("pause", {"resaon": "y"}, 422, "resaon"),
    ],
)
async def test_what_can_not_be_meant_is_refused(
    running: Served, admin: httpx.AsyncClient, act: str, body: dict[str, object], code: int, says: str
) -> None:
    answer = await admin.post(f"{PATH}/{act}", json=body)
    assert answer.status_code == code
    assert says in answer.json()["message"]
    assert not running.hub.calls


async def test_a_rollout_that_is_not_there(admin: httpx.AsyncClient) -> None:
    answer = await admin.post("/api/v1/rollouts/shop/pause", json={})
    assert (answer.status_code, "there are: shop@production" in answer.json()["message"]) == (404, True)


async def test_a_promotion(running: Served, admin: httpx.AsyncClient) -> None:
    body = {"track": "shop@production", "revision": "1234abcd", "reason": "tested"}
    assert (await admin.post("/api/v1/promotions", json=body)).status_code == 200
    assert running.hub.calls == [("promote", "shop@production", "1234abcd", "admin", "tested", False)]
    assert (await admin.post("/api/v1/promotions", json=body | {"skipSoak": True})).status_code == 200
    assert running.hub.calls[-1][-1] is True


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        ({"track": "shop", "reason": "x"}, 422, "NAME@ENVIRONMENT"),
        ({"track": "@production", "reason": "x"}, 422, "NAME@ENVIRONMENT"),
        ({"track": "shop@produktion", "reason": "x"}, 404, "there are: production"),
        ({"track": "shop@production"}, 422, "reason"),
        ({"track": "shop@production", "reason": "x", "skipSoak": "yes"}, 422, "skipSoak: must be true or false"),
    ],
)
async def test_a_promotion_that_can_not_be(
    admin: httpx.AsyncClient, running: Served, body: dict[str, object], code: int, says: str
) -> None:
    answer = await admin.post("/api/v1/promotions", json=body)
    assert (answer.status_code, says in answer.json()["message"]) == (code, True)
    assert not running.hub.calls


async def test_the_fleet_and_a_watch_of_it(running: Served, admin: httpx.AsyncClient) -> None:
    fleet = (await admin.get("/api/v1/fleet")).json()
    (track,) = next(one for one in fleet["environments"] if one["name"] == "production")["tracks"]
    assert (track["phase"], track["moving"]) == ("Progressing", 1)
    async with asyncio.timeout(20), admin.stream("GET", "/api/v1/fleet?watch=true") as response:
        told = response.aiter_lines()
        assert json.loads(await anext(told)) == {"type": "ADDED", "object": fleet}
        paused = replace(FACTS, state=replace(STATE, phase=Phase.PAUSED, reason="lunch", who="ann"))
        running.hub.board.post(build_rollout(paused, None, NOW))
        async for line in told:
            change = json.loads(line)
            if change["type"] == "MODIFIED":
                assert change["object"]["waits"][0]["message"] == "release 12: paused by ann: lunch"
                break
    assert (await admin.get("/api/v1/fleet?cluster=a")).status_code == 400
