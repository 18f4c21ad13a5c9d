"""The entry: a source and a path in, Kubernetes objects out, each build done once for all clusters that want it.

A build's key is what it reads (path and object id of every file) with its options: a commit that touches one overlay
renders one overlay, and equal folders in different sources are one build. Late binding (variables) happens after this
step, so that a result is the same for every cluster.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from felloe.digest import canonical_json
from felloe.errors import RenderError, SandboxError
from hub.render.changes import Changes, changed
from hub.render.closure import Closure, ClosureCache, ParseCache, find_closure
from hub.render.division import divide, unite
from hub.render.kustomize import Kustomize, find_kustomize
from hub.render.memo import Memo, Result
from hub.render.objects import RenderedObject
from hub.render.sandbox import Limits, Sandbox
from hub.sources.tree import SourceTree

_FORMAT = 2
"""Goes up when the same files would render to something else."""


@dataclass(frozen=True, slots=True)
class RenderRequest:
    """What to build: a folder of a source, with what a Kustomization's spec says about the build."""

    tree: SourceTree
    path: str
    target_namespace: str | None = None
    changes: Changes = field(default_factory=Changes)


@dataclass(frozen=True, slots=True)
class Rendered:
    """What a build made, from which files (path and object id). `objects` are shared: nobody may change them.

    `remembered`: nothing that it reads had changed, so nothing was built.
    """

    key: str
    objects: tuple[RenderedObject, ...]
    read: frozenset[tuple[str, str]]
    warnings: tuple[str, ...] = ()
    remembered: bool = field(default=False, compare=False)

    @property
    def empty(self) -> bool:
        """Whether nothing was rendered: that alone must never prune a workload."""
        return not self.objects


@dataclass(slots=True)
class _Flight:
    """A build under way, and how many wait for it."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0


class Renderer:
    """Renders, remembers, and never builds the same thing twice at a time. One per hub; see `start_renderer`."""

    def __init__(self, kustomize: Kustomize, memo: Memo, *, at_once: int | None = None) -> None:
        """Build at most `at_once` at a time, by default one per CPU."""
        self._kustomize = kustomize
        self._memo = memo
        self._parsed = ParseCache()
        self._closures = ClosureCache()
        self._slots = asyncio.Semaphore(at_once or len(os.sched_getaffinity(0)))
        self._flights: dict[str, _Flight] = {}
        self.builds = 0
        """How many builds were run rather than remembered."""

    @property
    def version(self) -> str:
        """The version of the kustomize that builds."""
        return self._kustomize.version

    async def render(self, request: RenderRequest) -> Rendered:
        """Return the objects of a folder.

        Raise RenderError naming file and field when it doesn't build, SandboxError when it ran into a limit.
        """
        closure = await asyncio.to_thread(self._find_closure, request)
        key, (objects, warnings), remembered = await self._result(request, closure)
        return Rendered(key, objects, closure.read, warnings, remembered)

    async def _result(self, request: RenderRequest, closure: Closure) -> tuple[str, Result, bool]:
        """Return the result of a closure with its key, and whether it was remembered: else it was built, or united."""
        key = self._key(closure, request)
        async with self._flight(key):
            result = await asyncio.to_thread(self._memo.get, key)
            remembered = result is not None
            if result is None:
                parts: tuple[Closure, ...] = (closure,)
                if not request.target_namespace and not request.changes:
                    parts = await asyncio.to_thread(divide, request.tree, closure)
                built = self._build(key, request, closure) if len(parts) == 1 else self._united(request, closure, parts)
                result = await built
                await asyncio.to_thread(self._memo.put, key, result)
        return key, result, remembered

    async def _united(self, request: RenderRequest, closure: Closure, parts: Sequence[Closure]) -> Result:
        """Build the parts and put them together; of several that fail, the first one is told."""
        done = await asyncio.gather(*(self._result(request, part) for part in parts), return_exceptions=True)
        results: list[Result] = []
        for outcome in done:
            if isinstance(outcome, BaseException):
                raise outcome
            results.append(outcome[1])
        objects = unite((objects for objects, _ in results), closure.folder)
        return objects, tuple(dict.fromkeys(warning for _, warnings in results for warning in warnings))

    def _find_closure(self, request: RenderRequest) -> Closure:
        closure = self._closures.get(request.tree, request.path)
        if closure is None:
            closure = find_closure(request.tree, request.path, self._parsed)
            self._closures.put(request.tree, request.path, closure)
        return closure

    async def _build(self, key: str, request: RenderRequest, closure: Closure) -> Result:
        root = changed(closure.kustomization, request.changes)
        async with self._slots:
            self.builds += 1
            try:
                built = replace(closure, kustomization=root)
                result = await self._kustomize.build(request.tree, built, request.target_namespace)
            except SandboxError as error:  # not remembered: a limit of time may hold next time
                raise SandboxError(f"{closure.file}: {error}") from None
            except RenderError as error:
                self._memo.fail(key, str(error))
                raise
        return result

    @asynccontextmanager
    async def _flight(self, key: str) -> AsyncIterator[None]:
        """Let one at a time work on a key: the others find its result, or take over where it was cancelled."""
        flight = self._flights.setdefault(key, _Flight())
        flight.waiting += 1
        try:
            async with flight.lock:
                yield
        finally:
            flight.waiting -= 1
            if not flight.waiting:
                self._flights.pop(key, None)

    def _key(self, closure: Closure, request: RenderRequest) -> str:
        entries = sorted((path, entry.kind.value, entry.oid) for path, entry in closure.entries.items())
        resources = closure.kustomization.get("resources") if closure.generated else None
        about = [_FORMAT, self._kustomize.version, closure.folder, closure.file, request.target_namespace]
        inputs = [*about, resources, entries, *([request.changes.canonical()] if request.changes else [])]
        return hashlib.sha256(canonical_json(inputs)).hexdigest()


async def start_renderer(
    data: Path, *, binary: Path | None = None, limits: Limits | None = None, at_once: int | None = None
) -> Renderer:
    """Return a renderer that keeps its results below `data`, after proving that builds are confined here.

    Raise SandboxError, saying what is missing, where they can't be, or where there is no kustomize.
    """
    sandbox = Sandbox(limits)
    await sandbox.check()
    kustomize = await find_kustomize(sandbox, data / "builds", binary)
    memo = await asyncio.to_thread(Memo, data / "renders")
    return Renderer(kustomize, memo, at_once=at_once)
