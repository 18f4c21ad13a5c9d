"""The hub's state is the same after it was killed at any point."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from felloe.bundle import Bundle
from felloe.digest import Digest
from felloe.errors import StoreError
from felloe.identity import WorkloadId
from hub.link.frames import unpack_bundle
from hub.store import (
    Approval,
    Desired,
    Issued,
    Mark,
    Publication,
    SourceState,
    Spending,
    SqliteStore,
    StatusRecord,
    Token,
)
from hub.store.sqlite import HISTORY_KEPT
from tests.unit.hub.link.samples import ENVIRONMENT

NOW = 1_000_000.0
KEY = b"k" * 32
SECRET = b"s" * 32
APPS = WorkloadId("Kustomization", "flux-system", "apps")


def root(number: int) -> Digest:
    return Digest(number.to_bytes(32, "big"))


def publication(number: int, cluster: str = "dev") -> Publication:
    return Publication(cluster, root(number), f"bundle {number}".encode(), f"rev{number}", "plan", "trace")


@pytest.fixture
def store(tmp_path: Path) -> SqliteStore:
    return SqliteStore(tmp_path / "hub.db")


def reopened(store: SqliteStore, tmp_path: Path) -> SqliteStore:
    store.close()
    return SqliteStore(tmp_path / "hub.db")


def enrolled(store: SqliteStore, serial: str, key: bytes = KEY, ident: str = "t1") -> Spending:
    if store.token(ident) is None:
        store.add_token(Token(ident, SECRET, "dev", {"env": "dev"}, NOW + 60))
    return store.spend_token(ident, SECRET, Issued(serial, key, NOW + 3600), NOW)


def test_every_start_is_a_later_epoch(tmp_path: Path) -> None:
    epochs = []
    for at_least in (0, 0, 41, 0):
        store = SqliteStore(tmp_path / "hub.db", epoch_at_least=at_least)
        epochs.append(store.epoch)
        store.close()
    assert epochs == [1, 2, 41, 42]


def test_the_file_is_its_owners_and_one_processes(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "data" / "hub.db")
    assert stat.S_IMODE((tmp_path / "data" / "hub.db").stat().st_mode) == 0o600
    with pytest.raises(StoreError, match="another hub runs with this data folder"):
        SqliteStore(tmp_path / "data" / "hub.db")
    store.close()


def test_what_is_no_store_or_of_a_newer_hub_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_bytes(b"not a database" * 1000)
    with pytest.raises(StoreError, match="restore it from a backup"):
        SqliteStore(tmp_path / "text.db")
    SqliteStore(tmp_path / "hub.db").close()
    with sqlite3.connect(tmp_path / "hub.db") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StoreError, match="schema version 99"):
        SqliteStore(tmp_path / "hub.db")


def test_a_generation_rises_only_with_another_root(store: SqliteStore, tmp_path: Path) -> None:
    assert [store.publish(publication(n), NOW).generation for n in (1, 1, 2, 1)] == [1, 1, 2, 3]
    same = store.publish(Publication("dev", root(1), b"bundle 1", "rev9", "new plan", "later"), NOW + 9)
    assert (same.revision, same.plan, same.traceparent, same.published_at) == ("rev9", "new plan", "trace", NOW)
    store.acked("dev", 2, root(2), NOW + 1)
    store.refused("dev", root(2), "of an older root")
    again = reopened(store, tmp_path)
    expected = Desired("dev", 3, root(1), "rev9", "new plan", "trace", NOW, 2, root(2), NOW + 1, "")
    assert again.desired("dev") == expected
    assert again.all_desired() == [expected]
    assert again.bundle(root(2)) == b"bundle 2"


def test_former_bundles_are_kept_for_deltas_and_only_so_many(store: SqliteStore) -> None:
    for number in range(1, 13):
        store.publish(publication(number), NOW)
    store.publish(publication(1, "other"), NOW)
    known = {number for number in range(1, 13) if store.bundle(root(number)) is not None}
    assert known == {1, *range(4, 13)}
    assert len(store.roots()) == len(known)
    store.remove_cluster("dev")
    assert store.roots() == [root(1)]
    assert store.desired("dev") is None


def test_a_refusal_lasts_until_the_next_root_or_ack(store: SqliteStore) -> None:
    def refusal() -> str:
        desired = store.desired("dev")
        assert desired is not None
        return desired.refusal

    store.publish(publication(1), NOW)
    store.refused("dev", root(1), "damaged")
    assert refusal() == "damaged"
    store.acked("dev", 1, root(1), NOW)
    assert refusal() == ""
    store.refused("dev", root(1), "damaged")
    store.publish(publication(2), NOW)
    assert refusal() == ""


def test_a_batch_is_whole_or_nothing(store: SqliteStore, tmp_path: Path) -> None:
    with suppress(ZeroDivisionError), store.batch():
        store.publish(publication(1), NOW)
        store.mark(Mark(APPS, suspended=True))
        _ = 1 / 0
    with store.batch():
        store.publish(publication(2, "other"), NOW)
    again = reopened(store, tmp_path)
    assert [desired.cluster for desired in again.all_desired()] == ["other"]
    assert again.marks() == {}


def test_tokens_are_spent_once(store: SqliteStore) -> None:
    assert enrolled(store, "01") is Spending.SPENT
    assert enrolled(store, "02", key=b"another") is Spending.USED
    assert store.cluster_of_certificate("01") == "dev"
    assert enrolled(store, "03") is Spending.REPEATED  # the same key: its answer was lost
    assert [store.cluster_of_certificate(serial) for serial in ("01", "02", "03")] == [None, None, "dev"]
    assert store.spend_token("t1", b"wrong", Issued("04", KEY, NOW), NOW) is Spending.UNKNOWN
    assert store.spend_token("none", SECRET, Issued("04", KEY, NOW), NOW) is Spending.UNKNOWN
    assert store.spend_token("t1", SECRET, Issued("04", KEY, NOW), NOW + 61) is Spending.EXPIRED
    assert store.spend_token("t1", SECRET, Issued("04", KEY, NOW), NOW + 2 * 86400) is Spending.UNKNOWN


def test_a_repeat_does_not_undo_a_revocation_or_a_newer_enrolment(store: SqliteStore) -> None:
    enrolled(store, "01")
    enrolled(store, "02", key=b"reinstalled", ident="t2")
    assert enrolled(store, "03") is Spending.USED
    assert store.cluster_of_certificate("02") == "dev"
    assert store.revoke("dev")
    assert store.cluster_of_certificate("02") is None
    assert store.spend_token("t2", SECRET, Issued("04", b"reinstalled", NOW), NOW) is Spending.UNKNOWN
    member = store.cluster("dev")
    assert member is not None
    assert member.revoked
    assert not store.revoke("nobody")


def test_a_renewal_keeps_the_old_certificate_until_the_new_one_is_used(store: SqliteStore) -> None:
    enrolled(store, "01")
    for serial in ("02", "03"):  # the first answer was lost
        assert store.renew_certificate("01", Issued(serial, KEY, NOW))
    assert [store.cluster_of_certificate(serial) for serial in ("01", "02", "03")] == ["dev", None, "dev"]
    assert store.renew_certificate("03", Issued("04", KEY, NOW))
    assert not store.renew_certificate("01", Issued("05", KEY, NOW))


def test_what_is_told_comes_back(store: SqliteStore, tmp_path: Path) -> None:
    enrolled(store, "01")
    store.seen("dev", NOW + 5, {"nodes": "3"})
    store.seen("dev", NOW + 6)
    store.save_status("dev", b"one", NOW)
    store.save_status("dev", b"two", NOW + 1)
    store.mark(Mark(APPS, "dev", suspended=True, requested_at="now"))
    store.mark(Mark(APPS, requested_at="later"))
    store.mark(Mark(APPS))
    store.save_source(SourceState("GitRepository/a/b", "main@sha1:1", "1", '{"x":1}'))
    again = reopened(store, tmp_path)
    member = again.cluster("dev")
    assert member is not None
    assert (member.last_seen, member.facts, member.labels) == (NOW + 6, {"nodes": "3"}, {"env": "dev"})
    assert again.clusters() == [member]
    assert again.statuses() == [StatusRecord("dev", b"two", NOW + 1)]
    assert again.marks() == {("dev", APPS): Mark(APPS, "dev", suspended=True, requested_at="now")}
    assert list(again.sources()) == ["GitRepository/a/b"]


def test_an_approval_is_kept_until_it_is_withdrawn_or_its_cluster_goes(store: SqliteStore, tmp_path: Path) -> None:
    first, second = (Approval("dev", APPS, prune, "somebody", NOW) for prune in ("one", "two"))
    store.approve(first)
    store.approve(second)
    store.withdraw(first)
    again = reopened(store, tmp_path)
    assert again.approvals() == [second]
    again.approve(Approval("staging", APPS, "one", "somebody", NOW))
    again.withdraw(second)
    again.remove_cluster("staging")
    assert again.approvals() == []


PUBLISHES = """
import sys
from pathlib import Path
from hub.link.enrolment import Enrolment
from hub.link.frames import pack_bundle
from hub.pki import Authority, Peer, Role
from hub.store import FolderBlobs, Publication, SqliteStore
from felloe.jointoken import decode_token
from felloe.v1 import enrolment_pb2
from spoke.keys import make_csr
from cryptography.hazmat.primitives.asymmetric import ec
from tests.unit.hub.link.samples import make_bundle

