"""Git sources: ask for a ref, fetch what is new into a mirror, hand out the content. The one entry of this package
for whoever needs a revision once; whoever wants to follow a source takes `hub.sources.follow`.

Git work is done in threads of its own: a remote that hangs holds up neither the event loop nor the rest of the hub.
Sources with the same (rewritten) URL share one mirror, and take turns on it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote

from felloe.errors import SourceError
from hub.sources.deadline import Deadline
from hub.sources.http import TlsTrust
from hub.sources.ignore import IgnoringTree
from hub.sources.mirror import FetchLimits, Mirror, Pinned, Remote, Tip
from hub.sources.objects import CommitInfo, DamagedRepositoryError
from hub.sources.secrets import Secret, SecretFolder
from hub.sources.spec import GitSpec
from hub.sources.transport import open_remote
from hub.sources.tree import SourceTree, TreeEntry
from hub.sources.url import UrlRewriter, check_url, split_url

_THREADS = 32

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a source's ref is: the revision as Flux writes it, and the commit."""

    revision: str
    commit: CommitInfo


class GitSources:
    """The Git repositories that this hub reads, with their mirrors below `data`."""

    def __init__(
        self,
        data: Path,
        secrets: SecretFolder | None = None,
        rewriter: UrlRewriter | None = None,
        *,
        limits: FetchLimits | None = None,
    ) -> None:
        self._data = data
        self._secrets = secrets or SecretFolder()
        self._rewriter = rewriter or UrlRewriter()
        self._limits = limits or FetchLimits()
        self._mirrors: dict[str, Mirror] = {}
        self.pinned: Pinned = tuple
        """Returns the commits that have to stay although nothing follows them any more."""
        self._locks: dict[str, asyncio.Lock] = {}
        self._trust = TlsTrust()
        self._opening = threading.Lock()
        self._running: set[Deadline] = set()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="git")

    def close(self) -> None:
        """Break off what is being fetched and wait for its threads."""
        for deadline in list(self._running):
            deadline.abort()
        self._threads.shutdown(cancel_futures=True)
        for mirror in self._mirrors.values():
            mirror.close()

    def address(self, spec: GitSpec) -> str:
        """Return the URL that is really asked for a source."""
        return self._rewriter.rewrite(spec.url)

    async def resolve(self, spec: GitSpec) -> Fetched:
        """Ask the remote what the source's ref is now; its content is in the mirror afterwards.

        One conversation; nothing is fetched if the commit is here. A commit that this source has already fetched is
        not asked for again, for it can't change. Raises `SourceError`; not finished within ``spec.timeout`` is one.
        """
        url = self._checked_address(spec)
        return await self._in_turn(url, spec.timeout, lambda deadline: self._resolve(spec, url, deadline))

    async def push(self, spec: GitSpec, secret: Secret | None, work: Callable[[Remote], T]) -> T:
        """Have `work` done, in a thread, on a way to the source's repository that may be written to.

        It is opened with `secret`, the source's own where that is None. Raises `SourceError` as `resolve` does.
        """
        url = self._checked_address(spec)

        def run(deadline: Deadline) -> T:
            shown = secret or self._secret(spec)
            with deadline, open_remote(url, shown, self._trust, deadline, push=True) as remote:
                return work(remote)

        return await self._in_turn(url, spec.timeout, run)

    def last(self, spec: GitSpec) -> Fetched | None:
        """Return what `resolve` found last for this source, also before a restart; None if it is gone."""
        mirror = self._mirror(self.address(spec))
        tip = mirror.tip(_tip_key(spec))
        return _fetched(mirror, tip) if tip else None

    def tree(self, spec: GitSpec, fetched: Fetched) -> SourceTree:
        """Return the content of a revision, without what the source's ignore rules leave out. Raises `SourceError`."""
        return IgnoringTree(self.whole_tree(spec, fetched), spec.ignore)

    def whole_tree(self, spec: GitSpec, fetched: Fetched) -> SourceTree:
        """Return the content of a revision as Git has it, what is ignored included. Raises `SourceError`."""
        mirror = self._mirror(self.address(spec))
        try:
            content = mirror.tree(fetched.commit.id, fetched.revision)
        except DamagedRepositoryError:
            mirror.report_damage()
            raise
        return _ReportingTree(content, mirror)

    def _resolve(self, spec: GitSpec, url: str, deadline: Deadline) -> Fetched:
        mirror = self._mirror(url)
        key = _tip_key(spec)
        known = mirror.tip(key) if spec.ref.commit else None
        if known is not None:
            return _fetched(mirror, known)
        with deadline, open_remote(url, self._secret(spec), self._trust, deadline) as remote:
            tip = mirror.fetch(remote, spec.ref, key)
        return _fetched(mirror, tip)

    def _secret(self, spec: GitSpec) -> Secret | None:
        return self._secrets.read(spec.namespace, spec.secret) if spec.secret else None

    async def _in_turn(self, url: str, timeout: float, run: Callable[[Deadline], T]) -> T:
        """Run something in a thread that talks with a remote, alone with it, for at most `timeout` seconds."""
        lock = self._locks.setdefault(url, asyncio.Lock())
        async with lock:
            deadline = Deadline(timeout)
            self._running.add(deadline)
            try:
                return await asyncio.get_running_loop().run_in_executor(self._threads, run, deadline)
            except asyncio.CancelledError:
                deadline.abort()
                raise
            finally:
                self._running.discard(deadline)

    def _checked_address(self, spec: GitSpec) -> str:
        url = self.address(spec)
        check_url(url)
        self._check_foreign(url)
        return url

    def _pinned(self) -> Iterable[str]:
        return self.pinned()

    def _check_foreign(self, url: str) -> None:
        """Raise `SourceError` for a file URL into the mirrors: they hold what others' credentials fetched."""
        parts = split_url(url)
        if parts.scheme == "file" and Path(unquote(parts.path)).resolve().is_relative_to(self._data.resolve()):
            raise SourceError(f"{url}: the hub's own mirrors are no sources; name the repository itself")

    def _mirror(self, url: str) -> Mirror:
        with self._opening:
            mirror = self._mirrors.get(url)
            if mirror is not None:
                return mirror
            name = hashlib.sha256(url.encode()).hexdigest()[:32]
            try:
                mirror = self._mirrors[url] = Mirror(self._data / name, self._limits, self._pinned)
            except OSError as error:
                raise SourceError(
                    f"the hub's folder for Git mirrors, {self._data}, can't be used: {error.strerror or error}"
                ) from error
            return mirror


