"""How a release begins on a track: whether it can be made for all of its clusters, and by which strategy it goes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Final

from hub.fleet.strategy import Strategy
from hub.planning.releases import Releases
from hub.planning.rollouts.membership import Look, Membership
from hub.planning.rollouts.tracks import Course
from hub.rollout import succeed
from hub.rollout.model import Phase, RolloutState, Track
from hub.rollout.stages import listed

UNKNOWN_PAUSE: Final = 60.0
"""Seconds until a look at what a release that can't be planned now would be."""

_PENDING_PAUSE: Final = 5.0
"""Seconds until a look at what was still being fetched at the last one."""


class Beginnings:
    """Decides by what a release would be on every cluster."""

    def __init__(self, releases: Releases, membership: Membership) -> None:
        self._releases = releases
        self._membership = membership

    async def state(
        self,
        track: Track,
        how: Course,
        state: RolloutState | None,
        goal: int,
        clusters: Collection[str],
        look: Look,
    ) -> tuple[RolloutState | None, Strategy, str]:
        """Return the state that goes for the release that it may go for, None where there is none yet; its strategy.

        Also why it does not go for `goal`, empty where it does: what a release is may not be known for some moments,
        while something is fetched, or at all.
        """
        before, same, unmade = state, False, ""
        if goal and (state is None or goal != state.release):
            wanted = await self._membership.targets(track, goal, clusters, look)
            if len(wanted) != len(clusters) or any(each.pending for each in wanted.values()):
                look.wake(look.now + (_PENDING_PAUSE if len(wanted) == len(clusters) else UNKNOWN_PAUSE))
                missing = sorted({*clusters} - wanted.keys())
                unmade = _unmade({name: self._membership.why_not(goal, name) for name in missing})
                goal = 0
            elif state is not None and state.release:
                there = await self._membership.targets(track, state.release, clusters, look)
                same = all(name in there and there[name].digest == wanted[name].digest for name in clusters)
                bad = [name for name in clusters if wanted[name].unresolved and same and not there[name].unresolved]
                if bad:
                    goal = 0  # what it is shows when it can be made: until then it is nothing that anybody has
                    unmade = _unmade({name: wanted[name].unresolved for name in bad})
                if not same and state.release < state.left_out < goal:
                    out = await self._membership.targets(track, state.left_out, clusters, look)
                    if all(name in out and out[name].digest == wanted[name].digest for name in clusters):
                        state = replace(state, left_out=goal)  # still what a person took back
        if not goal and state is None:
            return None, how.strategy, unmade
        newer = goal and (state is None or goal != state.release)
        strategy = await self._begins(track, how, state, goal, clusters, look) if newer else how.strategy
        after = succeed(state, goal, strategy, look.now, same=same)
        if before is not None and before.began_at == after.began_at:
            strategy = how.goes_on(after, self._releases.known)
        elif not newer or after.release != goal:  # what was queued has its turn
            strategy = await self._begins(track, how, before, after.release, clusters, look)
        return after, strategy, unmade

    async def _begins(
        self,
        track: Track,
        how: Course,
        before: RolloutState | None,
        number: int,
        clusters: Collection[str],
        look: Look,
    ) -> Strategy:
        """Return the strategy by which a release begins on a track that was at `before`.

        That for reverts is for the way back alone: what was complete with nothing but reverts on top of it, or exactly
        what was complete before. A revert brings along whatever else is new, and that goes the usual way.
        """
        strategy = how.begins(self._releases.known.get(number))
        if strategy is not how.reverting or before is None:
            return strategy
        since = [self._releases.known.get(each) for each in range(before.release + 1, number + 1)]
        only_reverts = bool(since) and all(each and each.reverts and each.alone for each in since)
        if before.phase is Phase.COMPLETE and only_reverts:
            return strategy
        wanted = await self._membership.targets(track, number, clusters, look)
        for proven in {before.base, before.former} - {0, number}:
            there = await self._membership.targets(track, proven, clusters, look)
            if all(name in there and there[name].digest == each.digest for name, each in wanted.items()):
                return strategy
        return how.strategy


def _unmade(why: Mapping[str, str]) -> str:
    """Say why a release does not begin: for which clusters it can't be made, and of the first one, why."""
    first = next(iter(why), "")
    return f"it can't be made for {listed(list(why))}: {first}: {why[first]}" if first else ""
