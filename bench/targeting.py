"""What planning costs as a fleet grows: targeting alone, with Git and renders in memory.

python -m bench.targeting [--clusters 100 1000 10000 100000]

Figures are processor time, so that a busy machine does not change them much. Every step resolves clusters as the hub
does and needs the root of each; what was planned becomes what each cluster has before the next step.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

import psutil

from bench import simulated
from bench.figures import sizes
from bench.simulated import Renders, Tree
from felloe.errors import RenderError
from hub.fleet import load_fleet
from hub.heap import Heap
from hub.planning.resolving import Lacking
from hub.render.render import Rendered
from hub.sources.spec import GitRef, GitSpec
from hub.targeting import ClusterPlan, Inputs, Memo, RenderWant, Snapshot

COUNTS = (100, 1_000, 10_000, 100_000)
SOURCE = GitSpec("flux-system", "flux-system", "https://git.example/fleet.git", GitRef(branch="main"))
MIB = 1024.0 * 1024.0
LABEL_CHANGES = 50


class Row(NamedTuple):
    """The figures of one size; times are seconds of processor time, memory is KiB for each cluster."""

    clusters: int
    workloads: float
    first: float
    overlay: float
    base: float
    fleet: float
    nothing: float
    label: float
    memory: float


class Fleet:
    """What the hub has of the simulated fleet."""

    def __init__(self, count: int) -> None:
        self.names = simulated.names(count)
        self.labels = {name: simulated.labels(number) for number, name in enumerate(self.names)}
        self.plans: dict[str, ClusterPlan] = {}
        self._memo = Memo()
        self._renders = Renders()
        self._results: dict[RenderWant, Rendered | RenderError] = {}
        self._versions = simulated.folders()
        self._heap = Heap()
        self._commits = 0
        self._text = ""
        self.commit()

    def commit(self, *paths: str, replicas: int = 1) -> None:
        """Change overlays, or the fleet."""
        self._versions = self._versions | {path: self._versions[path] + 1 for path in paths}
        self._commits += 1
        text = simulated.fleet(replicas=replicas)
        self._tree = Tree(text, self._versions, f"main@sha1:{self._commits:040x}")
        self._snapshot = Snapshot(self._tree, self._tree.revision)
        if text != self._text:
            self._fleet, self._text = load_fleet(self._tree, "fleet"), text

    def plan(self, names: Iterable[str], *, whole: bool = True) -> None:
        """Plan clusters, rendering what that needs."""
        pending = list(names)
        while pending:
            self._memo.begin()
            waiting = []
            lacking = Lacking(self._results)
            for name in pending:
                inputs = self._inputs(name)
                found = self._memo.resolve(inputs)
                if lacking.take(found, inputs):
                    waiting.append(name)
                else:
                    plan = found.plan
                    _ = plan.bundle.root
                    self.plans[name] = plan.without_blobs()
            for want in lacking.wanted:
                self._results[want] = self._renders.render(want, self._tree)
            pending = waiting
        if whole:
            self._heap.settle()
            self._memo.keep(self.labels)
            revision = self._tree.revision
            self._results = {want: each for want, each in self._results.items() if want.revision == revision}

    def forecast(self, names: Iterable[str]) -> None:
        """Plan clusters by a fork of what is remembered, as a forecast does."""
        memo, self._memo = self._memo, self._memo.fork()
        self.plan(names, whole=False)
        self._memo = memo

    def _inputs(self, name: str) -> Inputs:
        return Inputs(
            cluster=name,
            fleet=self._fleet,
            fleet_source=SOURCE,
            fleet_snapshot=self._snapshot,
            labels=self.labels[name],
            default_sync_path="clusters/${cluster_name}",
            renders=self._results,
            previous=self.plans.get(name),
        )


def measure(count: int) -> Row:
    """Return the figures of a fleet of this size."""
    gc.unfreeze()
    gc.collect()
    before = psutil.Process().memory_info().rss
    fleet = Fleet(count)
    first = timed(lambda: fleet.plan(fleet.names))
    memory = (psutil.Process().memory_info().rss - before) / 1024.0 / count
    fleet.commit(f"apps/{simulated.app(100)}/production")
    overlay = timed(lambda: fleet.plan(fleet.names))
    fleet.commit(*(f"apps/{simulated.app(0)}/{each}" for each in simulated.ENVIRONMENTS))
    base = timed(lambda: fleet.plan(fleet.names))
    fleet.commit(replicas=2)
    whole = timed(lambda: fleet.plan(fleet.names))
    nothing = timed(lambda: fleet.plan(fleet.names))
    labels = [timed(partial(change_label, fleet, number)) for number in range(min(LABEL_CHANGES, count))]
    workloads = sum(len(plan.workloads) for plan in fleet.plans.values()) / count
    return Row(count, workloads, first, overlay, base, whole, nothing, max(labels), memory)


def change_label(fleet: Fleet, number: int) -> None:
    """Move a cluster to another role, and plan it."""
    name = fleet.names[number]
    fleet.labels[name] = {**fleet.labels[name], "role": f"role-{(number + 1) % simulated.ROLES}"}
    fleet.plan([name], whole=False)


def timed(work: Callable[[], object]) -> float:
    """Return the seconds of processor time that some work takes."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def main(arguments: Sequence[str]) -> None:
    """Measure fleets of several sizes."""
    print(
        "| clusters | workloads of each | first plan | one overlay | an overlay of all | the fleet folder | nothing |"
        " a label (worst of 50) | memory of each |\n|---|---|---|---|---|---|---|---|---|"
    )
    for count in sizes("targeting", __doc__, arguments, COUNTS):
        row = measure(count)
        print(
            f"| {row.clusters:,} | {row.workloads:.1f} | {row.first:.2f} s | {row.overlay:.2f} s | {row.base:.2f} s |"
            f" {row.fleet:.2f} s | {row.nothing:.2f} s | {row.label * 1000:.1f} ms | {row.memory:.0f} KiB |",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1:])
