"""Branches: what one root of workloads gives to every cluster that is alike in what it reads of them.

Most workloads have nothing to do with each other: then what each root gives by itself, put together, is what `resolve`
makes of all of them, and the work is done once for a branch instead of once for a cluster. `Branch.by_itself` says
where that holds; whoever puts branches together has to see to the rest (`hub.targeting.memo`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from felloe.bundle import Workload
from felloe.digest import Digest
from felloe.errors import RenderError
from felloe.identity import ObjectId, WorkloadId
from hub.render.render import Rendered
from hub.sources.spec import GitSpec
from hub.targeting.inputs import DeclaredSource, Inputs, RenderWant, Snapshot
from hub.targeting.overriding import variables_of
from hub.targeting.plan import WorkloadPlan
from hub.targeting.prepare import RenderCache
from hub.targeting.resolve import circles, workload_plan
from hub.targeting.roots import Definition
from hub.targeting.tracing import Asked, Reads, Tracer
from hub.targeting.walk import Walk


@dataclass(frozen=True, slots=True)
class Shape:
    """What must not clash between the branches of a cluster.

    `needs` are those workloads that depend on others, with all that they depend on.
    """

    ids: tuple[WorkloadId, ...] = ()
    claims: frozenset[ObjectId] = frozenset()
    needs: tuple[tuple[WorkloadId, tuple[WorkloadId, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class Branch:
    """The workloads of one root, with the values of the first cluster that got them.

    `waits`: something has to be rendered first. `by_itself`: nothing in it depends on what else a cluster has or had,
    but for its shape; the plans and workloads are in the order of the shape's ids.
    """

    shape: Shape
    plans: tuple[WorkloadPlan, ...]
    workloads: tuple[Workload, ...]
    open: tuple[tuple[str, ...], ...]
    """By workload, the variables of which each cluster has a value of its own."""
    blobs: tuple[Mapping[Digest, bytes], ...]
    wanted_sources: tuple[GitSpec, ...]
    wanted_renders: tuple[RenderWant, ...]
    sources: tuple[DeclaredSource, ...]
    contents: tuple[Snapshot | str | None, ...]
    renders: tuple[Rendered | RenderError | None, ...]
    fleet_snapshot: Snapshot
    waits: bool
    by_itself: bool

    def stands(self, inputs: Inputs) -> bool:
        """Tell whether all that it was made of is still the same, in the same fleet."""
        return (
            self.fleet_snapshot is inputs.fleet_snapshot
            and all(inputs.snapshots.get(s) is c for s, c in zip(self.wanted_sources, self.contents, strict=True))
            and all(inputs.renders.get(w) is r for w, r in zip(self.wanted_renders, self.renders, strict=True))
        )


def grow(definition: Definition, inputs: Inputs, asked: Asked, cache: RenderCache) -> tuple[Reads, Branch]:
    """Return what a root gives to a cluster, and all that was read of that cluster to know it.

    Of the inputs, what is one cluster's own is not looked at: `asked` stands for it.
    """
    tracer = Tracer(asked)
    shared = replace(
        inputs,
        cluster="",
        labels={},
        previous=None,
        held={},
        suspended=tracer.suspended,
        requested_at=tracer.requested_at,
        approved_prunes=frozenset(),
    )
    walk = Walk(shared, tracer, cache, {})
    walk.run((definition,))
    wanted_sources, wanted_renders = tuple(walk.sources.wanted), tuple(walk.wanted_renders)
    contents = tuple(inputs.snapshots.get(spec) for spec in wanted_sources)
    renders = tuple(inputs.renders.get(want) for want in wanted_renders)
    made = [
        (outcome.definition, outcome.workload) for outcome in walk.outcomes.values() if outcome.workload is not None
    ]
    workloads = tuple(workload for _, workload in made)
    shape = _shape(walk, workloads)
    branch = Branch(
        shape=shape,
        plans=tuple(workload_plan(outcome) for outcome in walk.outcomes.values()),
        workloads=workloads,
        open=tuple(tuple(sorted(each.variables.keys() - variables_of(by.overrides))) for by, each in made),
        blobs=tuple({id(outcome.blobs): outcome.blobs for outcome in walk.outcomes.values()}.values()),
        wanted_sources=wanted_sources,
        wanted_renders=wanted_renders,
        sources=tuple(walk.sources.declared.values()),
        contents=contents,
        renders=renders,
        fleet_snapshot=inputs.fleet_snapshot,
        waits=any(each is None for each in renders),
        by_itself=_is_by_itself(walk, shape, workloads),
    )
    return tracer.reads(), branch


def _shape(walk: Walk, workloads: tuple[Workload, ...]) -> Shape:
    return Shape(
        ids=tuple(walk.outcomes),
        claims=frozenset(entry.id for workload in workloads for entry in workload.entries),
        needs=tuple(
            (workload.id, tuple(dependency.id for dependency in workload.options.depends_on))
            for workload in workloads
            if workload.options.depends_on
        ),
    )


def _is_by_itself(walk: Walk, shape: Shape, workloads: tuple[Workload, ...]) -> bool:
    return (
        len(workloads) == len(walk.outcomes)
        and not walk.claims
        and not walk.conflicts
        and not walk.shares
        and len(shape.claims) == sum(len(workload.entries) for workload in workloads)
        and not any(circles(dict(shape.needs)))
    )
