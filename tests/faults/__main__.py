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
from tests.faults.proxy import CALM, LATE, SLOW, UNRELIABLE, Trouble

ALL = Trouble(late=0.1, late_seconds=0.3, too_many=0.05, failing=0.1, broken=0.1, closed=0.1, expired=0.05)


async def _run(kills: int, late: int, link: int, trouble: int, seed: int) -> None:
    with ControlPlane("faults") as cluster, tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        async with campaign(cluster, Path(folder), seed) as found:
            try:
                await found.kill(kills)
                await found.kill(late, trouble=LATE)
                await found.kill_on_the_link(link)
                for _ in range(trouble):
                    for kind in (SLOW, UNRELIABLE, ALL):
                        await found.trouble(kind, 8)
                    await found.trouble(CALM, 5, lambda: cluster.restart_apiserver(kill=True))
            finally:
                print(f"seed {seed}: {found.tally}; {time.monotonic() - started:.0f} s")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--late", type=int, default=200, help="kills with writes that are done late (default: 200)")
    parser.add_argument("--link", type=int, default=200, help="kills with a real hub and its link (default: 200)")
    parser.add_argument("--trouble", type=int, default=5, help="rounds with an API server in trouble (default: 5)")
    parser.add_argument("--seed", type=int, default=None, help="repeats the campaign of that seed (default: a new one)")
    found = parser.parse_args()
    seed = random.randrange(1_000_000) if found.seed is None else found.seed  # noqa: S311
    kills = f"{found.kills} kills, {found.late} with late writes, {found.link} with a hub"
    planned = f"{kills}, {found.trouble} rounds of trouble"
    print(f"seed {seed}: {planned}", flush=True)
    try:
        asyncio.run(_run(found.kills, found.late, found.link, found.trouble, seed))
    except Damage as damage:
        sys.exit(str(damage))


main()
