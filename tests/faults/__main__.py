"""``python -m tests.faults``: many kills on a control plane of its own. A failure names the seed that repeats it."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.cluster.controlplane import ControlPlane
from tests.faults.campaign import Damage, campaign


async def _run(kills: int, seed: int) -> None:
    with ControlPlane("faults") as cluster, tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        async with campaign(cluster, Path(folder), seed) as found:
            try:
                await found.kill(kills)
            finally:
                print(f"seed {seed}: {found.tally}; {time.monotonic() - started:.0f} s")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=None, help="repeats the campaign of that seed (default: a new one)")
    found = parser.parse_args()
    seed = random.randrange(1_000_000) if found.seed is None else found.seed  # noqa: S311
    print(f"seed {seed}, {found.kills} kills", flush=True)
    try:
        asyncio.run(_run(found.kills, seed))
    except Damage as damage:
        sys.exit(str(damage))


main()
