"""One first sync by the core of a spoke, without a hub, as a process of its own: ``python -m bench.sync KUBECONFIG``.

The options say how many ConfigMaps and into which namespace. It prints, as JSON, when it began and ended (seconds
since 1970), from the bundle's arrival to the last object applied.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import uvloop

from tests.spoke.driver import running
from tests.spoke.manifests import Wanted, config_map, namespace

_LONGEST_SECONDS = 600.0


class Span(NamedTuple):
    """When something began and ended, in seconds since 1970."""

    begin: float
    end: float

    @property
    def seconds(self) -> float:
        """Return how long it took."""
        return self.end - self.begin


def first_sync(kubeconfig: Path, count: int, within: str) -> Span:
    """Have a spoke apply `count` ConfigMaps of about 300 bytes and their namespace, which is not there yet."""
    argv = [sys.executable, "-m", "bench.sync", str(kubeconfig), "--objects", str(count), "--namespace", within]
    done = subprocess.run(argv, stdout=subprocess.PIPE, check=True, timeout=_LONGEST_SECONDS)
    return Span(*json.loads(done.stdout))


async def _sync(kubeconfig: Path, count: int, within: str) -> Span:
    with tempfile.TemporaryDirectory() as folder:
        async with running(kubeconfig, Path(folder)) as spoke:
            objects = [config_map(within, f"item-{n:05}", value="0", text="x" * 200) for n in range(count)]
            spoke.want(Wanted(within, [namespace(within), *objects]))
            begin = time.time()
            await spoke.until(within, lambda _: spoke.applied(within), "applied", seconds=_LONGEST_SECONDS)
            return Span(begin, time.time())


def main(arguments: Sequence[str]) -> None:
    """Sync once."""
    parser = argparse.ArgumentParser(prog="python -m bench.sync", description=__doc__)
    parser.add_argument("kubeconfig", type=Path)
    parser.add_argument("--objects", type=int, default=1000)
    parser.add_argument("--namespace", default="sync")
    options = parser.parse_args(arguments)
    span = uvloop.run(_sync(options.kubeconfig, options.objects, options.namespace))
    json.dump(span, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1:])
