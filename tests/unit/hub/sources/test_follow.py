from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hub.sources.follow import SourceManager, SourceState
from hub.sources.git import GitSources
from hub.sources.spec import GitRef, GitSpec, SourceKey
from tests.servers.git_http import GitHttpServer
from tests.servers.git_repo import GitRepo

Spec = Callable[..., GitSpec]
SECONDS = 30
HOURS = 3600.0


class Following:
    """A running manager and all it reported."""

    def __init__(self, git: GitSources) -> None:
        self.manager = SourceManager(git, self._hear, first_retry=0.05)
        self.reports: asyncio.Queue[SourceState] = asyncio.Queue()

    async def _hear(self, state: SourceState) -> None:
        self.reports.put_nowait(state)

    async def next(self) -> SourceState:
        async with asyncio.timeout(SECONDS):
            return await self.reports.get()

    async def until(self, wanted: Callable[[SourceState], bool]) -> SourceState:
        while not wanted(state := await self.next()):
            pass
        return state


@asynccontextmanager
async def following(git: GitSources, *specs: GitSpec) -> AsyncIterator[Following]:
    following = Following(git)
    task = asyncio.create_task(following.manager.run())
    following.manager.set_sources(specs)
    try:
        yield following
    finally:
        task.cancel()
        await asyncio.wait([task], timeout=SECONDS)


async def test_a_push_is_seen_at_the_interval(git: GitSources, repo: GitRepo, spec: Spec) -> None:
    async with following(git, spec(repo.url, interval=0.1)) as follow:
        assert (await follow.next()).revision == f"main@sha1:{repo.head}"
        commit = repo.commit({"a": "1"})
        state = await follow.next()
        assert state.fetched is not None
        assert (state.fetched.commit.id, state.error) == (commit, None)


async def test_an_announced_push_does_not_wait_for_the_interval(
    git: GitSources, repo: GitRepo, http: GitHttpServer, spec: Spec
) -> None:
    source = spec(f"{http.url}/fleet.git", interval=HOURS)
    async with following(git, source) as follow:
        await follow.next()
        one = repo.commit({"a": "1"})
        assert follow.manager.announce(source.key)
        assert (await follow.next()).revision == f"main@sha1:{one}"
        two = repo.commit({"a": "2"})
        assert follow.manager.announce_url("git@127.0.0.1:fleet") == [source.key]
        assert (await follow.next()).revision == f"main@sha1:{two}"
        three = repo.commit({"a": "3"})
        async with asyncio.timeout(SECONDS):
            (state,) = await follow.manager.refresh(source.key)
        assert state.revision == f"main@sha1:{three}"
        assert not follow.manager.announce(SourceKey("apps", "other"))
        assert follow.manager.announce_url("https://127.0.0.1/other") == []
        assert await follow.manager.refresh(SourceKey("apps", "other")) == []


async def test_many_announcements_make_few_looks(
    git: GitSources, http: GitHttpServer, repo: GitRepo, spec: Spec
) -> None:
    source = spec(f"{http.url}/fleet.git", interval=HOURS)
    async with following(git, source) as follow:
        await follow.next()
        before = len(http.requests)
        for _ in range(50):
            follow.manager.announce(source.key)
        async with asyncio.timeout(SECONDS):
            await follow.manager.refresh(source.key)
            await follow.manager.refresh(source.key)
        assert len(http.requests) - before <= 2 * 3


async def test_an_error_keeps_the_last_revision_and_is_retried_before_the_interval(
    git: GitSources, repo: GitRepo, spec: Spec
) -> None:
    source = spec(repo.url, interval=HOURS)
    async with following(git, source) as follow:
        good = await follow.next()
        away = repo.path.with_name("away.git")
        repo.path.rename(away)
        follow.manager.announce(source.key)
        bad = await follow.next()
        assert bad.revision == good.revision
        assert bad.error is not None
        assert "no Git repository is there" in bad.error
        away.rename(repo.path)
        well = await follow.next()
        assert (well.revision, well.error) == (good.revision, None)


