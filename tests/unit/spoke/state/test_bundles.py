"""What a spoke has on disk is whole after any crash, and never believed unseen."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from felloe.bundle import Bundle
from felloe.digest import Digest
from felloe.errors import BundleError, StoreError
from spoke.state import BundleStore, Part, StoredBundle, WrongObjectError
from tests.unit.hub.link.samples import ENVIRONMENT, make_bundle, sha


def fill(store: BundleStore, *workloads: dict[str, str]) -> Bundle:
    def put(data: bytes) -> Digest:
        store.add([Part(sha(data), 0, len(data), data)])
        return sha(data)

    return make_bundle(put, *workloads)


def stored(bundle: Bundle, generation: int, epoch: int = 1) -> StoredBundle:
    return StoredBundle(epoch, generation, bundle, "trace", 1000.0)


def test_it_is_there_after_a_restart(tmp_path: Path) -> None:
    store = BundleStore(tmp_path)
    bundle = fill(store, {"a": "1", "b": "2"})
    store.commit(stored(bundle, 4, epoch=7))
    store.close()
    again = BundleStore(tmp_path)
    assert again.current == stored(bundle, 4, epoch=7)
    assert again.epoch == 7
    assert again.missing(bundle) == []
    assert stat.S_IMODE((tmp_path / "bundles.db").stat().st_mode) == 0o600


def test_a_bundle_that_lacks_an_object_is_not_committed(tmp_path: Path) -> None:
    store = BundleStore(tmp_path)
    with pytest.raises(BundleError, match="1 objects of the bundle are not here"):
        store.commit(stored(make_bundle(sha, {"a": "1"}), 1))
    assert store.current is None


def test_what_no_bundle_needs_goes_but_the_one_before_stays(tmp_path: Path) -> None:
    store = BundleStore(tmp_path)
    bundles = []
    for number in range(3):
        bundles.append(fill(store, {"a": str(number)}))
        store.commit(stored(bundles[-1], number + 1))
    assert [len(store.missing(bundle)) for bundle in bundles] == [1, 0, 0]


def test_a_damaged_object_is_missing_and_told(tmp_path: Path) -> None:
    store = BundleStore(tmp_path)
    bundle = fill(store, {"a": "1"})
    store.commit(stored(bundle, 1))
    (name,) = bundle.digests()
    store.close()
    with sqlite3.connect(tmp_path / "bundles.db") as db:
        db.execute("UPDATE blobs SET data = x'00'")
    db.close()
    again = BundleStore(tmp_path)
    told: list[Digest] = []
    again.on_damage = told.append
    assert again.get(name) is None
    assert told == [name]
    assert again.missing(bundle) == [name]


def test_a_wrong_object_is_not_kept(tmp_path: Path) -> None:
    store = BundleStore(tmp_path)
    with pytest.raises(WrongObjectError) as raised:
        store.add([Part(sha(b"one"), 0, 3, b"two")])
    assert raised.value.digest == sha(b"one")
    store.add([Part(sha(b"abcdef"), 0, 6, b"abc")])
    with pytest.raises(WrongObjectError):
        store.add([Part(sha(b"abcdef"), 3, 6, b"xyz")])
    assert store.offset(sha(b"abcdef")) == 0
    assert store.get(sha(b"abcdef")) is None


def test_another_hub_counts_from_the_beginning(tmp_path: Path) -> None:
    store = BundleStore(tmp_path)
    store.trust(b"one")
    bundle = fill(store, {"a": "1"})
    store.commit(stored(bundle, 4, epoch=7))
    store.trust(b"one")
    assert store.epoch == 7
    store.trust(b"two")
    assert store.epoch == 0
    store.close()
    again = BundleStore(tmp_path)
    assert again.current is not None
    assert (again.current.epoch, again.current.generation) == (0, 0)
    assert again.current.bundle == bundle


def test_what_another_disk_had_is_taken_over_unless_there_is_something_newer(tmp_path: Path) -> None:
    store = BundleStore(tmp_path)
    there = replace(stored(fill(store, {"a": "1"}), 4, epoch=7), hub=b"one")
    assert store.restore(there, 9) == there
    assert (store.epoch, store.trusted, store.doubtful) == (9, b"one", True)
    newer = replace(stored(fill(store, {"a": "2"}), 5, epoch=9), hub=b"one")
    store.commit(newer)
    assert not store.doubtful
    assert store.restore(there, 9) == store.current == newer


def test_what_another_disk_had_of_another_hub_counts_from_the_beginning(tmp_path: Path) -> None:
    store = BundleStore(tmp_path)
    store.trust(b"two")
    there = replace(stored(fill(store, {"a": "1"}), 4, epoch=7), hub=b"one")
    assert store.restore(there, 9) == replace(there, epoch=0, generation=0)
    assert (store.epoch, store.trusted) == (0, b"two")


def test_a_folder_has_a_name_of_its_own_that_stays(tmp_path: Path) -> None:
    one, two = BundleStore(tmp_path / "one"), BundleStore(tmp_path / "two")
    name = one.instance
    assert len({name, two.instance}) == 2
    one.close()
    assert BundleStore(tmp_path / "one").instance == name


def test_a_file_of_the_version_before_keeps_its_epoch_and_waits_for_the_hub(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "bundles.db") as db:
        db.executescript(
            "CREATE TABLE hub (one INTEGER PRIMARY KEY, trust BLOB NOT NULL, epoch INTEGER NOT NULL);"
            "INSERT INTO hub VALUES (1, x'01', 6);"
            "CREATE TABLE bundles (number INTEGER PRIMARY KEY, epoch INTEGER); PRAGMA user_version = 1;"
        )
    db.close()
    store = BundleStore(tmp_path)
    assert (store.epoch, store.trusted, store.current) == (6, b"\x01", None)
    store.commit(stored(fill(store, {"a": "1"}), 1, epoch=6))


def test_a_damaged_file_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "bundles.db").write_bytes(b"this is no database" * 1000)
    store = BundleStore(tmp_path)
    assert store.current is None
    assert (tmp_path / "bundles.db.damaged").exists()


def test_two_spokes_can_not_share_a_folder(tmp_path: Path) -> None:
    store = BundleStore(tmp_path)
    store.see_epoch(1)
    with pytest.raises(StoreError, match="another spoke runs with this state folder"):
        BundleStore(tmp_path)


COMMITS = """
import sys
from pathlib import Path
from spoke.state import BundleStore
from tests.unit.spoke.state.test_bundles import fill, stored

store = BundleStore(Path(sys.argv[1]))
number = store.current.generation if store.current else 0
while True:
    number += 1
    store.commit(stored(fill(store, {f"c{n}": f"{number}" * 50 for n in range(40)}), number))
    print(number, flush=True)
"""


def test_killed_in_the_middle_of_a_commit_it_has_the_old_or_the_new_bundle_whole(tmp_path: Path) -> None:
    confirmed = 0
    for attempt in range(6):
        command = [sys.executable, "-c", COMMITS, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=ENVIRONMENT) as process:
            assert process.stdout is not None
            for _ in range(3):
                confirmed = int(process.stdout.readline())
            time.sleep(0.003 * attempt)
            process.kill()
            for line in process.stdout:
                confirmed = int(line)
        store = BundleStore(tmp_path)
        assert store.current is not None
        assert store.current.generation - confirmed in (0, 1)
        expected = f"{store.current.generation}" * 50
        contents = [store.get(name) or b"" for name in store.current.bundle.digests()]
        assert len(contents) == 40
        assert all(expected.encode() in content for content in contents)
        store.close()
