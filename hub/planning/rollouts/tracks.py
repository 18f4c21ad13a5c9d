"""Which tracks a fleet has, and what moves each: pure, from what Git says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from hub.fleet import Fleet
from hub.fleet.strategy import EVERYWHERE_AT_ONCE, Promotion, Strategy
from hub.rollout.model import SYNC_UNIT, Release, RolloutState, Track
from hub.targeting.plan import PLACEMENT_ORIGIN


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

    def goes_on(self, state: RolloutState, release: Release | None) -> Strategy:
        """Return the strategy by which a rollout goes on: that of a revert only where it began as one.

        A commit that reverts something else, or has not come to this track yet, makes none of its rollouts faster.
        """
        began_so = self.reverting is not None and state.strategy == self.reverting.name
        return self.begins(release) if began_so else self.strategy


def stands_alone(fleet: Fleet, environment: str) -> bool:
    """Tell whether an environment has tracks of its own: it is part of a promotion, or names a Rollout."""
    found = fleet.environments.get(environment)
    if found is None:
        return False
    return bool(found.promotes_from or found.rollout) or environment in promoted(fleet)


def promoted(fleet: Fleet) -> frozenset[str]:
    """Return the environments that another one is promoted from."""
    return frozenset(each.promotes_from.environment for each in fleet.environments.values() if each.promotes_from)


def course(fleet: Fleet, track: Track, *, remembered: str = "") -> Course | None:
    """Return how releases come to a track; None where everybody may have them at once and nothing asks about it.

    `remembered` names the strategy that it had, for a unit whose Placement is gone.
    """
    environment = fleet.environments.get(track.environment)
    name = _rollout(fleet, track, remembered) or (environment.rollout if environment else "")
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
