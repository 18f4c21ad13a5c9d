"""What a spoke holds in memory, and whose it is: as it starts, with its objects, and after many changes and heals.

python -m bench.memory [--objects 1000] [--rounds 2] [--changes 125] [--heals 100] [--memray FILE]

A real API server and a real spoke; of the hub only its link, in this process, so that a change costs milliseconds and
thousands of them can be made. With --memray the spoke runs under memray, which is no dependency (`uv pip install
memray`), and is killed at the end; `python -m bench.callers FILE` tells whose the memory was.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path

import kubernetes

from bench.figures import Figure, report, say
from felloe import waves
from felloe.bundle import ApplyOptions, Bundle, Entry, Workload
from felloe.digest import canonical_json
from felloe.identity import WorkloadId, object_id
from felloe.v1 import status_pb2
from spoke.cli import GIVE_MEMORY_BACK
from tests.cluster.controlplane import ControlPlane
from tests.cluster.processes import Process, ProcessKeeper
from tests.spoke.manifests import Manifest, config_map, namespace
from tests.unit.hub.link.rig import Hub, running_hub

_CLUSTER = "bench"
_WORKLOAD = WorkloadId("Kustomization", "flux-system", "bench")
_SECONDS = 1800.0
_SETTLE_SECONDS = 10.0
MEMRAY = ("--trace-python-allocators", "--force", "--quiet")
_LIBRARIES = {
    "cygrpc": "gRPC's library",
    "libssl": "OpenSSL",
    "libcrypto": "OpenSSL",
    "python3": "Python",
    "_message.abi3": "protobuf",
    "libsqlite3": "SQLite",
    "uvloop": "uvloop",
    "libstdc++": "libstdc++",
}


def main(arguments: Sequence[str]) -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__.partition("\n")[0])
    parser.add_argument("--objects", type=int, default=1000, help="ConfigMaps of about 300 bytes (default 1000)")
    parser.add_argument("--rounds", type=int, default=2, help="of changes and heals (default 2)")
    parser.add_argument("--changes", type=int, default=125, help="of one object each, in a round (default 125)")
    parser.add_argument("--heals", type=int, default=100, help="of manual edits, in a round (default 100)")
    parser.add_argument("--memray", type=Path, metavar="FILE", help="record every allocation of the spoke")
    options = parser.parse_args(arguments)
    report(asyncio.run(_measure(options)))


async def _measure(options: argparse.Namespace) -> list[Figure]:
    figures = []
    with tempfile.TemporaryDirectory(prefix="felloe-bench-") as folder, ControlPlane("bench", audit=True) as cluster:
        async with running_hub(Path(folder) / "hub") as hub, _running(Path(folder), cluster, hub, options) as spoke:
            figures.append(await _figure("a spoke without objects", spoke))
            await spoke.first(options.objects)
            figures.append(await _figure(f"{options.objects} objects applied", spoke))
            for number in range(1, options.rounds + 1):
                figures.append(await _most("a change of one object, at most", spoke, spoke.changes(1)))
                await spoke.changes(options.changes - 1)
                await spoke.heals(options.heals)
                what = f"{number * options.changes} changes and {number * options.heals} heals later"
                figures.append(await _figure(what, spoke))
            if options.memray is None:
                await spoke.restart()
                figures.append(await _figure("after a restart", spoke))
        requests = Counter(
            (event.verb, event.resource)
            for event in cluster.audit_since(0, user_agent="felloe")
            if event.stage == "ResponseComplete"
        )
    for (verb, resource), count in requests.most_common(12):
        say(f"requests: {count} {verb} {resource}")
    return figures


class _Spoke:
    """A spoke's process, and what it is wanted to do."""

    def __init__(self, hub: Hub, cluster: ControlPlane, keeper: ProcessKeeper, argv: list[str], log: Path) -> None:
        self._hub = hub
        self._core = kubernetes.client.CoreV1Api(cluster.client())
        self._keeper = keeper
        self._argv = argv
        self._log = log
        self._bundle = Bundle()
        self._changed = 0
        self._healed = 0
        self.process = self._start()

    def _start(self) -> Process:
        environment = {**GIVE_MEMORY_BACK, **os.environ}
        return self._keeper.start("spoke", self._argv, self._log, environment)

    async def first(self, count: int) -> None:
        """Have it apply so many objects."""
        objects = [namespace("bench"), *(_item(number, "0") for number in range(count))]
        entries = tuple(self._entry(each) for each in objects)
        workload = Workload(_WORKLOAD, ApplyOptions(prune=True), entries)
        begin = time.monotonic()
        await self._applied(workload)
        say(f"{count} objects applied in {time.monotonic() - begin:.1f} s")

    async def changes(self, count: int) -> None:
        """Change one object so many times."""
        for _ in range(count):
            self._changed += 1
            entry = self._entry(_item(0, f"change {self._changed}"))
            workload = self._bundle.by_id[_WORKLOAD]
            rest = (each for each in workload.entries if each.id != entry.id)
            await self._applied(replace(workload, entries=(entry, *rest)))

    async def heals(self, count: int) -> None:
        """Edit objects by hand, so many times, and wait for each to be healed."""
        objects = len(self._bundle.by_id[_WORKLOAD].entries) - 2
        for _ in range(count):
            self._healed += 1
            name, edit = f"item-{1 + self._healed % objects:05}", {"data": {"value": "by hand"}}
            await asyncio.to_thread(self._core.patch_namespaced_config_map, name, "bench", edit)
            await self._until(lambda status: status.healed >= self._healed)

    async def restart(self) -> None:
        """Kill it, and wait until a new process has everything compared."""
        self.process.stop(kill=True)
        self._hub.listener.statuses.clear()
        self.process = self._start()
        await self._until(self._is_applied)

    async def _applied(self, workload: Workload) -> None:
        self._hub.listener.statuses.clear()
        self._bundle = Bundle((workload,))
        self._hub.server.publish(_CLUSTER, self._bundle)
        await self._until(self._is_applied)

    def _is_applied(self, status: status_pb2.WorkloadStatus) -> bool:
        ready = any(each.type == "Ready" and each.status for each in status.conditions)
        return ready and status.applied_digest == status.digest == self._bundle.by_id[_WORKLOAD].digest

    async def _until(self, holds: Callable[[status_pb2.WorkloadStatus], bool]) -> None:
        async with asyncio.timeout(_SECONDS):
            while not any(holds(status) for status in self._told()):
                self.process.check()
                await asyncio.sleep(0.005)

    def _told(self) -> list[status_pb2.WorkloadStatus]:
        statuses = self._hub.listener.statuses
        del statuses[:-50]
        return [workload for _, status in statuses for workload in status.workloads]

    def _entry(self, manifest: Manifest) -> Entry:
        data = canonical_json(manifest)
        identity = object_id(manifest)
        wave = waves.NAMESPACES if identity.kind == "Namespace" else waves.THE_REST
        return Entry(identity, "v1", self._hub.blobs.put(data), wave, len(data))


