"""Planning: whenever something changed, from the revisions that are here to the bundle that each cluster is to have.

One round after another, each from the newest state of everything (level-based): read the fleet, resolve each cluster,
render what it wants, resolve again until nothing is wanting, let the rollout admit, publish. What has not changed costs
little: renders are remembered by what they read, and a bundle whose root is the same is not sent.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import orjson

from felloe.bundle import Bundle
from felloe.errors import FelloeError, RenderError, SandboxError
from felloe.tracing import Tracer
from hub.commits import Commits, TimedGitSources
from hub.deliveries import Deliveries
from hub.fleet import Fleet, load_fleet
from hub.link.server import LinkServer
from hub.metrics import HubMetrics
from hub.render.render import Rendered, Renderer, RenderRequest
from hub.rollout import Candidate, admit
from hub.sources.follow import SourceManager, SourceState
from hub.sources.git import Fetched
from hub.sources.spec import GitSpec, SourceKey
from hub.store import Blobs, Cluster, Store
from hub.targeting import (
    ClusterPlan,
    DeclaredSource,
    Inputs,
    RenderCache,
    RenderWant,
    Resolution,
    Snapshot,
    plan_from_json,
    plan_to_json,
    resolve,
)

log = logging.getLogger(__name__)

_RETRY_SECONDS: Final = 60.0

Renders = dict[RenderWant, Rendered | RenderError]


@dataclass(frozen=True, slots=True)
class Settings:
    """What planning is told once: the fleet's source, its folder, and the template of ``--sync-path``."""

    fleet_source: GitSpec
    fleet_path: str
    sync_path: str
    rewrite: Callable[[str], str]


@dataclass(slots=True)
class Plans:
    """What planning knows now; the reporter shows it.

    `problem` says why the fleet repository is not in force at its newest revision; `revision` is the one in force.
    """

    fleet: Fleet | None = None
    revision: str = ""
    attempted: str = ""
    problem: str = ""
    clusters: dict[str, ClusterPlan] = field(default_factory=dict)
    sources: tuple[DeclaredSource, ...] = ()


@dataclass(frozen=True, slots=True)
class _Published:
    plan: ClusterPlan
    revision: str
    traceparent: str


