"""What others feel of a spoke's first sync: how long their requests take beside it, next to what they take in quiet.

Two kinds of others: one who makes a small GET every 50 ms on a warm connection, and one who runs `kubectl get configmap
NAME` again and again, each a process. Beside the spoke stands a client without manners, which makes 32 applies at once
all the time. All of them, the API server and those who ask share one machine here: with few cores much of the delay is
that they wait for a core. In a cluster each pod has the weight of its requests then: where control groups can be made,
the sync is measured with these weights, too (bench.weights).

``python -m bench.polite`` measures just this; ``--at-once 2 4 8`` adds syncs that always have so many requests running,
which gives the curve of throughput against delay that the spoke's pace chooses from.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import kubernetes
import psutil

from bench import raw
from bench.figures import say
from bench.prober import probing
from bench.sync import Span, first_sync
from bench.weights import OTHERS, SPOKE, Weights, weights
from felloe.labels import SYSTEM_NAMESPACE
from tests.cluster import binaries
from tests.cluster.controlplane import ControlPlane
from tests.fleet.manifests import config_map, namespace

_QUIET_SECONDS = 10.0
_KUBECTLS = 40
_FEW = 10
_SYNCS_AT_MOST = 5
_REST_SECONDS = 5.0


class Row(NamedTuple):
    """What ran, what others felt of it, the applies a second, and how busy the machine was."""

    what: str
    get: str
    kubectl: str
    speed: str
    busy: str


class _Others(NamedTuple):
    """What others measured: seconds of each GET, and of each run of kubectl."""

    gets: Sequence[float]
    kubectls: Sequence[float]


_Run = Callable[[str], Span]
"""Runs what others are measured beside; takes the name of a namespace that is not there yet."""


class _Bench:
    """The measurements on one cluster that nothing else uses."""

    def __init__(self, cluster: ControlPlane, count: int) -> None:
        self._cluster = cluster
        self._count = count
        self._kubectl = binaries.ensure(["kubectl"], say=say)["kubectl"]
        self._numbers = itertools.count(1)
        self._quiet = _Others((), ())

    def rows(self, fixed: Sequence[int]) -> Iterator[Row]:
        """Measure one after the other."""
        yield self._row("quiet", self._nothing)
        yield self._row(f"first sync of {self._count} objects", self._sync())
        for at_once in fixed:
            yield self._row(f"the same, always {at_once} at once", self._sync(at_once))
        yield self._row("the same by a client that always has 32 at once", self._rude)
        with weights() as shares:
            if shares is None:
                say("no control groups (version 1) can be made here: not measured with the CPU shares of pods")
                return
            for name, pid in self._cluster.pids().items():
                shares.put(name, pid)
            say(f"CPU shares: {shares}")
            yield self._row("first sync, with CPU shares as in Kubernetes", self._sync(shares=shares), shares)

    def _row(self, what: str, run: _Run, shares: Weights | None = None) -> Row:
        say(what)
        others, spans, busy = self._beside(run, shares)
        if not self._quiet.gets:
            self._quiet = others
        seconds = statistics.median(span.seconds for span in spans)
        speed = "" if run == self._nothing else f"{self._count / seconds:.0f}/s, {seconds:.1f} s"
        gets, kubectls = compared(others.gets, self._quiet.gets), compared(others.kubectls, self._quiet.kubectls)
        return Row(what, gets, kubectls, speed, f"{busy:.0f} %")

    def _beside(self, run: _Run, shares: Weights | None) -> tuple[_Others, list[Span], float]:
        """Return what each kind of others felt, by itself, what ran meanwhile, and how busy the machine was."""

        def started(pid: int) -> None:
            if shares is not None:
                shares.put(OTHERS, pid)

        with probing(self._cluster.kubeconfig, started=started) as prober:
            time.sleep(_REST_SECONDS)
            psutil.cpu_percent()
            span = self._run(run)
            busy = psutil.cpu_percent()
        gets = prober.between(span.begin, span.end)
        spans, kubectls = [span], list[float]()
        while len(kubectls) < _KUBECTLS and len(spans) <= _SYNCS_AT_MOST:
            with probing(self._cluster.kubeconfig, self._kubectl, started) as prober:
                time.sleep(_REST_SECONDS)
                span = self._run(run)
            spans.append(span)
            kubectls += prober.between(span.begin, span.end)
        return _Others(gets, kubectls), spans, busy

    def _run(self, run: _Run) -> Span:
        name = f"polite-{next(self._numbers)}"
        span = run(name)
        core = kubernetes.client.CoreV1Api(self._cluster.client())
        if any(each.metadata and each.metadata.name == name for each in core.list_namespace().items):
            core.delete_collection_namespaced_config_map(name)
        if any(each.metadata and each.metadata.name == SYSTEM_NAMESPACE for each in core.list_namespace().items):
            # What the next spoke, which begins with another bundle, would take for its own past, and take down.
            core.delete_collection_namespaced_config_map(SYSTEM_NAMESPACE)
            core.delete_collection_namespaced_secret(SYSTEM_NAMESPACE)
        return span

    def _nothing(self, _: str) -> Span:
        begin = time.time()
        time.sleep(_QUIET_SECONDS)
        return Span(begin, time.time())

    def _sync(self, at_once: int = 0, shares: Weights | None = None) -> _Run:
        def started(pid: int) -> None:
            if shares is not None:
                shares.put(SPOKE, pid)

        return lambda name: first_sync(self._cluster.kubeconfig, self._count, name, at_once=at_once, started=started)

    def _rude(self, name: str) -> Span:
        core = kubernetes.client.CoreV1Api(self._cluster.client())
        core.create_namespace(namespace(name))  # type: ignore[arg-type]
        objects = [config_map(f"item-{n:05}", name, value="0", text="x" * 200) for n in range(self._count)]
        begin = time.time()
        raw.apply_all(self._cluster.kubeconfig, objects, concurrency=32)
        return Span(begin, time.time())


def polite(cluster: ControlPlane, count: int, fixed: Sequence[int] = ()) -> list[Row]:
    """Measure on a cluster that nothing else uses; `fixed` adds syncs with so many requests at once."""
    return list(_Bench(cluster, count).rows(fixed))


def compared(latencies: Sequence[float], quiet: Sequence[float]) -> str:
    """Return median and 95th percentile of latencies, and how they compare with those in quiet."""
    if min(len(latencies), len(quiet)) < _FEW:
        return "not measured, it was over too soon"
    parts = []
    for name, of in (("median", statistics.median), ("p95", lambda each: statistics.quantiles(each, n=20)[-1])):
        parts.append(f"{name} {of(latencies) * 1000:.1f} ms = {of(latencies) / of(quiet):.1f}x")
    return ", ".join(parts) + f" (n={len(latencies)})"


def main(arguments: Sequence[str]) -> None:
    """Measure on a cluster of its own and print a Markdown table."""
    parser = argparse.ArgumentParser(prog="python -m bench.polite", description="What others feel of a first sync.")
    parser.add_argument("--objects", type=int, default=5000)
    parser.add_argument("--at-once", type=int, nargs="*", default=[], help="syncs with so many requests at once, too")
    options = parser.parse_args(arguments)
    with ControlPlane("polite", audit=True) as cluster:
        rows = polite(cluster, options.objects, options.at_once)
    sys.stdout.write("\n| beside what | a small GET every 50 ms | `kubectl get` | applies | machine busy |\n")
    sys.stdout.write("|---|---|---|---|---|\n")
    for row in rows:
        sys.stdout.write(f"| {' | '.join(row)} |\n")


if __name__ == "__main__":
    main(sys.argv[1:])
