"""What people see of the audit log and of the history."""

from __future__ import annotations

import json
from pathlib import Path

import orjson
import pytest

from felloe.digest import Digest
from felloe.identity import WorkloadId
from hub.audit import Action, AuditLog, policy
from hub.store import AuditQuery, AuditRecord, Publication, SqliteStore
from tests.unit.hub.api.inmemory import APPS, REVISION, Threaded
from tests.unit.hub.cli.conftest import Felloe

AT = 1_767_323_045.0
OTHER = WorkloadId("Kustomization", "other", "apps")


@pytest.fixture
def log(hub: Threaded) -> None:
    """Three entries at the end of the log, which goes on from test to test as logs do."""

    def write() -> None:
        audit = AuditLog(hub.served.store, clock=lambda: AT)
        audit.record(
            "anna", Action.ROLLOUT_APPROVED, clusters=["a", "b", "c", "d"], track="shop", reason="é\u2028\x9b1m"
        )
        audit.record("anna", Action.WORKLOAD_SUSPENDED, clusters=["dev-1"], workload="flux-system/apps")
        audit.record(
            policy("careful"), Action.ROLLOUT_STARTED, track="shop@production", revision=REVISION, author="ben"
        )

    hub.do(lambda _: write())


def test_the_audit_log_as_a_table(log: None, hub: Threaded, felloe: Felloe) -> None:
    head, *lines = felloe("audit").out.splitlines()
    assert head.split() == ["NUMBER", "AT", "WHO", "ACTION", "ABOUT", "CLUSTERS", "REASON"]
    approved, suspended, started = (line.split(maxsplit=1)[1] for line in lines[-3:])
    assert approved.split("   ")[0] == "2026-01-02T03:04:05Z"
    assert "a, b, c and 1 more" in approved
    assert "\x9b" not in approved
    assert "WorkloadSuspended" in suspended
    assert "flux-system/apps" in suspended
    assert "policy/careful" in started
    assert "shop@production main@sha1:1234abcd (ben)" in started
    assert felloe("audit", "--action", "RolloutStarted", "--cluster", "dev-1").err == "no entries\n"
    assert all("WorkloadSuspended" in line for line in felloe("audit", "--cluster", "dev-1").out.splitlines()[1:])
    refused = felloe("audit", "--action", "Nothing")
    assert (refused.code, "RolloutApproved" in refused.err) == (1, True)


def test_an_export_is_every_page_as_it_was_written_and_can_be_checked(
    log: None, hub: Threaded, felloe: Felloe, tmp_path: Path
) -> None:
    audit = AuditLog(hub.served.store, clock=lambda: AT)
    hub.do(lambda _: [audit.record("anna", Action.ROLLOUT_PAUSED) for _ in range(1100)])
    exported = felloe("audit", "-o", "json").out
    lines = exported.split("\n")[:-1]
    assert [json.loads(line)["number"] for line in lines] == list(range(1, len(lines) + 1))
    assert len(lines) > 1100
    file = tmp_path / "audit.jsonl"
    file.write_text(exported)
    hub.do(lambda _: audit.record("anna", Action.ROLLOUT_RESUMED))
    assert felloe("audit", "verify").out.startswith(f"entries 1 to {len(lines) + 1} follow on each other; ")
    assert f"and begin with those of {file}" in felloe("audit", "verify", str(file)).out


def test_an_export_that_is_not_the_hubs_is_told(log: None, hub: Threaded, felloe: Felloe, tmp_path: Path) -> None:
    exported = felloe("audit", "-o", "json").out
    file = tmp_path / "audit.jsonl"
    file.write_text(exported.replace("anna", "ben"))
    changed = felloe("audit", "verify", str(file))
    assert (changed.code, "was changed" in changed.err) == (1, True)
    store = SqliteStore(tmp_path / "hub.db")
    AuditLog(store).record("carl", Action.ROLLOUT_PAUSED)
    file.write_text("".join(f"{record.entry}\n" for record in store.audit(AuditQuery())))
    another = felloe("audit", "verify", str(file))
    assert (another.code, "entry 1 of the hub's audit log is another one" in another.err) == (1, True)
    longer = SqliteStore(tmp_path / "longer.db")
    for line in exported.split("\n")[:-1]:
        entry = json.loads(line)
        longer.add_audit(AuditRecord(entry["number"], AT, entry["who"], entry["action"], line), [])
    AuditLog(longer).record("carl", Action.ROLLOUT_PAUSED)
    file.write_text("".join(f"{record.entry}\n" for record in longer.audit(AuditQuery(limit=10_000))))
    cut = felloe("audit", "verify", str(file))
    assert (cut.code, "entries are missing" in cut.err) == (1, True)
    missing = felloe("audit", "verify", str(tmp_path / "none.jsonl"))
    assert (missing.code, "can't be read" in missing.err) == (1, True)


def test_the_history_of_a_cluster_and_of_a_workload(hub: Threaded, felloe: Felloe) -> None:
    def write(store: SqliteStore) -> None:
        detail = {
            "revision": REVISION,
            "formerRevision": "main@sha1:" + "00" * 20,
            "authors": ["anna"],
            "via": [{"track": "shop@production", "release": 12, "who": "policy/careful", "approvers": ["carl"]}],
            "workloads": [
                {**APPS._asdict(), "change": "changed", "revision": "main@sha1:" + "aa" * 20, "formerRevision": ""},
                {**OTHER._asdict(), "change": "removed", "revision": "", "formerRevision": "main@sha1:" + "bb" * 20},
            ],
        }
        root = Digest(b"r" * 32)
        store.publish(Publication("dev-1", root, b""), AT)
        store.add_history("dev-1", 1, AT, orjson.dumps(detail).decode(), [APPS, OTHER])
        store.reached("dev-1", root, AT + 95, healthy=True)

    hub.do(lambda _: write(hub.served.store))
    head, line = felloe("history", "--cluster", "dev-1").out.splitlines()
    assert head.split() == ["AT", "CLUSTER", "GENERATION", "REVISION", "BEFORE", "HEALTHY", "AUTHOR", "THROUGH"]
    assert line.startswith("2026-01-02T03:04:05Z   dev-1     1 ")
    assert "main@sha1:1234abcd   main@sha1:00000000   95s " in line
    assert line.endswith("anna     shop@production release 12 by policy/careful, approved by carl")
    assert "main@sha1:aaaaaaaa   -" in felloe("history", "--workload", "flux-system/apps").out
    assert "removed    main@sha1:bbbbbbbb" in felloe("history", "--workload", "other/apps").out
    shown = json.loads(felloe("history", "--cluster", "dev-1", "--workload", "apps", "-o", "json").out)
    assert [(one["cluster"], one["healthyAt"], one["appliedAt"]) for one in shown["items"]] == [
        ("dev-1", "2026-01-02T03:05:40Z", None)
    ]
    assert "there is no workload 'none'" in felloe("history", "--workload", "none").err
    assert felloe("history").code == 2
    unknown = felloe("history", "--cluster", "none")
    assert (unknown.code, "there are: dev-1" in unknown.err) == (1, True)
