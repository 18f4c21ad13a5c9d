"""The conductor: asks the rollout engine which cluster may have which release of which unit, and remembers what it said.

It stands between what every cluster would have by the newest release and what is published. The engine is pure; here it
is given what Git says (strategies, promotions), what was published, what spokes say of just that, and what people and
gates answered. Its new state is in the store before anything that it allows is published, so that a hub which is killed
in between goes on from there.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from felloe.v1 import status_pb2
from hub.fleet import Fleet
from hub.fleet.strategy import Gate
from hub.planning.commits import Commits
from hub.planning.evidence import Evidence, evidence
from hub.planning.pinned import Pinned
from hub.planning.plans import Plans
from hub.planning.releases import Releases
from hub.planning.resolving import Round
from hub.planning.tracks import Course, course, stands_alone, upstream_first
from hub.rollout import (
    GateResult,
    Health,
    Member,
    Phase,
    PromotionState,
    Release,
    RolloutState,
    Step,
    Track,
    advance,
    promote,
    succeed,
)
from hub.rollout.records import TrackRecord, record_from_json, record_to_json
from hub.store import Store
from hub.targeting import ClusterPlan
from hub.targeting.holding import Held
from hub.targeting.plan import Slice

log = logging.getLogger(__name__)

_GONE: Final = Slice("-")
"""The slice of a unit that a cluster is not to have any more."""
_GRACE: Final = 10.0
"""Seconds for which what may pass by itself is no failure."""
_PENDING_PAUSE: Final = 5.0


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


class Gates(Protocol):
    """Who asks HTTP and Prometheus gates."""

    def ask(self, wanted: Mapping[tuple[Track, str, str], Gate]) -> None:
        """Ask exactly these, by track, stage and name, from now on."""
        ...

    def answers(self, track: Track) -> Mapping[tuple[str, str], GateResult]:
        """Return what the gates of a track said last, by stage and name."""
        ...


@dataclass(frozen=True, slots=True)
class Standing:
    """A track as it is shown: its rollout, what moves it, and what its clusters are at."""

    track: Track
    record: TrackRecord
    course: Course
    members: tuple[Member, ...] = ()
    step: Step | None = None
    upcoming: int = 0
    upcoming_waits: str = ""


@dataclass(slots=True)
class _Pass:
    """What one look at all tracks goes by, and what came of it."""

    this: Round
    newest: Release
    plans: Mapping[str, ClusterPlan]
    commits: Commits
    now: float
    held: dict[str, dict[str, Held]] = field(default_factory=dict)
    asked: dict[tuple[Track, str, str], Gate] = field(default_factory=dict)
    wake_at: float | None = None

    def wake(self, at: float | None) -> None:
        if at is not None:
            self.wake_at = at if self.wake_at is None else min(self.wake_at, at)


class Conductor:
    """Knows how far every track is."""

    def __init__(self, store: Store, plans: Plans, releases: Releases, pinned: Pinned, reports: Reports, gates: Gates):
        self._store = store
        self._plans = plans
        self._releases = releases
        self._pinned = pinned
        self._reports = reports
        self._gates = gates
        self._records: dict[Track, TrackRecord] = {}
        self._saved: dict[Track, str] = {}
        self._failing: dict[tuple[str, str], float] = {}
        self.standings: dict[Track, Standing] = {}
        """Every track as of the last look."""
        self.wake_at: float | None = None
        """When to look again if nothing happens before; seconds since 1970."""

    def recall(self) -> None:
        """Take up the rollouts of before this start. Raise StoreError where one can't be read."""
        for (unit, environment), text in self._store.rollouts().items():
            track = Track(unit, environment)
            self._records[track] = record_from_json(text)
            self._saved[track] = text

    def concerns(self, cluster: str) -> bool:
        """Tell whether what a cluster says can move a rollout."""
        return any(cluster in standing.names for standing in self.standings.values())

    def needed(self) -> frozenset[int]:
        """Return the releases that clusters are at, or may go back to."""
        return frozenset(number for record in self._records.values() for number in record.releases())

    # -- one look at every track

    async def look(
        self, this: Round, newest: Release, plans: Mapping[str, ClusterPlan], commits: Commits
    ) -> Mapping[str, Mapping[str, Held]]:
        """Return what each cluster is to have otherwise than by the newest release: by unit, for those that have any.

        `plans` are what clusters would have by the newest release. Raise StoreError where the state can't be kept;
        then nothing may be published.
        """
        fleet = this.in_force.fleet
        look = _Pass(this, newest, plans, commits, time.time())
        tracks = self._tracks(fleet, plans)
        standings: dict[Track, Standing] = {}
        for track in upstream_first(tracks, fleet):
            record = self._records.get(track)
            remembered = record.state.strategy if record and record.state else ""
            found = course(fleet, track, newest, remembered=remembered)
            if found is not None:
                standings[track] = await self._track(track, found, tracks[track], look)
        for gone in self._records.keys() - standings.keys():
            self._save(gone, None)
        self.standings = standings
        self.wake_at = look.wake_at
        self._gates.ask(look.asked)
        return look.held

    def _tracks(self, fleet: Fleet, plans: Mapping[str, ClusterPlan]) -> dict[Track, list[str]]:
        """Return the clusters of each track: those that have its unit, or are to have it."""
        if not (fleet.strategies or self._records or any(each.promotes_from for each in fleet.environments.values())):
            return {}
        alone = {name for name in fleet.environments if stands_alone(fleet, name)}
        found: dict[Track, list[str]] = {}
        for cluster, plan in plans.items():
            environment = plan.environment if plan.environment in alone else ""
            for unit in plan.slices.keys() | self._given(cluster).keys():
                found.setdefault(Track(unit, environment), []).append(cluster)
        return found

    async def _track(self, track: Track, how: Course, clusters: list[str], look: _Pass) -> Standing:
        record = self._records.get(track, TrackRecord())
        goal, upcoming, waits = self._goal(track, how, record, look)
        state = record.state
        wanted = await self._targets(track, goal, clusters, look) if goal else {}
        if goal and any(each.pending for each in wanted.values()):
            goal = state.release if state else 0  # what it is will be known as soon as it has been fetched
            look.wake(look.now + _PENDING_PAUSE)
        if goal and (state is None or goal != state.release):
            before = await self._targets(track, state.release, clusters, look) if state else {}
            same = state is not None and _digests(before) == _digests(wanted)
            state = succeed(state, goal, how.strategy, look.now, same=same)
        if state is None:
            for cluster in clusters:
                self._hold(track, cluster, self._plans.clusters.get(cluster), waits or "waits", look)
            return Standing(track, record, how, upcoming=look.newest.number, upcoming_waits=waits)
        targets = wanted if state.release == goal else await self._targets(track, state.release, clusters, look)
        members = tuple(self._member(track, cluster, targets, state, look) for cluster in clusters)
        release = self._releases.known.get(state.release) or look.newest
        step = advance(
            track,
            how.strategy,
            state,
            release,
            members,
            look.now,
            answers=self._gates.answers(track),
            releases=self._releases.known.keys(),
        )
        record = record.advanced(step.state)
        self._save(track, record)
        look.wake(step.wake_at)
        for stage, name in step.ask:
            gate = _gate(how, stage, name)
            if gate is not None:
                look.asked[track, stage, name] = gate
        await self._hold_back(track, clusters, step, look)
        return Standing(track, record, how, members, step, upcoming, waits)

    def _goal(self, track: Track, how: Course, record: TrackRecord, look: _Pass) -> tuple[int, int, str]:
        """Return the release that a track may go for (0: none yet), a newer one that waits (0: none), and for what."""
        if how.promotion is None or how.upstream is None or how.upstream not in look.standings:
            return look.newest.number, 0, ""
        upstream = look.standings[how.upstream].record
        found = promote(how.promotion, upstream.state, upstream.completed, record.approved, look.now)
        look.wake(found.wake_at)
        newer = upstream.state.release if upstream.state and upstream.state.release > found.release else 0
        return found.release, newer, found.waiting

    async def _targets(self, track: Track, number: int, clusters: Collection[str], look: _Pass) -> Mapping[str, Slice]:
        """Return what a unit is on each cluster at a release; what it was given where that can't be said."""
        plans = look.plans
        if number != look.newest.number:
            plans = await self._pinned.plans(number, clusters, look.this, look.commits)
        found: dict[str, Slice] = {}
        for cluster in clusters:
            plan = plans.get(cluster)
            own = self._given(cluster) if plan is None else plan.slices
            found[cluster] = own.get(track.unit, _GONE)
        return found

    def _member(
        self, track: Track, cluster: str, targets: Mapping[str, Slice], state: RolloutState, look: _Pass
    ) -> Member:
        plan, given = look.plans[cluster], self._plans.clusters.get(cluster)
        seen = self._seen(track, cluster, given, look)
        target = targets[cluster]
        own = self._given(cluster).get(track.unit, _GONE) if given is not None else None
        return Member(
            name=cluster,
            labels=plan.labels,
            environment=plan.environment,
            online=self._reports.online(cluster),
            target=target.digest,
            given=own.digest if own else "",
            release=state.assigned.get(cluster, 0),
            health=seen.health,
            message=seen.message,
            unresolved=target.unresolved,
            frozen=plan.paused,
        )

    def _seen(self, track: Track, cluster: str, given: ClusterPlan | None, look: _Pass) -> Evidence:
        """Return how a cluster is with what it was given; a failure that may pass has time to."""
        if given is None:
            return Evidence(Health.PROGRESSING)
        found = evidence(given, track.unit, self._reports.reported(cluster), self._reports.refusal(cluster))
        key = (cluster, track.unit)
        if found.health is not Health.FAILED or not found.soon:
            self._failing.pop(key, None)
            return found
        since = self._failing.setdefault(key, look.now)
        if look.now - since >= _GRACE:
            return found
        look.wake(since + _GRACE)
        return Evidence(Health.PROGRESSING, found.message)

    async def _hold_back(self, track: Track, clusters: Collection[str], step: Step, look: _Pass) -> None:
        """Note which clusters are to have something else of a unit than the newest release has."""
        by_release: dict[int, list[str]] = {}
        for cluster in clusters:
            number = step.state.assigned.get(cluster, 0)
            if number != look.newest.number:
                by_release.setdefault(number, []).append(cluster)
        for number, names in by_release.items():
            plans = await self._pinned.plans(number, names, look.this, look.commits) if number else {}
            for cluster in names:
                plan = plans.get(cluster, self._plans.clusters.get(cluster))
                self._hold(track, cluster, plan, step.waits.get(cluster, ""), look)

    def _hold(self, track: Track, cluster: str, plan: ClusterPlan | None, waits: str, look: _Pass) -> None:
        plan = plan or ClusterPlan(cluster)
        own = plan.slices.get(track.unit, _GONE).digest
        if own == look.plans[cluster].slices.get(track.unit, _GONE).digest:
            return  # there is nothing to keep from it
        note = f"rollout {track}: {waits}" if waits else f"as its rollout {track} has it"
        look.held.setdefault(cluster, {})[track.unit] = Held(track.unit, plan, note)

    def _given(self, cluster: str) -> Mapping[str, Slice]:
        plan = self._plans.clusters.get(cluster)
        return plan.slices if plan is not None else {}

    def _save(self, track: Track, record: TrackRecord | None) -> None:
        """Keep how far a track is; None forgets it. Raise StoreError."""
        text = record_to_json(record) if record is not None else ""
        if text != self._saved.get(track, ""):
            self._store.save_rollout(track.unit, track.environment, text)
            self._saved[track] = text
        if record is None:
            self._records.pop(track, None)
            self._saved.pop(track, None)
        else:
            self._records[track] = record


def _gate(how: Course, stage: str, name: str) -> Gate | None:
    for each in how.strategy.stages:
        if each.name == stage:
            return next((gate for gate in each.gates if gate.name == name), None)
    return None


def _digests(found: Mapping[str, Slice]) -> dict[str, str]:
    return {cluster: each.digest for cluster, each in found.items()}
