"""Each person has a credential of their own; their name goes with what they do, and ends with the credential."""

from __future__ import annotations

import asyncio
import hashlib
import json
import ssl
from pathlib import Path

import httpx
import pytest

from felloe.errors import ConfigError
from hub.api.people import People
from hub.audit import Action, AuditLog
from hub.store import AuditQuery, SqliteStore
from tests.unit.hub.api.inmemory import APPS, Served

ADMIN = hashlib.sha256(b"secret").digest()


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store(tmp_path: Path) -> SqliteStore:
    return SqliteStore(tmp_path / "hub.db")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def people(store: SqliteStore, clock: Clock) -> People:
    return People(store, AuditLog(store, clock), ADMIN, clock)


def name_of(people: People, token: str) -> str:
    found = people.principal(token)
    return found.name if found else ""


def test_a_token_is_a_person(people: People, store: SqliteStore, tmp_path: Path) -> None:
    _, anna = people.create("anna", None, who="admin")
    _, ben = people.create("ben@example.com", None, who="admin")
    tokens = ("secret", anna, ben, "other", "")
    assert [name_of(people, token) for token in tokens] == ["admin", "anna", "ben@example.com", "", ""]
    assert people.revoke("anna", who="admin")
    assert not people.revoke("anna", who="admin")
    assert [name_of(people, token) for token in tokens] == ["admin", "", "ben@example.com", "", ""]
    store.close()
    kept = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"ben@example.com" in kept
    assert ben.encode() not in kept


def test_a_credential_ends_by_itself(people: People, clock: Clock) -> None:
    _, token = people.create("anna", 60.0, who="admin")
    with pytest.raises(ConfigError, match="anna has a credential already"):
        people.create("anna", 60.0, who="admin")
    assert name_of(people, token) == "anna"
    clock.now += 60
    assert name_of(people, token) == ""
    _, newer = people.create("anna", None, who="admin")
    assert (name_of(people, token), name_of(people, newer)) == ("", "anna")


@pytest.mark.parametrize("name", ["admin", "hub", "policy/careful", "", "a b", "-a", "a" * 64, "é", "a\n"])
def test_nobody_is_called_like_another_or_so_that_nobody_can_tell(people: People, name: str) -> None:
    with pytest.raises(ConfigError, match="can't be a person's name"):
        people.create(name, None, who="admin")
    assert people.listed() == []


def test_who_came_and_who_went_is_in_the_audit_log(people: People, store: SqliteStore) -> None:
    _, token = people.create("anna", 3600.0, who="admin", reason="new here")
    people.revoke("anna", who="admin")
    made, gone = (json.loads(record.entry) for record in store.audit(AuditQuery()))
    assert (made["action"], made["who"], made["reason"]) == ("CredentialCreated", "admin", "new here")
    assert made["detail"] == {"name": "anna", "ttl": 3600}
    assert (gone["action"], gone["detail"]) == ("CredentialRevoked", {"name": "anna"})
    assert token not in json.dumps([made, gone])


def as_person(running: Served, token: str) -> httpx.AsyncClient:
    trust = ssl.create_default_context(cadata=running.ca)
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.AsyncClient(base_url=running.url, verify=trust, trust_env=False, timeout=10, headers=headers)


async def made(admin: httpx.AsyncClient, name: str, **more: object) -> str:
    answer = await admin.post("/api/v1/credentials", json={"name": name, **more})
    assert answer.status_code == 201, answer.text
    token = answer.json()["token"]
    assert isinstance(token, str)
    return token


async def test_the_name_of_who_asks_goes_with_every_act(running: Served, admin: httpx.AsyncClient) -> None:
    async with as_person(running, await made(admin, "anna")) as anna:
        assert (await anna.get("/api/v1/whoami")).json()["name"] == "anna"
        assert (await admin.get("/api/v1/whoami")).json()["name"] == "admin"
        body = {"cluster": "dev-1", "reason": " a test "}
        assert (await anna.post("/api/v1/workloads/flux-system/apps/suspend", json=body)).status_code == 200
        assert (await admin.post("/api/v1/workloads/flux-system/apps/resume", json={"reason": ""})).status_code == 200
        assert (await anna.post("/api/v1/clusters/dev-1/revoke", json={"reason": "lost"})).json()["wasMember"] is True
    assert running.hub.told == [("anna", "a test"), ("admin", ""), ("anna", "lost")]
    assert running.hub.calls[0] == ("suspend", APPS, ("dev-1",))


