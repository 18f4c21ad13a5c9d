"""What targeting is given for one cluster, and what it asks for in return."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from felloe.errors import RenderError
from felloe.identity import WorkloadId
from hub.fleet.model import Fleet
from hub.render.changes import Changes
from hub.render.render import Rendered
from hub.sources.spec import GitSpec
from hub.sources.tree import SourceTree
from hub.targeting.holding import Held
from hub.targeting.plan import ClusterPlan, Condition


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The content of a source at one revision."""

    tree: SourceTree
    revision: str


@dataclass(frozen=True, slots=True)
class RenderWant:
    """One overlay that has to be rendered: a normalized folder of a source at a revision, and what is changed in it."""

    source: GitSpec
    revision: str
    path: str
    target_namespace: str | None = None
    changes: Changes = field(default_factory=Changes)


def as_it_is(url: str) -> str:
    """Return a URL unchanged: the rewriting of a hub that has no ``--instead-of``."""
    return url


@dataclass(frozen=True, slots=True)
class Inputs:
    """All that decides what one cluster gets.

    `labels` come from the cluster's join token and from what its spoke reports. `default_sync_path` is the template of
    ``--sync-path``. `snapshots` holds the sources that were fetched, or what went wrong with them; `renders` likewise.
    What is in neither has not been tried yet. `suspended` are workloads that a person suspended, `requested_at` when a
    person last asked for one, `approved_prunes` the deletions that a person approved.
    `previous` is what the cluster had: where something can't be resolved, that goes on. `held` are the units that a
    rollout keeps from these sources, by name.
    """

    cluster: str
    fleet: Fleet
    fleet_source: GitSpec
    fleet_snapshot: Snapshot
    labels: Mapping[str, str] = field(default_factory=dict)
    default_sync_path: str | None = None
    snapshots: Mapping[GitSpec, Snapshot | str] = field(default_factory=dict)
    renders: Mapping[RenderWant, Rendered | RenderError] = field(default_factory=dict)
    previous: ClusterPlan | None = None
    suspended: AbstractSet[WorkloadId] = frozenset()
    requested_at: Mapping[WorkloadId, str] = field(default_factory=dict)
    approved_prunes: frozenset[str] = frozenset()
    held: Mapping[str, Held] = field(default_factory=dict)
    rewrite: Callable[[str], str] = as_it_is


@dataclass(frozen=True, slots=True)
class DeclaredSource:
    """A GitRepository that a workload uses: as it is declared, what is followed for it, and what speaks against it.

    What is followed is the fleet's own source where it is the fleet's own repository, else itself at its rewritten URL.
    """

    declared: GitSpec
    followed: GitSpec
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class Resolution:
    """What came out. While something is wanted that is not there yet, `plan` is not to be published.

    `wanted_sources` and `wanted_renders` name everything that the plan rests on, whether it is there already or not,
    but for the fleet's own source; while a render `lacks`, only that it is named counts.
    """

    plan: ClusterPlan
    wanted_sources: tuple[GitSpec, ...] = ()
    wanted_renders: tuple[RenderWant, ...] = ()
    sources: tuple[DeclaredSource, ...] = ()
    lacks: bool = False
    """Whether a render is wanted that was not there."""

    def missing(self, inputs: Inputs) -> bool:
        """Tell whether the caller still has to fetch or render something and to call `resolve` again."""
        return self.lacks or any(want not in inputs.snapshots for want in self.wanted_sources)
