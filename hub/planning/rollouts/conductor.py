"""The conductor: asks the rollout engine which cluster may have which release of which unit, and remembers the answer.

It stands between what every cluster would have by the newest release and what is published. The engine is pure; here it
is given what Git says (strategies, promotions), what was published, what spokes say of just that, and what people and
gates answered. Its new state is in the store before anything that it allows is published, so that a hub which is killed
in between goes on from there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from hub.audit import policy
from hub.fleet.strategy import Gate, Promotion, Strategy
from hub.gates.asking import Asked, Question
from hub.planning.commits import Commits
from hub.planning.history import Passage
from hub.planning.releases import Releases
from hub.planning.resolving import Round
from hub.planning.rollouts.beginnings import UNKNOWN_PAUSE, Beginnings
from hub.planning.rollouts.git_promotion import Promotions, promotions_in_git
from hub.planning.rollouts.membership import Look, Membership
from hub.planning.rollouts.milestones import chronological, milestones
from hub.planning.rollouts.parties import Chronicle, Gates
from hub.planning.rollouts.records import Records, TrackRecord
from hub.planning.rollouts.tracks import (
    Course,
    clusters_by_track,
    course,
    standing_still,
    upstream_first,
)
from hub.promoting.model import Outcome, State, Wanted
from hub.rollout import (
    Promoted,
    advance,
    observe,
    promote,
)
from hub.rollout.model import GateResult, Member, Phase, Release, RolloutState, Step, Track
from hub.status.rollouts import RolloutFacts
from hub.targeting import ClusterPlan
from hub.targeting.holding import Held
from hub.targeting.plan import NOTHING, Slice

NONE_UNKNOWN: Final[Mapping[str, str]] = MappingProxyType({})
"""Every cluster can be planned."""

DEFAULT_STRATEGY: Final = "default"
"""How the strategy of a track for which Git names none is called."""

HeldUnits = Mapping[str, Mapping[str, Held]]
"""By cluster and unit, what is to be otherwise than by the newest release."""


@dataclass(slots=True)
class _Seen:
    """What the last look at a track found, and when another one is due (None: not before something happens)."""

    clusters: tuple[str, ...]
    how: Course
    facts: RolloutFacts
    members: dict[str, Member] = field(default_factory=dict)
    targets: Mapping[str, Slice] = field(default_factory=dict)
    held: dict[str, Held] = field(default_factory=dict)
    asked: dict[Question, Asked] = field(default_factory=dict)
    wake_at: float | None = None
    stuck: bool = False
    """It stays as it is until all of its clusters can be planned again."""
    ready: Promoted | None = None
    """What may be promoted to it, where a commit promotes to its environment."""


class Conductor:
    """Knows how far every track is."""

    def __init__(
        self,
        records: Records,
        releases: Releases,
        membership: Membership,
        gates: Gates,
        promotions: Promotions,
        chronicle: Chronicle,
    ) -> None:
        self._records = records
        self._releases = releases
        self._membership = membership
        self._beginnings = Beginnings(releases, membership)
        self._gates = gates
        self._promotions = promotions
        self._chronicle = chronicle
        self._in_git: dict[str, Outcome] = {}
        self._seen: dict[Track, _Seen] = {}
        self._went_by: Mapping[str, ClusterPlan] | None = None
        """The plans at the last look at everything."""
        self._clusters: set[str] = set()
        self._stirred_clusters: set[str] = set()
        self._stirred: set[Track] = set()
        self.wake_at: float | None = None
        """When to look again if nothing happens before; seconds since 1970."""

    def concerns(self, cluster: str) -> bool:
        """Tell whether what a cluster says can move a rollout."""
        return cluster in self._clusters

    def passages(self, cluster: str) -> list[Passage]:
        """Return what let the releases of its units through to a cluster."""
        found = []
        for track, record in self._records.all.items() if cluster in self._clusters else ():
            number = record.state.assigned.get(cluster, 0) if record.state else 0
            if record.state is not None and number:
                release = self._releases.known.get(number)
                approved = record.approved.get(number)
                who = approved.who if approved else record.state.who
                who = who or policy(record.state.strategy or DEFAULT_STRATEGY)
                author = release.author if release else ""
                found.append(Passage(track, number, who, author, record.state.approvers(cluster)))
        return found

    def noticed(self, cluster: str) -> None:
        """Look at a cluster again: it said something, or was given something."""
        self._stirred_clusters.add(cluster)

    def answered(self, track: Track) -> None:
        """Look at a track again: one of its gates has another answer."""
        self._stirred.add(track)

    # -- one look at every track

    async def look(
        self,
        this: Round,
        newest: Release,
        plans: Mapping[str, ClusterPlan],
        commits: Commits,
        *,
        anew: bool,
        unknown: Mapping[str, str] = NONE_UNKNOWN,
    ) -> HeldUnits:
        """Return what each cluster is to have otherwise than by the newest release; `plans` are what that would be.

        `anew`: look at everything; otherwise only at what was stirred since the last look, by all the same facts.
        `unknown` says why some clusters can't be planned now: the rollouts that they are part of stay as they are.
        Raise StoreError where the state can't be kept; then nothing may be published.
        """
        async with self._records.turn:
            look = Look(this, newest, plans, commits, time.time(), unknown)
            anew = anew or self._went_by is not plans  # the look that was to come first failed
            clusters, self._stirred_clusters = self._stirred_clusters, set()
            clusters |= self._membership.due(look.now)
            tracks, self._stirred = self._stirred, set()
            try:
                changed = await (self._all(look) if anew else self._some(look, clusters, tracks))
            except BaseException:
                self._stirred_clusters |= clusters
                self._stirred |= tracks
                raise
            changed += self._promote_in_git(look)
            self._chronicle.show(changed, self._seen.keys())
            self._gates.ask({question: asked for seen in self._seen.values() for question, asked in seen.asked.items()})
            wakes = [seen.wake_at for seen in self._seen.values() if seen.wake_at is not None]
            if (ripe := self._membership.wake_at()) is not None:
                wakes.append(ripe)
            self.wake_at = min(wakes, default=None)
            held: dict[str, dict[str, Held]] = {}
            for track, seen in self._seen.items():
                for name, unit in seen.held.items():
                    held.setdefault(name, {})[track.unit] = unit
            return held

    async def _all(self, look: Look) -> list[RolloutFacts]:
        fleet = look.this.in_force.fleet
        self._went_by = None
        states = {track: each.state for track, each in self._records.all.items()}
        remaining = await self._membership.remaining(states, look)
        clusters = clusters_by_track(fleet, look.plans, remaining, self._membership.given)
        stuck = standing_still(states, look.unknown)
        for track in stuck:
            clusters.setdefault(track, [])
        found: dict[Track, _Seen] = {}
        for track in upstream_first(clusters, fleet):
            await asyncio.sleep(0)  # hundreds of tracks of thousands of clusters must not hold up the link
            record = self._records.all.get(track, TrackRecord())
            how = course(fleet, track, remembered=record.state.strategy if record.state else "")
            if how is not None and track in stuck:
                found[track] = await self._still(track, how, clusters[track], look)
            elif how is not None:
                found[track] = await self._track(track, how, clusters[track], look, None)
        for gone in self._records.all.keys() - found.keys() if not look.unknown else ():
            self._records.save(gone, None)
        self._seen, self._went_by = found, look.plans
        self._clusters = {name for seen in found.values() for name in seen.clusters}
        return [seen.facts for seen in found.values()]

    async def _some(self, look: Look, clusters: set[str], tracks: set[Track]) -> list[RolloutFacts]:
        changed: list[RolloutFacts] = []
        for track, seen in self._seen.items():
            if seen.stuck:
                continue
            await asyncio.sleep(0)
            stirred = track in tracks or seen.how.upstream in tracks
            stirred = stirred or (seen.wake_at is not None and seen.wake_at <= look.now)
            if self._moved(track, seen, clusters, look) or stirred:
                before = self._records.all.get(track)
                self._seen[track] = await self._track(track, seen.how, seen.clusters, look, seen)
                changed.append(self._seen[track].facts)
                if self._records.all.get(track) != before:
                    tracks.add(track)
        return changed

    def _promote_in_git(self, look: Look) -> list[RolloutFacts]:
        """Have promoted in Git what may be, and return what is shown otherwise now."""
        ready = {track: seen.ready for track, seen in self._seen.items() if seen.ready is not None}
        found = dict(promotions_in_git(look.this.in_force.fleet, ready, self._records.all, self._releases))
        self._promotions.want(each for each in found.values() if isinstance(each, Wanted))
        before, self._in_git = self._in_git, {}
        for environment, each in found.items():
            known = before.get(environment)
            if isinstance(each, str):
                same = known is not None and (known.state, known.message) == (State.WAITING, each)
                outcome = known if same else Outcome(State.WAITING, each, look.now)
            else:
                outcome = self._promotions.outcome(environment)
                if outcome is not None and outcome.wrote and outcome != known:
                    self._chronicle.wrote(each, outcome, self._releases.known.get(each.release))
            if outcome is not None:
                self._in_git[environment] = outcome
        changed = []
        for track, seen in self._seen.items():
            if seen.facts.in_git != self._in_git.get(track.environment):
                seen.facts = replace(seen.facts, in_git=self._in_git.get(track.environment))
                changed.append(seen.facts)
        return changed

    def _moved(self, track: Track, seen: _Seen, clusters: set[str], look: Look) -> bool:
        """Take note of what clusters of a track are now; tell whether any of them is otherwise than before."""
        state, moved = seen.facts.state, False
        for name in clusters & seen.members.keys():
            member = self._membership.member(track, name, seen.targets[name], state, look)
            if member != seen.members[name]:
                seen.members[name] = member
                moved = True
        return moved

    async def _still(self, track: Track, how: Course, clusters: Collection[str], look: Look) -> _Seen:
        """Leave a track as it is; `clusters` are those of it that can be planned."""
        own = replace(look, wake_at=None)
        state = self._records.all[track].state or RolloutState(0, strategy=how.strategy.name)
        strategy = how.goes_on(state, self._releases.known)
        of_it = state.assigned.keys() | state.stage_of.keys()
        unplanned = {name: why for name, why in look.unknown.items() if name in of_it}
        facts = RolloutFacts(
            track, state, strategy, self._releases.known, promotion=how.promotion, unplanned=unplanned or look.unknown
        )
        members = (await self._members(track, state, clusters, own, None))[0] if state.release else {}
        facts = replace(facts, members=list(members.values()))
        return await self._found(_Seen(tuple(clusters), how, facts, stuck=True), (), own)

    async def _track(
        self, track: Track, how: Course, clusters: Collection[str], look: Look, seen: _Seen | None
    ) -> _Seen:
        """Take a track one step further; `seen` is what the last look found, None where nothing of it counts."""
        record = self._records.all.get(track, TrackRecord())
        own = replace(look, wake_at=None)
        goal, promoted = look.newest.number, Promoted()
        ready: Promoted | None = None
        if how.promotion is not None and how.upstream is not None:
            record, promoted = self._promoted(how.promotion, how.upstream, record, own)
            goal = promoted.release if how.promotion.git is None else goal
            if how.promotion.git is not None and how.upstream in self._records.all:
                ready = promoted
        state, strategy, unmade = await self._beginnings.state(track, how, record.state, goal, clusters, own)
        upcoming = look.newest.number if how.promotion is not None and goal < look.newest.number else 0
        if unmade:
            upcoming = goal
        facts = RolloutFacts(
            track,
            state or RolloutState(0, reason=promoted.waiting, strategy=strategy.name),
            strategy,
            self._releases.known,
            promotion=how.promotion,
            upcoming=upcoming,
            upcoming_waits=unmade or promoted.waiting,
            upcoming_asks=promoted.asks and not unmade,
            upcoming_unmade=bool(unmade),
        )
        if state is None:
            self._records.save(track, record)
            return await self._found(_Seen(tuple(clusters), how, facts, ready=ready), (), own)
        members, targets = await self._members(track, state, clusters, own, seen)
        if len(members) != len(clusters):  # nobody can say whether they have it
            own.wake(own.now + UNKNOWN_PAUSE)
            unplanned = {name: self._membership.why_not(state.release, name) for name in {*clusters} - members.keys()}
            facts = replace(facts, members=list(members.values()), unplanned=unplanned)
            return await self._found(_Seen(tuple(clusters), how, facts, ready=ready), (), own)
        step = self._advanced(track, replace(how, strategy=strategy), record, state, members, own)
        facts = replace(
            facts,
            state=step.state,
            members=list(members.values()),
            waits=step.waits,
            wake_at=step.wake_at,
            shut=step.shut,
        )
        return await self._found(_Seen(tuple(clusters), how, facts, members, targets, ready=ready), step.ask, own)

    async def _members(
        self, track: Track, state: RolloutState, clusters: Collection[str], look: Look, seen: _Seen | None
    ) -> tuple[dict[str, Member], Mapping[str, Slice]]:
        if seen is not None and seen.members and seen.facts.state.release == state.release:
            return {
                name: member
                if member.release == (number := state.assigned.get(name, 0))
                else replace(member, release=number)
                for name, member in seen.members.items()
            }, seen.targets
        targets = await self._membership.targets(track, state.release, clusters, look)
        return {
            name: self._membership.member(track, name, each, state, look) for name, each in targets.items()
        }, targets

    def _advanced(
        self,
        track: Track,
        how: Course,
        record: TrackRecord,
        state: RolloutState,
        members: Mapping[str, Member],
        look: Look,
    ) -> Step:
        step = advance(
            track,
            how.strategy,
            state,
            self._releases.known.get(state.release, look.newest),
            members,
            look.now,
            answers=self._gates.answers(track, state.release),
            releases=self._releases.known.keys(),
        )
        release = self._releases.known.get(state.release, look.newest)
        by_release = how.promotion is not None and how.promotion.git is None
        upstream = how.upstream.environment if by_release and how.upstream is not None else ""
        with self._records.batch():
            for note in chronological(milestones(track, record.state, step.state, upstream), step.notes):
                self._chronicle.happened(track, step.state, release, note)
            self._records.save(track, replace(record, state=step.state))
        look.wake(step.wake_at)
        if step.state.queue and step.state.gives_way:
            look.wake(look.now)
        return step

    async def _found(self, seen: _Seen, ask: Iterable[tuple[str, str]], look: Look) -> _Seen:
        """Complete what a look found by what clusters are to keep, and which gates are to be asked."""
        facts = seen.facts
        for stage, name in ask:
            gate = _gate(facts.strategy, stage, name)
            if gate is not None:
                question = Question(facts.track, facts.state.release, stage, name)
                seen.asked[question] = Asked(gate, _known(facts.state, stage, name))
        await self._hold_back(seen, look)
        seen.wake_at = look.wake_at
        return seen

    def _promoted(
        self, promotion: Promotion, upstream: Track, record: TrackRecord, look: Look
    ) -> tuple[TrackRecord, Promoted]:
        """Return how far a track may go, by what became of releases in the environment before it.

        A unit that this environment does not have keeps nothing from the next one, once what took it out of there may
        go on; an environment that has lost all of its clusters lets nothing new through.
        """
        before = self._records.all.get(upstream)
        upstream_state = before.state if before is not None else None
        known = observe(record.promotion.of(upstream.environment), upstream_state, look.now)
        urgent = {number: each.urgent for number, each in self._releases.known.items() if each.urgent}
        hurried = {**urgent, **record.soak_skipped}
        found = promote(promotion, upstream_state, known, record.approved, look.now, urgent=hurried)
        if before is None:
            last = max((each.release for each in known.completions), default=0)
            there = any(plan.environment == upstream.environment for plan in look.plans.values())
            if not last or (there and found.release >= last):
                return record, Promoted(look.newest.number)
        look.wake(found.wake_at)
        state = record.state
        if upstream_state is not None and upstream_state.phase in (Phase.UNDONE, Phase.FAILED) and state is not None:
            state = replace(state, queue=tuple(each for each in state.queue if each != upstream_state.release))
        return replace(record, state=state, promotion=known), found

    async def _hold_back(self, seen: _Seen, look: Look) -> None:
        """Note which clusters are to have something else of a unit than the newest release has."""
        track, state = seen.facts.track, seen.facts.state
        by_release: dict[int, list[str]] = {}
        for cluster in seen.clusters:
            number = state.assigned.get(cluster, 0)
            if number != look.newest.number:
                by_release.setdefault(number, []).append(cluster)
        note = f"as its rollout has it: felloe rollout status {track}"
        for number, names in by_release.items():
            plans = await self._membership.plans(number, names, look)
            for name in names:
                unit = Held(track.unit, plans[name], note, number)
                if unit.slice.digest != look.plans[name].slices.get(track.unit, NOTHING).digest:
                    seen.held[name] = unit


def _gate(strategy: Strategy, stage: str, name: str) -> Gate | None:
    for each in strategy.stages:
        if each.name == stage:
            return next((gate for gate in each.gates if gate.name == name), None)
    return None


def _known(state: RolloutState, stage: str, gate: str) -> GateResult | None:
    known = state.stages.get(stage)
    return known.gates.get(gate) if known else None
