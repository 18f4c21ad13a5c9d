"""Renders that were done before: on disk across restarts, the latest in memory, failures only in memory."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from weakref import ReferenceType, ref

import orjson
import zstandard

from felloe.errors import RenderError
from felloe.identity import object_id
from hub.render.objects import RenderedObject

Result = tuple[tuple[RenderedObject, ...], tuple[str, ...]]
"""The objects of a build and its warnings."""

_SUFFIX = ".json.zst"
_IN_USE = 200_000
"""Objects that are followed because somebody else may hold them, 80 bytes each."""
_OF_A_REFERENCE, _OF_A_STRING, _OF_A_MAP, _OF_A_LIST, _OF_AN_OBJECT = 8, 56, 200, 80, 450
"""Bytes that Python takes beside the text, on a 64-bit machine."""


@dataclass(slots=True)
class _Held:
    results: int
    size: int


class Memo:
    """Results by key. Bounded both ways: the least recently used goes first.

    In memory an object counts as what it takes there, which is several times its JSON, and once however many results
    have it: a folder that is built in parts has the objects of its parts, commit after commit. A result that had to
    go is at hand for as long as somebody else holds all its objects, as a plan does that rests on them.
    """

    def __init__(self, folder: Path, *, in_memory: int = 32 * 1024**2, on_disk: int = 1024**3) -> None:
        """Keep results in `folder` (made if need be): at most `on_disk` bytes there, `in_memory` bytes here."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._in_memory = in_memory
        self._on_disk = on_disk
        self._known: OrderedDict[str, Result] = OrderedDict()
        self._objects: dict[int, _Held] = {}
        self._held = 0
        self._in_use: OrderedDict[str, tuple[tuple[ReferenceType[RenderedObject], ...], tuple[str, ...]]] = (
            OrderedDict()
        )
        self._followed = 0
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
                return self._known[key]
            if (result := self._still_in_use(key)) is not None:
                return result
        return self._load(key)

    def put(self, key: str, result: Result) -> None:
        """Remember a result, here and on disk (atomically)."""
        objects, warnings = result
        text = orjson.dumps({"objects": [[one.file, one.manifest] for one in objects], "warnings": warnings})
        self._hold(key, result)
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
        self._hold(key, result)
        return result

    def _hold(self, key: str, result: Result) -> None:
        with self._lock:
            if key in self._known:
                self._let_go(key)
            self._known[key] = result
            self._held += len(result[0]) * _OF_A_REFERENCE
            for one in result[0]:
                held = self._objects.get(id(one))
                if held is None:
                    held = self._objects[id(one)] = _Held(0, _size(one))
                    self._held += held.size
                held.results += 1
            while self._held > self._in_memory and len(self._known) > 1:
                oldest = next(iter(self._known))
                self._follow(oldest, self._let_go(oldest))

    def _let_go(self, key: str) -> Result:
        result = self._known.pop(key)
        self._held -= len(result[0]) * _OF_A_REFERENCE
        for one in result[0]:
            held = self._objects[id(one)]
            held.results -= 1
            if not held.results:
                self._held -= held.size
                del self._objects[id(one)]
        return result

    def _follow(self, key: str, result: Result) -> None:
        """Remember a result for as long as somebody else holds its objects."""
        self._forget(key)
        self._in_use[key] = tuple(map(ref, result[0])), result[1]
        self._followed += len(result[0])
        while self._followed > _IN_USE:
            self._forget(next(iter(self._in_use)))

    def _forget(self, key: str) -> None:
        objects, _ = self._in_use.pop(key, ((), ()))
        self._followed -= len(objects)

    def _still_in_use(self, key: str) -> Result | None:
        if key not in self._in_use:
            return None
        references, warnings = self._in_use[key]
        objects = tuple([one for each in references if (one := each()) is not None])
        if len(objects) < len(references):
            self._forget(key)
            return None
        self._in_use.move_to_end(key)
        return objects, warnings


def _size(one: RenderedObject) -> int:
    """Return about how many bytes an object takes in memory."""
    text = orjson.dumps(one.manifest)
    strings, maps, lists = text.count(b'"') // 2, text.count(b"{"), text.count(b"[")
    return len(text) + strings * _OF_A_STRING + maps * _OF_A_MAP + lists * _OF_A_LIST + _OF_AN_OBJECT
