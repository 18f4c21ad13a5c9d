"""Renders that were done before: on disk across restarts, the latest in memory, failures only in memory."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections import OrderedDict
from pathlib import Path

import orjson
import zstandard

from felloe.errors import RenderError
from felloe.identity import object_id
from hub.render.objects import RenderedObject

Result = tuple[tuple[RenderedObject, ...], tuple[str, ...]]
"""The objects of a build and its warnings."""

_SUFFIX = ".json.zst"


class Memo:
    """Results by key. Bounded both ways: the least recently used goes first."""

    def __init__(self, folder: Path, *, in_memory: int = 64 * 1024**2, on_disk: int = 1024**3) -> None:
        """Keep results in `folder` (made if need be): at most `on_disk` bytes there, `in_memory` bytes of JSON here."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._in_memory = in_memory
        self._on_disk = on_disk
        self._known: OrderedDict[str, tuple[Result, int]] = OrderedDict()
        self._held = 0
        self._failed: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()  # results are read and written in worker threads
        self.trim()

    def get(self, key: str) -> Result | None:
        """Return what is known, None for nothing. Raise RenderError where the same build failed before."""
        with self._lock:
            if (message := self._failed.get(key)) is not None:
                raise RenderError(message)
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key][0]
        return self._load(key)

    def put(self, key: str, result: Result) -> None:
        """Remember a result, here and on disk (atomically)."""
        objects, warnings = result
        text = orjson.dumps({"objects": [[one.file, one.manifest] for one in objects], "warnings": warnings})
        self._hold(key, result, len(text))
        with tempfile.NamedTemporaryFile(dir=self._folder, prefix="new-", delete=False) as file:
            file.write(zstandard.compress(text))
        Path(file.name).replace(self._path(key))

    def fail(self, key: str, message: str) -> None:
        """Remember, until restart, that a build fails."""
        with self._lock:
            self._failed[key] = message
            if len(self._failed) > 1000:
                self._failed.popitem(last=False)

    def trim(self) -> None:
        """Delete from disk what was not used for longest, down to the limit, and what a crash left half written."""
        for left in self._folder.glob("new-*"):
            left.unlink(missing_ok=True)
        files = [(file.stat(), file) for file in self._folder.glob(f"*{_SUFFIX}")]
        total = sum(status.st_size for status, _ in files)
        for status, file in sorted(files, key=lambda one: one[0].st_mtime):
            if total <= self._on_disk:
                break
            file.unlink(missing_ok=True)
            total -= status.st_size

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}{_SUFFIX}"

    def _load(self, key: str) -> Result | None:
        path = self._path(key)
        try:
            text = zstandard.decompress(path.read_bytes())
            stored = orjson.loads(text)
            objects = tuple(RenderedObject(object_id(manifest), manifest, file) for file, manifest in stored["objects"])
            result = objects, tuple(stored["warnings"])
        except FileNotFoundError:
            return None
        except (OSError, zstandard.ZstdError, orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            path.unlink(missing_ok=True)  # damaged: as if it had never been there
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        self._hold(key, result, len(text))
        return result

    def _hold(self, key: str, result: Result, size: int) -> None:
        with self._lock:
            _, before = self._known.pop(key, (None, 0))
            self._known[key] = result, size
            self._held += size - before
            while self._held > self._in_memory and len(self._known) > 1:
                _, (_, freed) = self._known.popitem(last=False)
                self._held -= freed
