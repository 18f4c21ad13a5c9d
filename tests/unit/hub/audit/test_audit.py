"""What is in the audit log stays there, as it was written, and shows where it did not."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from felloe.errors import FelloeError, StoreError
from hub.audit import Action, AuditLog, Chain, policy
from hub.audit.chain import ChainError
from hub.store import AuditQuery, SqliteStore

NOW = 1_767_323_045.25


@pytest.fixture
def store(tmp_path: Path) -> SqliteStore:
    return SqliteStore(tmp_path / "hub.db")


@pytest.fixture
def audit(store: SqliteStore) -> AuditLog:
    return AuditLog(store, clock=lambda: NOW)


def lines(store: SqliteStore, **query: object) -> list[str]:
    return [one.entry for one in store.audit(AuditQuery(**query))]  # type: ignore[arg-type]


def chained(entries: list[str]) -> Chain:
    chain = Chain()
    for entry in entries:
        chain.add(entry)
    return chain


def test_an_entry_says_who_did_what_to_which_clusters_and_why(store: SqliteStore, audit: AuditLog) -> None:
    audit.record("anna", Action.ROLLOUT_APPROVED, clusters={"b", "a"}, reason="tried it", track="shop", gate="ok")
    audit.record(policy("careful"), Action.ROLLOUT_FINISHED, track="shop", revision="main@sha1:1", author="ben")
    first, second = (json.loads(line) for line in lines(store))
    assert first.pop("previous") == "0" * 64
    assert first == {
        "number": 1,
        "at": "2026-01-02T03:04:05.250000Z",
        "who": "anna",
        "action": "RolloutApproved",
        "reason": "tried it",
        "track": "shop",
        "clusters": ["a", "b"],
        "detail": {"gate": "ok"},
    }
    assert (second["number"], second["who"], second["author"]) == (2, "policy/careful", "ben")


def test_entries_are_found_by_number_cluster_action_and_time(store: SqliteStore) -> None:
    times = iter([100.0, 200.0, 300.0])
    audit = AuditLog(store, clock=lambda: next(times))
    audit.record("anna", Action.ROLLOUT_PAUSED, clusters=["a"])
    audit.record("anna", Action.ROLLOUT_RESUMED, clusters=["a", "b"])
    audit.record("ben", Action.ROLLOUT_PAUSED, clusters=["b"])

    def found(**query: object) -> list[int]:
        return [json.loads(line)["number"] for line in lines(store, **query)]

    assert found() == [1, 2, 3]
    assert found(after=1) == [2, 3]
    assert found(after=1, limit=1) == [2]
    assert found(cluster="b") == [2, 3]
    assert found(action="RolloutPaused") == [1, 3]
    assert found(since=200.0) == [2, 3]
    assert found(cluster="b", action="RolloutPaused", since=301.0) == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET who = 'ben'",
        "DELETE FROM audit WHERE number = 1",
        "INSERT OR REPLACE INTO audit VALUES (1, 0, 'ben', 'x', '{}')",
        "INSERT INTO audit VALUES (9, 0, 'ben', 'x', '{}')",
        "UPDATE audit_clusters SET cluster = 'b'",
        "DELETE FROM audit_clusters",
    ],
)
def test_the_state_itself_refuses_to_change_or_remove_an_entry(
    tmp_path: Path, store: SqliteStore, audit: AuditLog, statement: str
) -> None:
    audit.record("anna", Action.ROLLOUT_PAUSED, clusters=["a"])
    before = lines(store)
    store.close()
    connection = sqlite3.connect(tmp_path / "hub.db")
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(statement)
    connection.close()
    assert lines(SqliteStore(tmp_path / "hub.db")) == before


def test_an_act_that_is_not_written_is_not_in_the_log_either(store: SqliteStore, audit: AuditLog) -> None:
    def paused() -> None:
        with store.batch():
            audit.record("anna", Action.ROLLOUT_PAUSED)
            raise StoreError("the disk is full")

    with pytest.raises(StoreError):
        paused()
    assert audit.record("ben", Action.ROLLOUT_PAUSED) == 1
    chained(lines(store))


def test_an_act_that_fails_after_it_was_recorded_is_told_as_failed(store: SqliteStore, audit: AuditLog) -> None:
    number = audit.record("anna", Action.FLUX_ADOPTED, clusters=["a"])
    with pytest.raises(FelloeError), audit.failing(number, "anna", ["a"]):
        raise FelloeError("cluster a is not connected")
    first, second = (json.loads(line) for line in lines(store))
    assert (first["action"], first["clusters"]) == ("FluxAdopted", ["a"])
    assert (second["action"], second["reason"], second["detail"]) == (
        "Failed",
        "cluster a is not connected",
        {"failed": 1},
    )


def test_the_chain_shows_a_line_that_was_changed_left_out_or_put_in(store: SqliteStore, audit: AuditLog) -> None:
    for name in ("anna", "ben", "carl"):
        audit.record(name, Action.ROLLOUT_PAUSED, reason="é\n\x7f")
    good = lines(store)
    assert chained(good).number == 3
    with pytest.raises(ChainError, match=r"entry 2 .* does not follow on entry 1"):
        chained([good[0].replace("anna", "dora"), *good[1:]])
    with pytest.raises(ChainError, match=r"entry 1 .* followed by 3"):
        chained([good[0], good[2]])
    with pytest.raises(ChainError, match=r"entry 0 .* followed by 2"):
        chained(good[1:])
    with pytest.raises(ChainError, match="no JSON"):
        chained([good[0], "{"])


def test_every_action_is_explained_where_people_look_it_up() -> None:
    docs = Path(__file__).parents[4] / "docs" / "operations.md"
    text = docs.read_text(encoding="utf-8")
    assert [action.value for action in Action if f"`{action}`" not in text] == []
