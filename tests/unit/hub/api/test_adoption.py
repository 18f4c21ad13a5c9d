"""What the API takes for a wish to take a cluster over, and what not."""

from __future__ import annotations

import httpx
import pytest

from tests.unit.hub.api.inmemory import Served

PATH = "/api/v1/clusters/dev-1/adopt/flux"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"undo": 1}, "undo"),
        ({"frozen": "yes"}, "frozen"),
        ({"leftovers": "burn"}, "leftovers"),
        ({"force": True}, "force"),
    ],
)
async def test_a_wish_that_is_not_understood_does_nothing(
    running: Served, admin: httpx.AsyncClient, body: dict[str, object], field: str
) -> None:
    answer = await admin.post(PATH, json=body)
    assert answer.status_code == 422
    assert field in answer.json()["message"]
    assert not running.hub.calls


@pytest.mark.parametrize("params", [{"undo": "1"}, {"frozen": ""}, {"yes": "true"}])
async def test_a_question_that_is_not_understood(
    running: Served, admin: httpx.AsyncClient, params: dict[str, str]
) -> None:
    assert (await admin.get(PATH, params=params)).status_code == 400
    assert not running.hub.calls


async def test_nobody_takes_a_cluster_over_without_a_token(running: Served, anyone: httpx.AsyncClient) -> None:
    assert (await anyone.post(PATH, json={})).status_code == 401
    assert not running.hub.calls
