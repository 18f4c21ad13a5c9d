from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hub.sources.git import GitSources
from hub.sources.secrets import SecretFolder
from hub.sources.spec import GitRef, GitSpec
from tests.servers.git_http import GitHttpServer
from tests.servers.git_repo import GitRepo

Secrets = Callable[..., str]


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    """A repository with one commit on main."""
    made = GitRepo(tmp_path / "remote" / "fleet.git")
    made.commit({"apps/app.yaml": "kind: App\n"}, "first\n\nwith a body")
    return made


@pytest.fixture
def http(repo: GitRepo) -> Iterator[GitHttpServer]:
    with GitHttpServer(repo.path.parent) as server:
        yield server


@pytest.fixture
def secrets_root(tmp_path: Path) -> Path:
    root = tmp_path / "secrets"
    root.mkdir()
    return root


@pytest.fixture
def secret(secrets_root: Path) -> Secrets:
    """Writes a secret of namespace apps and returns its name."""

    def write(name: str = "creds", **values: str | bytes) -> str:
        folder = secrets_root / "apps" / name
        folder.mkdir(parents=True, exist_ok=True)
        for key, value in values.items():
            key = {"ca_crt": "ca.crt"}.get(key, key)
            (folder / key).write_bytes(value.encode() if isinstance(value, str) else value)
        return name

    return write


@pytest.fixture
def git(tmp_path: Path, secrets_root: Path) -> Iterator[GitSources]:
    sources = GitSources(tmp_path / "mirrors", SecretFolder(secrets_root))
    yield sources
    sources.close()


def spec_of(url: str, ref: GitRef | None = None, *, name: str = "fleet", **more: object) -> GitSpec:
    return GitSpec("apps", name, url, ref or GitRef(branch="main"), **more)  # type: ignore[arg-type]


@pytest.fixture
def spec() -> Callable[..., GitSpec]:
    return spec_of
