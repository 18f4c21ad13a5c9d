"""Measure the main job on one real API server and print each figure beside the raw limit of the same run.

`make bench` runs everything; `python -m bench --quiet-minutes 10` counts the requests of a longer quiet time.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import kubernetes
import psutil

from bench.figures import Figure, report, say
from bench.first import FirstApply, first_apply
from bench.polite import polite
from bench.quiet import quiet
from bench.workload import workload
from tests.cluster import binaries
from tests.cluster.controlplane import ControlPlane
from tests.fleet.fleet import Fleet
from tests.fleet.manifests import overlay
from tests.fleet.processes import Spoke

OBJECTS = 1000
FIRST_APPLIES = 3
EDITS = 100
CHANGES = 20
SYNCED = 5000


def main(arguments: Sequence[str]) -> None:
    """Run every measurement."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quiet-minutes", type=float, default=3.0, help="how long requests are counted (default 3)")
    parser.add_argument("--objects", type=int, default=OBJECTS, help=f"ConfigMaps of the workload (default {OBJECTS})")
    options = parser.parse_args(arguments)
    kustomize = binaries.ensure(["kustomize"], say=say)["kustomize"]
    applies = []
    for _ in range(FIRST_APPLIES - 1):
        with fresh(kustomize) as (fleet, cluster):
            applies.append(first_apply(fleet, cluster, options.objects))
    with fresh(kustomize) as (fleet, cluster):
        applies.append(first_apply(fleet, cluster, options.objects))
        figures = first_applies(applies, options.objects)
        figures += measure(fleet, cluster, kustomize, options.objects, options.quiet_minutes)
    with ControlPlane("polite", audit=True) as cluster:
        for row in polite(cluster, SYNCED):
            beside = f"{row.speed}; machine {row.busy} busy"
            figures.append(Figure(f"`kubectl get` of others, {row.what}", row.kubectl, beside, "<= 3x"))
            figures.append(Figure(f"small GETs of others, {row.what}", row.get, beside, ""))
    report(figures)


@contextlib.contextmanager
def fresh(kustomize: Path) -> Iterator[tuple[Fleet, ControlPlane]]:
    """Yield a fleet that was not started, and its one cluster, `bench`, which has not joined."""
    with (
        tempfile.TemporaryDirectory(prefix="felloe-bench-") as folder,
        ControlPlane("bench", audit=True) as cluster,
        Fleet(Path(folder), {"bench": cluster}, kustomize) as fleet,
    ):
        yield fleet, cluster


def first_applies(applies: Sequence[FirstApply], count: int) -> list[Figure]:
    """Return the figures of first applies, each in a cluster of its own."""
    middle = sorted(applies, key=lambda each: each.ratio)[len(applies) // 2]
    every = ", ".join(f"{each.seconds:.2f} s = {each.ratio:.2f}x" for each in applies)
    used = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in middle.used.items())
    return [
        Figure(
            f"first apply of {count} ConfigMaps (received to applied)",
            f"{middle.seconds:.2f} s = {middle.ratio:.2f}x raw (median of {every})",
            f"raw limit {middle.raw:.2f} s; Flux 7.7 s",
            "<= 1.5x raw",
        ),
        Figure("of that: processor time", used, f"of {middle.seconds * (psutil.cpu_count() or 1):.2f} s", ""),
    ]


def measure(fleet: Fleet, cluster: ControlPlane, kustomize: Path, count: int, quiet_minutes: float) -> list[Figure]:
    """Return the figures of a fleet that has had its first apply, in the order in which they are measured."""
    files, spoke = workload("0", count), fleet.spokes["bench"]
    figures = [memory(fleet, spoke, count)]
    changes, in_spoke = [], []
    for number in range(CHANGES):
        mark = cluster.audit_mark()
        changes.append(one_line_change(fleet, files, number))
        in_spoke.append(spoke_seconds(fleet, cluster, mark))
    figures.append(
        Figure(
            "one-line change: hub told of the commit to object changed",
            spread(changes),
            "Flux 4.2-5.2 s",
            "<= 500 ms",
        )
    )
    figures.append(Figure("of that: spoke received to object changed", spread(in_spoke), "", "<= 50 ms"))
    figures.append(whole_build(fleet, files, kustomize))
    edits = [healed(fleet, number) for number in range(EDITS)]
    figures.append(Figure("manual edit to healed", spread(edits), "Flux 41.5 s", "<= 300 ms"))
    figures.append(quiet(cluster, spoke, quiet_minutes))
    figures.append(memory(fleet, spoke, count))
    return figures


