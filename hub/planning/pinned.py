"""What clusters are to have by an older release than the newest: resolved again when asked for, and remembered."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Final

from felloe.errors import FelloeError
from felloe.identity import WorkloadId
from hub.fleet import Fleet
from hub.planning.commits import Commits
from hub.planning.contents import InForce
from hub.planning.releases import Releases, World
from hub.planning.resolving import Resolver, Round
from hub.targeting import ClusterPlan, Inputs, Memo, RenderCache, RenderWant

_OBJECTS: Final = 5_000
"""How many objects of a release's renders are remembered as they were prepared."""

_AGAIN: Final = 60.0
"""Seconds after which what was not as its release wants it is resolved again: a mirror may have been fetched anew."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Known:
    """A plan, and what it was made of besides its release."""

    fleet: Fleet
    labels: Mapping[str, str]
    suspended: AbstractSet[WorkloadId]
    plan: ClusterPlan
    wants: tuple[RenderWant, ...]

    def good_for(self, fleet: Fleet, inputs: Inputs) -> bool:
        return (self.fleet is fleet, self.labels, self.suspended) == (True, inputs.labels, inputs.suspended)


class Pinned:
    """Plans by older releases. A plan of a release that can't be had any more is not there: what it was goes on."""

    def __init__(self, releases: Releases, resolver: Resolver) -> None:
        self._releases = releases
        self._resolver = resolver
        self._known: dict[int, dict[str, _Known]] = {}
        self._memos: dict[int, Memo] = {}
        self._told: set[int] = set()
        self._troubles: dict[int, dict[str, str]] = {}
        """By release, and by cluster (empty: all of them), why it can't be planned."""
        self._unresolved: dict[int, tuple[float, set[str]]] = {}
        """By release, since when which plans are known that are not as it wants them."""

    async def plans(
        self, number: int, clusters: Collection[str], this: Round, commits: Commits
    ) -> Mapping[str, ClusterPlan]:
        """Return what clusters would have by a release, those for which that can be said."""
        fleet = this.in_force.fleet
        known = self._known.setdefault(number, {})
        since, lacking = self._unresolved.get(number, (0.0, set()))
        if lacking and time.monotonic() >= since + _AGAIN:
            for name in self._unresolved.pop(number)[1]:
                known.pop(name, None)
        wanted = {name: self._resolver.inputs(name, this) for name in clusters}
        missing = [name for name, inputs in wanted.items() if not _good(known.get(name), fleet, inputs)]
        if missing:
            try:
                world = await self._releases.world(number, fleet)
            except FelloeError as error:
                if number not in self._told:
                    log.warning("release %d can't be planned any more: %s", number, error)
                    self._told.add(number)
                self._troubles[number] = {"": str(error)}
            else:
                lacks: set[str] = set()
                self._troubles[number] = {}
                for as_what, names in _by_fleet(world, missing, wanted, this):
                    then = replace(this, in_force=InForce(as_what, world.snapshot), contents=world.contents)
                    resolutions, troubles = await self._resolver.resolve(names, then, commits, self._memo(number))
                    self._troubles[number] |= troubles
                    for name, found in resolutions.items():
                        inputs = wanted[name]
                        known[name] = _Known(fleet, inputs.labels, inputs.suspended, found.plan, found.wanted_renders)
                        if any(each.unresolved for each in found.plan.slices.values()):
                            lacks.add(name)
                if lacks:
                    since, lacking = self._unresolved.get(number, (time.monotonic(), set()))
                    self._unresolved[number] = since, lacking | lacks
        return {name: known[name].plan for name in clusters if _good(known.get(name), fleet, wanted[name])}

    def why_not(self, number: int, cluster: str) -> str:
        """Return why a cluster could not be planned by a release when that was asked last; empty where it could."""
        found = self._troubles.get(number, {})
        return found.get(cluster) or found.get("", "")

    def keep(self, needed: Collection[int]) -> None:
        """Forget all other releases."""
        self._known = {number: plans for number, plans in self._known.items() if number in needed}
        self._memos = {number: memo for number, memo in self._memos.items() if number in needed}
        self._unresolved = {number: each for number, each in self._unresolved.items() if number in needed}
        self._troubles = {number: each for number, each in self._troubles.items() if number in needed}

    def _memo(self, number: int) -> Memo:
        return self._memos.setdefault(number, Memo(RenderCache(_OBJECTS)))

    def wants(self) -> frozenset[RenderWant]:
        """Return the renders that what is remembered rests on."""
        return frozenset(want for plans in self._known.values() for each in plans.values() for want in each.wants)


def _by_fleet(
    world: World, names: Iterable[str], wanted: Mapping[str, Inputs], this: Round
) -> Iterable[tuple[Fleet, list[str]]]:
    """Return clusters by the fleet that they are planned by at a release: as what they were then, or are now."""
    found: dict[int, tuple[Fleet, list[str]]] = {}
    for name in names:
        member = this.members.get(name)
        fleet = world.belonging.fleet_for(name, wanted[name].labels, member.enrolled_at if member else None)
        found.setdefault(id(fleet), (fleet, []))[1].append(name)
    return found.values()


def _good(known: _Known | None, fleet: Fleet, inputs: Inputs) -> bool:
    return known is not None and known.good_for(fleet, inputs)
