"""A hub that is killed, and a connection to it that is cut in the middle of what it carries.

``python -m tests.faults.link FOLDER PORT`` is the hub: a real link server on a real store, which publishes what it
reads line by line. Between it and a spoke stands a line that ends after so many bytes, and may kill the spoke then.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from felloe.bundle import Bundle, Entry, Workload
from felloe.digest import Digest, canonical_json, digest
from felloe.identity import object_id, split_api_version
from hub.targeting.waves import wave_of
from spoke.state import Identity
from tests.faults.world import Generation
from tests.spoke.manifests import workload_id
from tests.unit.hub.link.rig import Hub

CLUSTER = "faults"
_ROOT = Path(__file__).parents[2]
_LONGEST_LINE = 1 << 22


def bundle_of(generation: Generation, put: Callable[[bytes], Digest] = digest) -> Bundle:
    """Return the bundle of a generation; `put` keeps a blob and returns its name."""
    built = []
    for wanted in generation.workloads():
        entries = []
        for manifest in wanted.objects:
            blob, identity = canonical_json(manifest), object_id(manifest)
            version = split_api_version(str(manifest["apiVersion"]))[1]
            entries.append(Entry(identity, version, put(blob), wave_of(identity, manifest), len(blob)))
        built.append(Workload(workload_id(wanted.name), wanted.options, tuple(entries), wanted.variables))
    return Bundle(tuple(built))


class HubProcess:
    """A hub in a process of its own, which is killed and started again on its folder and port."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None
        self._newest: Generation | None = None
        self.identity = Identity("", "", "", "", "", 0.0, 0.0)
        self.port = 0

    async def start(self) -> None:
        """Start it, and have it publish what was wanted last."""
        environment = {**os.environ, "PYTHONPATH": f"{_ROOT}:{_ROOT / 'proto'}", "GRPC_ENABLE_FORK_SUPPORT": "0"}
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.faults.link", str(self._folder), str(self.port)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=environment,
            cwd=_ROOT,
            limit=_LONGEST_LINE,
        )
        assert self._process.stdout
        said = json.loads(await self._process.stdout.readline())
        self.port, self.identity = said["port"], Identity(**said["identity"])
        if self._newest:
            await self.publish(self._newest)

    async def publish(self, generation: Generation) -> None:
        """Have it want this of the cluster."""
        assert self._process
        assert self._process.stdin
        self._newest = generation
        with suppress(OSError):
            self._process.stdin.write(json.dumps(generation.to_json()).encode() + b"\n")
            await self._process.stdin.drain()

    async def kill(self) -> None:
        """Kill it (SIGKILL), and wait until it is dead."""
        if self._process and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


class Line:
    """What stands between a spoke and its hub; `cut_after` is how many bytes the next connection carries at most."""

    def __init__(self, hub: HubProcess) -> None:
        self._hub = hub
        self._carried: set[asyncio.Task[None]] = set()
        self.port = 0
        self.cut_after: int | None = None
        self.on_cut: Callable[[], None] = lambda: None
        self.cuts = 0

    async def accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection."""
        left, self.cut_after = self.cut_after, None
        with suppress(OSError):
            there, back = await asyncio.open_connection("127.0.0.1", self._hub.port)
            budget = [left if left is not None else sys.maxsize]
            await asyncio.gather(self._carry(reader, back, budget), self._carry(there, writer, budget))
            back.close()
        writer.close()

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, budget: list[int]) -> None:
        with suppress(OSError):
            while budget[0] > 0 and (data := await source.read(4096)):
                sink.write(data[: budget[0]])
                await sink.drain()
                budget[0] -= len(data)
            if budget[0] <= 0:
                self.cuts += 1
                self.on_cut()
        sink.transport.abort()


@asynccontextmanager
async def linked(folder: Path) -> AsyncIterator[tuple[HubProcess, Line]]:
    """Yield a running hub and the line to it."""
    hub = HubProcess(folder)
    line = Line(hub)
    server = await asyncio.start_server(line.accepted, "127.0.0.1", 0)
    line.port = server.sockets[0].getsockname()[1]
    try:
        await hub.start()
        yield hub, line
    finally:
        server.close()
        await hub.kill()


async def _serve(folder: Path, port: int) -> None:
    hub = Hub(folder)
    await hub.start(port)
    kept = folder / "member.json"
    if not kept.exists():
        kept.write_text(json.dumps(asdict(hub.member(CLUSTER))))
    print(
        json.dumps({"port": int(hub.address.rpartition(":")[2]), "identity": json.loads(kept.read_text())}), flush=True
    )
    reader = asyncio.StreamReader(limit=_LONGEST_LINE)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        generation = Generation.from_json(json.loads(line))
        hub.server.publish(CLUSTER, bundle_of(generation, hub.blobs.put), revision=f"main@{generation.number}")


if __name__ == "__main__":
    Path(sys.argv[1]).mkdir(exist_ok=True)
    asyncio.run(_serve(Path(sys.argv[1]), int(sys.argv[2])))
