"""Blobs are what their digest says, or missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from felloe.digest import digest
from felloe.errors import StoreError
from hub.store import FolderBlobs


def test_put_get_and_again_after_a_restart(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    contents = [b"", b"a", b"x" * 3_000_000]
    names = [blobs.put(content) for content in contents]
    assert [blobs.get(name) for name in names] == contents
    again = FolderBlobs(tmp_path)
    assert len(again) == 3
    assert [again.get(name) for name in names] == contents
    assert digest(b"other") not in again
    assert again.get(digest(b"other")) is None


@pytest.mark.parametrize("damage", [b"", b"garbage"])
def test_a_damaged_blob_is_missing_and_can_be_put_again(tmp_path: Path, damage: bytes) -> None:
    blobs = FolderBlobs(tmp_path)
    name = blobs.put(b"content")
    (file,) = (path for path in tmp_path.rglob("*") if path.is_file())
    file.write_bytes(damage)
    assert blobs.get(name) is None
    assert name not in blobs
    blobs.put(b"content")
    assert blobs.get(name) == b"content"


def test_what_was_half_written_goes(tmp_path: Path) -> None:
    (tmp_path / "ab").mkdir()
    (tmp_path / "ab" / "cd.partial").write_bytes(b"half")
    assert len(FolderBlobs(tmp_path)) == 0
    assert not list((tmp_path / "ab").iterdir())


def test_collecting_spares_what_is_needed_and_what_is_new(tmp_path: Path) -> None:
    now = 1000.0
    blobs = FolderBlobs(tmp_path, clock=lambda: now)
    kept, old, renewed = (blobs.put(content) for content in (b"kept", b"old", b"renewed"))
    now = 5000.0
    blobs.put(b"renewed")
    new = blobs.put(b"new")
    assert blobs.collect({kept}, older_than=3600.0) == 1
    assert [name in blobs for name in (kept, old, renewed, new)] == [True, False, True, True]


def test_a_disk_that_refuses_is_told(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path / "blobs")
    (tmp_path / "blobs").rmdir()
    (tmp_path / "blobs").write_bytes(b"no folder any more")
    with pytest.raises(StoreError, match="can't write a blob"):
        blobs.put(b"content")