def one_line_change(fleet: Fleet, files: dict[str, str], number: int) -> float:
    """Return the seconds from the announcement of a commit to the change of the object."""
    value = f"change {number}"
    fleet.repository.commit({"bench/first.yaml": workload(value, 1)["bench/first.yaml"]}, value)
    with watched(fleet, lambda data: data.get("value") == value) as seen:
        begin = time.time()
        fleet.announce()
        return seen() - begin


def spoke_seconds(fleet: Fleet, cluster: ControlPlane, mark: int) -> float:
    """Return the seconds from the arrival of a bundle at the spoke to the end of the one PATCH that it led to."""
    time.sleep(1.0)  # the status of this change, and the API server's line about it
    (patch,) = (
        event
        for event in cluster.audit_since(mark, user_agent="felloe")
        if event.verb == "patch" and event.stage == "ResponseComplete" and event.namespace == "bench"
    )
    received = fleet.hub.workload("bench", "bench")["status"]["receivedAt"]
    return (datetime.fromisoformat(patch.time) - datetime.fromisoformat(received)).total_seconds()


def whole_build(fleet: Fleet, files: dict[str, str], kustomize: Path) -> Figure:
    """Return the same change where somebody wrote a kustomization.yaml: then kustomize builds all of it at once."""
    fleet.deliver({"bench/kustomization.yaml": overlay("first.yaml", "rest.yaml")})
    alone = []
    for _ in range(3):
        begin = time.perf_counter()
        subprocess.run([kustomize, "build", fleet.repository.work / "bench"], stdout=subprocess.DEVNULL, check=True)
        alone.append(time.perf_counter() - begin)
    changes = [one_line_change(fleet, files, CHANGES + number) for number in range(5)]
    median = statistics.median(changes)
    return Figure(
        "the same, with a kustomization.yaml over all of them",
        f"median {median * 1000:.0f} ms = {median / min(alone):.2f}x kustomize alone",
        f"kustomize build alone {min(alone) * 1000:.0f} ms",
        "",
    )


def healed(fleet: Fleet, number: int) -> float:
    """Return the seconds from the answer to an edit until the object is as it was."""
    core = fleet.core("bench")
    item = f"item-{number + 1:04}"
    with watched(fleet, lambda data: data.get("value") == "0", item) as seen:
        core.patch_namespaced_config_map(item, "bench", {"data": {"value": "hacked"}})
        begin = time.time()
        return max(0.0, seen() - begin)


@contextlib.contextmanager
def watched(
    fleet: Fleet, wanted: Callable[[dict[str, str]], bool], item: str = "item-0000"
) -> Iterator[Callable[[], float]]:
    """Watch one ConfigMap; what is yielded waits for the first change to `wanted` and returns when it was seen."""
    core = fleet.core("bench")
    version = core.read_namespaced_config_map(item, "bench").metadata.resource_version
    watch = kubernetes.watch.Watch()  # type: ignore[no-untyped-call]
    opened = threading.Event()

    def follow() -> float:
        stream = watch.stream(  # type: ignore[no-untyped-call]
            core.list_namespaced_config_map,
            "bench",
            field_selector=f"metadata.name={item}",
            resource_version=version,
            timeout_seconds=30,
        )
        opened.set()
        for event in stream:
            if wanted(event["object"].data):
                return time.time()
        raise SystemExit(f"{item} did not change within 30 s")

    with ThreadPoolExecutor(1) as executor:
        future = executor.submit(follow)
        opened.wait()
        time.sleep(0.1)  # the generator opens its stream with the first step
        yield future.result


def memory(fleet: Fleet, spoke: Spoke, count: int) -> Figure:
    """Return the resident memory of hub and spoke."""
    spoke_mib = psutil.Process(spoke.process.pid).memory_info().rss / 2**20
    hub_mib = psutil.Process(fleet.hub.process.pid).memory_info().rss / 2**20
    return Figure(
        f"resident memory with {count} objects",
        f"spoke {spoke_mib:.0f} MiB, hub {hub_mib:.0f} MiB",
        "Flux' kustomize-controller 101 MiB",
        "spoke <= 80 MiB",
    )


def spread(seconds: Sequence[float]) -> str:
    """Return median and 95th percentile."""
    p95 = statistics.quantiles(seconds, n=20)[-1]
    return f"median {statistics.median(seconds) * 1000:.0f} ms, p95 {p95 * 1000:.0f} ms (n={len(seconds)})"


if __name__ == "__main__":
    main(sys.argv[1:])
