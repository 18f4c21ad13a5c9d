"""What one step of the rollout engine costs (processor time), and what its state weighs, as the fleet grows.

python -m bench.rollout [--clusters 100 1000 10000 100000]
"""

from __future__ import annotations

import gc
import statistics
import sys
import time
import tracemalloc
from collections.abc import Mapping, Sequence
from dataclasses import replace

from bench.figures import Figure, report, sizes
from hub.fleet.labels import LabelSelector
from hub.fleet.strategy import Order, OrderBy, Share, Stage, Strategy
from hub.rollout import advance, state_json, state_of, succeed
from hub.rollout.model import Health, Member, Phase, Release, RolloutState, Step, Track

COUNTS = (100, 1000, 10_000, 100_000)
LABELS = 50
BUDGET_MS = {10_000: 50}
TRACK = Track("placement/shop")
STRATEGY = Strategy(
    "careful",
    (
        Stage("canary", LabelSelector((("canary", "true"),)), soak=600),
        Stage("some", share=Share(percent=5.0), max_concurrent=Share(percent=25.0), soak=600),
        Stage(
            "most",
            share=Share(percent=50.0),
            max_concurrent=Share(percent=10.0),
            max_unavailable=Share(percent=5.0),
            order=Order(OrderBy.RANDOM, seed="1"),
        ),
        Stage("last", max_concurrent=Share(percent=25.0), order=Order(OrderBy.LABEL, "region")),
    ),
)
NOW = 1_800_000_000.0
REPEATS = 7


def main(arguments: Sequence[str]) -> None:
    """Measure at each number of clusters."""
    report([figure for count in sizes("rollout", __doc__, arguments, COUNTS) for figure in at(count)])


def at(count: int) -> list[Figure]:
    """Return the figures of a rollout over `count` clusters."""
    members = fleet(count)
    every = list(members)
    assigned = dict.fromkeys(every, 1)
    complete = RolloutState(1, Phase.COMPLETE, base=1, assigned=assigned, done=frozenset(every))
    begun = succeed(complete, 2, STRATEGY, NOW, same=False)
    first = milliseconds(lambda: step(begun, members, NOW))
    middle, members = half_way(begun, members)
    worst = milliseconds(lambda: step(middle, members, NOW + 3600))
    after = step(middle, members, NOW + 3600).state
    quiet = milliseconds(lambda: step(after, members, NOW + 3600))
    text = state_json(middle)
    write, read = milliseconds(lambda: state_json(middle)), milliseconds(lambda: state_of(text))
    budget = f"<= {BUDGET_MS[count]} ms" if count in BUDGET_MS else ""
    every, known = list(members), middle.assigned
    bare = milliseconds(lambda: {name: known[name] for name in every})
    beside = f"{worst / bare:.0f}x a bare pass over a dictionary of them ({bare:.2f} ms)"
    return [
        Figure(f"first step of a rollout, {count} clusters", f"{first:.1f} ms", "", budget),
        Figure(f"a step in the middle of the last but one stage, {count} clusters", f"{worst:.1f} ms", beside, budget),
        Figure(f"a step that changes nothing, {count} clusters", f"{quiet:.1f} ms", "", budget),
        Figure(
            f"state of a rollout, {count} clusters",
            f"{memory(text) / 2**20:.2f} MiB in memory, {len(text) / 1024:.0f} KiB as text",
            f"written in {write:.1f} ms, read in {read:.1f} ms",
            "",
        ),
    ]


def fleet(count: int) -> dict[str, Member]:
    """Return clusters that are healthy on release 1 and have a slice of their own at release 2."""
    members = (
        Member(
            f"cluster-{n:06}",
            {f"label-{k}": f"value-{n % (k + 1)}" for k in range(LABELS - 2)}
            | {"canary": str(n % 200 == 0).lower(), "region": f"region-{n % 17:02}"},
            target=f"{n:032x}{2:032x}",
            given=f"{n:032x}{1:032x}",
            release=1,
            health=Health.HEALTHY,
        )
        for n in range(count)
    )
    return {member.name: member for member in members}


def half_way(state: RolloutState, members: dict[str, Member]) -> tuple[RolloutState, dict[str, Member]]:
    """Return a rollout whose third stage is under way, and what its clusters report then."""
    now = NOW
    while not state.stages or state.stages["most"].started_at is None:
        state = step(state, members, now).state
        members = {name: reported(state, member) for name, member in members.items()}
        now += 600
    for _ in range(3):
        state = step(state, members, NOW + 3600).state
        members = {name: reported(state, member) for name, member in members.items()}
    return state, members


def reported(state: RolloutState, member: Member) -> Member:
    """Return a cluster that has what it was given, and is healthy with it."""
    if state.assigned[member.name] != state.release or member.given == member.target:
        return member
    return replace(member, given=member.target, release=state.release)


def step(state: RolloutState, members: Mapping[str, Member], now: float) -> Step:
    release = Release(state.release, "0" * 40, NOW)
    return advance(TRACK, STRATEGY, state, release, members, now, answers={}, releases=(1, 2))


def milliseconds(action: object) -> float:
    """Return the median processor time of an action, so that what else the machine does counts little."""
    assert callable(action)
    taken = []
    for _ in range(REPEATS):
        gc.collect()
        begin = time.process_time()
        action()
        taken.append(1000 * (time.process_time() - begin))
    return statistics.median(taken)


def memory(text: str) -> int:
    """Return the bytes that a state of its own takes."""
    gc.collect()
    tracemalloc.start()
    state = state_of(text)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert state.release
    return size


if __name__ == "__main__":
    main(sys.argv[1:])
