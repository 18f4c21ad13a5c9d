"""From the fleet, sources and renders to what one cluster is to have: the entry of targeting.

Pure and level-based: the same inputs give the same plan, whatever order they arrive in. What can't be resolved keeps
the version that the cluster has, with everything below it, and says why; only what is provably not wanted any more is
left out, which is what makes the spoke prune it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from felloe.bundle import ApplyOptions, Bundle, Workload
from felloe.digest import Digest
from felloe.identity import ObjectId, WorkloadId
from hub.sources.spec import GitSpec
from hub.targeting.clashes import DEFINED_TWICE, clash_holds
from hub.targeting.holding import with_held
from hub.targeting.inputs import Inputs, RenderWant, Resolution
from hub.targeting.plan import CONFLICT, READY, UNSUPPORTED, ClusterPlan, Condition, WorkloadPlan
from hub.targeting.prepare import RenderCache
from hub.targeting.roots import Roots, find_roots
from hub.targeting.stopping import NOT_SUPPORTED
from hub.targeting.variables import ClusterView, view_cluster
from hub.targeting.walk import Outcome, Walk

DEPENDENCY_NOT_READY = "DependencyNotReady"


def resolve(inputs: Inputs, cache: RenderCache | None = None) -> Resolution:
    """Return what one cluster is to have, and what still has to be fetched and rendered to know it.

    Fulfil what is wanted and call again, until `Resolution.missing` says no. `cache` shares work between clusters.
    """
    cache = cache or RenderCache()
    inputs = replace(inputs, previous=with_held(inputs.previous, inputs.held))
    view = view_cluster(inputs.cluster, inputs.labels, inputs.fleet)
    roots = find_roots(inputs, view)
    sources: dict[GitSpec, None] = {}
    renders: dict[RenderWant, None] = {}
    holds: dict[WorkloadId, Condition] = {}
    clashes: dict[WorkloadId, Condition] = {}
    while True:
        walk = Walk(inputs, view, cache, holds)
        walk.run(roots.definitions)
        sources |= walk.sources.wanted
        renders |= walk.wanted_renders
        kept = _kept(inputs, walk)
        found = clash_holds(inputs.cluster, walk.claims)
        clashes |= found
        if found.keys() <= holds.keys():
            found = _dependency_holds(walk, kept) or _claim_holds(walk, kept, inputs.previous)
        if not found.keys() - holds.keys():
            break
        holds = found | holds
    plan = _plan(inputs, view, _told(roots, clashes), walk, kept)
    lacks = any(want not in inputs.renders for want in renders)
    return Resolution(plan, tuple(sources), tuple(renders), tuple(walk.sources.declared.values()), lacks)


def _told(roots: Roots, clashes: Mapping[WorkloadId, Condition]) -> Roots:
    """Return roots with a condition of the cluster about workloads that several units give it."""
    if not clashes:
        return roots
    message = "; ".join(each.message for _, each in sorted(clashes.items()))
    return replace(roots, conditions=(*roots.conditions, Condition(CONFLICT, "True", DEFINED_TWICE, message)))


@dataclass(frozen=True, slots=True)
class _Kept:
    """A workload that stays as it was; `because` is None where nothing is wrong and `note` says all."""

    plan: WorkloadPlan
    workload: Workload | None
    because: Condition | None = None
    note: str = ""


def _kept(inputs: Inputs, walk: Walk) -> dict[WorkloadId, _Kept]:
    """Return the workloads of the previous plan that go on: those without a new version, and all that is below them."""
    previous = inputs.previous
    if previous is None:
        return {}
    found: dict[WorkloadId, _Kept] = {}

    def keep(identity: WorkloadId, because: Condition | None, note: str = "") -> None:
        kept = _Kept(previous.by_id[identity], previous.bundle.by_id.get(identity), because, note)
        found.setdefault(identity, kept)

    for identity, outcome in walk.outcomes.items():
        if outcome.workload is not None or identity not in previous.by_id:
            continue
        withheld = outcome.definition.withheld
        keep(identity, outcome.hold)
        for child in _below(previous, identity, walk.outcomes):
            if outcome.hold is not None:
                keep(child, _parent_not_ready(identity, outcome.hold))
            elif withheld:
                keep(child, None, withheld)
            else:
                keep(child, None, f"stays as it was while {identity}, which defines it, is suspended")
    for orphan in _orphans(previous, walk):
        keep(orphan, _orphaned(previous.by_id[orphan]))
        for child in _below(previous, orphan, walk.outcomes):
            keep(child, None, f"stays as it was with {orphan}, which defines it")
    return found


def _orphans(previous: ClusterPlan, walk: Walk) -> Iterator[WorkloadId]:
    """Yield what is not defined any more by a workload that does not delete it: as in Flux it lives on."""
    for each in previous.workloads:
        if each.parent is None or each.id in walk.outcomes:
            continue
        parent = walk.outcomes.get(each.parent)
        holder = parent.workload if parent else previous.bundle.by_id.get(each.parent)
        long_gone = parent is None and each.parent not in previous.by_id
        if long_gone or (holder is not None and not _deletes(holder.options, going=parent is None)):
            yield each.id


def _deletes(options: ApplyOptions, *, going: bool) -> bool:
    """Return whether a workload deletes what it does not define any more; one that goes itself as it says for that."""
    return options.deletes_at_removal if going else options.prune


def _orphaned(plan: WorkloadPlan) -> Condition:
    message = (
        f"{plan.parent} does not define it any more and deletes nothing (prune: false, or deletionPolicy: Orphan), so "
        f"it stays as it was; to remove it, let {plan.parent} have prune: true"
    )
    return Condition(READY, "Unknown", "Orphaned", message)


def _below(previous: ClusterPlan, identity: WorkloadId, known: Mapping[WorkloadId, Outcome]) -> Iterator[WorkloadId]:
    """Yield what a workload defined in the previous plan, and what that defined, but for what is known anew."""
    seen = {identity}
    open_ = [identity]
    while open_:
        for child in previous.children.get(open_.pop(), ()):
            if child not in known and child not in seen:
                seen.add(child)
                open_.append(child)
                yield child


def _parent_not_ready(parent: WorkloadId, hold: Condition) -> Condition:
    return Condition(READY, "Unknown", "ParentNotReady", f"kept as it was, for {parent} defines it: {hold.message}")


# --- what workloads have against each other ---------------------------------------------------------------------------


def _dependency_holds(walk: Walk, kept: Mapping[WorkloadId, _Kept]) -> dict[WorkloadId, Condition]:
    """Return the workloads that depend on what is not there, not ready to change, or in a circle on themselves.

    As in Flux nothing new is applied while a dependency isn't ready; here that spreads at once, not every 30 s.
    """
    needs = {
        identity: tuple(dependency.id for dependency in outcome.workload.options.depends_on)
        for identity, outcome in walk.outcomes.items()
        if outcome.workload is not None and outcome.workload.options.depends_on
    }
    holds = {
        identity: _dependency_hold(f"dependsOn goes in a circle: {' → '.join(map(str, circle))}")
        for circle in circles(needs)
        for identity in circle
    }
    changed = True
    while changed:
        changed = False
        for identity, dependencies in needs.items():
            if identity in holds:
                continue
            for dependency in dependencies:
                why = _why_not_ready(dependency, walk, kept, holds)
                if why:
                    holds[identity] = _dependency_hold(why)
                    changed = True
                    break
    return holds


def _dependency_hold(message: str) -> Condition:
    return Condition(READY, "False", DEPENDENCY_NOT_READY, message)


def _why_not_ready(
    dependency: WorkloadId,
    walk: Walk,
    kept: Mapping[WorkloadId, _Kept],
    holds: Mapping[WorkloadId, Condition],
) -> str:
    outcome = walk.outcomes.get(dependency)
    if outcome is None:
        return "" if dependency in kept else f"it depends on {dependency}, which this cluster does not have"
    hold = outcome.hold or holds.get(dependency)
    return f"it depends on {dependency}, which is not ready: {hold.message}" if hold else ""


def circles(needs: Mapping[WorkloadId, tuple[WorkloadId, ...]]) -> Iterator[tuple[WorkloadId, ...]]:
    """Yield circles of dependencies, each from its smallest member and back to it, until every one of them is told."""
    told: set[WorkloadId] = set()
    for start in sorted(needs):
        if start in told:
            continue
        circle = _way_back(start, needs)
        if circle:
            told.update(circle)
            yield circle


def _way_back(start: WorkloadId, needs: Mapping[WorkloadId, tuple[WorkloadId, ...]]) -> tuple[WorkloadId, ...]:
    """Return a way along dependencies from a workload back to itself, or nothing."""
    came_from: dict[WorkloadId, WorkloadId] = {}
    open_ = [start]
    while open_:
        here = open_.pop(0)
        for there in needs.get(here, ()):
            if there == start:
                way = [start]
                while here != start:
                    way.append(here)
                    here = came_from[here]
                return (start, *reversed(way))
            if there not in came_from:
                came_from[there] = here
                open_.append(there)
    return ()


def _claim_holds(
    walk: Walk, kept: Mapping[WorkloadId, _Kept], previous: ClusterPlan | None
) -> dict[WorkloadId, Condition]:
    """Return one workload that claims an object of another, if there is any; the caller walks again without it.

    An object stays with a workload that is kept as it was, else with the one that had it before, else with the first.
    """
    owners: dict[ObjectId, WorkloadId] = {}
    for identity, each in sorted(kept.items()):
        for entry in each.workload.entries if each.workload else ():
            owners[entry.id] = identity
    for identity in sorted(walk.outcomes):
        workload = walk.outcomes[identity].workload
        for entry in workload.entries if workload else ():
            owner = owners.setdefault(entry.id, identity)
            if owner == identity:
                continue
            loser, winner = identity, owner
            if owner not in kept and _had(previous, identity, entry.id) and not _had(previous, owner, entry.id):
                loser, winner = owner, identity
            message = f"{entry.id} already belongs to {winner}; take it out of one of the two"
            return {loser: Condition(READY, "False", "ObjectConflict", message)}
    return {}


def _had(previous: ClusterPlan | None, workload: WorkloadId, identity: ObjectId) -> bool:
    before = previous.bundle.by_id.get(workload) if previous else None
    return before is not None and any(entry.id == identity for entry in before.entries)


# --- the plan ---------------------------------------------------------------------------------------------------------


def _plan(inputs: Inputs, view: ClusterView, roots: Roots, walk: Walk, kept: Mapping[WorkloadId, _Kept]) -> ClusterPlan:
    workloads: list[Workload] = []
    plans: list[WorkloadPlan] = []
    blobs: dict[Digest, bytes] = {}
    for identity, outcome in walk.outcomes.items():
        if outcome.workload is not None:
            workloads.append(outcome.workload)
            blobs.update(outcome.blobs)
        before = kept.get(identity)
        if before is not None and before.workload is not None:
            workloads.append(_as_it_was(before.workload, _git_suspends(outcome, before.plan), inputs))
        if before is not None and outcome.definition.withheld:
            plans.append(replace(before.plan, notes=(outcome.definition.withheld,)))
        else:
            plans.append(workload_plan(outcome, before, walk.conflicts.get(identity, ())))
    for identity, each in kept.items():
        if identity in walk.outcomes:
            continue
        if each.workload is not None:
            workloads.append(_as_it_was(each.workload, each.plan.suspend, inputs))
        if each.plan.origin in inputs.held:
            plans.append(replace(each.plan, notes=(each.note,)))
            continue
        conditions = (each.because,) if each.because else ()
        notes = (each.note,) if each.note else ()
        plans.append(replace(each.plan, kept_previous=each.workload is not None, conditions=conditions, notes=notes))
    for unit in inputs.held.values():
        blobs.update(unit.blobs)
    declared = view.declared
    return ClusterPlan(
        cluster=inputs.cluster,
        bundle=Bundle(tuple(workloads), tuple(inputs.approved_prunes)),
        workloads=tuple(sorted(plans, key=lambda plan: plan.id)),
        variables=view.variables,
        labels=view.labels,
        environment=view.environment,
        placements=roots.placements,
        paused=declared.paused if declared else False,
        conditions=roots.conditions,
        blobs=blobs,
    )


def _git_suspends(outcome: Outcome, before: WorkloadPlan) -> bool:
    kustomization = outcome.definition.kustomization
    return kustomization.suspend if kustomization and not outcome.definition.withheld else before.suspend


def _as_it_was(workload: Workload, suspend: bool, inputs: Inputs) -> Workload:
    """Return a workload as the cluster has it, but suspended or asked for again as is said now."""
    suspend = suspend or workload.id in inputs.suspended
    requested_at = inputs.requested_at.get(workload.id, workload.options.requested_at)
    if (suspend, requested_at) == (workload.options.suspend, workload.options.requested_at):
        return workload
    return replace(workload, options=replace(workload.options, suspend=suspend, requested_at=requested_at))


def workload_plan(outcome: Outcome, before: _Kept | None = None, conflicts: Iterable[str] = ()) -> WorkloadPlan:
    """Return what is told of a workload that was walked to; `before` is what it stays as."""
    kept = before is not None and before.workload is not None
    definition = outcome.definition
    clash = outcome.hold is not None and outcome.hold.reason == DEFINED_TWICE
    owner = before.plan if before and clash else definition
    conditions = [outcome.hold] if outcome.hold else []
    if outcome.unsupported:
        message = f"not supported yet and left out: {'; '.join(outcome.unsupported)}"
        conditions.append(Condition(UNSUPPORTED, "True", NOT_SUPPORTED, message))
    conflict = "; ".join(conflicts)
    if conflict:
        conditions.append(Condition(CONFLICT, "True", DEFINED_TWICE, conflict))
    revision = outcome.attempted if outcome.workload is not None else ""
    return WorkloadPlan(
        id=definition.id,
        origin=owner.origin,
        parent=owner.parent,
        source=outcome.source or (before.plan.source if before else ""),
        revision=before.plan.revision if before and kept else revision,
        attempted=outcome.attempted,
        path=outcome.path or (before.plan.path if before else ""),
        suspend=_git_suspends(outcome, before.plan)
        if before
        else bool(definition.kustomization and definition.kustomization.suspend),
        kept_previous=kept,
        conditions=tuple(conditions),
        notes=(*outcome.notes, definition.withheld) if definition.withheld else outcome.notes,
    )