def _item(number: int, value: str) -> Manifest:
    return config_map("bench", f"item-{number:05}", value=value, text="x" * 200)


@asynccontextmanager
async def _running(folder: Path, cluster: ControlPlane, hub: Hub, options: argparse.Namespace) -> AsyncIterator[_Spoke]:
    """Run a spoke that has joined, as `felloe spoke run` starts it."""
    token = folder / "token"
    token.write_text(hub.enrolment.create_token(_CLUSTER, {}, _SECONDS))
    recorded = ["-m", "memray", "run", *MEMRAY, "--output", str(options.memray)] if options.memray else []
    argv = [sys.executable, *recorded, "-m", "spoke", f"--hub={hub.address}", f"--token-file={token}"]
    argv += [f"--kubeconfig={cluster.kubeconfig}", f"--state={folder / 'spoke'}"]
    with closing(ProcessKeeper()) as keeper:
        spoke = _Spoke(hub, cluster, keeper, argv, folder / "spoke.log")
        while not hub.server.sessions():
            spoke.process.check()
            await asyncio.sleep(0.1)
        yield spoke
        spoke.process.stop(kill=True)


async def _figure(what: str, spoke: _Spoke) -> Figure:
    await asyncio.sleep(_SETTLE_SECONDS)
    held = whose(spoke.process.pid)
    parts = ", ".join(f"{name} {mib:.1f}" for name, mib in held.items())
    figure = Figure(what, f"{sum(held.values()):.1f} MiB", parts, "")
    say(f"{what}: {figure.felloe} ({parts})")
    return figure


async def _most(what: str, spoke: _Spoke, work: Awaitable[None]) -> Figure:
    """Return the most that was resident at a time while something was done (VmHWM of proc(5), reset before)."""
    process = Path("/proc") / str(spoke.process.pid)
    (process / "clear_refs").write_text("5")
    await work
    await asyncio.sleep(_SETTLE_SECONDS)
    (line,) = (line for line in (process / "status").read_text().splitlines() if line.startswith("VmHWM:"))
    figure = Figure(what, f"{int(line.split()[1]) / 1024:.1f} MiB", "", "")
    say(f"{what}: {figure.felloe}")
    return figure


def whose(pid: int) -> dict[str, float]:
    """Return the MiB that a process has resident (smaps of proc(5)), by library and what is its own, largest first."""
    held: Counter[str] = Counter()  # KiB
    name = ""
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        words = line.split()
        if words[0] == "Rss:":
            held[name] += int(words[1])
        elif not words[0].endswith(":"):
            name = _owner(words[5] if len(words) > 5 else "")
    return {name: kib / 1024 for name, kib in held.most_common()}


def _owner(mapped: str) -> str:
    """Return whose a mapping is: private memory has no file."""
    if not mapped.startswith("/"):
        return "private"
    file = Path(mapped).name
    return next((name for part, name in _LIBRARIES.items() if part in file), "other libraries")


if __name__ == "__main__":
    main(sys.argv[1:])
