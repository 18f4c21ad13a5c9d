"""What is remembered of a fleet between one resolving and the next: facts that clusters share, and each cluster's own.

`hub.targeting.memo` fills them, and decides what of them still holds.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import is_
from typing import Final

from felloe.bundle import Bundle, Frame, Pattern, Workload
from felloe.errors import RenderError
from felloe.identity import ObjectId, WorkloadId
from hub.fleet.model import Fleet
from hub.render.render import Rendered
from hub.sources.tree import SourceTree
from hub.targeting.branches import Branch, Shape
from hub.targeting.inputs import Inputs, Resolution, Snapshot
from hub.targeting.plan import WorkloadPlan
from hub.targeting.resolve import circles
from hub.targeting.roots import Definition
from hub.targeting.tracing import Asked, Reads, Variables

_SHARED_VALUES: Final = 64
"""How many different values of its variables a workload is kept for; beyond that each cluster has its own."""


@dataclass(slots=True, eq=False)
class Variant:
    """A branch, for all clusters that give the same answers as `witness`."""

    root: Root
    reads: Reads
    witness: Asked
    branch: Branch
    shape: Shape
    """That of its last branch that did not wait."""
    patterns: tuple[Shared, ...]
    checked: int
    stale: bool = False


@dataclass(slots=True, eq=False)
class Root:
    """One root of workloads, and what it gives, by what it reads and what the clusters answer."""

    definition: Definition
    variants: dict[Reads, dict[Hashable, Variant]] = field(default_factory=dict)

    def forget_stale(self) -> None:
        """Forget the variants that are no good any more."""
        self.keep(lambda variant: not variant.stale)

    def keep(self, wanted: Callable[[Variant], bool]) -> None:
        """Forget the other variants."""
        kept = {}
        for reads, variants in self.variants.items():
            left = {answers: each for answers, each in variants.items() if wanted(each)}
            if left:
                kept[reads] = left
        self.variants = kept


@dataclass(slots=True, eq=False)
class Shared:
    """A pattern, and the workloads made of it that several clusters have."""

    pattern: Pattern
    few: dict[Hashable, Workload] = field(default_factory=dict)

    def workload(self, variables: Mapping[str, str]) -> Workload:
        """Return it with the values of a cluster."""
        names = self.pattern.open
        if not names:
            return self.pattern.workload
        values = tuple([variables[name] for name in names])
        found = self.few.get(values)
        if found is None:
            found = self.pattern.with_values(dict(zip(names, values, strict=True)))
            if len(self.few) < _SHARED_VALUES:
                self.few[values] = found
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """How branches of certain shapes lie in a plan: `order` sorts their workloads. None of them clash."""

    order: tuple[int, ...]
    ids: frozenset[WorkloadId]
    frame: Frame


@dataclass(frozen=True, slots=True, eq=False)
class Said:
    """What `resolve` itself said of a cluster, and what it said that of."""

    resolution: Resolution
    inputs: Inputs
    contents: tuple[Snapshot | str | None, ...]
    renders: tuple[Rendered | RenderError | None, ...]

    def stands(self, inputs: Inputs) -> bool:
        """Tell whether `resolve` would say it again."""
        then, found = self.inputs, self.resolution
        return (
            then.fleet is inputs.fleet
            and then.fleet_snapshot is inputs.fleet_snapshot
            and then.previous is inputs.previous
            and then.labels == inputs.labels
            and then.suspended == inputs.suspended
            and then.requested_at == inputs.requested_at
            and then.approved_prunes == inputs.approved_prunes
            and then.default_sync_path == inputs.default_sync_path
            and same([inputs.snapshots.get(spec) for spec in found.wanted_sources], self.contents)
            and same([inputs.renders.get(want) for want in found.wanted_renders], self.renders)
        )


@dataclass(slots=True, eq=False)
class Known:
    """What is remembered of one cluster."""

    fleet: Fleet
    labels: Mapping[str, str]
    asked: Asked
    placements: tuple[str, ...]
    roots: tuple[Root, ...]
    variants: list[Variant] = field(default_factory=list)
    branches: list[Branch] = field(default_factory=list)
    shapes: tuple[Shape, ...] | None = None
    layout: Layout | None = None
    bound: dict[Shared, Workload] = field(default_factory=dict)
    bundle: Bundle | None = None
    accounted: tuple[WorkloadPlan, ...] | None = None
    no_folder: SourceTree | None = None
    """The tree that has no sync path for it."""
    made_of: list[Branch] = field(default_factory=list)
    resolution: Resolution | None = None
    """What was put together of these branches."""
    last: Said | None = None
    answers: dict[Variables, Hashable] = field(default_factory=dict)

    def answers_to(self, reads: Reads) -> Hashable:
        """Return what it answers to all that was read of another one."""
        answers = self.answers.get(reads.variables)
        if answers is None:
            answers = self.answers[reads.variables] = reads.variables.answers(self.asked.view)
        return answers, reads.answers(self.asked)


def same(some: Sequence[object], others: Sequence[object]) -> bool:
    """Tell whether two sequences hold the same objects."""
    return len(some) == len(others) and all(map(is_, some, others))


def laid_out(shapes: tuple[Shape, ...]) -> Layout | None:
    """Return how branches lie together, None where two have or claim the same, or need what is not there."""
    ids = tuple(chain.from_iterable(shape.ids for shape in shapes))
    there = frozenset(ids)
    needs = dict(chain.from_iterable(shape.needs for shape in shapes))
    claims = frozenset[ObjectId]().union(*(shape.claims for shape in shapes))
    if (
        len(there) != len(ids)
        or len(claims) != sum(len(shape.claims) for shape in shapes)
        or not all(needed in there for some in needs.values() for needed in some)
        or any(circles(needs))
    ):
        return None
    return Layout(tuple(sorted(range(len(ids)), key=ids.__getitem__)), there, Frame(ids))