@pytest.mark.parametrize("reason", [1, None, "x" * 1001])
async def test_a_reason_is_a_text_of_bearable_length(running: Served, admin: httpx.AsyncClient, reason: object) -> None:
    answer = await admin.post("/api/v1/workloads/flux-system/apps/suspend", json={"reason": reason})
    assert (answer.status_code, running.hub.calls) == (422, [])


async def test_only_the_admin_gives_credentials_and_takes_those_of_others(
    running: Served, admin: httpx.AsyncClient
) -> None:
    await made(admin, "ben")
    async with as_person(running, await made(admin, "anna", ttlSeconds=3600)) as anna:
        refused = await anna.post("/api/v1/credentials", json={"name": "carl"})
        assert (refused.status_code, "only admin may" in refused.text) == (403, True)
        assert (await anna.post("/api/v1/credentials/ben/revoke")).status_code == 403
        assert [one["name"] for one in (await anna.get("/api/v1/credentials")).json()["items"]] == ["anna", "ben"]
        assert (await anna.post("/api/v1/credentials/anna/revoke")).status_code == 200
        assert (await anna.get("/api/v1/whoami")).status_code == 401
    assert (await admin.post("/api/v1/credentials/anna/revoke")).status_code == 404
    assert (await admin.post("/api/v1/credentials/admin/revoke")).status_code == 404
    listed = (await admin.get("/api/v1/credentials")).json()["items"]
    assert [(one["name"], one["createdBy"], one["expiresAt"]) for one in listed] == [("ben", "admin", None)]
    assert "token" not in json.dumps(listed)


@pytest.mark.parametrize("body", [{}, {"name": 1}, {"name": "a", "ttlSeconds": 1}, {"name": "a", "ttlSeconds": True}])
async def test_an_impossible_credential_is_refused(admin: httpx.AsyncClient, body: dict[str, object]) -> None:
    assert (await admin.post("/api/v1/credentials", json=body)).status_code == 422


async def test_a_watch_ends_with_the_credential_that_opened_it(running: Served, admin: httpx.AsyncClient) -> None:
    async with as_person(running, await made(admin, "anna")) as anna:
        async with anna.stream("GET", "/api/v1/clusters?watch=true") as response:
            lines = response.aiter_lines()
            assert "ADDED" in await anext(lines)
            assert (await admin.post("/api/v1/credentials/anna/revoke")).status_code == 200
            async with asyncio.timeout(10):
                async for _ in lines:
                    pass
        assert (await anna.get("/api/v1/clusters")).status_code == 401


async def test_a_watch_ends_when_its_credential_expires(running: Served) -> None:
    _, token = running.people.create("anna", 3.0, who="admin")
    async with as_person(running, token) as anna, anna.stream("GET", "/api/v1/clusters?watch=true") as response:
        assert response.status_code == 200
        async with asyncio.timeout(20):
            async for _ in response.aiter_lines():
                pass


async def test_the_audit_log_comes_page_by_page_and_as_it_was_written(
    running: Served, admin: httpx.AsyncClient
) -> None:
    audit = AuditLog(running.store)
    for number in range(120):
        action = Action.ROLLOUT_PAUSED if number % 2 else Action.ROLLOUT_RESUMED
        audit.record("anna", action, clusters=[f"c-{number % 3}"])
    written = [record.entry for record in running.store.audit(AuditQuery(limit=1000))]
    assert (await admin.get("/api/v1/audit")).text.splitlines() == written
    assert (await admin.get("/api/v1/audit?after=10&limit=75")).text.splitlines() == written[10:85]
    assert (await admin.get("/api/v1/audit?action=RolloutPaused&cluster=c-1")).text.splitlines() == written[1::6]
    assert (await admin.get("/api/v1/audit?since=1h")).text.splitlines() == written
    assert (await admin.get("/api/v1/audit?since=2999-01-01T00:00:00Z")).text == ""


@pytest.mark.parametrize(
    "query", ["after=x", "after=-1", "limit=100000", "action=Nothing", "since=yesterday", "who=anna", "limit=٣"]
)
async def test_what_nobody_can_mean_is_refused(admin: httpx.AsyncClient, query: str) -> None:
    answer = await admin.get(f"/api/v1/audit?{query}")
    assert (answer.status_code, answer.json()["kind"]) == (400, "Status")
