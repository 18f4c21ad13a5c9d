"""What a spoke costs as its cluster grows: memory, and how long a restart takes that finds nothing to do.

python -m bench.scale [--objects 1000 5000 20000]
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import psutil

from bench.figures import Figure, report, say
from bench.workload import fleet_objects
from tests.cluster import binaries
from tests.cluster.controlplane import ControlPlane
from tests.fleet.fleet import Fleet
from tests.fleet.manifests import config_map, documents, namespace
from tests.fleet.processes import Hub, Spoke, eventually

COUNTS = (1000, 5000, 20_000)
IN_A_FILE = 100
BUDGET_MIB = {1000: 64, 5000: 80, 20_000: 140}
_LONGEST_SECONDS = 900
_APPLIED = re.compile(r"time=(\S+)Z .*event=Applied")


def main(arguments: Sequence[str]) -> None:
    """Grow one workload step by step and measure at each."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--objects", type=int, nargs="+", default=COUNTS, help="ConfigMaps (default 1000 5000 20000)")
    options = parser.parse_args(arguments)
    kustomize = binaries.ensure(["kustomize"], say=say)["kustomize"]
    with (
        tempfile.TemporaryDirectory(prefix="felloe-bench-") as folder,
        ControlPlane("bench", audit=True) as cluster,
        Fleet(Path(folder), {"bench": cluster}, kustomize) as fleet,
    ):
        fleet.repository.commit({"fleet/fleet.yaml": fleet_objects(fleet.url)} | files(1), "start")
        fleet.hub.start()
        spoke = fleet.join("bench")
        figures = []
        for count in options.objects:
            sha = fleet.repository.commit(files(count), f"{count} objects")
            fleet.announce()
            wait = ("wait", "--for", "healthy", "--revision", sha, "--timeout", f"{_LONGEST_SECONDS}s")
            fleet.hub.felloe(*wait, timeout=_LONGEST_SECONDS + 20)
            figures += at(cluster, spoke, count)
            figures.append(
                Figure(f"hub's resident memory with {count} objects", f"{rss_mib(fleet.hub):.0f} MiB", "", "")
            )
    report(figures)


def files(count: int) -> dict[str, str | bytes | None]:
    """Return a workload of `count` ConfigMaps in files of a hundred."""
    made: dict[str, str | bytes | None] = {"bench/namespace.yaml": documents(namespace("bench"))}
    for begin in range(0, count, IN_A_FILE):
        numbers = range(begin, min(count, begin + IN_A_FILE))
        some = [config_map(f"item-{n:05}", "bench", value="0", text="x" * 200) for n in numbers]
        made[f"bench/{begin:05}.yaml"] = documents(*some)
    return made


def at(cluster: ControlPlane, spoke: Spoke, count: int) -> list[Figure]:
    """Return memory and restart time with this many objects applied."""
    time.sleep(10)
    applied = rss_mib(spoke)
    seconds, patches, restarted = restart(cluster, spoke)
    budget = f"<= {BUDGET_MIB[count]} MiB" if count in BUDGET_MIB else ""
    return [
        Figure(
            f"spoke's resident memory with {count} objects",
            f"{applied:.0f} MiB after applying them, {restarted:.0f} MiB after a restart",
            "Flux 101 MiB at 1,000",
            budget,
        ),
        Figure(
            f"SIGKILL and restart with {count} objects, nothing changed: process start to all watched and compared",
            f"{seconds:.2f} s, {patches} objects applied",
            "",
            "<= 2 s, 0 at 5,000",
        ),
    ]


def restart(cluster: ControlPlane, spoke: Spoke) -> tuple[float, int, float]:
    """Kill a spoke and start it again; return the seconds until it has looked at everything, PATCHes, and its MiB."""
    mark = cluster.audit_mark()
    spoke.kill()
    log = spoke.process.log
    skip = log.stat().st_size
    begin = datetime.now(UTC)
    spoke.start()
    found: list[str] = []

    def compared() -> bool:
        with log.open() as file:
            file.seek(skip)
            found[:] = _APPLIED.findall(file.read())
        return bool(found)

    eventually(compared, "everything is compared", timeout=120)
    ready = datetime.fromisoformat(found[0]).replace(tzinfo=UTC)
    time.sleep(10)
    events = [event for event in cluster.audit_since(mark, user_agent="felloe") if event.stage == "ResponseComplete"]
    return (ready - begin).total_seconds(), sum(event.verb == "patch" for event in events), rss_mib(spoke)


def rss_mib(one: Spoke | Hub) -> float:
    """Return what a hub or a spoke holds in memory."""
    rss: int = psutil.Process(one.process.pid).memory_info().rss
    return rss / 2**20


if __name__ == "__main__":
    main(sys.argv[1:])
