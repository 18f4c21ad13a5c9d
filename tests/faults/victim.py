"""Spokes to be killed: ``python -m tests.faults.victim`` forks one for each line that it reads.

A fork starts in a few milliseconds where Python takes a second, so that a test affords hundreds. Each is a process of
its own: the core of a spoke, on a state folder and an API server, and a socket through which the test is its hub.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from spoke.state import BundleStore, Identity, IdentityStore, StoredBundle
from tests.faults.world import Generation
from tests.spoke.driver import Spoke, running

LATE_SECONDS = 6.0
"""More than a request may be late here, and less than a campaign can wait for."""
_LONGEST_LINE = 1 << 22
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Start:
    """How a spoke is started. With `statement` it kills itself at that statement of the commit of a bundle.

    With `hub`, an identity as JSON, its bundles come over a link, and it tells their roots instead of their numbers.
    """

    kubeconfig: str
    state: str
    socket: str
    statement: int = 0
    hub: str = ""


class Victim:
    """A running spoke as its test sees it."""

    def __init__(self, pid: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.pid = pid
        self.stored = 0
        """The newest generation that is known to be on its disk."""
        self.numbers: dict[str, int] = {}
        """The newest generation of each root that was published."""
        self.dead = asyncio.Event()
        self._reader = reader
        self._writer = writer
        self._listening = asyncio.create_task(self._listen())

    async def go(self) -> None:
        """Let it begin."""
        self._writer.write(b"go\n")
        await self._writer.drain()

    async def want(self, generation: Generation) -> None:
        """Give it a newer desired state; a dead one doesn't mind."""
        with suppress(OSError):
            self._writer.write(json.dumps(generation.to_json()).encode() + b"\n")
            await self._writer.drain()

    async def _listen(self) -> None:
        with suppress(OSError):
            while line := await self._reader.readline():
                text = line.decode().strip()
                self.stored = self.numbers[text] if text in self.numbers else int(text)
        self.dead.set()

    async def close(self) -> None:
        """Kill it, and wait until it is dead."""
        if not self.dead.is_set():
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        await self.dead.wait()
        self._writer.close()
        await self._listening


class Nursery:
    """Starts victims."""

    def __init__(self, process: asyncio.subprocess.Process, folder: Path) -> None:
        self._process = process
        self._socket = folder / "hub.sock"
        self._arrived: asyncio.Queue[Victim] = asyncio.Queue()

    async def start(self, kubeconfig: Path, state: Path, statement: int = 0, hub: str = "") -> Victim:
        """Start a spoke and return it; it waits for `go`."""
        assert self._process.stdin
        start = Start(str(kubeconfig), str(state), str(self._socket), statement, hub)
        self._process.stdin.write(json.dumps(asdict(start)).encode() + b"\n")
        async with asyncio.timeout(120):
            return await self._arrived.get()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._arrived.put_nowait(Victim(int(await reader.readline()), reader, writer))

    @classmethod
    @asynccontextmanager
    async def open(cls, folder: Path) -> AsyncIterator[Self]:
        """Yield a nursery; `folder` is for its socket."""
        environment = {**os.environ, "PYTHONPATH": f"{_ROOT}:{_ROOT / 'proto'}"}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.faults.victim", stdin=asyncio.subprocess.PIPE, env=environment, cwd=_ROOT
        )
        nursery = cls(process, folder)
        server = await asyncio.start_unix_server(nursery._connected, nursery._socket, limit=_LONGEST_LINE)
        try:
            yield nursery
        finally:
            server.close()
            process.kill()
            await process.wait()


# -- in the forks


async def _live(start: Start) -> None:
    reader, writer = await asyncio.open_unix_connection(start.socket, limit=_LONGEST_LINE)
    writer.write(f"{os.getpid()}\n".encode())
    await reader.readline()
    async with running(Path(start.kubeconfig), Path(start.state), late_seconds=LATE_SECONDS) as spoke:
        if start.statement:
            _die_in_commit(spoke.store, start.statement)
        if start.hub:
            await _follow(spoke, Identity.from_json(start.hub.encode()), Path(start.state), writer)
        while line := await reader.readline():
            generation = Generation.from_json(json.loads(line))
            spoke.want(*generation.workloads())
            writer.write(f"{generation.number}\n".encode())


async def _follow(spoke: Spoke, identity: Identity, state: Path, writer: asyncio.StreamWriter) -> None:
    """Take bundles from a hub instead of the test, for good."""
    from spoke.link import LinkClient  # only here: a fork has no gRPC to inherit
    from spoke.link.backoff import Backoff

    identities = IdentityStore(state)
    identities.save(identity)

    def arrived(stored: StoredBundle) -> None:
        spoke.take(stored)
        writer.write(f"{stored.bundle.root.hex()}\n".encode())

    link = LinkClient(spoke.store, identities, spoke.reporter, arrived, backoff=Backoff(0.02, 0.3))
    await link.run()


def _die_in_commit(store: BundleStore, at: int) -> None:
    """Let this process end, by SIGKILL, at a statement of the transaction that replaces the bundle."""
    count = 0

    def traced(statement: str) -> None:
        nonlocal count
        if count or statement.startswith("UPDATE hub SET epoch = MAX"):
            count += 1
            if count == at:
                os.kill(os.getpid(), signal.SIGKILL)

    store._db.set_trace_callback(traced)


def _nurse() -> None:
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        start = Start(**json.loads(line))
        if os.fork() == 0:
            sys.stdin.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            try:
                asyncio.run(_live(start))
            finally:
                os._exit(0)


if __name__ == "__main__":
    _nurse()
