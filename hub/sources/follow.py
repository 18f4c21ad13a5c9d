"""Following sources: one task each, that looks at its interval, at once when told to, and again soon after an error.

The hub gives this the sources that its fleet repository names, and hears back whenever the state of one changes. The
last good revision always stays: a source that fails, is suspended or vanishes from the network keeps what it had.

    manager = SourceManager(git, on_change)
    async with asyncio.TaskGroup() as group:
        group.create_task(manager.run())
        manager.set_sources(specs)          # again whenever the fleet repository changed
        manager.announce_url(pushed_url)    # a webhook
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from felloe.errors import FelloeError
from hub.sources.git import Fetched, GitSources
from hub.sources.spec import GitSpec, SourceKey
from hub.sources.url import repository_identity

_JITTER = 0.1
_FIRST_RETRY = 1.0
_RETRY_FACTOR = 2.0


@dataclass(frozen=True, slots=True)
class SourceState:
    """What is known of a source: its last good revision, and in `error` why there is no newer one.

    `looked_at` is the time of the last look (UTC), whether or not it succeeded.
    """

    spec: GitSpec
    fetched: Fetched | None = None
    error: str | None = None
    looked_at: datetime | None = None

    @property
    def key(self) -> SourceKey:
        """Namespace and name of the source."""
        return self.spec.key

    @property
    def revision(self) -> str | None:
        """The last good revision as Flux writes it."""
        return self.fetched.revision if self.fetched else None


OnChange = Callable[[SourceState], Awaitable[None]]


class SourceManager:
    """Keeps every source's state current while `run` runs; `on_change` hears of revisions, errors and recoveries."""

    def __init__(self, git: GitSources, on_change: OnChange, *, first_retry: float = _FIRST_RETRY) -> None:
        self._git = git
        self._on_change = on_change
        self._first_retry = first_retry
        self._followers: dict[GitSpec, _Follower] = {}
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Follow the sources until cancelled. An error of `on_change` ends it; errors of sources are states."""
        async with asyncio.TaskGroup() as group:
            tasks: dict[_Follower, asyncio.Task[None]] = {}
            while True:
                self._changed.clear()
                wanted = set(self._followers.values())
                for follower in tasks.keys() - wanted:
                    tasks.pop(follower).cancel()
                for follower in wanted - tasks.keys():
                    tasks[follower] = group.create_task(follower.run(), name=f"source {follower.state.key}")
                await self._changed.wait()

    def set_sources(self, specs: Iterable[GitSpec]) -> None:
        """Follow exactly these sources from now on. One that is already followed keeps its state.

        Two clusters may each have a source of the same name that differ; each spec is followed by itself.
        """
        wanted = dict.fromkeys(specs)
        for spec in self._followers.keys() - wanted.keys():
            del self._followers[spec]
        for spec in wanted:
            if spec not in self._followers:
                self._followers[spec] = _Follower(self._git, spec, self._on_change, self._first_retry)
        self._changed.set()

    def states(self) -> list[SourceState]:
        """Return the state of every source, by name."""
        states = [follower.state for follower in self._followers.values()]
        return sorted(states, key=lambda state: (state.key, state.spec.url, str(state.spec.ref)))

    def state(self, spec: GitSpec) -> SourceState | None:
        """Return the state of one source, or None if it is not followed."""
        follower = self._followers.get(spec)
        return follower.state if follower else None

    def announce(self, key: SourceKey) -> bool:
        """Have the sources of a name looked at now (announcements that come together make one look).

        Return False if there are none.
        """
        found = self._named(key)
        for follower in found:
            follower.poke()
        return bool(found)

    def announce_url(self, url: str) -> list[SourceKey]:
        """Have all sources of a repository looked at now, however `url` writes it, and return their names."""
        wanted = repository_identity(url)
        found = [
            spec
            for spec in self._followers
            if wanted in (repository_identity(spec.url), repository_identity(self._git.address(spec)))
        ]
        for spec in found:
            self._followers[spec].poke()
        return sorted({spec.key for spec in found})

    async def refresh(self, key: SourceKey) -> list[SourceState]:
        """Have the sources of a name looked at now and return their states after that look; none if there are none.

        A look that is already under way may have asked before the push, so its end doesn't count. For a suspended
        source this returns the state as it is.
        """
        return list(await asyncio.gather(*(follower.refresh() for follower in self._named(key))))

    def _named(self, key: SourceKey) -> list[_Follower]:
        return [follower for spec, follower in self._followers.items() if spec.key == key]


class _Follower:
    """One source: its state, and the loop that keeps it current."""

    def __init__(self, git: GitSources, spec: GitSpec, on_change: OnChange, first_retry: float) -> None:
        self.state = SourceState(spec)
        self._git = git
        self._on_change = on_change
        self._first_retry = first_retry
        self._failures = 0
        self._poked = asyncio.Event()
        self._waiting: list[asyncio.Future[None]] = []

    def poke(self) -> None:
        self._poked.set()

    async def refresh(self) -> SourceState:
        if self.state.spec.suspend:
            return self.state
        seen: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(seen)
        self._poked.set()
        await seen
        return self.state

    async def run(self) -> None:
        await self._recall()
        try:
            while True:
                self._poked.clear()
                if not self.state.spec.suspend:
                    await self._look()
                await self._pause()
        finally:
            self._release(self._waiting)

    async def _recall(self) -> None:
        """Start from what a hub before this one had fetched, so that a remote which is away loses nothing."""
        try:
            fetched = await asyncio.to_thread(self._git.last, self.state.spec)
        except FelloeError:
            return  # the look that follows says the same, to everybody
        if fetched is not None and self.state.fetched is None:
            await self._report(replace(self.state, fetched=fetched))

    async def _look(self) -> None:
        asked, self._waiting = self._waiting, []
        try:
            await self._report(await self._looked())
        finally:
            self._release(asked)  # also where nobody follows it any more

    async def _looked(self) -> SourceState:
        spec = self.state.spec
        try:
            state = SourceState(spec, await self._git.resolve(spec), None, datetime.now(UTC))
            self._failures = 0
        except FelloeError as error:
            state = SourceState(spec, self.state.fetched, str(error), datetime.now(UTC))
            self._failures += 1
        return state

    async def _report(self, state: SourceState) -> None:
        before, self.state = self.state, state
        if (before.fetched, before.error) != (state.fetched, state.error):
            await self._on_change(state)

    async def _pause(self) -> None:
        spec = self.state.spec
        pause: float | None = None
        if not spec.suspend:
            pause = spec.interval
            if self._failures:
                pause = min(pause, self._first_retry * _RETRY_FACTOR ** min(self._failures - 1, 16))
            pause *= 1 + random.uniform(-_JITTER, _JITTER)  # noqa: S311  # spreads load, guards nothing
        try:
            async with asyncio.timeout(pause):
                await self._poked.wait()
        except TimeoutError:
            pass

    @staticmethod
    def _release(waiting: list[asyncio.Future[None]]) -> None:
        for future in waiting:
            if not future.done():
                future.set_result(None)