async def test_sources_are_added_changed_and_removed(git: GitSources, repo: GitRepo, spec: Spec) -> None:
    repo.tag("v1.0.0")
    one = spec(repo.url, interval=HOURS, name="one")
    two = spec(repo.url, interval=HOURS, name="two")
    async with following(git, one) as follow:
        assert (await follow.next()).key == one.key
        follow.manager.set_sources([one, two])
        assert (await follow.next()).key == two.key
        assert [state.key for state in follow.manager.states()] == [one.key, two.key]
        tagged = spec(repo.url, GitRef(tag="v1.0.0"), interval=HOURS, name="one")
        follow.manager.set_sources([tagged])
        state = await follow.next()
        assert (state.key, state.revision) == (one.key, f"v1.0.0@sha1:{repo.head}")
        assert follow.manager.state(two) is None
        assert not follow.manager.announce(two.key)


async def test_a_suspended_source_is_not_asked_until_it_is_resumed(
    git: GitSources, repo: GitRepo, http: GitHttpServer, spec: Spec
) -> None:
    url = f"{http.url}/fleet.git"
    async with following(git, spec(url, suspend=True, interval=0.01)) as follow:
        follow.manager.announce(SourceKey("apps", "fleet"))
        (state,) = await follow.manager.refresh(SourceKey("apps", "fleet"))
        assert state.revision is None
        assert http.requests == []
        follow.manager.set_sources([spec(url, interval=HOURS)])
        assert (await follow.next()).revision == f"main@sha1:{repo.head}"


async def test_one_source_that_fails_does_not_hold_up_others(git: GitSources, repo: GitRepo, spec: Spec) -> None:
    bad = spec(f"{repo.url}.gone", name="bad")
    async with following(git, bad, spec(repo.url, name="good")) as follow:
        states = {state.key.name: state for state in [await follow.next(), await follow.next()]}
        assert states["good"].revision == f"main@sha1:{repo.head}"
        assert states["bad"].error is not None


async def test_a_hub_that_starts_without_its_remote_has_its_last_revision(
    tmp_path: Path, repo: GitRepo, spec: Spec
) -> None:
    source = spec(repo.url, interval=HOURS)
    before = GitSources(tmp_path / "m")
    fetched = await before.resolve(source)
    before.close()
    repo.path.rename(repo.path.with_name("away.git"))
    after = GitSources(tmp_path / "m")
    async with following(after, source) as follow:
        assert (await follow.next()).fetched == fetched
        state = await follow.next()
        assert state.fetched == fetched
        assert state.error is not None
    after.close()


async def test_an_error_of_the_listener_ends_the_manager(git: GitSources, repo: GitRepo, spec: Spec) -> None:
    async def fail(_state: SourceState) -> None:
        raise ZeroDivisionError

    manager = SourceManager(git, fail)
    manager.set_sources([spec(repo.url)])
    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.timeout(SECONDS):
            await manager.run()
    assert caught.group_contains(ZeroDivisionError)


async def test_who_waits_for_a_look_at_a_source_that_is_dropped_meanwhile_waits_no_longer(
    git: GitSources, repo: GitRepo, spec: Spec
) -> None:
    source, dropped = spec(repo.url, interval=HOURS), asyncio.Event()

    async def drop(state: SourceState) -> None:
        manager.set_sources([])
        dropped.set()
        await asyncio.sleep(HOURS)  # as a listener that is still busy when its source goes

    manager = SourceManager(git, drop)
    manager.set_sources([source])
    refreshed = asyncio.create_task(manager.refresh(source.key))
    await asyncio.sleep(0)
    running = asyncio.create_task(manager.run())
    async with asyncio.timeout(SECONDS):
        await refreshed
    assert dropped.is_set()
    running.cancel()
    await asyncio.wait([running], timeout=SECONDS)
