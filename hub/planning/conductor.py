"""The conductor: asks the rollout engine which cluster may have which release of which unit, and remembers the answer.

It stands between what every cluster would have by the newest release and what is published. The engine is pure; here it
is given what Git says (strategies, promotions), what was published, what spokes say of just that, and what people and
gates answered. Its new state is in the store before anything that it allows is published, so that a hub which is killed
in between goes on from there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import Final, Protocol

from felloe.errors import ConfigError
from hub.audit import policy
from hub.fleet import Fleet
from hub.fleet.strategy import Gate, Promotion, Strategy
from hub.gates.asking import Asked, Question
from hub.planning.commits import Commits
from hub.planning.history import Passage
from hub.planning.membership import Look, Membership
from hub.planning.milestones import milestones
from hub.planning.records import TrackRecord, record_from_json, record_to_json
from hub.planning.releases import Releases
from hub.planning.resolving import Round
from hub.planning.tracks import Course, course, stands_alone, upstream_first
from hub.rollout import (
    Promoted,
    abort,
    advance,
    approve,
    observe,
    pause,
    promote,
    resume,
    retry,
    skip_soak,
    succeed,
    undo,
)
from hub.rollout.model import Act, GateResult, Note, Release, RolloutState, Step, Track, Verdict
from hub.status.rollouts import RolloutFacts
from hub.store import Store
from hub.targeting import ClusterPlan
from hub.targeting.holding import Held
from hub.targeting.plan import NOTHING

_PENDING_PAUSE: Final = 5.0
"""Seconds until a look at what was still being fetched at the last one."""

DEFAULT_STRATEGY: Final = "default"
"""How the strategy of a track for which Git names none is called."""

HeldUnits = Mapping[str, Mapping[str, Held]]
"""By cluster and unit, what is to be otherwise than by the newest release."""


class Gates(Protocol):
    """Who asks HTTP and Prometheus gates."""

    def ask(self, wanted: Mapping[Question, Asked]) -> None:
        """Ask exactly these from now on."""
        ...

    def answers(self, track: Track, release: int) -> Mapping[tuple[str, str], GateResult]:
        """Return what was answered about a track's rollout of a release, by stage and name of the gate."""
        ...


class Chronicle(Protocol):
    """Who keeps what happens to rollouts, and shows how they are."""

    def happened(self, track: Track, state: RolloutState, release: Release, note: Note) -> None:
        """Keep something that the engine did. Raise StoreError where that can't be kept."""
        ...

    def acted(
        self,
        track: Track,
        release: Release | None,
        act: Act | None,
        *,
        who: str,
        reason: str,
        clusters: Iterable[str] = (),
        stage: str = "",
        gate: str = "",
    ) -> None:
        """Keep what a person did; `act` None: had a release promoted. Raise StoreError where that can't be kept."""
        ...

    def show(self, rollouts: Iterable[RolloutFacts]) -> None:
        """Show exactly these rollouts."""
        ...


