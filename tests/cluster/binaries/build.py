"""Building one program with visible progress."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.errors import HarnessError

HEARTBEAT_SECONDS = 15.0
BUILD_TIMEOUT_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Target:
    """A program to build: `package`, as pinned by the Go module in the folder `module`, to `path`.

    `files` are copied beside it: paths in the Go module `source` that it is built from.
    """

    name: str
    module: Path
    package: str
    go_version: tuple[int, ...]
    linker_values: tuple[str, ...]
    path: Path
    kubebuilder: bool
    source: str = ""
    files: tuple[str, ...] = ()


def build(target: Target, go: Path, position: str, say: Callable[[str], None]) -> None:
    """Build `target` with the compiler `go`; its path appears at once and complete, or (`HarnessError`) not at all."""
    target.path.parent.mkdir(parents=True, exist_ok=True)
    say(f"{position} building {target.name} (once; it is kept in {target.path.parent})")
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=".build-", dir=target.path.parent) as folder:
        result = Path(folder, target.name)
        linker_flags = " ".join(["-s", "-w", *(f"-X {value}" for value in target.linker_values)])
        argv = [str(go), "build", "-trimpath", "-buildvcs=false", "-ldflags", linker_flags, "-o", str(result)]
        with Path(folder, "log").open("w+b") as log:
            process = subprocess.Popen(
                [*argv, target.package],
                cwd=target.module,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            try:
                code = _wait(process, lambda: say(f"{position} {target.name}: {_since(started)} …"))
            finally:
                process.kill()
                process.wait()
            if code != 0:
                log.seek(0)
                tail = log.read().decode(errors="replace")[-4000:]
                raise HarnessError(f"building {target.name} in {target.module} failed ({code}):\n{tail}")
        _copy_files(target, go)
        result.rename(target.path)
    say(f"{position} {target.name}: built in {_since(started)}")


def _copy_files(target: Target, go: Path) -> None:
    if not target.files:
        return
    argv = [str(go), "list", "-m", "-f", "{{.Dir}}", target.source]
    asked = subprocess.run(
        argv, cwd=target.module, env=_environment(), capture_output=True, text=True, check=False, timeout=300
    )
    if asked.returncode != 0:
        raise HarnessError(f"where {target.source} lies is not known: {asked.stderr.strip()[-2000:]}")
    for name in target.files:
        copy = target.path.parent / Path(name).name
        shutil.copyfile(Path(asked.stdout.strip(), name), copy)


def _wait(process: subprocess.Popen[bytes], heartbeat: Callable[[], None]) -> int:
    deadline = time.monotonic() + BUILD_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        try:
            return process.wait(HEARTBEAT_SECONDS)
        except subprocess.TimeoutExpired:
            heartbeat()
    raise HarnessError(f"no result from {process.args!r} within {BUILD_TIMEOUT_SECONDS:g} s")


def _environment() -> dict[str, str]:
    # readonly: what go.sum does not pin is an error; local: no other compiler than the one found; no C compiler needed.
    return {**os.environ, "GOFLAGS": "-mod=readonly", "GOTOOLCHAIN": "local", "GOWORK": "off", "CGO_ENABLED": "0"}


def _since(started: float) -> str:
    return f"{time.monotonic() - started:.0f} s"
