"""Programs are built once, only when missing, and by a compiler that is new enough."""

from __future__ import annotations

import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.cluster.binaries import cache_folder, ensure
from tests.cluster.binaries.catalogue import CATALOGUE
from tests.cluster.binaries.toolchain import find_go, parse_version
from tests.cluster.errors import HarnessError

# Says that it is as new as is needed, notes each build, and writes what "-o" names.
COMPILER = """\
#!/bin/sh
if [ "$1" = env ]; then echo go{version}; exit; fi
echo "$*" >> "{log}"
{failure}
while [ "$1" != -o ]; do shift; done
echo built > "$2"
"""


class Compiler:
    """A stand-in for Go on the PATH: a real build takes minutes, and what matters here is when one happens."""

    def __init__(self, folder: Path, version: str = "1.99.0", failure: str = ":") -> None:
        folder.mkdir()
        self.log = folder / "log"
        self.path = folder / "go"
        self.path.write_text(COMPILER.format(version=version, log=self.log, failure=failure))
        self.path.chmod(self.path.stat().st_mode | stat.S_IXUSR)

    def builds(self) -> list[str]:
        """The packages that were built."""
        return [line.split()[-1] for line in self.log.read_text().splitlines()] if self.log.exists() else []


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Compiler:
    compiler = Compiler(tmp_path / "go")
    monkeypatch.setenv("PATH", f"{compiler.path.parent}{os.pathsep}{os.environ['PATH']}")
    return compiler


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {"XDG_CACHE_HOME": str(tmp_path / "cache")}


def quiet(line: str) -> None:
    del line


def test_only_what_is_asked_for_is_built_and_only_once(compiler: Compiler, environment: dict[str, str]) -> None:
    first = ensure(["kustomize"], say=quiet, environment=environment)
    again = ensure(["kustomize"], say=quiet, environment=environment)
    assert first == again
    assert first["kustomize"].read_text() == "built\n"
    assert first["kustomize"].is_relative_to(cache_folder(environment))
    assert compiler.builds() == ["sigs.k8s.io/kustomize/kustomize/v5"]


def test_runs_at_the_same_time_build_once(compiler: Compiler, environment: dict[str, str]) -> None:
    together = threading.Barrier(4)

    def run() -> Path:
        together.wait(10)
        return ensure(["kwok"], say=quiet, environment=environment)["kwok"]

    with ThreadPoolExecutor(4) as pool:
        paths = {future.result(60) for future in [pool.submit(run) for _ in range(4)]}
    assert len(paths) == 1
    assert compiler.builds() == ["sigs.k8s.io/kwok/cmd/kwok"]


def test_progress_names_each_program(compiler: Compiler, environment: dict[str, str]) -> None:
    lines: list[str] = []
    ensure(["kwok", "kustomize"], say=lines.append, environment=environment)
    assert compiler.builds()
    assert [line for line in lines if line.startswith("[1/2] building kwok")]
    assert [line for line in lines if line.startswith("[2/2] kustomize: built in")]


def test_a_failed_build_shows_why_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    compiler = Compiler(tmp_path / "go", failure="echo no such module >&2; exit 1")
    monkeypatch.setenv("PATH", f"{compiler.path.parent}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(HarnessError, match=r"(?s)building kwok.*no such module"):
        ensure(["kwok"], say=quiet, environment=environment)
    folder = CATALOGUE["kwok"].target(cache_folder(environment) / "binaries").path.parent
    assert list(folder.iterdir()) == []


def test_kubebuilder_assets_are_used_instead(compiler: Compiler, tmp_path: Path, environment: dict[str, str]) -> None:
    assets = tmp_path / "assets"
    assets.mkdir()
    (assets / "etcd").touch()
    environment["KUBEBUILDER_ASSETS"] = str(assets)
    found = ensure(["etcd", "kwok"], say=quiet, environment=environment)
    assert found["etcd"] == assets / "etcd"
    assert compiler.builds() == ["sigs.k8s.io/kwok/cmd/kwok"]


def test_kubebuilder_assets_that_are_not_there_are_an_error(environment: dict[str, str]) -> None:
    environment["KUBEBUILDER_ASSETS"] = "/nonexistent/assets"
    with pytest.raises(HarnessError, match="/nonexistent/assets"):
        ensure(["etcd"], say=quiet, environment=environment)


def test_an_unknown_name_is_an_error(environment: dict[str, str]) -> None:
    with pytest.raises(HarnessError, match="kubelet"):
        ensure(["kubelet"], say=quiet, environment=environment)


def test_a_compiler_that_is_new_enough_is_taken_from_the_path(compiler: Compiler, tmp_path: Path) -> None:
    assert find_go(tmp_path, (1, 26, 0), quiet) == compiler.path


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_program_is_pinned(name: str, environment: dict[str, str]) -> None:
    target = CATALOGUE[name].target(cache_folder(environment))
    assert target.go_version >= (1, 26)
    assert (target.module / "go.sum").stat().st_size > 0


@pytest.mark.parametrize(
    ("text", "version"),
    [("go1.26.8\n", (1, 26, 8)), ("go1.27\n", (1, 27)), ("go1.27rc1", (1, 27)), ("devel +1234", ()), ("", ())],
)
def test_versions_of_go(text: str, version: tuple[int, ...]) -> None:
    assert parse_version(text) == version


@pytest.mark.parametrize(
    ("value", "expected"), [("/var/cache/me", Path("/var/cache/me/felloe")), ("relative", None), ("", None)]
)
def test_the_cache_folder_follows_xdg(value: str, expected: Path | None) -> None:
    assert cache_folder({"XDG_CACHE_HOME": value}) == (expected or Path.home() / ".cache" / "felloe")
