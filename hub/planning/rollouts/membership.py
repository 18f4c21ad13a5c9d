"""The clusters of a track as the engine needs them: what they are to have, what they were given, and how that is."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from felloe.v1 import status_pb2
from hub.planning.commits import Commits
from hub.planning.pinned import Pinned
from hub.planning.plans import Plans
from hub.planning.resolving import Round
from hub.planning.rollouts.evidence import Evidence, Said, evidence, said_of
from hub.planning.rollouts.tracks import States, with_tracks
from hub.rollout.model import Health, Member, Phase, Release, RolloutState, Track
from hub.targeting import ClusterPlan
from hub.targeting.plan import NOTHING, Slice

_GRACE: Final = 10.0
"""Seconds for which what may pass by itself is no failure."""

_RECONNECT: Final = 60.0
"""Seconds after the start of a hub in which a spoke that was connected before is not taken to be away."""


_READ: Final = 64
"""How many clusters' statuses are kept as they were read, so that one that says something costs little."""


class Reports(Protocol):
    """What spokes say."""

    def reported(self, cluster: str) -> status_pb2.ClusterStatus | None:
        """Return the whole last status of a cluster, None where it never said anything."""
        ...

    def online(self, cluster: str) -> bool:
        """Tell whether a cluster's spoke is connected."""
        ...

    def refusal(self, cluster: str) -> str:
        """Return why a cluster's spoke can't take what was published last, empty where it can."""
        ...


@dataclass(slots=True)
class Look:
    """What one look at all tracks goes by: `plans` are what clusters would have by the `newest` release.

    `unknown` says, by cluster of which that could not be said, why not. `wake_at` is when to look again if nothing
    happens before, in seconds since 1970.
    """

    this: Round
    newest: Release
    plans: Mapping[str, ClusterPlan]
    commits: Commits
    now: float
    unknown: Mapping[str, str] = field(default_factory=dict)
    wake_at: float | None = None

    def wake(self, at: float | None) -> None:
        """Have another look not later than this."""
        if at is not None:
            self.wake_at = at if self.wake_at is None else min(self.wake_at, at)


