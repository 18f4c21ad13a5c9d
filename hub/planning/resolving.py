"""Resolving: what every cluster is to have by what one round of planning goes by, with the renders that this needs.

What goes wrong with one cluster stays with it: the others are resolved nevertheless.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, TypeVar

from felloe.errors import FelloeError, RenderError, SourceError, StoreError
from felloe.identity import WorkloadId
from hub.planning.commits import Commits
from hub.planning.contents import InForce
from hub.planning.overlays import Overlays
from hub.planning.plans import Plans, Settings
from hub.planning.publishing import stored_plan
from hub.render.render import Rendered
from hub.sources.spec import GitSpec
from hub.store import Cluster, Mark, Store
from hub.targeting import ClusterPlan, Inputs, Memo, RenderCache, RenderWant, Resolution, Snapshot, resolve
from hub.targeting.facts import with_facts
from hub.targeting.holding import Held

log = logging.getLogger(__name__)

T = TypeVar("T")

SLICE: Final = 0.005
"""Seconds for which the event loop is held up."""


@dataclass(frozen=True, slots=True)
class Round:
    """What one round goes by."""

    in_force: InForce
    members: Mapping[str, Cluster]
    marks: Mapping[str, Mapping[WorkloadId, Mark]]
    """By cluster; the empty one's are every cluster's."""
    approved: Mapping[str, frozenset[str]]
    """By cluster, the deletions that a person approved."""
    contents: Mapping[GitSpec, Snapshot | str]


class Resolver:
    """Resolves clusters; what their overlays render to is kept in `overlays`."""

    def __init__(self, settings: Settings, store: Store, plans: Plans, overlays: Overlays) -> None:
        self._settings = settings
        self._store = store
        self._plans = plans
        self._overlays = overlays
        self._cache = RenderCache()
        self._memo = Memo(self._cache)

    def inputs(self, name: str, this: Round) -> Inputs:
        """Return what decides about a cluster. Raise StoreError where what it had can't be read."""
        member = this.members.get(name)
        if member is not None and name not in self._plans.clusters:  # it was one before, and has what it had then
            desired = self._store.desired(name)
            if desired is not None and desired.plan:
                self._plans.clusters[name] = stored_plan(desired)
        marks = this.marks.get("", {})
        if name in this.marks:
            marks = {**marks, **this.marks[name]}
        return Inputs(
            cluster=name,
            fleet=this.in_force.fleet,
            fleet_source=self._settings.fleet_source,
            fleet_snapshot=this.in_force.snapshot,
            labels=with_facts(member.labels, member.facts) if member else {},
            default_sync_path=self._settings.sync_path or None,
            snapshots=this.contents,
            renders=self._overlays.results,
            previous=self._plans.clusters.get(name),
            suspended=frozenset(workload for workload, mark in marks.items() if mark.suspended),
            requested_at={workload: mark.requested_at for workload, mark in marks.items() if mark.requested_at},
            approved_prunes=this.approved.get(name, frozenset()),
            rewrite=self._settings.rewrite,
        )

    async def resolve(
        self, names: Iterable[str], this: Round, commits: Commits, memo: Memo | None = None
    ) -> tuple[dict[str, Resolution], dict[str, str]]:
        """Resolve clusters, rendering what that needs; return also, by cluster, why that failed.

        `memo` remembers what was resolved at other revisions than the newest; that has one of its own.
        A source that nobody has looked at yet keeps nobody waiting: its workloads stay as they are, and its first look
        starts another round.
        """
        memo = memo or self._memo
        done: dict[str, Resolution] = {}
        troubles: dict[str, str] = {}
        pending: dict[str, Inputs] = {}
        for name in names:
            try:
                pending[name] = self.inputs(name, this)
            except StoreError as error:
                troubles[name] = str(error)
        while pending:
            memo.begin()
            lacking = Lacking(self._overlays.results)
            waiting: dict[str, Inputs] = {}
            began = time.perf_counter()
            for name, each in pending.items():
                if time.perf_counter() - began > SLICE:  # thousands of clusters must not hold up the link
                    await asyncio.sleep(0)
                    began = time.perf_counter()
                found = self._resolve(each, memo.resolve)
                if isinstance(found, str):
                    troubles[name] = found
                elif lacking.take(found, each):
                    waiting[name] = each
                else:
                    done[name] = found
            await self._overlays.render(lacking.wanted, commits)
            pending = waiting
        return done, troubles

    def fork(self) -> Memo:
        """Return what is remembered of the clusters, for somebody who resolves them by other facts."""
        return self._memo.fork()

    def keep(self, clusters: Collection[str]) -> None:
        """Forget what is remembered of other clusters than these, which were all resolved just now."""
        self._memo.keep(clusters)

    def composed(self, name: str, this: Round, held: Mapping[str, Held]) -> ClusterPlan | str:
        """Return what a cluster is to have, of which all was rendered, where some units are held; or why that fails."""
        try:
            found = self._resolve(replace(self.inputs(name, this), held=held), partial(resolve, cache=self._cache))
        except StoreError as error:
            return str(error)
        return found if isinstance(found, str) else found.plan

    def _resolve(self, inputs: Inputs, by: Callable[[Inputs], Resolution]) -> Resolution | str:
        try:
            return by(inputs)
        except FelloeError as error:
            self._overlays.damaged = self._overlays.damaged or isinstance(error, SourceError)
            return str(error)
        except Exception as error:  # a bug that one cluster brings to light must not stop the others
            log.exception("resolving cluster %s", inputs.cluster)
            return f"a bug in Felloe: {type(error).__name__}: {error}; the hub's log has more"


def distinct(parts: Iterable[Iterable[T]]) -> list[T]:
    """Return every object of many parts once: clusters share them, and to compare them by value costs far more."""
    return list({id(each): each for part in parts for each in part}.values())


class Lacking:
    """The renders that are wanted and not there yet; clusters share wants, and each is looked up once."""

    def __init__(self, there: Mapping[RenderWant, Rendered | RenderError]) -> None:
        self.wanted: dict[RenderWant, Snapshot | str] = {}
        self._there = there
        self._seen: dict[int, RenderWant] = {}

    def take(self, found: Resolution, inputs: Inputs) -> bool:
        """Note what a cluster wants and lacks; tell whether there is anything."""
        if not found.lacks:
            return False
        seen = self._seen
        for want in [each for each in found.wanted_renders if id(each) not in seen]:
            seen[id(want)] = want
            if want not in self._there:
                self.wanted[want] = _content(want, inputs)
        return True


def _content(want: RenderWant, inputs: Inputs) -> Snapshot | str:
    """Return the content of the source of an overlay."""
    own = want.source == inputs.fleet_source
    return inputs.fleet_snapshot if own else inputs.snapshots[want.source]
