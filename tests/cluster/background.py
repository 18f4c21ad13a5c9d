"""Clusters that stay after the command that started them: for trying things by hand.

A supervisor process of its own session holds them; when it ends in whatever way, they end with it. What `status` and
`down` need to know is in a small file, believed only while the supervisor holds the lock beside it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

from tests.cluster.binaries import Say, cache_folder
from tests.cluster.binaries.lock import try_lock
from tests.cluster.controlplane import ControlPlane, start_all
from tests.cluster.errors import HarnessError

START_SECONDS = 300.0
STOP_SECONDS = 60.0
TAKE_SECONDS = 2.0
POLL_SECONDS = 0.1
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Request:
    """Which clusters are wanted: `count` of them, called ``<prefix>-1`` and so on."""

    prefix: str
    count: int
    nodes: bool
    audit: bool


@dataclass(frozen=True, slots=True)
class Running:
    """One cluster in the background."""

    name: str
    server: str
    kubeconfig: str
    nodes: bool


class Slot:
    """The place of the clusters with one prefix, below the user's cache folder."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.folder = cache_folder() / "clusters"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.lock = self.folder / f"{prefix}.lock"
        self.log = self.folder / f"{prefix}.log"
        self._state = self.folder / f"{prefix}.json"

    def write(self, clusters: list[Running]) -> None:
        """Say that the clusters are ready."""
        new = self._state.with_suffix(".new")
        new.write_text(json.dumps([asdict(each) for each in clusters], indent=2))
        new.rename(self._state)

    def read(self) -> list[Running] | None:
        """Return the clusters; None where none are ready."""
        if not self._state.exists() or not self.held():
            return None
        return [Running(**each) for each in json.loads(self._state.read_text())]

    def supervisor(self) -> int | None:
        """Return the process id of the supervisor, also while it still starts clusters; None where none lives."""
        text = self.lock.read_text() if self.held() else ""
        return int(text) if text else None

    def take(self, lock: TextIO) -> None:
        """Become the supervisor. Somebody who looks (`held`) has the lock for a moment, so one refusal says nothing."""
        deadline = time.monotonic() + TAKE_SECONDS
        while not try_lock(lock.fileno()):
            if time.monotonic() > deadline:
                raise HarnessError(f"clusters with the prefix {self.prefix!r} run already")
            time.sleep(POLL_SECONDS / 10)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()

    def held(self) -> bool:
        """Whether a supervisor lives."""
        if not self.lock.exists():
            return False
        with self.lock.open() as file:
            return not try_lock(file.fileno())

    def forget(self) -> None:
        """Remove what was said of clusters that are gone."""
        self._state.unlink(missing_ok=True)


def slots() -> Iterator[Slot]:
    """Yield all places that were ever used, by name."""
    for lock in sorted((cache_folder() / "clusters").glob("*.lock")):
        yield Slot(lock.stem)


def up(request: Request, say: Say) -> list[Running]:
    """Start clusters in the background and return them when they are ready."""
    slot = Slot(request.prefix)
    if slot.held():
        raise HarnessError(
            f"clusters with the prefix {request.prefix!r} run already: "
            f"'python -m tests.cluster down --name-prefix {request.prefix}', or choose another prefix"
        )
    slot.forget()
    options = [f"--name-prefix={request.prefix}", f"--count={request.count}"]
    options += ["--nodes"] * request.nodes + ["--audit"] * request.audit
    with slot.log.open("wb") as log:
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "tests.cluster", "supervise", *options],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    say(f"starting {request.count} control plane(s) in the background (log: {slot.log})")
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if (state := slot.read()) is not None:
            return state
        if supervisor.poll() is not None:
            raise HarnessError(f"the clusters ended before they were ready; their log:\n{slot.log.read_text()}")
        time.sleep(POLL_SECONDS)
    supervisor.terminate()
    raise HarnessError(f"the clusters were not ready within {START_SECONDS:g} s; see {slot.log}")


def down(slot: Slot) -> bool:
    """Stop the clusters of a slot, also just starting ones, and wait until they are gone; False where none run."""
    supervisor = slot.supervisor()
    if supervisor is None:
        slot.forget()
        return False
    os.kill(supervisor, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while slot.held():
        if time.monotonic() > deadline:
            raise HarnessError(f"process {supervisor} still holds the clusters {slot.prefix!r}; see {slot.log}")
        time.sleep(POLL_SECONDS)
    slot.forget()
    return True


def supervise(request: Request, say: Say) -> None:
    """Hold clusters until SIGTERM or SIGINT. This is what the process in the background runs."""
    slot = Slot(request.prefix)
    with slot.lock.open("a") as lock:
        slot.take(lock)
        names = [f"{request.prefix}-{number}" for number in range(1, request.count + 1)]
        clusters = [ControlPlane(name, nodes=request.nodes, audit=request.audit) for name in names]
        ended = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: ended.set())
        start_all(clusters, say)
        slot.write([Running(each.name, each.server, str(each.kubeconfig), each.nodes) for each in clusters])
        ended.wait()
        slot.forget()
        for cluster in clusters:
            cluster.stop()