data = Path(sys.argv[1])
store, blobs, authority = SqliteStore(data / "hub.db"), FolderBlobs(data / "blobs"), Authority.open(data / "pki")
enrolment = Enrolment(store, authority)
csr = make_csr(ec.generate_private_key(ec.SECP256R1()))
number = max((desired.generation for desired in store.all_desired()), default=0)
print(authority.fingerprint.hex(), flush=True)
while True:
    number += 1
    bundle = make_bundle(blobs.put, {f"c{n}": f"{number}" * 20 for n in range(5)})
    publication = Publication("dev", bundle.root, pack_bundle(bundle), f"rev{number}")
    generation = store.publish(publication, 0.0).generation
    token = decode_token(enrolment.create_token(f"c{number}", {}, 60.0))
    request = enrolment_pb2.EnrolRequest(token_id=token.id, token_secret=token.secret, csr=csr)
    enrolment.enrol(Peer(Role.BOOTSTRAP, token.id, "", 0.0), request)
    print(generation, bundle.root.hex(), f"c{number}", flush=True)
"""


def test_killed_at_any_point_it_comes_up_with_the_same_roots_and_members(tmp_path: Path) -> None:
    from hub.store import FolderBlobs

    roots: dict[int, str] = {}
    members: set[str] = set()
    authorities = set()
    for attempt in range(6):
        command = [sys.executable, "-c", PUBLISHES, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
            assert process.stdout is not None
            authorities.add(process.stdout.readline())
            lines = [process.stdout.readline() for _ in range(3)]
            time.sleep(0.004 * attempt)
            process.kill()
            for line in [*lines, *process.stdout]:
                generation, name, member = line.split()
                roots[int(generation)] = name
                members.add(member)
        store = SqliteStore(tmp_path / "hub.db")
        desired = store.desired("dev")
        assert desired is not None
        newest = max(roots)
        assert desired.generation - newest in (0, 1)
        if desired.generation == newest:
            assert desired.root.hex() == roots[newest]
        assert members <= {cluster.name for cluster in store.clusters()}
        bundle = unpack_bundle(store.bundle(desired.root) or b"")
        assert isinstance(bundle, Bundle)
        assert bundle.root == desired.root
        blobs = FolderBlobs(tmp_path / "blobs")
        assert all(blobs.get(name) is not None for name in bundle.digests())
        assert store.epoch == 2 * attempt + 2
        store.close()
    assert len(authorities) == 1


def test_the_history_of_a_cluster_is_bounded_and_shares_what_many_clusters_have(store: SqliteStore) -> None:
    last = HISTORY_KEPT + 5
    for generation in range(1, last + 1):
        for cluster in ("dev", "other") if generation == 1 else ("dev",):
            store.add_history(cluster, generation, NOW + generation, f"{{{generation}}}", [APPS])
    kept = [(record.generation, record.detail) for record in store.history(cluster="dev", limit=1000)]
    assert kept == [(generation, f"{{{generation}}}") for generation in range(6, last + 1)]
    assert [(record.cluster, record.detail) for record in store.history(cluster="other")] == [("other", "{1}")]
    assert len(store.history(workload="apps", namespace="flux-system", limit=1000)) == HISTORY_KEPT + 1
    assert [record.generation for record in store.history(workload="apps", limit=2)] == [last - 1, last]
    assert store.history(workload="other") == []
    details = [row[0] for row in store._db.rows("SELECT detail FROM moves ORDER BY number")]
    assert details == ["{1}", *(detail for _, detail in kept)], "what nobody has any more is gone"
    moved = store._db.rows("SELECT COUNT(*) FROM moved_workloads")
    assert moved == [(len(details),)]