class _ReportingTree:
    """A tree that tells its mirror about damage, so that the next look at the remote repairs it."""

    __slots__ = ("_mirror", "_tree")

    def __init__(self, tree: SourceTree, mirror: Mirror) -> None:
        self._tree = tree
        self._mirror = mirror

    @property
    def revision(self) -> str:
        return self._tree.revision

    def entry(self, path: str) -> TreeEntry | None:
        with self._reporting():
            return self._tree.entry(path)

    def list(self, path: str) -> Sequence[TreeEntry]:
        with self._reporting():
            return self._tree.list(path)

    def read(self, entry: TreeEntry) -> bytes:
        with self._reporting():
            return self._tree.read(entry)

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            yield
        except DamagedRepositoryError:
            self._mirror.report_damage()
            raise


def _fetched(mirror: Mirror, tip: Tip) -> Fetched:
    return Fetched(tip.revision, mirror.commit(tip.commit))


def _tip_key(spec: GitSpec) -> str:
    """Name what a tip was fetched for.

    Namespace and secret belong to it: nobody gets from a shared mirror what somebody else's credentials fetched.
    """
    named = {field.name: value for field in fields(spec.ref) if (value := getattr(spec.ref, field.name)) is not None}
    return json.dumps([spec.namespace, spec.secret, named])
