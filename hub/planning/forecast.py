"""What a commit that is not merged yet would change on every cluster: planned like a round, and published nowhere.

The content that is asked about stands in for the fleet repository at the revision that is followed, as if it had been
merged; it is compared with what each cluster is to have now. Clusters share renders and whatever is compared, the event
loop is given back after each of them, and builds are started a few at a time, so that a real round waits for none.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from felloe.digest import Digest
from felloe.errors import ConfigError, FelloeError, SourceError
from felloe.tracing import Tracer
from hub.changes.apis import minor_version
from hub.changes.comparison import Comparison
from hub.changes.grouping import Groups, Seen
from hub.fleet import Fleet, load_fleet
from hub.metrics import HubMetrics
from hub.planning.commits import Commits
from hub.planning.contents import InForce
from hub.planning.order import TrackOrder, Traveller, order
from hub.planning.overlays import Overlays
from hub.planning.preview import ref_of
from hub.planning.resolving import SLICE, Lacking, Resolver, Round
from hub.render.render import Renderer
from hub.sources.archive import ArchiveTree
from hub.sources.git import GitSources
from hub.sources.ignore import IgnoringTree
from hub.sources.spec import GitSpec
from hub.status.resource import ENVIRONMENT_LABEL
from hub.targeting import ClusterPlan, Inputs, Memo, RenderWant, Snapshot, view_cluster
from hub.targeting.facts import with_facts

log = logging.getLogger(__name__)

_BUILDS: Final = 4
"""Builds that are started at a time: those of a real round come in between."""
_COMPARED: Final = 16
"""Clusters that are compared in one go, in a thread."""
_KUBERNETES: Final = "kubernetes_version"

Selects = Callable[[Mapping[str, str]], bool]


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked about: a revision of the fleet repository, or `content` that a person sent instead.

    `selects` says by its labels which cluster counts; `cluster` names the only one, where it is not empty.
    """

    selects: Selects
    revision: str = ""
    content: ArchiveTree | None = None
    cluster: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a forecast is."""

    doing: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """What would change, and in which order.

    `base` is the revision that clusters follow now; `troubles` says by cluster what failed.
    """

    revision: str
    base: str
    groups: Groups
    order: tuple[TrackOrder, ...] = ()
    subject: str = ""
    author: str = ""
    troubles: Mapping[str, str] = field(default_factory=dict)


class Standing:
    """What the hub goes by now, as a forecast needs it.

    `plans` are what clusters are to have by the newest commits, once every rollout is through.
    """

    def __init__(self, this: Round, plans: Mapping[str, ClusterPlan], resolver: Resolver) -> None:
        self.this = this
        self.plans = plans
        self._resolver = resolver

    def memo(self) -> Memo:
        """Return what is remembered of the clusters: most of them come out nearly as they are."""
        return self._resolver.fork()

    def inputs(self, cluster: str, in_force: InForce) -> Inputs:
        """Return what would decide about a cluster with another fleet in force; what it has is what it is to have now.

        Raise StoreError.
        """
        inputs = self._resolver.inputs(cluster, replace(self.this, in_force=in_force))
        return replace(inputs, previous=self.plans.get(cluster, inputs.previous))


class Forecasts:
    """Makes forecasts; `standing` raises ConfigError while nothing was planned yet."""

    def __init__(
        self,
        standing: Callable[[], Standing],
        git: GitSources,
        renderer: Renderer,
        content: Callable[[Digest], bytes | None],
        source: GitSpec,
        fleet_path: str,
        metrics: HubMetrics,
        tracer: Tracer,
    ) -> None:
        self._standing = standing
        self._git = git
        self._renderer = renderer
        self._content = content
        self.source = source
        self._fleet_path = fleet_path
        self._metrics = metrics
        self._tracer = tracer

    def base(self) -> Snapshot:
        """Return the content of the fleet repository that is in force. Raise ConfigError where there is none yet."""
        return self._standing().this.in_force.snapshot

    async def make(self, asked: Asked) -> AsyncIterator[Progress | Forecast]:
        """Yield how far it is, and the forecast last.

        Raise SourceError where the revision can't be had, ConfigError where its fleet does not load or no cluster is
        meant, StoreError.
        """
        standing = self._standing()
        yield Progress("fetching", 0, 1)
        snapshot, subject, author = await self._asked_for(asked, standing.this.in_force.snapshot)
        fleet = await asyncio.to_thread(load_fleet, snapshot.tree, self._fleet_path)
        if fleet == standing.this.in_force.fleet:
            fleet = standing.this.in_force.fleet  # by which all is remembered
        in_force = InForce(fleet, snapshot)
        names = await asyncio.to_thread(_meant, asked, standing, fleet)
        work = _Work(self, standing, in_force)
        async for progress in work.run(names):
            yield progress
        before = standing.this.in_force.snapshot.revision
        ordered = await asyncio.to_thread(work.order)
        yield Forecast(snapshot.revision, before, work.groups, ordered, subject, author, work.troubles)

    async def _asked_for(self, asked: Asked, now: Snapshot) -> tuple[Snapshot, str, str]:
        """Return the content that is asked about under the name of the branch that is followed, subject and author."""
        name, separator, _ = now.revision.rpartition("@")
        if asked.content is not None:
            tree = IgnoringTree(asked.content, self.source.ignore)
            return Snapshot(tree, f"{name}{separator}{asked.content.revision}"), "", ""
        source = replace(self.source, ref=ref_of(asked.revision))
        fetched = await self._git.resolve(source)
        snapshot = Snapshot(self._git.tree(source, fetched), fetched.revision)
        revision = f"{name}{separator}{snapshot.revision.rpartition('@')[2]}"
        return replace(snapshot, revision=revision), fetched.commit.subject, fetched.commit.author

    async def at(self, source: GitSpec) -> Snapshot | str:
        """Return the content of another source, which the fleet that is asked about declares, or why it can't be."""
        try:
            fetched = await self._git.resolve(source)
            return Snapshot(self._git.tree(source, fetched), fetched.revision)
        except SourceError as error:
            return str(error)

    def comparison(self) -> Comparison:
        """Return what compares with the objects that the hub has."""
        return Comparison(self._content)

    def overlays(self) -> Overlays:
        """Return renders of their own: those of planning stay as they are."""
        return Overlays(self._renderer, self._metrics)

    def commits(self) -> Commits:
        """Return a round of no commit."""
        return Commits(self._tracer)


