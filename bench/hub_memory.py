"""What a hub holds in memory as commits come: before the first, and after every fifty.

python -m bench.hub_memory [--objects 1000] [--commits 200] [--memray FILE]

A real hub, and one real cluster with one workload, of which each commit changes one line. With --memray the hub runs
under memray, which is no dependency (`uv pip install memray`), and is killed at the end; `python -m bench.callers FILE`
tells whose the memory was.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.figures import Figure, report, say
from bench.memory import MEMRAY, whose
from bench.workload import fleet_objects, workload
from tests.cluster import binaries
from tests.cluster.controlplane import ControlPlane
from tests.fleet.fleet import Fleet
from tests.fleet.processes import FELLOE, eventually

_EVERY = 50
_LONGEST_SECONDS = 300.0
_SETTLE_SECONDS = 5.0
_APPLIED = "event=Applied "


def main(arguments: Sequence[str]) -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(prog="python -m bench.hub_memory", description=__doc__.partition("\n")[0])
    parser.add_argument("--objects", type=int, default=1000, help="ConfigMaps of about 300 bytes (default 1000)")
    parser.add_argument("--commits", type=int, default=200, help="of one line each (default 200)")
    parser.add_argument("--memray", type=Path, metavar="FILE", help="record every allocation of the hub")
    options = parser.parse_args(arguments)
    kustomize = binaries.ensure(["kustomize"], say=say)["kustomize"]
    with (
        tempfile.TemporaryDirectory(prefix="felloe-bench-") as folder,
        ControlPlane("bench") as cluster,
        Fleet(Path(folder), {"bench": cluster}, kustomize) as fleet,
    ):
        if options.memray is not None:
            python, *rest = FELLOE
            fleet.hub.command = [python, "-m", "memray", "run", *MEMRAY, "--output", str(options.memray), *rest]
        report(_measure(fleet, options.objects, options.commits))
        fleet.hub.kill()


def _measure(fleet: Fleet, objects: int, commits: int) -> list[Figure]:
    files = workload("0", objects) | {"fleet/fleet.yaml": fleet_objects(fleet.url)}
    fleet.repository.commit(files, "the workload")
    fleet.hub.start()
    figures = [_figure("a hub without clusters", fleet)]
    fleet.join("bench")
    _applied(fleet, 1)
    figures.append(_figure(f"one cluster, {objects} objects applied", fleet))
    for number in range(1, commits + 1):
        change = workload(f"change {number}", 1)["bench/first.yaml"]
        fleet.commit({"bench/first.yaml": change}, f"change {number}")
        _applied(fleet, number + 1)
        if number % _EVERY == 0 or number == commits:
            figures.append(_figure(f"{number} commits later", fleet))
    return figures


def _applied(fleet: Fleet, times: int) -> None:
    log = fleet.spokes["bench"].process.log
    eventually(lambda: log.read_text().count(_APPLIED) >= times, f"bundle {times} is applied", _LONGEST_SECONDS)


def _figure(what: str, fleet: Fleet) -> Figure:
    time.sleep(_SETTLE_SECONDS)
    held = whose(fleet.hub.process.pid)
    figure = Figure(what, f"{sum(held.values()):.1f} MiB", f"private {held['private']:.1f}", "")
    say(f"{what}: {figure.felloe} ({figure.beside})")
    return figure


if __name__ == "__main__":
    main(sys.argv[1:])
