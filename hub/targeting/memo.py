"""Resolving many clusters again and again: what `resolve` would return, for a small part of the work.

A cluster is put together from branches (`hub.targeting.branches`) that it shares with others, and only what changed of
it is made anew. That is done where it is certain to be the same; where workloads have to do with each other, or with
what the cluster had before, `resolve` itself decides, and what it said is reused while nothing at all has changed.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from itertools import chain
from typing import Final

from felloe.bundle import Bundle, Pattern
from felloe.digest import Digest
from felloe.errors import SubstitutionError
from felloe.identity import WorkloadId
from felloe.substitute import substitute_text
from hub.fleet.model import Fleet, Placement
from hub.sources.spec import GitSpec
from hub.sources.tree import EntryKind, SourceTree
from hub.targeting.branches import Branch, Shape, grow
from hub.targeting.index import PlacementIndex
from hub.targeting.inputs import DeclaredSource, Inputs, RenderWant, Resolution
from hub.targeting.paths import folder_of
from hub.targeting.plan import PLACEMENT_ORIGIN, ClusterPlan
from hub.targeting.prepare import RenderCache
from hub.targeting.remembered import Known, Layout, Root, Said, Shared, Variant, laid_out, same
from hub.targeting.resolve import resolve
from hub.targeting.roots import placed
from hub.targeting.tracing import Asked
from hub.targeting.variables import ClusterView, means, view_cluster

_LAYOUTS: Final = 20_000


class Memo:
    """Resolves the clusters of one fleet after another. `begin` every time before sources or renders may differ."""

    def __init__(self, cache: RenderCache | None = None, origin: Mapping[str, Known] | None = None) -> None:
        """`origin` is what another one knows, which stays as it is."""
        self._cache = cache or RenderCache()
        self._fleet: Fleet | None = None
        self._index = PlacementIndex(())
        self._roots: dict[Hashable, Root] = {}
        self._patterns: dict[tuple[Digest, tuple[str, ...]], Shared] = {}
        self._clusters: dict[str, Known] = {}
        self._layouts: dict[tuple[int, ...], tuple[tuple[Shape, ...], Layout | None]] = {}
        self._folders: dict[str, AbstractSet[str]] = {}
        self._folders_of: SourceTree | None = None
        self._pass = 0
        self._origin: Mapping[str, Known] = origin or {}
        self._copies: dict[Variant, Variant] = {}
        self._copied_roots: dict[Root, Root] = {}

    def fork(self) -> Memo:
        """Return a memo that knows what this one knows, and leaves it as it is whatever it resolves itself.

        What it needs it copies when it comes to it, so that a fork of thousands of clusters holds nobody up.
        """
        made = Memo(origin=self._clusters)
        made._patterns.update(self._patterns)
        return made

    def begin(self) -> None:
        """Take it that what the inputs share (the sources, the renders) may have changed since the last call."""
        self._pass += 1

    def keep(self, clusters: Collection[str]) -> None:
        """Forget all other clusters, and what no cluster uses any more; every one of these was resolved just now."""
        self._clusters = {name: each for name, each in self._clusters.items() if name in clusters}
        using = {variant for each in self._clusters.values() for variant in each.variants}
        for root in self._roots.values():
            root.keep(using.__contains__)
        patterns = {shared for variant in using for shared in variant.patterns}
        self._patterns = {key: shared for key, shared in self._patterns.items() if shared in patterns}
        self._layouts.clear()

    def resolve(self, inputs: Inputs) -> Resolution:
        """Return what `resolve` does; the order of what is wanted, and that something is named twice, says nothing.

        While a render is missing only what is wanted counts.
        """
        if inputs.held or inputs.fleet.empty:
            return resolve(inputs, self._cache)
        known = self._known(inputs)
        if not self._has_sync_root(known, inputs):
            self._grow(known, inputs)
            waiting = [branch for branch in known.branches if branch.waits]
            if waiting:
                sources = tuple(chain.from_iterable([branch.wanted_sources for branch in known.branches]))
                renders = tuple(chain.from_iterable([branch.wanted_renders for branch in waiting]))
                return Resolution(ClusterPlan(inputs.cluster), sources, renders, lacks=True)
            layout = self._lie(known, inputs)
            if layout is not None:
                return self._compose(known, layout, inputs)
        return self._by_itself(known, inputs)

    # -- what a cluster is

    def _known(self, inputs: Inputs) -> Known:
        if inputs.fleet is not self._fleet:
            self._fleet = inputs.fleet
            self._index = PlacementIndex(inputs.fleet.placements.values())
            self._roots.clear()
        known = self._clusters.get(inputs.cluster) or self._taken_over(inputs)
        if known is None or known.fleet is not inputs.fleet or known.labels != inputs.labels:
            known = self._clusters[inputs.cluster] = self._seen(inputs, known)
        asked = known.asked
        if asked.suspended != inputs.suspended or asked.requested_at != inputs.requested_at:
            known.asked = Asked(asked.view, inputs.suspended, inputs.requested_at)
            known.variants = []
        return known

    def _taken_over(self, inputs: Inputs) -> Known | None:
        """Return what the memo that this is a fork of knows of a cluster."""
        known = self._origin.get(inputs.cluster)
        if known is None or known.fleet is not inputs.fleet:
            return known
        roots = {each.root for each in known.variants}.union(known.roots) - self._copied_roots.keys()
        self._copied_roots |= {root: Root(root.definition) for root in roots}
        for variant in known.variants:
            if variant not in self._copies:
                root = self._copied_roots[variant.root]
                copied = self._copies[variant] = replace(variant, root=root, checked=-1)
                root.variants.setdefault(copied.reads, {})[known.answers_to(copied.reads)] = copied
        found = self._clusters[inputs.cluster] = replace(
            known,
            roots=tuple([self._copied_roots[root] for root in known.roots]),
            variants=[self._copies[variant] for variant in known.variants],
        )
        return found

    def _seen(self, inputs: Inputs, before: Known | None) -> Known:
        view = view_cluster(inputs.cluster, inputs.labels, inputs.fleet)
        placements = self._index.of(view) if len(view.environments) < 2 else ()
        roots = [self._root(inputs, view, each, workload) for each in placements for workload in each.workloads]
        seen = Known(
            fleet=inputs.fleet,
            labels=inputs.labels,
            asked=Asked(view, inputs.suspended, inputs.requested_at),
            placements=tuple(each.name for each in placements),
            roots=tuple(roots),
        )
        if before is not None and before.asked.view.variables == view.variables:
            seen.bound, seen.bundle = before.bound, before.bundle
        return seen

    def _root(self, inputs: Inputs, view: ClusterView, placement: Placement, workload: WorkloadId) -> Root:
        overrides = tuple(means(each, view) for each in placement.overrides)
        key = (placement.name, workload, overrides)
        found = self._roots.get(key)
        if found is None:
            found = self._roots[key] = Root(placed(inputs, view, placement, workload, None))
        return found

    def _has_sync_root(self, known: Known, inputs: Inputs) -> bool:
        """Tell whether a cluster has, or may have, workloads of a sync path, or no single environment."""
        view = known.asked.view
        if len(view.environments) > 1 or (view.declared is not None and view.declared.sync_path is not None):
            return True
        if inputs.default_sync_path is None:
            return False
        tree = inputs.fleet_snapshot.tree
        if known.no_folder is tree:
            return False
        try:
            folder = folder_of(substitute_text(inputs.default_sync_path, view.variables, "the sync path"))
        except SubstitutionError:
            return True
        if folder is not None and self._is_folder(tree, folder):
            return True
        known.no_folder = tree
        return False

    def _is_folder(self, tree: SourceTree, folder: str) -> bool:
        """Tell what `paths.is_folder` does; the folders beside it are looked up once for all clusters."""
        if not folder:
            return True
        if self._folders_of is not tree:
            self._folders_of = tree
            self._folders.clear()
        above, _, name = folder.rpartition("/")
        beside = self._folders.get(above)
        if beside is None:
            there = tree.list(above) if self._is_folder(tree, above) else ()
            beside = self._folders[above] = {each.name for each in there if each.kind is EntryKind.DIRECTORY}
        return name in beside

    # -- its branches

    def _grow(self, known: Known, inputs: Inputs) -> None:
        """Bring the branches of a cluster up to date."""
        if len(known.variants) != len(known.roots):
            known.variants = [self._variant(root, known, inputs) for root in known.roots]
        else:
            for number, variant in enumerate(known.variants):
                if variant.checked != self._pass:
                    self._check(variant, inputs)
                if variant.stale:
                    known.variants[number] = self._variant(variant.root, known, inputs)
        known.branches = [variant.branch for variant in known.variants]

    def _variant(self, root: Root, known: Known, inputs: Inputs) -> Variant:
        stale = False
        for reads, variants in root.variants.items():
            found = variants.get(known.answers_to(reads))
            if found is not None:
                self._check(found, inputs)
                if not found.stale:
                    return found
                stale = True
        if stale:
            root.forget_stale()
        reads, branch = grow(root.definition, inputs, known.asked, self._cache)
        made = Variant(root, reads, known.asked, branch, branch.shape, self._shared(branch), self._pass)
        root.variants.setdefault(reads, {})[known.answers_to(reads)] = made
        return made

    def _check(self, variant: Variant, inputs: Inputs) -> None:
        """Bring a variant up to date; it is stale where its branch now reads something else of clusters."""
        if variant.checked == self._pass or variant.stale:
            return
        variant.checked = self._pass
        if variant.branch.stands(inputs):
            return
        reads, branch = grow(variant.root.definition, inputs, variant.witness, self._cache)
        if reads != variant.reads and not (branch.waits and reads.within(variant.reads)):
            variant.stale = True
            return
        if branch.waits:
            variant.branch = branch
            return
        if branch.shape != variant.shape:
            variant.shape = branch.shape
        variant.branch = replace(branch, shape=variant.shape)
        variant.patterns = self._shared(branch, variant.patterns)

    def _shared(self, branch: Branch, before: tuple[Shared, ...] = ()) -> tuple[Shared, ...]:
        if not branch.by_itself:
            return ()
        known = {each.pattern.workload.id: each for each in before}
        found = []
        for workload, names in zip(branch.workloads, branch.open, strict=True):
            key = (workload.digest, names)
            shared = self._patterns.get(key) or known.get(workload.id)
            if shared is None or shared.pattern.open != names or shared.pattern.workload != workload:
                shared = self._patterns[key] = Shared(Pattern(workload, names))
            found.append(shared)
        return tuple(found)

    # -- putting it together

    def _lie(self, known: Known, inputs: Inputs) -> Layout | None:
        """Return how the branches of a cluster lie, None where they, or what it had, have to do with each other."""
        if not all(branch.by_itself for branch in known.branches):
            return None
        shapes = tuple(branch.shape for branch in known.branches)
        if known.shapes is None or not same(shapes, known.shapes):
            known.shapes, known.layout, known.accounted = shapes, self._layout(shapes), None
        layout = known.layout
        if layout is None:
            return None
        before = inputs.previous.workloads if inputs.previous else ()
        if before is not known.accounted:
            for each in before:
                gone = each.id not in layout.ids
                if gone and (each.parent is not None or not each.origin.startswith(PLACEMENT_ORIGIN)):
                    return None
            known.accounted = before
        return layout

    def _layout(self, shapes: tuple[Shape, ...]) -> Layout | None:
        key = tuple(map(id, shapes))  # the shapes are kept with it, so no other ones can have these ids
        if key not in self._layouts:
            if len(self._layouts) >= _LAYOUTS:
                self._layouts.clear()
            self._layouts[key] = shapes, laid_out(shapes)
        return self._layouts[key][1]

    def _compose(self, known: Known, layout: Layout, inputs: Inputs) -> Resolution:
        view, before = known.asked.view, known.resolution
        bundle = self._bundle(known, layout, tuple(inputs.approved_prunes))
        if before is not None and before.plan.bundle is bundle and same(known.branches, known.made_of):
            return before
        flat = [plan for branch in known.branches for plan in branch.plans]
        plan = ClusterPlan(
            cluster=inputs.cluster,
            bundle=bundle,
            workloads=tuple([flat[number] for number in layout.order]),
            variables=view.variables,
            labels=view.labels,
            environment=view.environment,
            placements=known.placements,
            paused=view.declared.paused if view.declared else False,
            blobs=_Together([blobs for branch in known.branches for blobs in branch.blobs]),
        )
        known.made_of, known.accounted = known.branches, plan.workloads
        known.resolution = Resolution(plan, *_wanted(known.branches))
        return known.resolution

    def _bundle(self, known: Known, layout: Layout, approved: tuple[str, ...]) -> Bundle:
        before, variables = known.bound, known.asked.view.variables
        bound = {
            shared: before.get(shared) or shared.workload(variables)
            for variant in known.variants
            for shared in variant.patterns
        }
        bundle = known.bundle
        if bundle is None or bound.keys() != before.keys() or {*approved} != {*bundle.approved_prunes}:
            workloads = tuple(bound.values())
            if approved:
                bundle = Bundle(workloads, approved)
            else:
                bundle = layout.frame.bundle([workloads[number] for number in layout.order])
            known.bundle = bundle
        known.bound = bound
        return bundle

    def _by_itself(self, known: Known, inputs: Inputs) -> Resolution:
        if known.last is not None and known.last.stands(inputs):
            return known.last.resolution
        found = resolve(inputs, self._cache)
        contents = tuple(inputs.snapshots.get(spec) for spec in found.wanted_sources)
        known.last = Said(found, inputs, contents, tuple(inputs.renders.get(want) for want in found.wanted_renders))
        return found


class _Together(Mapping[Digest, bytes]):
    """Several mappings as one, without a copy for each cluster."""

    def __init__(self, parts: Sequence[Mapping[Digest, bytes]]) -> None:
        self._parts = parts

    def __getitem__(self, name: Digest) -> bytes:
        for part in self._parts:
            if name in part:
                return part[name]
        raise KeyError(name)

    def __iter__(self) -> Iterator[Digest]:
        return iter({name: None for part in self._parts for name in part})

    def __len__(self) -> int:
        return len({name for part in self._parts for name in part})


def _wanted(
    branches: Sequence[Branch],
) -> tuple[tuple[GitSpec, ...], tuple[RenderWant, ...], tuple[DeclaredSource, ...]]:
    return (
        tuple(chain.from_iterable([branch.wanted_sources for branch in branches])),
        tuple(chain.from_iterable([branch.wanted_renders for branch in branches])),
        tuple(chain.from_iterable([branch.sources for branch in branches])),
    )
