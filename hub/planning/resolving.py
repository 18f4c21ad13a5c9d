"""Resolving: what every cluster is to have by what one round of planning goes by, with the renders that this needs.

What goes wrong with one cluster stays with it: the others are resolved nevertheless.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from felloe.errors import FelloeError, SourceError, StoreError
from felloe.identity import WorkloadId
from hub.planning.commits import Commits
from hub.planning.contents import InForce
from hub.planning.overlays import Overlays
from hub.planning.plans import Plans, Settings
from hub.planning.publishing import stored_plan
from hub.sources.spec import GitSpec
from hub.store import Cluster, Mark, Store
from hub.targeting import Inputs, RenderCache, RenderWant, Resolution, Snapshot, resolve
from hub.targeting.facts import with_facts

log = logging.getLogger(__name__)


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

    def inputs(self, name: str, this: Round) -> Inputs:
        """Return what decides about a cluster. Raise StoreError where what it had can't be read."""
        member = this.members.get(name)
        if member is not None and name not in self._plans.clusters:  # it was one before, and has what it had then
            desired = self._store.desired(name)
            if desired is not None and desired.plan:
                self._plans.clusters[name] = stored_plan(desired)
        marks = {**this.marks.get("", {}), **this.marks.get(name, {})}
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
        self, names: Iterable[str], this: Round, commits: Commits
    ) -> tuple[dict[str, Resolution], dict[str, str]]:
        """Resolve clusters, rendering what that needs; return also, by cluster, why that failed.

        A source that nobody has looked at yet keeps nobody waiting: its workloads stay as they are, and its first look
        starts another round.
        """
        done: dict[str, Resolution] = {}
        troubles: dict[str, str] = {}
        pending: dict[str, Inputs] = {}
        for name in names:
            try:
                pending[name] = self.inputs(name, this)
            except StoreError as error:
                troubles[name] = str(error)
        while pending:
            wanted: dict[RenderWant, Snapshot | str] = {}
            waiting: dict[str, Inputs] = {}
            for name, each in pending.items():
                await asyncio.sleep(0)  # thousands of clusters must not hold up the link
                found = self._resolve(each)
                if isinstance(found, str):
                    troubles[name] = found
                    continue
                missing = [want for want in found.wanted_renders if want not in self._overlays.results]
                if missing:
                    waiting[name] = each
                    wanted |= {want: _content(want, each) for want in missing}
                else:
                    done[name] = found
            await self._overlays.render(wanted, commits)
            pending = waiting
        return done, troubles

    def _resolve(self, inputs: Inputs) -> Resolution | str:
        try:
            return resolve(inputs, self._cache)
        except FelloeError as error:
            self._overlays.damaged = self._overlays.damaged or isinstance(error, SourceError)
            return str(error)
        except Exception as error:  # a bug that one cluster brings to light must not stop the others
            log.exception("resolving cluster %s", inputs.cluster)
            return f"a bug in Felloe: {type(error).__name__}: {error}; the hub's log has more"


def _content(want: RenderWant, inputs: Inputs) -> Snapshot | str:
    """Return the content of the source of an overlay."""
    own = want.source == inputs.fleet_source
    return inputs.fleet_snapshot if own else inputs.snapshots[want.source]
