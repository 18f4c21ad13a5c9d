"""Which tracks a fleet has, and what moves each: pure, from what Git says."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from hub.fleet import Fleet
from hub.fleet.strategy import EVERYWHERE_AT_ONCE, Promotion, Strategy
from hub.rollout.model import SYNC_UNIT, Phase, Release, RolloutState, Track
from hub.targeting import ClusterPlan
from hub.targeting.plan import PLACEMENT_ORIGIN

States = Mapping[Track, RolloutState | None]
"""How far each track is that there is, None where nothing has begun."""

_SETTLED: Final = frozenset((Phase.COMPLETE, Phase.ABORTED))
"""Phases in which nobody who has nothing of a unit is to get it back."""


@dataclass(frozen=True, slots=True)
class Course:
    """How releases come to a track: by which strategy, and from which environment they are promoted, if so.

    `upstream` is the same unit in that environment, `reverting` the strategy for a release that reverts a commit.
    """

    strategy: Strategy
    promotion: Promotion | None = None
    upstream: Track | None = None
    reverting: Strategy | None = None

    def begins(self, release: Release | None) -> Strategy:
        """Return the strategy by which a release begins."""
        return self.reverting if self.reverting and release and release.reverts else self.strategy

    def goes_on(self, state: RolloutState, known: Mapping[int, Release]) -> Strategy:
        """Return the strategy by which a rollout goes on: that of a revert only where it began as one.

        A commit that reverts something else, or has not come to this track yet, makes none of its rollouts faster. One
        that changes nothing here, and only gives a revert another number, makes none slower.
        """
        if self.reverting is None or state.strategy != self.reverting.name:
            return self.strategy
        base = state.former if state.base == state.release else state.base
        reverts = any(each.reverts for number, each in known.items() if base < number <= state.release)
        return self.reverting if reverts else self.strategy


def stands_alone(fleet: Fleet, environment: str) -> bool:
    """Tell whether an environment has tracks of its own: it is part of a promotion, or names a Rollout."""
    found = fleet.environments.get(environment)
    if found is None:
        return False
    return bool(found.promotes_from or found.rollout) or environment in promoted(fleet)


def with_tracks(fleet: Fleet, states: States) -> frozenset[str]:
    """Return the environments with tracks of their own, also those that Git has no more: who was in one leaves it."""
    gone = {
        track.environment
        for track, state in states.items()
        if state is not None and track.environment not in fleet.environments and state.strategy in fleet.strategies
    }
    return frozenset(name for name in fleet.environments if stands_alone(fleet, name)) | (gone - {""})


def promoted(fleet: Fleet) -> frozenset[str]:
    """Return the environments that another one is promoted from."""
    return frozenset(each.promotes_from.environment for each in fleet.environments.values() if each.promotes_from)


def course(fleet: Fleet, track: Track, *, remembered: str = "") -> Course | None:
    """Return how releases come to a track; None where everybody may have them at once and nothing asks about it.

    `remembered` names the strategy that it had, for a unit whose Placement is gone, or its Environment.
    """
    environment = fleet.environments.get(track.environment)
    theirs = environment.rollout if environment else remembered if track.environment else ""
    name = _rollout(fleet, track, remembered) or theirs
    strategy = fleet.strategies.get(name)
    reverting = fleet.strategies.get(strategy.on_revert) if strategy is not None else None
    promotion = environment.promotes_from if environment else None
    if promotion is not None:
        upstream = Track(track.unit, promotion.environment)
        return Course(strategy or EVERYWHERE_AT_ONCE, promotion, upstream, reverting)
    if strategy is None and track.environment not in promoted(fleet):
        return None
    return Course(strategy or EVERYWHERE_AT_ONCE, reverting=reverting)


def upstream_first(tracks: Iterable[Track], fleet: Fleet) -> list[Track]:
    """Return tracks in an order in which a promotion is looked at after what it comes from."""
    depth = {name: sum(1 for _ in _ancestors(fleet, name)) for name in fleet.environments}
    return sorted(tracks, key=lambda track: (depth.get(track.environment, 0), track))


def clusters_by_track(
    fleet: Fleet, plans: Mapping[str, ClusterPlan], states: States, given: Callable[[str], Mapping[str, object]]
) -> dict[Track, list[str]]:
    """Return the clusters of each track: those that have its unit, are to have it, or lose it by its rollout.

    `given` tells which units a cluster was given.
    """
    if not (fleet.strategies or states or any(each.promotes_from for each in fleet.environments.values())):
        return {}
    alone = with_tracks(fleet, states)
    found: dict[Track, list[str]] = {}
    leaving: dict[str, set[str]] = {}
    for track, state in states.items():
        if state is not None and state.phase not in _SETTLED:
            for cluster in state.assigned:
                leaving.setdefault(cluster, set()).add(track.unit)
    for cluster, plan in plans.items():
        environment = plan.environment if plan.environment in alone else ""
        units = plan.slices.keys() | given(cluster).keys() | leaving.get(cluster, set())
        for unit in units:
            track = Track(unit, environment)
            if not environment and alone:
                track = _left(track, cluster, alone, states)
            found.setdefault(track, []).append(cluster)
    return found


def standing_still(states: States, unknown: Mapping[str, str]) -> frozenset[Track]:
    """Return the tracks of which a cluster can't be planned: without it they would be judged by the others."""
    return frozenset(
        track
        for track, state in (states.items() if unknown else ())
        if state is None or not unknown.keys().isdisjoint(state.assigned.keys() | state.stage_of.keys())
    )


def _ancestors(fleet: Fleet, name: str) -> Iterator[str]:
    seen = {name}
    while (found := fleet.environments.get(name)) and found.promotes_from:
        name = found.promotes_from.environment
        if name in seen:
            return
        seen.add(name)
        yield name


def _rollout(fleet: Fleet, track: Track, remembered: str) -> str:
    if track.unit == SYNC_UNIT:
        return ""
    placement = fleet.placements.get(track.unit.removeprefix(PLACEMENT_ORIGIN))
    return placement.rollout if placement else remembered


def _left(track: Track, cluster: str, alone: Collection[str], states: States) -> Track:
    """Return the track that a cluster goes on with which is in no environment now: the one that it is to leave."""
    for environment in sorted(alone):
        former = states.get(Track(track.unit, environment))
        if former is not None and cluster in former.assigned:
            return Track(track.unit, environment)
    return track
