"""What `felloe plan` costs the hub as a fleet grows: a commit to an overlay of all clusters, planned and compared.

python -m bench.plan [--clusters 1000 10000]

Git and renders are in memory, as in `bench.targeting`; what is measured is what the hub does once these are there, in
processor time. `beside` is what it costs to resolve all of it without what planning remembers.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import psutil

from bench import simulated
from bench.figures import Figure, report, sizes
from bench.targeting import MIB, Fleet, timed
from hub.changes.comparison import Comparison
from hub.changes.grouping import Groups, Seen

COUNTS = (1_000, 10_000)


def main(arguments: Sequence[str]) -> None:
    """Measure fleets of several sizes."""
    report([figure for count in sizes("plan", __doc__, arguments, COUNTS) for figure in at(count)])


def at(count: int) -> list[Figure]:
    """Return the figures of a fleet of this size."""
    fleet = Fleet(count)
    anew = timed(lambda: fleet.plan(fleet.names))
    before = dict(fleet.plans)
    groups = Groups()
    resident = psutil.Process().memory_info().rss
    fleet.commit(*(f"apps/{simulated.app(0)}/{each}" for each in simulated.ENVIRONMENTS))
    resolved = timed(lambda: fleet.forecast(fleet.names))

    def compare() -> None:
        comparison = Comparison(lambda _digest: None)
        for name, plan in fleet.plans.items():
            seen = Seen(name, plan.labels, plan.environment, plan.paused)
            groups.add(seen, comparison.cluster(before[name], plan, minor=34))

    compared = timed(compare)
    grouped = timed(groups.groups)
    more = (psutil.Process().memory_info().rss - resident) / MIB
    assert len(groups.changed) == count
    return [
        Figure(f"felloe plan, {count} clusters: resolving", f"{resolved:.2f} s", f"{anew:.2f} s resolved anew", ""),
        Figure(f"felloe plan, {count} clusters: comparing", f"{compared:.2f} s", "", ""),
        Figure(f"felloe plan, {count} clusters: grouping", f"{grouped:.2f} s", "", ""),
        Figure(f"felloe plan, {count} clusters: memory while it is made", f"{more:.0f} MiB more", "", ""),
    ]


if __name__ == "__main__":
    main(sys.argv[1:])
