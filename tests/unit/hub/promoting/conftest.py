from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from hub.fleet.strategy import GitPromotion
from hub.promoting.model import Outcome, State, Wanted
from hub.promoting.promoter import Promoter
from hub.sources.git import GitSources
from hub.sources.secrets import SecretFolder
from hub.sources.spec import GitSpec
from hub.sources.url import UrlRewriter
from tests.servers.git_http import GitHttpServer
from tests.servers.git_repo import GitRepo, git

SECONDS = 20


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    """A repository whose main has a folder for each of two environments."""
    made = GitRepo(tmp_path / "remote" / "acme" / "fleet.git")
    hidden = {".sourceignore": "/hidden\n/envs/notes\n", "hidden/x": "kept", "envs/notes": "kept"}
    made.commit({"envs/dev/app.yaml": "one", "envs/staging/app.yaml": "zero", "README": "read", **hidden}, "first")
    made.config("receive.denyCurrentBranch", "ignore")
    made.config("uploadpack.allowFilter", "true")
    return made


@pytest.fixture
def server(repo: GitRepo) -> Iterator[GitHttpServer]:
    with GitHttpServer(repo.path.parent.parent, username="hub", password="s3cret", push=True) as running:
        yield running


class World:
    """A hub that promotes in a repository, and a person who looks at it and changes it."""

    def __init__(self, repo: GitRepo, server: GitHttpServer, folder: Path) -> None:
        self.repo = repo
        self.server = server
        secrets = folder / "secrets"
        for name, values in {
            "felloe-promotion/writer": {"username": "hub", "password": "s3cret"},
            "felloe-promotion/token": {"token": "t0ken\n"},
            "felloe-system/fleet": {"username": "hub", "password": "s3cret"},
        }.items():
            (secrets / name).mkdir(parents=True)
            for key, value in values.items():
                (secrets / name / key).write_text(value)
        self.secrets = SecretFolder(secrets)
        public = "https://git.example/"
        self.git = GitSources(folder / "data", self.secrets, UrlRewriter(((public, f"{server.url}/"),)))
        self.spec = GitSpec("felloe-system", "fleet", f"{public}acme/fleet.git", secret="fleet", timeout=SECONDS)
        self.changes: list[str] = []
        self.pushes: list[str] = []

    @asynccontextmanager
    async def promoter(self) -> AsyncIterator[Promoter]:
        promoter = Promoter(self.git, self.secrets, self.changes.append, self.pushes.append, first_retry=0.05)
        task = asyncio.create_task(promoter.run())
        try:
            yield promoter
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def wanted(self, commit: str, how: GitPromotion, **more: object) -> Wanted:
        made = Wanted("staging", "dev", how, self.spec, commit, 12, subject="a change", who="ada", reason="it works")
        return replace(made, **more)  # type: ignore[arg-type]  # of a test's own making

    async def promote(self, wanted: Wanted, state: State = State.DONE) -> Outcome:
        async with self.promoter() as promoter:
            promoter.want([wanted])
            return await self.reaches(promoter, state)

    async def reaches(self, promoter: Promoter, state: State, environment: str = "staging") -> Outcome:
        end = time.monotonic() + SECONDS
        while (found := promoter.outcome(environment)) is None or found.state is not state:
            assert time.monotonic() < end, found
            await asyncio.sleep(0.01)
        return found

    def at(self, branch: str) -> str:
        return git("rev-parse", f"refs/heads/{branch}", cwd=self.repo.path)

    def branches(self) -> list[str]:
        return git("for-each-ref", "--format=%(refname:short)", "refs/heads/", cwd=self.repo.path).splitlines()

    def file(self, branch: str, path: str) -> str:
        return git("show", f"{branch}:{path}", cwd=self.repo.path)

    def log(self, branch: str, form: str = "%B") -> str:
        return git("log", "-1", f"--format={form}", branch, cwd=self.repo.path)

    def pull(self) -> None:
        """Take into the working copy what was pushed to its branch."""
        git("reset", "--quiet", "--hard", "HEAD", cwd=self.repo.work)


@pytest.fixture
def world(repo: GitRepo, server: GitHttpServer, tmp_path: Path) -> Iterator[World]:
    made = World(repo, server, tmp_path)
    yield made
    made.git.close()
