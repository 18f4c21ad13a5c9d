"""What a cluster would get if a source were at another revision: planned like every round, and published nowhere.

A revision of the fleet repository stands in for the one that is followed, so that its GitRepositories, which name the
branch that is followed, mean it too: it is as if the branch had been merged.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from felloe.errors import ConfigError, RenderError, SourceError
from felloe.identity import WorkloadId
from felloe.tracing import Tracer
from hub.fleet import load_fleet
from hub.metrics import HubMetrics
from hub.planning.commits import Commits
from hub.planning.overlays import Overlays
from hub.render.render import Rendered, Renderer
from hub.sources.git import GitSources
from hub.sources.spec import GitRef, GitSpec, is_commit
from hub.targeting import ClusterPlan, Inputs, RenderCache, RenderWant, Resolution, Snapshot, resolve


class Previews:
    """Plans clusters as they would be. Raises SourceError where a revision can't be had, ConfigError for a bad one."""

    def __init__(
        self, git: GitSources, renderer: Renderer, fleet_path: str, metrics: HubMetrics, tracer: Tracer
    ) -> None:
        self._git = git
        self._renderer = renderer
        self._fleet_path = fleet_path
        self._metrics = metrics
        self._tracer = tracer

    async def plan(self, inputs: Inputs, workload: WorkloadId | None, revision: str) -> ClusterPlan:
        """Return the plan of a cluster with the source of `workload`, or the fleet repository, at a revision.

        `inputs` are those of now. The plan brings the blobs of everything that it resolved.
        """
        source = _source_of(workload, inputs)
        snapshot = await self._at(replace(source, ref=ref_of(revision)))
        if source != inputs.fleet_source:
            return await self._plan(replace(inputs, snapshots={**inputs.snapshots, source: snapshot}))
        name, separator, _ = inputs.fleet_snapshot.revision.rpartition("@")
        snapshot = replace(snapshot, revision=f"{name}{separator}{snapshot.revision.rpartition('@')[2]}")
        fleet = await asyncio.to_thread(load_fleet, snapshot.tree, self._fleet_path)
        return await self._plan(replace(inputs, fleet=fleet, fleet_snapshot=snapshot))

    async def _at(self, source: GitSpec) -> Snapshot:
        fetched = await self._git.resolve(source)
        return Snapshot(self._git.tree(source, fetched), fetched.revision)

    async def _plan(self, inputs: Inputs) -> ClusterPlan:
        """Resolve, fetch and render until nothing is wanting."""
        overlays = Overlays(self._renderer, self._metrics)
        overlays.results = dict(inputs.renders)
        commits, cache, snapshots = Commits(self._tracer), RenderCache(), dict(inputs.snapshots)
        while True:
            found = resolve(replace(inputs, renders=overlays.results, snapshots=snapshots), cache)
            fetched = all(source in snapshots for source in found.wanted_sources)
            for source in found.wanted_sources:
                if source not in snapshots:
                    try:
                        snapshots[source] = await self._at(source)
                    except SourceError as error:
                        snapshots[source] = str(error)
            missing = _missing(found, overlays.results)
            if not missing and fetched:
                return found.plan
            await overlays.render({want: _content(want, inputs, snapshots) for want in missing}, commits)


def _missing(found: Resolution, results: dict[RenderWant, Rendered | RenderError]) -> list[RenderWant]:
    return [want for want in found.wanted_renders if want not in results]


def _content(want: RenderWant, inputs: Inputs, snapshots: dict[GitSpec, Snapshot | str]) -> Snapshot | str:
    return inputs.fleet_snapshot if want.source == inputs.fleet_source else snapshots[want.source]


def _source_of(workload: WorkloadId | None, inputs: Inputs) -> GitSpec:
    """Return the source that a workload's overlay is in, as the cluster has it now; else the fleet repository."""
    known = inputs.previous.by_id.get(workload) if inputs.previous and workload else None
    if known is None:
        return inputs.fleet_source
    for source in resolve(inputs, RenderCache()).sources:
        if known.source == f"GitRepository/{source.declared.key}":
            return source.followed
    return inputs.fleet_source


def ref_of(revision: str) -> GitRef:
    """Return what a person means by a revision: a branch, a tag, a commit, a revision as Felloe shows it, or a full
    ref (``refs/pull/420/merge``).

    Raise ConfigError for what can be none of these.
    """
    if revision.startswith("refs/"):
        return GitRef(name=revision)
    commit = revision.rpartition("sha1:")[2]
    if is_commit(commit):
        return GitRef(commit=commit)
    if "@sha1:" in revision:
        raise ConfigError(f"revision {revision!r}: the commit has to be written in full, all 40 digits")
    return GitRef(short=revision)
