"""Objects by their digest, each kept once and compressed once.

Blobs are a cache: Git is where they come from, and rendering is deterministic. So nothing here is synced to disk; what
a power cut damaged shows when it is read (its digest is wrong), counts as missing, and comes back with the next render.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Final, Protocol

import zstandard

from felloe.digest import Digest, digest
from felloe.errors import StoreError

MAX_BLOB: Final = 64 * 1024 * 1024
"""Bytes; far above what an API server takes (etcd refuses 1.5 MiB), low enough to never fill the memory."""


class Blobs(Protocol):
    """Content by its sha256."""

    def put(self, data: bytes) -> Digest:
        """Keep `data` and return its digest."""
        ...

    def get(self, name: Digest) -> bytes | None:
        """Return the verified content, None where it is not here or damaged (then it counts as missing)."""
        ...

    def __contains__(self, name: object) -> bool:
        """Tell whether the content is here, without reading it."""
        ...

    def collect(self, keep: AbstractSet[Digest], *, older_than: float) -> int:
        """Remove what is not in `keep` and was last put more than `older_than` seconds ago; return how many."""
        ...


class FolderBlobs:
    """Blobs as zstd files ``ab/cdef…`` in a folder; which ones there are is known in memory (about 150 bytes each).

    Safe to use from several threads: collecting takes long and may run in one of its own.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        """Open or create the folder. Raise StoreError where that fails."""
        self._folder = folder
        self._clock = clock
        self._changing = threading.Lock()
        self._compressor = zstandard.ZstdCompressor(level=3)
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._put_at = dict(self._scan())
        except OSError as error:
            raise StoreError(f"can't read the blobs in {folder}: {error}") from error

    def _scan(self) -> list[tuple[Digest, float]]:
        found = []
        for shard in self._folder.iterdir():
            for file in shard.iterdir():
                if file.suffix:  # half written when the hub was killed
                    file.unlink()
                    continue
                found.append((Digest(bytes.fromhex(shard.name + file.name)), file.stat().st_mtime))
        return found

    def _path(self, name: Digest) -> Path:
        text = name.hex()
        return self._folder / text[:2] / text[2:]

    def __contains__(self, name: object) -> bool:
        """Tell whether the content is here."""
        return name in self._put_at

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._put_at)

    def put(self, data: bytes) -> Digest:
        """Keep `data` and return its digest. Raise StoreError where it is too large or the disk refuses it."""
        name = digest(data)
        if len(data) > MAX_BLOB:
            raise StoreError(f"an object has {len(data)} bytes, more than {MAX_BLOB}")
        with self._changing:
            if name not in self._put_at:
                self._write(self._path(name), self._compressor.compress(data))
            self._put_at[name] = self._clock()
        return name

    def _write(self, path: Path, content: bytes) -> None:
        partial = path.with_suffix(".partial")
        try:
            path.parent.mkdir(exist_ok=True, mode=0o700)
            partial.write_bytes(content)
            os.replace(partial, path)  # noqa: PTH105 -- the one call whose atomicity is promised
        except OSError as error:
            raise StoreError(f"can't write a blob to {path}: {error}") from error

    def get(self, name: Digest) -> bytes | None:
        """Return the verified content, None where it is not here or damaged."""
        if name not in self._put_at:
            return None
        try:
            packed = self._path(name).read_bytes()
            data = zstandard.ZstdDecompressor().decompress(packed, max_output_size=MAX_BLOB)
            if digest(data) == name:
                return data
        except (OSError, zstandard.ZstdError):
            pass
        with self._changing:
            self._drop(name)
        return None

    def _drop(self, name: Digest) -> None:
        self._put_at.pop(name, None)
        try:
            self._path(name).unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"can't remove the blob {self._path(name)}: {error}") from error

    def collect(self, keep: AbstractSet[Digest], *, older_than: float) -> int:
        """Remove what is not in `keep` and was last put more than `older_than` seconds ago; return how many."""
        limit = self._clock() - older_than
        gone = 0
        for name in [name for name in list(self._put_at) if name not in keep]:
            with self._changing:
                if self._put_at.get(name, limit) < limit:  # it may have been put again meanwhile
                    self._drop(name)
                    gone += 1
        return gone
