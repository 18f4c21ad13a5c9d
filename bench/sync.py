"""One first sync by the core of a spoke, without a hub, as a process of its own: ``python -m bench.sync KUBECONFIG``.

The options say how many ConfigMaps, into which namespace, and whether a fixed number of requests runs at once instead
of what the spoke's pace finds. It prints, as JSON, when it began and ended (seconds since 1970), from the bundle's
arrival to the last object applied, and the processor time that this took the spoke (seconds).
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import uvloop

from spoke.kube.pace import Manner, Manners, Pace
from tests.spoke.driver import running
from tests.spoke.manifests import Wanted, config_map, namespace

_LONGEST_SECONDS = 600.0


class Span(NamedTuple):
    """When something began and ended, in seconds since 1970, and the processor time of the spoke, if it was one."""

    begin: float
    end: float
    processor: float = 0.0

    @property
    def seconds(self) -> float:
        """Return how long it took."""
        return self.end - self.begin


def first_sync(
    kubeconfig: Path,
    count: int,
    within: str,
    *,
    at_once: int = 0,
    started: Callable[[int], None] = lambda pid: None,
) -> Span:
    """Have a spoke apply `count` ConfigMaps of about 300 bytes and their namespace, which is not there yet.

    `at_once` requests run at once, 0 for what its pace finds; `started` takes the spoke's process id.
    """
    argv = [sys.executable, "-m", "bench.sync", str(kubeconfig), "--objects", str(count), "--namespace", within]
    with subprocess.Popen([*argv, "--at-once", str(at_once)], stdout=subprocess.PIPE) as process:
        started(process.pid)
        output, _ = process.communicate(timeout=_LONGEST_SECONDS)
    if process.returncode != 0:
        raise SystemExit(f"the sync into {within} failed ({process.returncode})")
    return Span(*json.loads(output))


async def _sync(kubeconfig: Path, count: int, within: str, at_once: int) -> Span:
    with tempfile.TemporaryDirectory() as folder:
        async with running(kubeconfig, Path(folder), pace=fixed(at_once) if at_once else None) as spoke:
            objects = [config_map(within, f"item-{n:05}", value="0", text="x" * 200) for n in range(count)]
            wanted = Wanted(within, [namespace(within), *objects])
            spoke.want(wanted)
            processor = time.process_time()
            stored = spoke.store.current
            begin = stored.received_at if stored else math.nan
            await spoke.until(within, lambda _: spoke.applied(within), "applied", seconds=_LONGEST_SECONDS)
            return Span(begin, time.time(), time.process_time() - processor)


def fixed(at_once: int) -> Pace:
    """Return a pace that always lets so many requests run at once."""
    always = Manner(first=at_once, little=0.0, much=math.inf, round=100)
    return Pace(manners=Manners(brisk=always, gentle=always))


def main(arguments: Sequence[str]) -> None:
    """Sync once."""
    parser = argparse.ArgumentParser(prog="python -m bench.sync", description=__doc__)
    parser.add_argument("kubeconfig", type=Path)
    parser.add_argument("--objects", type=int, default=1000)
    parser.add_argument("--namespace", default="sync")
    parser.add_argument("--at-once", type=int, default=0)
    options = parser.parse_args(arguments)
    span = uvloop.run(_sync(options.kubeconfig, options.objects, options.namespace, options.at_once))
    json.dump(span, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1:])