class Planner:
    """Keeps every cluster's desired state current while `run` runs. `on_round` is called after each round."""

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
        on_round: Callable[[], None],
    ) -> None:
        self.plans = plans
        self.sources = SourceManager(git, self._source_changed)
        self._settings = settings
        self._git = git
        self._renderer = renderer
        self._store = store
        self._blobs = blobs
        self._link = link
        self._deliveries = deliveries
        self._metrics = metrics
        self._on_round = on_round
        self._commits = Commits(tracer)
        self._cache = RenderCache()
        self._renders: Renders = {}
        self._passing: set[RenderWant] = set()
        self._trees: dict[GitSpec, Snapshot] = {}
        self._published: dict[str, _Published] = {}
        self._due = asyncio.Event()
        self._asked = self._served = 0
        self._round_ended = asyncio.Condition()

    def recall(self) -> None:
        """Take up what was planned before this start, so that nothing is lost while Git can't be reached."""
        for desired in self._store.all_desired():
            if desired.plan:
                self.plans.clusters[desired.cluster] = plan_from_json(orjson.loads(desired.plan))
                plan = self.plans.clusters[desired.cluster]
                self._published[desired.cluster] = _Published(plan, desired.revision, desired.traceparent)
        self.sources.set_sources([self._settings.fleet_source])

    async def run(self) -> None:
        """Follow the sources and plan until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.sources.run(), name="sources")
            while True:
                await self._due.wait()
                self._due.clear()
                asked = self._asked
                await self._round()
                async with self._round_ended:
                    self._served = asked
                    self._round_ended.notify_all()

    def poke(self) -> None:
        """Have everything planned again: something changed."""
        self._asked += 1
        self._due.set()

    def publish_again(self, cluster: str) -> None:
        """Have a cluster's bundle published with all its objects, whether or not that was done before."""
        self._published.pop(cluster, None)
        self.poke()

    async def settled(self) -> None:
        """Have everything planned again and wait until a round that began after this call has ended."""
        self.poke()
        ticket = self._asked
        async with self._round_ended:
            await self._round_ended.wait_for(lambda: self._served >= ticket)

    async def refresh(self, key: SourceKey) -> list[SourceState]:
        """Look at the sources of a name now, and return how they are then; none where none has this name."""
        followed = {each.followed for each in self.plans.sources if each.declared.key == key}
        keys = {spec.key for spec in followed} or {key}
        return [state for each in sorted(keys) for state in await self.sources.refresh(each)]

    async def _source_changed(self, state: SourceState) -> None:
        if state.error:
            log.warning("source %s: %s", state.key, state.error)
        elif state.fetched:
            log.info("source %s is at %s", state.key, state.fetched.revision)
        self.poke()

    async def _round(self) -> None:
        fleet = await self._load_fleet(self.sources.state(self._settings.fleet_source))
        if fleet is not None:
            self._commits.take_up(self.sources.states(), self._git.looks)
            try:
                await self._plan_all(*fleet)
            finally:
                self._commits.end()
        self._on_round()

    async def _load_fleet(self, state: SourceState | None) -> tuple[Fleet, Snapshot] | None:
        """Return the fleet in force with its content; None, with the problem noted, where it does not load."""
        plans = self.plans
        plans.problem = (state.error or "") if state else ""
        if state is None or state.fetched is None:
            return None
        plans.attempted = state.fetched.revision
        try:
            snapshot = self._snapshot(state.spec, state.fetched)
            if plans.fleet is None or plans.revision != snapshot.revision:
                plans.fleet = await asyncio.to_thread(load_fleet, snapshot.tree, self._settings.fleet_path)
                plans.revision = snapshot.revision
        except FelloeError as error:
            plans.problem = str(error)
            log.warning("the fleet at %s does not load: %s", state.fetched.revision, error)
            return None
        return plans.fleet, snapshot

    async def _plan_all(self, fleet: Fleet, snapshot: Snapshot) -> None:
        members = {cluster.name: cluster for cluster in self._store.clusters() if not cluster.revoked}
        names = sorted(members.keys() | fleet.clusters.keys())
        snapshots = self._snapshots()
        resolutions = await self._resolve_all(
            {name: self._inputs(name, members.get(name), fleet, snapshot, snapshots) for name in names}
        )
        self._follow(resolutions.values())
        candidates = [
            Candidate(name, each.plan.bundle, self._bundle(name), each.plan.paused)
            for name, each in resolutions.items()
        ]
        for name, bundle in admit(candidates).items():
            plan = resolutions[name].plan
            if bundle is not plan.bundle:
                plan = self._held(plan)
            elif name in members:
                await self._publish(plan, snapshot.revision)
            self.plans.clusters[name] = plan.without_blobs() if name in members else plan
        for gone in self.plans.clusters.keys() - resolutions.keys():
            del self.plans.clusters[gone]

    def _inputs(
        self,
        name: str,
        member: Cluster | None,
        fleet: Fleet,
        snapshot: Snapshot,
        snapshots: Mapping[GitSpec, Snapshot | str],
    ) -> Inputs:
        marks = {
            workload: mark for (cluster, workload), mark in sorted(self._store.marks().items()) if cluster in ("", name)
        }
        return Inputs(
            cluster=name,
            fleet=fleet,
            fleet_source=self._settings.fleet_source,
            fleet_snapshot=snapshot,
            labels=member.labels if member else {},
            default_sync_path=self._settings.sync_path or None,
            snapshots=snapshots,
            renders=self._renders,
            previous=self.plans.clusters.get(name),
            suspended=frozenset(workload for workload, mark in marks.items() if mark.suspended),
            requested_at={workload: mark.requested_at for workload, mark in marks.items() if mark.requested_at},
            rewrite=self._settings.rewrite,
        )

    async def _resolve_all(self, inputs: Mapping[str, Inputs]) -> dict[str, Resolution]:
        """Resolve every cluster, rendering what that needs.

        A source that nobody has looked at yet keeps nobody waiting: its workloads stay as they are, and its first look
        starts another round.
        """
        done: dict[str, Resolution] = {}
        pending = dict(inputs)
        while pending:
            resolved = {name: resolve(each, self._cache) for name, each in pending.items()}
            waiting = {
                name: each
                for name, each in resolved.items()
                if any(want not in self._renders for want in each.wanted_renders)
            }
            done |= {name: each for name, each in resolved.items() if name not in waiting}
            await self._render_all(waiting.values(), inputs)
            pending = {name: inputs[name] for name in waiting}
        return done

    async def _render_all(self, resolutions: Iterable[Resolution], inputs: Mapping[str, Inputs]) -> None:
        wanted: dict[RenderWant, Inputs] = {}
        for each in resolutions:
            wanted |= {want: inputs[each.plan.cluster] for want in each.wanted_renders if want not in self._renders}
        async with asyncio.TaskGroup() as group:
            for want, mine in wanted.items():
                group.create_task(self._render(want, mine), name=f"render {want.path}")

    async def _render(self, want: RenderWant, inputs: Inputs) -> None:
        """Render an overlay into `self._renders`: its objects, or why there are none."""
        own = want.source == inputs.fleet_source
        snapshot = inputs.fleet_snapshot if own else inputs.snapshots[want.source]
        if isinstance(snapshot, str):
            self._renders[want] = RenderError(snapshot)
            return
        began, began_ns = time.perf_counter(), time.time_ns()
        try:
            rendered = await self._renderer.render(RenderRequest(snapshot.tree, want.path, want.target_namespace))
        except FelloeError as error:
            self._renders[want] = error if isinstance(error, RenderError) else RenderError(str(error))
            if isinstance(error, SandboxError) or not isinstance(error, RenderError):
                self._passing.add(want)
            self._metrics.rendered(time.perf_counter() - began, failed=True)
            self._commits.rendered(want, began_ns, error=str(error))
            return
        self._renders[want] = rendered
        if rendered.remembered:
            self._metrics.render_cached()
        else:
            self._metrics.rendered(time.perf_counter() - began)
            self._commits.rendered(want, began_ns, objects=len(rendered.objects))

    # -- sources

    def _snapshot(self, spec: GitSpec, fetched: Fetched) -> Snapshot:
        known = self._trees.get(spec)
        if known is None or known.revision != fetched.revision:
            known = self._trees[spec] = Snapshot(self._git.tree(spec, fetched), fetched.revision)
        return known

    def _snapshots(self) -> dict[GitSpec, Snapshot | str]:
        """Return the content of every source that was fetched, or why it could not be."""
        found: dict[GitSpec, Snapshot | str] = {}
        for state in self.sources.states():
            if state.fetched is not None:
                try:
                    found[state.spec] = self._snapshot(state.spec, state.fetched)
                except FelloeError as error:
                    found[state.spec] = str(error)
            elif state.error:
                found[state.spec] = state.error
        return found

    def _follow(self, resolutions: Iterable[Resolution]) -> None:
        """Follow the sources that the plans rest on, and forget what nothing rests on any more."""
        specs = {self._settings.fleet_source}
        wanted: set[RenderWant] = set()
        declared: dict[DeclaredSource, None] = {}
        for each in resolutions:
            specs.update(each.wanted_sources)
            wanted.update(each.wanted_renders)
            declared.update(dict.fromkeys(each.sources))
        self.sources.set_sources(specs)
        self.plans.sources = tuple(declared)
        self._trees = {spec: snapshot for spec, snapshot in self._trees.items() if spec in specs}
        if self._passing:  # a limit of time that was hit, a mirror that is being repaired: worth another try
            asyncio.get_running_loop().call_later(_RETRY_SECONDS, self.poke)
        wanted -= self._passing
        self._passing.clear()
        self._renders = {want: rendered for want, rendered in self._renders.items() if want in wanted}

    # -- publishing

    def _bundle(self, cluster: str) -> Bundle | None:
        plan = self.plans.clusters.get(cluster)
        return plan.bundle if plan else None

    def _held(self, plan: ClusterPlan) -> ClusterPlan:
        """Return the plan of a cluster that may not move: what it had, and that it is held."""
        before = self.plans.clusters.get(plan.cluster) or ClusterPlan(plan.cluster)
        return replace(before, paused=plan.paused, labels=plan.labels, environment=plan.environment)

    async def _publish(self, plan: ClusterPlan, revision: str) -> None:
        """Make a plan the cluster's desired state, on disk and on the link, unless it is already."""
        name, root = plan.cluster, plan.bundle.root
        before = self._published.get(name)
        if before is not None and before.revision == revision and before.plan == plan:
            return
        traceparent = before.traceparent if before else ""
        if before is None or before.plan.bundle.root != root:
            await asyncio.to_thread(self._put_blobs, plan)
            traceparent = self._deliveries.begin(name, root, parent=self._commits.parent, links=self._commits.links)
        try:
            text = orjson.dumps(plan_to_json(plan)).decode()
            self._link.publish(name, plan.bundle, revision=revision, plan=text, traceparent=traceparent)
        except FelloeError as error:
            log.warning("can't publish for %s, trying again with the next round: %s", name, error)
            return
        self._published[name] = _Published(plan, revision, traceparent)

    def _put_blobs(self, plan: ClusterPlan) -> None:
        for name, blob in plan.blobs.items():
            if name not in self._blobs:
                self._blobs.put(blob)
