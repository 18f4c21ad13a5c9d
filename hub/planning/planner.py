"""Planning: whenever something changed, from the revisions that are here to the bundle that each cluster is to have.

One round after another, each from the newest state of everything (level-based): read the fleet, resolve each cluster,
render what it wants, resolve again until nothing is wanting, let the rollout admit, publish. What has not changed costs
little: renders are remembered by what they read, and a bundle whose root is the same is not sent.

What goes wrong with one cluster stays with it, what goes wrong with a round is tried again a minute later: nothing that
Git, a spoke or the disk comes up with ends the hub.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from felloe.errors import ConfigError, FelloeError, SourceError, StoreError
from felloe.identity import WorkloadId
from felloe.tracing import Tracer
from hub.link.server import LinkServer
from hub.metrics import HubMetrics
from hub.planning.admission import Admission
from hub.planning.commits import Commits, TimedGitSources
from hub.planning.contents import Contents, FleetReader
from hub.planning.deliveries import Deliveries
from hub.planning.forecast import Forecasts, Standing
from hub.planning.overlays import RETRY_SECONDS, Overlays
from hub.planning.pinned import Pinned
from hub.planning.plans import Plans, Settings
from hub.planning.preview import Previews
from hub.planning.publishing import Publisher
from hub.planning.releases import Releases
from hub.planning.resolving import Resolver, Round, distinct
from hub.planning.rollouts.conductor import Conductor, HeldUnits
from hub.planning.rollouts.git_promotion import Promotions
from hub.planning.rollouts.membership import Membership, Reports
from hub.planning.rollouts.parties import Chronicle, Gates
from hub.planning.rollouts.records import Records
from hub.planning.rollouts.steering import Steering
from hub.render.render import Renderer
from hub.rollout.model import Release, Track
from hub.sources.follow import SourceManager, SourceState
from hub.sources.spec import SourceKey
from hub.store import Blobs, Mark, Store
from hub.targeting import ClusterPlan, DeclaredSource, Resolution
from hub.targeting.facts import with_facts
from hub.targeting.holding import Held

log = logging.getLogger(__name__)

_REST_SHARE: Final = 2.0
_LONGEST_REST: Final = 1.0
"""Seconds: after a look at rollouts, others get twice as long, but not longer than this."""

OnRound = Callable[[Sequence[SourceState], Collection[str] | None], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Planned:
    """What the last round found that every cluster would have by the newest release."""

    this: Round
    newest: Release
    plans: Mapping[str, ClusterPlan]
    unknown: Mapping[str, str]
    """By cluster of which that could not be said, why not."""


class Planner:
    """Keeps every cluster's desired state current while `run` runs.

    `on_round` is given the states of the sources after each round, with the clusters that it was about (None: all of
    them), and done before the round counts as ended.
    """

    def __init__(
        self,
        settings: Settings,
        git: TimedGitSources,
        renderer: Renderer,
        store: Store,
        blobs: Blobs,
        link: LinkServer,
        deliveries: Deliveries,
        tracer: Tracer,
        metrics: HubMetrics,
        plans: Plans,
        *,
        reports: Reports,
        gates: Gates,
        promotions: Promotions,
        chronicle: Chronicle,
        on_round: OnRound,
    ) -> None:
        self.plans = plans
        self.sources = SourceManager(git, self._source_changed)
        self._settings = settings
        self._git = git
        self._store = store
        self._on_round = on_round
        self._commits = Commits(tracer)
        self._overlays = Overlays(renderer, metrics)
        self._resolver = Resolver(settings, store, plans, self._overlays)
        self._contents = Contents(git)
        self._fleet = FleetReader(settings, git, self._contents, store)
        self._publisher = Publisher(plans, store, blobs, link, deliveries)
        self._previews = Previews(git, renderer, settings.fleet_path, metrics, tracer)
        self._releases = Releases(settings, git, store)
        self._pinned = Pinned(self._releases, self._resolver)
        membership = Membership(plans, self._pinned, reports)
        self._records = Records(store)
        self.conductor = Conductor(self._records, self._releases, membership, gates, promotions, chronicle)
        self.steering = Steering(self._records, self._releases, chronicle, self.advance)
        self._admission = Admission(plans, self._resolver)
        self.forecasts = Forecasts(
            self._standing, git, renderer, blobs.get, settings.fleet_source, settings.fleet_path, metrics, tracer
        )
        self._last: _Planned | None = None
        self._planned_for: dict[str, Mapping[str, str]] = {}
        self._due = asyncio.Event()
        self._retry_at: float | None = None
        self._asked = self._served = 0
        self._everything = True
        self._only: set[str] = set()
        self._round_ended = asyncio.Condition()

    def recall(self) -> None:
        """Take up what was planned before this start, so that nothing is lost while Git can't be reached.

        Raise StoreError where that can't be read.
        """
        self._publisher.recall({cluster.name for cluster in self._store.clusters() if not cluster.revoked})
        self._releases.recall()
        self._records.recall()
        self.sources.set_sources([self._settings.fleet_source])

    async def run(self) -> None:
        """Follow the sources and plan until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.sources.run(), name="sources")
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(self._next_look()):
                        await self._due.wait()
                self._due.clear()
                asked = self._asked
                if asked != self._served or self._last is None or self._retry_is_due():
                    await self._round(self._taken())
                else:
                    await self._step(self._last)
                async with self._round_ended:
                    self._served = asked
                    self._round_ended.notify_all()

    def poke(self, clusters: Collection[str] | None = None) -> None:
        """Have everything planned again: something changed. With `clusters`, only what is theirs did."""
        self._asked += 1
        self._everything = self._everything or clusters is None
        self._only |= {*(clusters or ())}
        self._due.set()

    def moved(self, cluster: str) -> None:
        """Have rollouts looked at again where a cluster may have come further in one."""
        if self.conductor.concerns(cluster):
            self.conductor.noticed(cluster)
            self._due.set()

    def advance(self, track: Track | None = None) -> None:
        """Have rollouts looked at again: a gate of `track` was answered, or a person did something."""
        if track is not None:
            self.conductor.answered(track)
        self._due.set()

    def publish_again(self, cluster: str) -> None:
        """Have a cluster's bundle published with all its objects, whether or not that was done before."""
        self._publisher.again(cluster)
        self.poke([cluster])

    def noticed(self, cluster: str) -> None:
        """Have a cluster planned again where it is not the member that it was planned for."""
        try:
            member = self._store.cluster(cluster)
            joined = with_facts(member.labels, member.facts) if member and not member.revoked else None
            lacks = joined is not None and self._store.desired(cluster) is None
        except StoreError:
            self.poke()
            return
        if lacks:
            self.publish_again(cluster)
        elif joined != self._planned_for.get(cluster):
            self.poke([cluster])

    async def settled(self, clusters: Collection[str] | None = None) -> None:
        """Have everything, or only some clusters, planned again; wait until a round that began later has ended."""
        self.poke(clusters)
        ticket = self._asked
        async with self._round_ended:
            await self._round_ended.wait_for(lambda: self._served >= ticket)

    async def refresh(self, key: SourceKey) -> list[SourceState]:
        """Look at the sources of a name now, and return how they are then; none where none has this name."""
        followed = {each.followed for each in self.plans.sources if each.declared.key == key}
        keys = {spec.key for spec in followed} or {key}
        return [state for each in sorted(keys) for state in await self.sources.refresh(each)]

    async def preview(self, cluster: str, workload: WorkloadId | None, revision: str) -> ClusterPlan:
        """Return what a cluster would get with the source of `workload`, or the fleet repository, at a revision.

        Raise SourceError where it can't be had, ConfigError where it does not load, StoreError.
        """
        return await self._previews.plan(self._resolver.inputs(cluster, self._planned().this), workload, revision)

    def _standing(self) -> Standing:
        last = self._planned()
        return Standing(last.this, last.plans, self._resolver)

    def _planned(self) -> _Planned:
        if self._last is None:
            raise ConfigError(f"nothing has been planned yet: {self.plans.problem or 'the hub has just started'}")
        return self._last

    async def _source_changed(self, state: SourceState) -> None:
        if state.error:
            log.warning("source %s: %s", state.key, state.error)
        elif state.fetched:
            log.info("source %s is at %s", state.key, state.fetched.revision)
        self.poke()

    # -- one round

    def _taken(self) -> frozenset[str] | None:
        """Return the clusters that the next round is about; None for one about everything."""
        everything = self._everything or self._last is None or self._retry_is_due()
        only = None if everything else frozenset(self._only)
        self._everything = False
        self._only.clear()
        return only

    async def _round(self, only: Collection[str] | None) -> None:
        if only is None:
            self._retry_at = None
            self._overlays.forget_passed()
        try:
            if only is None or self._last is None or not await self._replan(only, self._last):
                only = None
                await self._plan()
        except SourceError as error:
            self.plans.problem = str(error)
            self._overlays.damaged = True
            log.warning("planning: %s", error)
        except FelloeError as error:
            self.plans.problem = str(error)
            self._try_again_in(RETRY_SECONDS)
            log.warning("planning: %s", error)
        except Exception as error:
            self.plans.problem = f"a bug in Felloe: {type(error).__name__}: {error}; the hub's log has more"
            self._try_again_in(RETRY_SECONDS)
            log.exception("planning")
        finally:
            self._commits.end()
        if self._overlays.damaged:
            self._repair()
        if self.plans.troubles:
            self._try_again_in(RETRY_SECONDS)
        if self._overlays.retry_at is not None:
            self._try_again_in(self._overlays.retry_at - asyncio.get_running_loop().time())
        await self._on_round(self.sources.states(), only)

    def _next_look(self) -> float | None:
        """Return when there is something to do although nothing happened, by the event loop's clock."""
        at = [] if self._retry_at is None else [self._retry_at]
        if self.conductor.wake_at is not None:
            at.append(asyncio.get_running_loop().time() + max(0.0, self.conductor.wake_at - time.time()))
        return min(at, default=None)

    def _retry_is_due(self) -> bool:
        return self._retry_at is not None and self._retry_at <= asyncio.get_running_loop().time()

    def _try_again_in(self, seconds: float) -> None:
        at = asyncio.get_running_loop().time() + seconds
        self._retry_at = at if self._retry_at is None else min(self._retry_at, at)

    def _repair(self) -> None:
        """Have the sources looked at, which fetches a damaged mirror anew, and read from it again."""
        self._overlays.damaged = False
        self._contents.forget()
        for state in self.sources.states():
            self.sources.announce(state.key)
        self._try_again_in(RETRY_SECONDS)

    async def _plan(self) -> None:
        in_force = await self._fleet.read(self.sources.state(self._settings.fleet_source), self.plans)
        if in_force is None:
            return
        states = self.sources.states()
        self._commits.take_up(states, self._git.looks)
        members = {cluster.name: cluster for cluster in self._store.clusters() if not cluster.revoked}
        self._planned_for = {name: with_facts(one.labels, one.facts) for name, one in members.items()}
        this = Round(in_force, members, self._marks(), self._approved(), self._contents.of(states))
        newest = self._releases.take_up(in_force, states, time.time())
        names = sorted(members.keys() | in_force.fleet.clusters.keys())
        resolutions, troubles = await self._resolver.resolve(names, this, self._commits)
        self._resolver.keep(names)
        plans = {name: each.plan for name, each in resolutions.items()}
        self._last = _Planned(this, newest, plans, dict(troubles))
        held = await self._look(self._last, anew=True)
        self._follow(resolutions.values(), all_known=not troubles)
        troubles |= await self._publish(self._last, held)
        for gone in self.plans.clusters.keys() - set(names):
            del self.plans.clusters[gone]
        self.plans.troubles = troubles
        self._forget_marks(this.marks)
        needed = self._records.needed()
        self._releases.keep(needed)
        self._pinned.keep(needed)

    async def _replan(self, only: Collection[str], last: _Planned) -> bool:
        """Plan some clusters by what the last round went by; return False where more than theirs has changed."""
        marks = self._marks()
        if marks.get("", {}) != last.this.marks.get("", {}):
            return False
        members = dict(last.this.members)
        for name in only:
            member = self._store.cluster(name)
            if member is not None and not member.revoked:
                members[name] = member
                self._planned_for[name] = with_facts(member.labels, member.facts)
            else:
                members.pop(name, None)
                self._planned_for.pop(name, None)
        this = replace(last.this, members=members, marks=marks, approved=self._approved())
        names = sorted(name for name in only if name in members or name in this.in_force.fleet.clusters)
        resolutions, troubles = await self._resolver.resolve(names, this, self._commits)
        plans = {name: plan for name, plan in last.plans.items() if name not in only}
        plans |= {name: each.plan for name, each in resolutions.items()}
        unknown = {name: why for name, why in last.unknown.items() if name not in only} | troubles
        self._last = _Planned(this, last.newest, plans, unknown)
        held = await self._look(self._last, anew=True)
        self._follow(resolutions.values(), all_known=False)
        concerned = {*only} | self._admission.changed(held)
        troubles |= await self._publish(self._last, held, concerned)
        for gone in {*only} - {*names}:
            self.plans.clusters.pop(gone, None)
        self.plans.troubles = {
            name: why for name, why in self.plans.troubles.items() if name not in concerned
        } | troubles
        self._forget_marks({name: marks[name] for name in only if name in marks})
        return True

    async def _look(self, last: _Planned, *, anew: bool) -> HeldUnits:
        return await self.conductor.look(
            last.this, last.newest, last.plans, self._commits, anew=anew, unknown=last.unknown
        )

    async def _step(self, last: _Planned) -> None:
        """Let rollouts go on by what was planned last; publish for the clusters that this concerns."""
        began = time.monotonic()
        try:
            held = await self._look(last, anew=False)
            concerned = self._admission.changed(held)
            if concerned:
                troubles = await self._publish(last, held, concerned)
                others = {name: why for name, why in self.plans.troubles.items() if name not in concerned}
                self.plans.troubles = others | troubles
                await self._on_round(self.sources.states(), concerned)
            if self.plans.troubles:
                self._try_again_in(RETRY_SECONDS)
        except FelloeError as error:
            log.warning("rollouts: %s", error)
            self._try_again_in(RETRY_SECONDS)
        except Exception:
            log.exception("rollouts")
            self._try_again_in(RETRY_SECONDS)
        await asyncio.sleep(min(_LONGEST_REST, _REST_SHARE * (time.monotonic() - began)))

    def _follow(self, resolutions: Iterable[Resolution], *, all_known: bool) -> None:
        """Follow the sources that the plans rest on and, where all are known, forget what nothing rests on any more."""
        resolutions = list(resolutions)
        specs = {self._settings.fleet_source, *distinct(each.wanted_sources for each in resolutions)}
        wanted = set(distinct(each.wanted_renders for each in resolutions))
        declared: dict[DeclaredSource, None] = dict.fromkeys(distinct(each.sources for each in resolutions))
        if not all_known:
            self.sources.set_sources(specs | {state.spec for state in self.sources.states()})
            self.plans.sources = tuple(declared | dict.fromkeys(self.plans.sources))
            return
        self.sources.set_sources(specs)
        self.plans.sources = tuple(declared)
        self._contents.keep(specs)
        self._git.keep(specs)
        self._overlays.keep(wanted | self._pinned.wants())

    async def _publish(
        self, last: _Planned, held: Mapping[str, Mapping[str, Held]], only: Collection[str] | None = None
    ) -> dict[str, str]:
        """Publish what rollouts admit, for all clusters or `only` some; return by cluster why that failed."""
        admitted = await self._admission.admit(last.plans, held, last.this, only)
        members, newest = last.this.members.keys(), last.this.in_force.snapshot.revision

        def revision(cluster: str) -> str:
            numbers = {each.release for each in held.get(cluster, {}).values()}
            if not numbers:
                return newest
            oldest = self._releases.known.get(min(numbers))
            return oldest.revision if oldest else self._publisher.revision(cluster)

        self._publisher.keep(members)
        passages = {plan.cluster: self.conductor.passages(plan.cluster) for plan in admitted.plans}
        published = await self._publisher.publish(admitted.plans, members, revision, self._commits, passages)
        for plan in admitted.plans:
            self.conductor.noticed(plan.cluster)
        return admitted.troubles | published

    # -- what people asked for

    def _marks(self) -> dict[str, dict[WorkloadId, Mark]]:
        found: dict[str, dict[WorkloadId, Mark]] = {}
        for (cluster, workload), mark in self._store.marks().items():
            found.setdefault(cluster, {})[workload] = mark
        return found

    def _approved(self) -> dict[str, frozenset[str]]:
        found: dict[str, set[str]] = {}
        for approval in self._store.approvals():
            found.setdefault(approval.cluster, set()).add(approval.prune)
        return {cluster: frozenset(names) for cluster, names in found.items()}

    def _forget_marks(self, marks: Mapping[str, Mapping[WorkloadId, Mark]]) -> None:
        """Forget what was asked of workloads that are no more: one that comes back by that name is another one.

        What merely can't be resolved now is still among the plans; a revoked cluster may come back with all it had.
        """
        for cluster in marks.keys() - {""} - self.plans.troubles.keys():
            plan = self.plans.clusters.get(cluster)
            if plan is None and self._store.cluster(cluster) is not None:
                continue
            for workload in marks[cluster].keys() - (plan.by_id.keys() if plan else set()):
                self._store.mark(Mark(workload, cluster))