@dataclass(slots=True)
class _Pass:
    """What one pass over clusters found: `sources` by identity, with whether each has to be fetched."""

    lacking: Lacking
    ready: list[tuple[Inputs, ClusterPlan]] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    sources: dict[int, tuple[GitSpec, bool]] = field(default_factory=dict)

    def fetches(self, wanted: Iterable[GitSpec], there: Mapping[GitSpec, Snapshot | str]) -> bool:
        """Note the sources that a cluster wants; tell whether any of them is not there. Clusters share them."""
        for source in wanted:
            if id(source) not in self.sources:
                self.sources[id(source)] = source, source not in there
        return any(self.sources[id(source)][1] for source in wanted)


class _Work:
    """One forecast under way."""

    def __init__(self, forecasts: Forecasts, standing: Standing, in_force: InForce) -> None:
        self.groups = Groups()
        self.troubles: dict[str, str] = {}
        self._forecasts = forecasts
        self._standing = standing
        self._in_force = in_force
        self._overlays = forecasts.overlays()
        self._commits = forecasts.commits()
        self._comparison = forecasts.comparison()
        self._memo = standing.memo()
        self._travellers: dict[str, Traveller] = {}
        self._snapshots: dict[GitSpec, Snapshot | str] = dict(standing.this.contents)

    async def run(self, names: Sequence[str]) -> AsyncIterator[Progress]:
        """Plan and compare clusters, yielding how far it is."""
        pending, total = list(names), len(names)
        while pending:
            found = _Pass(Lacking(self._overlays.results))
            self._memo.begin()
            began = time.perf_counter()
            for name in pending:
                if time.perf_counter() - began > SLICE:  # thousands of clusters must not hold up the link
                    await asyncio.sleep(0)
                    began = time.perf_counter()
                self._resolve(name, found)
                if len(found.ready) >= _COMPARED:
                    await self._compare(found.ready)
                    yield Progress("comparing", len(self.groups.clusters), total)
            await self._compare(found.ready)
            for source, wanted in found.sources.values():
                if wanted:
                    yield Progress("fetching", 0, 1)
                    self._snapshots[source] = await self._forecasts.at(source)
            async for progress in self._render(found.lacking.wanted):
                yield progress
            pending = found.waiting
        yield Progress("comparing", total, total)

    def order(self) -> tuple[TrackOrder, ...]:
        """Return in which order what changes would go; also the clusters that nobody asked about have their place."""
        known = {name: _traveller(plan) for name, plan in self._standing.plans.items()}
        moving = list(self.groups.moving())
        return order(self._in_force.fleet, self._standing.this.in_force.fleet, known | self._travellers, moving)

    def _resolve(self, name: str, found: _Pass) -> None:
        """Resolve a cluster: it is ready, waits for what is wanted, or has failed."""
        try:
            inputs = self._standing.inputs(name, self._in_force)
            if not self._overlays.results:
                self._overlays.results.update(inputs.renders)
            inputs = replace(inputs, renders=self._overlays.results, snapshots=self._snapshots)
            resolution = self._memo.resolve(inputs)
        except FelloeError as error:
            self.troubles[name] = str(error)
        except Exception as error:  # a bug that one cluster brings to light must not hide the others
            log.exception("planning cluster %s at %s", name, self._in_force.snapshot.revision)
            self.troubles[name] = f"a bug in Felloe: {type(error).__name__}: {error}; the hub's log has more"
        else:
            unknown = found.fetches(resolution.wanted_sources, self._snapshots)
            if found.lacking.take(resolution, inputs) or unknown:
                found.waiting.append(name)
            else:
                found.ready.append((inputs, resolution.plan))

    async def _render(self, wanted: Mapping[RenderWant, Snapshot | str]) -> AsyncIterator[Progress]:
        wants = list(wanted)
        for start in range(0, len(wants), _BUILDS):
            yield Progress("rendering", start, len(wants))
            some = wants[start : start + _BUILDS]
            await self._overlays.render({want: wanted[want] for want in some}, self._commits)

    async def _compare(self, ready: list[tuple[Inputs, ClusterPlan]]) -> None:
        if ready:
            await asyncio.to_thread(self._compare_some, tuple(ready))
            ready.clear()

    def _compare_some(self, ready: Iterable[tuple[Inputs, ClusterPlan]]) -> None:
        for inputs, plan in ready:
            member = self._standing.this.members.get(plan.cluster)
            minor = minor_version(member.facts.get(_KUBERNETES, "")) if member else None
            placed = self._comparison.cluster(inputs.previous, plan, minor)
            seen = Seen(plan.cluster, _labels(plan.labels, plan.environment), plan.environment, plan.paused)
            self.groups.add(seen, placed)
            self._travellers[plan.cluster] = _traveller(plan, inputs.previous)


