"""What others feel of a spoke's first sync: the latency of small GETs beside it, next to their latency in quiet.

Beside the spoke stands a client without manners, which makes 32 applies at once all the time. All of them, the API
server and the one who asks share one machine here: with few cores much of the delay is that they wait for a core, which
API servers on machines of their own don't; the last column says how busy the machine was with all of it.

``python -m bench.polite`` measures just this.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

import kubernetes
import psutil

from bench import raw
from bench.prober import probing
from bench.sync import Span, first_sync
from tests.cluster.controlplane import ControlPlane
from tests.fleet.manifests import config_map, namespace

_QUIET_SECONDS = 10.0


class Row(NamedTuple):
    """What ran, the latency of GETs beside it and its ratio to quiet, and how busy the machine was."""

    what: str
    latency: str
    busy: str


def polite(cluster: ControlPlane, count: int) -> Sequence[Row]:
    """Measure on a cluster that nothing else uses."""
    spans: dict[str, tuple[Span, float]] = {}
    with probing(cluster.kubeconfig) as prober:
        time.sleep(2.0)
        psutil.cpu_percent()
        begin = time.time()
        time.sleep(_QUIET_SECONDS)
        spans["quiet"] = Span(begin, time.time()), psutil.cpu_percent()
        span = first_sync(cluster.kubeconfig, count, "polite")
        spans[f"first sync of {count} objects, {span.seconds:.1f} s"] = span, psutil.cpu_percent()
        time.sleep(2.0)
        kubernetes.client.CoreV1Api(cluster.client()).create_namespace(namespace("rude"))  # type: ignore[arg-type]
        objects = [config_map(f"item-{n:05}", "rude", value="0", text="x" * 200) for n in range(count)]
        psutil.cpu_percent()
        begin = time.time()
        seconds = raw.apply_all(cluster.kubeconfig, objects, concurrency=32)
        spans[f"the same by 32 at once, {seconds:.1f} s"] = Span(begin, time.time()), psutil.cpu_percent()
    quiet = prober.between(*spans["quiet"][0])
    return [Row(what, compared(prober.between(*span), quiet), f"{busy:.0f} %") for what, (span, busy) in spans.items()]


def compared(latencies: Sequence[float], quiet: Sequence[float]) -> str:
    """Return median and 95th percentile of latencies, and how they compare with those in quiet."""
    parts = []
    for name, of in (("median", statistics.median), ("p95", lambda each: statistics.quantiles(each, n=20)[-1])):
        parts.append(f"{name} {of(latencies) * 1000:.1f} ms = {of(latencies) / of(quiet):.1f}x")
    return ", ".join(parts)


def main(arguments: Sequence[str]) -> None:
    """Measure on a cluster of its own and print a Markdown table."""
    parser = argparse.ArgumentParser(prog="python -m bench.polite", description="What others feel of a first sync.")
    parser.add_argument("--objects", type=int, default=5000)
    options = parser.parse_args(arguments)
    with ControlPlane("polite", audit=True) as cluster:
        rows = polite(cluster, options.objects)
    sys.stdout.write("\n| beside what | a small GET every 50 ms | machine busy |\n|---|---|---|\n")
    for row in rows:
        sys.stdout.write(f"| {' | '.join(row)} |\n")


if __name__ == "__main__":
    main(sys.argv[1:])