class Membership:
    """Knows what clusters were given, and what their spokes say."""

    def __init__(self, plans: Plans, pinned: Pinned, reports: Reports) -> None:
        self._plans = plans
        self._pinned = pinned
        self._reports = reports
        self._failing: dict[tuple[str, str], float] = {}
        self._ripe: set[tuple[str, str]] = set()
        self._back_until = time.time() + _RECONNECT
        self._awaited: set[str] = set()
        self._read: dict[str, tuple[status_pb2.ClusterStatus | None, Said]] = {}

    def due(self, now: float) -> set[str]:
        """Return the clusters of which a failure that might have passed by itself did not: they are to be looked at."""
        back = self._awaited if now >= self._back_until else set()
        self._awaited = self._awaited - back
        ripe = {key for key, since in self._failing.items() if key not in self._ripe and now - since >= _GRACE}
        self._ripe |= ripe
        return back | {cluster for cluster, _ in ripe}

    def wake_at(self) -> float | None:
        """Return when the next of such failures counts, in seconds since 1970; None where there is none."""
        wakes = [since + _GRACE for key, since in self._failing.items() if key not in self._ripe]
        return min(wakes + ([self._back_until] if self._awaited else []), default=None)

    def given(self, cluster: str) -> Mapping[str, Slice]:
        """Return what a cluster was given last, by unit."""
        plan = self._plans.clusters.get(cluster)
        return plan.slices if plan is not None else {}

    async def plans(self, number: int, clusters: Collection[str], look: Look) -> Mapping[str, ClusterPlan]:
        """Return what clusters would have by a release; what they have where that can't be said any more."""
        if number == look.newest.number:
            return look.plans
        pinned = await self._pinned.plans(number, clusters, look.this, look.commits) if number else {}
        return {name: pinned.get(name) or self._plans.clusters.get(name) or ClusterPlan(name) for name in clusters}

    async def targets(self, track: Track, number: int, clusters: Collection[str], look: Look) -> Mapping[str, Slice]:
        """Return what the unit of a track is on its clusters by a release, but for those where that can't be said."""
        newest = number == look.newest.number
        plans = look.plans if newest else await self._pinned.plans(number, clusters, look.this, look.commits)
        return {name: plans[name].slices.get(track.unit, NOTHING) for name in clusters if name in plans}

    async def remaining(self, states: States, look: Look) -> States:
        """Return the states without the clusters that are in none of their environments by what is complete there."""
        found, alone = dict(states), with_tracks(look.this.in_force.fleet, states)
        outside = {name for name, plan in look.plans.items() if plan.environment not in alone} if alone else set()
        for track, state in states.items():
            if state is None or state.phase is not Phase.COMPLETE or track.environment not in alone:
                continue
            by_release: dict[int, list[str]] = {}
            for name in outside & state.assigned.keys():
                by_release.setdefault(state.assigned[name], []).append(name)
            for number, names in by_release.items():
                there = await self._environments(number, names, look)
                gone = {name for name in names if there.get(name, track.environment) != track.environment}
                kept = {name: each for name, each in state.assigned.items() if name not in gone}
                found[track] = state = replace(state, assigned=kept)
        return found

    async def _environments(self, number: int, clusters: Collection[str], look: Look) -> Mapping[str, str]:
        """Return the environments of clusters by a release, but for those of which that can't be said."""
        newest = number == look.newest.number
        plans = look.plans if newest else await self._pinned.plans(number, clusters, look.this, look.commits)
        return {name: plans[name].environment for name in clusters if name in plans}

    def why_not(self, number: int, cluster: str) -> str:
        """Return why it could not be said what a cluster would have by a release."""
        return self._pinned.why_not(number, cluster)

    def member(self, track: Track, cluster: str, target: Slice, state: RolloutState, look: Look) -> Member:
        """Return a cluster as it is now; `target` is what the rollout's release is for it."""
        plan, seen = look.plans[cluster], self._seen(track, cluster, look)
        return Member(
            name=cluster,
            labels=plan.labels,
            environment=plan.environment,
            online=self._online(cluster, look),
            target=target.digest,
            given=self.given(cluster).get(track.unit, NOTHING).digest,
            release=state.assigned.get(cluster, 0),
            health=seen.health,
            message=seen.message,
            unresolved=target.unresolved,
            frozen=plan.paused or self._suspended(track, cluster),
        )

    def _suspended(self, track: Track, cluster: str) -> bool:
        """Tell whether a person suspended something of the unit there: what it would be like is not to be learned."""
        given = self._plans.clusters.get(cluster)
        if given is None:
            return False
        bundle = given.bundle.by_id
        own = (each for each in given.workloads if each.origin == track.unit and each.id in bundle)
        return any(bundle[each.id].options.suspend and not each.suspend for each in own)

    def _online(self, cluster: str, look: Look) -> bool:
        """Tell whether a cluster is connected; after a start of the hub, one that was has some time to come back."""
        if self._reports.online(cluster):
            return True
        if look.now >= self._back_until or self._reports.reported(cluster) is None:
            return False
        self._awaited.add(cluster)
        return True

    def _said(self, cluster: str, status: status_pb2.ClusterStatus | None) -> Said:
        """Return what a spoke says of each workload; read once for all units of the clusters that were heard last."""
        known = self._read.pop(cluster, None)
        if known is None or known[0] is not status:
            known = status, said_of(status) if status is not None else {}
        self._read[cluster] = known
        if len(self._read) > _READ:
            del self._read[next(iter(self._read))]
        return known[1]

    def _seen(self, track: Track, cluster: str, look: Look) -> Evidence:
        """Return how a cluster is with what it was given; a failure that may pass has time to."""
        given, key = self._plans.clusters.get(cluster), (cluster, track.unit)
        if given is None:
            return Evidence(Health.PROGRESSING)
        status = self._reports.reported(cluster)
        found = evidence(given, track.unit, status, self._said(cluster, status), self._reports.refusal(cluster))
        if found.health is not Health.FAILED or not found.soon:
            self._failing.pop(key, None)
            self._ripe.discard(key)
            return found
        since = self._failing.setdefault(key, look.now)
        if key in self._ripe or look.now - since >= _GRACE:
            self._ripe.add(key)
            return found
        return Evidence(Health.PROGRESSING, found.message)