def _meant(asked: Asked, standing: Standing, fleet: Fleet) -> list[str]:
    """Return the clusters that are meant, by the labels that they have or would have. Raise ConfigError for none."""
    members, now = standing.this.members, standing.this.in_force.fleet
    names = sorted(members.keys() | fleet.clusters.keys())
    if asked.cluster:
        if asked.cluster not in names:
            raise ConfigError(f"there is no cluster {asked.cluster!r}: it has not joined, and Git does not declare it")
        names = [asked.cluster]
    found = []
    for name in names:
        joined = with_facts(members[name].labels, members[name].facts) if name in members else {}
        views = (view_cluster(name, joined, which) for which in (fleet, now))
        if any(asked.selects(_labels(view.labels, view.environment)) for view in views):
            found.append(name)
    if not found:
        raise ConfigError("the label selector matches no cluster" if names else "there is no cluster yet")
    return found


def _traveller(plan: ClusterPlan, before: ClusterPlan | None = None) -> Traveller:
    units = {each.origin for each in (*plan.workloads, *(before.workloads if before else ()))}
    former = before.environment if before else ""
    return Traveller(plan.cluster, plan.labels, plan.environment, former, frozenset(units))


def _labels(labels: Mapping[str, str], environment: str) -> dict[str, str]:
    return {ENVIRONMENT_LABEL: environment, **labels} if environment else dict(labels)