class Conductor:
    """Knows how far every track is."""

    def __init__(
        self, store: Store, releases: Releases, membership: Membership, gates: Gates, chronicle: Chronicle
    ) -> None:
        self._store = store
        self._releases = releases
        self._membership = membership
        self._gates = gates
        self._chronicle = chronicle
        self._turn = asyncio.Lock()
        self._records: dict[Track, TrackRecord] = {}
        self._saved: dict[Track, str] = {}
        self._clusters: set[str] = set()
        self.due: Callable[[], None] = lambda: None
        """Called when there is something to look at again."""
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
        return cluster in self._clusters

    def needed(self) -> frozenset[int]:
        """Return the releases that clusters are at, or may come or go back to."""
        return frozenset(number for record in self._records.values() for number in record.releases)

    def passages(self, cluster: str) -> list[Passage]:
        """Return what let the releases of its units through to a cluster."""
        found = []
        for track, record in self._records.items() if cluster in self._clusters else ():
            number = record.state.assigned.get(cluster, 0) if record.state else 0
            if record.state is not None and number:
                release = self._releases.known.get(number)
                who = record.state.who or policy(record.state.strategy or DEFAULT_STRATEGY)
                found.append(Passage(track, number, who, release.author if release else ""))
        return found

    # -- one look at every track

    async def look(self, this: Round, newest: Release, plans: Mapping[str, ClusterPlan], commits: Commits) -> HeldUnits:
        """Return what each cluster is to have otherwise than by the newest release; `plans` are what that would be.

        Raise StoreError where the state can't be kept; then nothing may be published.
        """
        async with self._turn:
            look = Look(this, newest, plans, commits, time.time())
            held: dict[str, dict[str, Held]] = {}
            rollouts = await self._tracks(look, held)
            self.wake_at = look.wake_at
            self._clusters = {member.name for facts in rollouts for member in facts.members}
            self._chronicle.show(rollouts)
            return held

    async def _tracks(self, look: Look, held: dict[str, dict[str, Held]]) -> list[RolloutFacts]:
        fleet = look.this.in_force.fleet
        clusters = self._clusters_by_track(fleet, look.plans)
        asked: dict[Question, Asked] = {}
        shown: dict[Track, RolloutFacts] = {}
        for track in upstream_first(clusters, fleet):
            record = self._records.get(track, TrackRecord())
            how = course(fleet, track, look.newest, remembered=record.state.strategy if record.state else "")
            if how is None:
                continue
            facts, step = await self._track(track, how, record, clusters[track], look)
            shown[track] = facts
            await self._hold_back(track, facts.state, clusters[track], look, held)
            for stage, name in step.ask if step else ():
                gate = _gate(facts.strategy, stage, name)
                if gate is not None:
                    question = Question(track, facts.state.release, stage, name)
                    asked[question] = Asked(gate, _known(facts.state, stage, name))
        for gone in self._records.keys() - shown.keys():
            self._save(gone, None)
        self._gates.ask(asked)
        return list(shown.values())

    def _clusters_by_track(self, fleet: Fleet, plans: Mapping[str, ClusterPlan]) -> dict[Track, list[str]]:
        """Return the clusters of each track: those that have its unit, are to have it, or lose it by its rollout."""
        if not (fleet.strategies or self._records or any(each.promotes_from for each in fleet.environments.values())):
            return {}
        alone = {name for name in fleet.environments if stands_alone(fleet, name)}
        found: dict[Track, list[str]] = {}
        leaving: dict[str, set[str]] = {}
        for track, record in self._records.items():
            if record.state is not None and not record.state.over:
                for cluster in record.state.assigned:
                    leaving.setdefault(cluster, set()).add(track.unit)
        for cluster, plan in plans.items():
            environment = plan.environment if plan.environment in alone else ""
            units = plan.slices.keys() | self._membership.given(cluster).keys() | leaving.get(cluster, set())
            for unit in units:
                found.setdefault(Track(unit, environment), []).append(cluster)
        return found

    async def _track(
        self, track: Track, how: Course, record: TrackRecord, clusters: Collection[str], look: Look
    ) -> tuple[RolloutFacts, Step | None]:
        """Take a track one step further."""
        goal, promoted = look.newest.number, Promoted()
        if how.promotion is not None and how.upstream is not None:
            record, promoted = self._promoted(how.promotion, how.upstream, record, look)
            goal = promoted.release
        state = await self._state(track, how.strategy, record.state, goal, clusters, look)
        upcoming = look.newest.number if how.promotion is not None and goal < look.newest.number else 0
        if state is None:
            self._save(track, record)
            unbegun = RolloutState(0, reason=promoted.waiting, strategy=how.strategy.name)
            facts = RolloutFacts(track, unbegun, how.strategy, self._releases.known, promotion=how.promotion)
            waits, asks = promoted.waiting, promoted.asks
            return replace(facts, upcoming=upcoming, upcoming_waits=waits, upcoming_asks=asks), None
        targets = await self._membership.targets(track, state.release, clusters, look)
        members = [self._membership.member(track, name, targets[name], state, look) for name in clusters]
        release = self._releases.known.get(state.release, look.newest)
        step = advance(
            track,
            how.strategy,
            state,
            release,
            members,
            look.now,
            answers=self._gates.answers(track, state.release),
            releases=self._releases.known.keys(),
        )
        upstream = how.upstream.environment if how.promotion is not None and how.upstream is not None else ""
        with self._store.batch():
            for note in (*milestones(track, record.state, step.state, upstream), *step.notes):
                self._chronicle.happened(track, step.state, release, note)
            self._save(track, replace(record, state=step.state))
        look.wake(step.wake_at)
        if step.state.queue and step.state.over:
            look.wake(look.now)
        facts = RolloutFacts(
            track,
            step.state,
            how.strategy,
            self._releases.known,
            members,
            step.waits,
            step.wake_at,
            how.promotion,
            upcoming,
            promoted.waiting,
            promoted.asks,
        )
        return facts, step

    def _promoted(
        self, promotion: Promotion, upstream: Track, record: TrackRecord, look: Look
    ) -> tuple[TrackRecord, Promoted]:
        """Return how far a track may go, by what became of releases in the environment before it.

        A unit that this environment does not have keeps nothing from the next one.
        """
        before = self._records.get(upstream)
        if before is None:
            return record, Promoted(look.newest.number)
        known = observe(record.promotion, before.state, look.now)
        found = promote(promotion, before.state, known, record.approved, look.now)
        look.wake(found.wake_at)
        return replace(record, promotion=known), found

    async def _state(
        self,
        track: Track,
        strategy: Strategy,
        state: RolloutState | None,
        goal: int,
        clusters: Collection[str],
        look: Look,
    ) -> RolloutState | None:
        """Return the state that goes for the release that it may go for; None where there is none yet.

        What a release is may not be known for some moments, while something is fetched: then it waits.
        """
        if goal == 0:
            return state
        same = False
        if state is None or goal != state.release:
            wanted = await self._membership.targets(track, goal, clusters, look)
            if any(each.pending for each in wanted.values()):
                look.wake(look.now + _PENDING_PAUSE)
                return state
            if state is not None and state.release:
                before = await self._membership.targets(track, state.release, clusters, look)
                same = all(before[name].digest == wanted[name].digest for name in clusters)
        return succeed(state, goal, strategy, look.now, same=same)

    async def _hold_back(
        self,
        track: Track,
        state: RolloutState,
        clusters: Collection[str],
        look: Look,
        held: dict[str, dict[str, Held]],
    ) -> None:
        """Note which clusters are to have something else of a unit than the newest release has."""
        by_release: dict[int, list[str]] = {}
        for cluster in clusters:
            number = state.assigned.get(cluster, 0)
            if number != look.newest.number:
                by_release.setdefault(number, []).append(cluster)
        note = f"as its rollout has it: felloe rollout status {track}"
        for number, names in by_release.items():
            plans = await self._membership.plans(number, names, look)
            for name in names:
                unit = Held(track.unit, plans[name], note, number)
                if unit.slice.digest != look.plans[name].slices.get(track.unit, NOTHING).digest:
                    held.setdefault(name, {})[track.unit] = unit

    # -- what people do

    async def act(self, track: Track, act: Act, *, who: str, reason: str, stage: str, gate: str, release: int) -> None:
        """Do something to the rollout of a track in the name of a person.

        Raise ConfigError where that makes no sense now, StoreError where it can't be kept.
        """
        async with self._turn:
            record, state = self._of(track)
            if release and release != state.release:
                raise ConfigError(f"rollout {track} is at release {state.release} now, not {release}: look again")
            now = time.time()
            match act:
                case Act.APPROVE:
                    state = approve(state, stage, gate, who=who, reason=reason, now=now)
                case Act.SKIP_SOAK:
                    state = skip_soak(state, stage, who=who, reason=reason, now=now)
                case Act.UNDO:
                    state = undo(state, who=who, reason=reason, now=now, releases=self._releases.known.keys())
                case _:
                    state = _PLAIN_ACTS[act](state, who=who, reason=reason, now=now)
            known = self._releases.known.get(state.release)
            names = sorted(state.stage_of)
            with self._store.batch():
                self._chronicle.acted(track, known, act, who=who, reason=reason, clusters=names, stage=stage, gate=gate)
                self._save(track, replace(record, state=state))
        self.due()

    async def promote(self, track: Track, revision: str, *, who: str, reason: str) -> None:
        """Let a release go on to the environment of a track in the name of a person.

        `revision` names it, or the newest that was healthy in the environment before. Raise ConfigError where none is
        such a one, StoreError where it can't be kept.
        """
        async with self._turn:
            record = self._records.get(track)
            if record is None:
                raise ConfigError(f"there is no rollout {track}")
            ready = [each.release for each in record.promotion.completions]
            known = self._releases.known
            wanted = [
                number
                for number in ready
                if number in known and (not revision or revision in known[number].revision.rpartition(":")[2])
            ]
            if not wanted:
                what = f"revision {revision}" if revision else "no release"
                raise ConfigError(f"{what} has not been healthy yet where {track} is promoted from")
            now = time.time()
            result = GateResult(Verdict.PASSED, now, now, reason, who)
            approved = {number: each for number, each in record.approved.items() if number in ready}
            with self._store.batch():
                self._chronicle.acted(track, known[max(wanted)], None, who=who, reason=reason)
                self._save(track, replace(record, approved={**approved, max(wanted): result}))
        self.due()

    def _of(self, track: Track) -> tuple[TrackRecord, RolloutState]:
        record = self._records.get(track)
        if record is None or record.state is None:
            raise ConfigError(f"there is no rollout {track}")
        return record, record.state

    def _save(self, track: Track, record: TrackRecord | None) -> None:
        """Keep how far a track is; None forgets it. Raise StoreError."""
        text = record_to_json(record) if record is not None else ""
        if text != self._saved.get(track, ""):
            self._store.save_rollout(track.unit, track.environment, text)
        if record is None:
            self._records.pop(track, None)
            self._saved.pop(track, None)
        else:
            self._records[track], self._saved[track] = record, text


_PLAIN_ACTS: Final = {Act.PAUSE: pause, Act.RESUME: resume, Act.ABORT: abort, Act.RETRY: retry}


def _gate(strategy: Strategy, stage: str, name: str) -> Gate | None:
    for each in strategy.stages:
        if each.name == stage:
            return next((gate for gate in each.gates if gate.name == name), None)
    return None


def _known(state: RolloutState, stage: str, gate: str) -> GateResult | None:
    known = state.stages.get(stage)
    return known.gates.get(gate) if known else None
