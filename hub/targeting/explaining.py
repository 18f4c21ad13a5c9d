"""Why a cluster gets what a Placement places, or does not, and where the value of a variable comes from. Pure.

The answers follow what targeting itself does (`hub.targeting.variables`, `hub.targeting.overriding`): the same
functions decide, here each condition by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from felloe.identity import WorkloadId
from felloe.labels import FACTS_PREFIX
from hub.fleet.labels import LabelSelector, Requirement
from hub.fleet.model import Fleet, Override, Placement
from hub.fleet.schema import did_you_mean
from hub.targeting.plan import PLACEMENT_ORIGIN, ClusterPlan
from hub.targeting.select import matches, satisfies
from hub.targeting.variables import ClusterView, label_variables, means, view_cluster, without_line_breaks
from hub.targeting.words import listed, requirement


@dataclass(frozen=True, slots=True)
class Check:
    """One condition: where it stands (``clusterSelector``), what it asks, whether that holds, what the cluster has."""

    field: str
    condition: str
    holds: bool
    found: str


@dataclass(frozen=True, slots=True)
class OverrideExplained:
    """One of a Placement's overrides on a cluster."""

    position: int
    applies: bool
    checks: tuple[Check, ...]
    changes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PlacementExplained:
    """Whether a Placement means a cluster, and all that this depends on; `notes` say what else stands in the way."""

    placement: str
    cluster: str
    selected: bool
    checks: tuple[Check, ...]
    overrides: tuple[OverrideExplained, ...] = ()
    workloads: tuple[WorkloadId, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Said:
    """One that gives a variable a value; `placement` is set where it does so for that Placement's workloads only."""

    by: str
    value: str
    wins: bool
    placement: str = ""


@dataclass(frozen=True, slots=True)
class VariableExplained:
    """Where a variable's value comes from: all that say something, the weakest first.

    Without a workload `value` is what the cluster has; a Placement's overrides hold for its own workloads only.
    """

    variable: str
    cluster: str
    value: str | None
    chain: tuple[Said, ...]
    workload: WorkloadId | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Subject:
    """A cluster that is asked about; `labels` are those of its join token with what its spoke reports."""

    name: str
    labels: Mapping[str, str]
    fleet: Fleet
    plan: ClusterPlan | None = None

    def view(self) -> ClusterView:
        """Return it as targeting sees it."""
        return view_cluster(self.name, self.labels, self.fleet)

    def origin_of(self, label: str) -> str:
        """Return who says what a label is."""
        declared = self.fleet.clusters.get(self.name)
        if label.startswith(FACTS_PREFIX):
            return "as its spoke reports"
        if declared is not None and label in declared.labels:
            return f"by Cluster {self.name} in Git"
        return "by its join token"


# --- placements -------------------------------------------------------------------------------------------------------


def explain_placement(placement: Placement, subject: Subject) -> PlacementExplained:
    """Return why a cluster gets what a Placement places, or does not."""
    view = subject.view()
    selected = means(placement, view)
    overrides = tuple(
        OverrideExplained(position, selected and means(each, view), _checks(each, view, subject), _changes(each))
        for position, each in enumerate(placement.overrides)
    )
    checks = _checks(placement, view, subject)
    notes = tuple(_notes(placement, view, subject)) if selected else ()
    return PlacementExplained(placement.name, subject.name, selected, checks, overrides, placement.workloads, notes)


def unmatched(some: Placement, views: Sequence[ClusterView]) -> str:
    """Return why a Placement means none of some clusters, empty where it means one; each condition is counted alone."""
    if any(means(some, view) for view in views):
        return ""
    there = [view.name for view in views]
    missing = [name for name in some.cluster_names if name not in there]
    counts = [f"there is no cluster {name}; {did_you_mean(name, there)}" for name in missing]
    if some.environments:
        number = sum(1 for view in views if set(some.environments) & set(view.environments))
        counts.append(f"environments {listed(some.environments)} mean {number}")
    if some.selector is not None:
        counts += _counts(some.selector, views)
    return _none_of(views, counts)


def unmatched_selector(selector: LabelSelector, views: Sequence[ClusterView]) -> str:
    """Return why a selector means none of some clusters, empty where it means one; each condition is counted alone."""
    if any(matches(selector, view.labels) for view in views):
        return ""
    return _none_of(views, _counts(selector, views))


def _none_of(views: Sequence[ClusterView], counts: Iterable[str]) -> str:
    number = f"none of {len(views)} clusters" if views else "no cluster: there is none yet"
    return "; ".join([f"it selects {number}", *counts])


def _counts(selector: LabelSelector, views: Sequence[ClusterView]) -> Iterator[str]:
    for one in _requirements(selector):
        number = sum(1 for view in views if satisfies(one, view.labels))
        yield f"{_words(one)} means {number}"


def _checks(some: Placement | Override, view: ClusterView, subject: Subject) -> tuple[Check, ...]:
    found: list[Check] = []
    for one in _requirements(some.selector) if some.selector is not None else ():
        value = view.labels.get(one.key)
        has = f"{one.key} is not set" if value is None else f"{one.key} is {value!r}, {subject.origin_of(one.key)}"
        found.append(Check("clusterSelector", _words(one), satisfies(one, view.labels), has))
    if some.selector is not None and not found:
        found.append(Check("clusterSelector", "every cluster", holds=True, found=""))
    if some.environments:
        holds = any(name in some.environments for name in view.environments)
        has = f"it is in {listed(view.environments)}" if view.environments else "no Environment selects it"
        found.append(Check("environments", listed(some.environments), holds, has))
    if some.cluster_names:
        found.append(
            Check("clusterNames", listed(some.cluster_names), view.name in some.cluster_names, f"it is {view.name}")
        )
    return tuple(found)


def _requirements(selector: LabelSelector) -> Iterator[Requirement]:
    for key, value in selector.match_labels:
        yield Requirement(key, "In", (value,))
    yield from selector.match_expressions


def _words(one: Requirement) -> str:
    return f"{one.key}={one.values[0]}" if one.operator == "In" and len(one.values) == 1 else requirement(one)


def _changes(override: Override) -> tuple[str, ...]:
    found = [f"variable {name}" for name, _ in override.variables]
    if override.patches:
        found.append(f"{len(override.patches)} patch{'' if len(override.patches) == 1 else 'es'}")
    found += [f"image {image.name}" for image in override.images]
    return (*found, *(f"{each.field.rpartition('.')[2]} (not supported yet)" for each in override.unsupported))


def _notes(placement: Placement, view: ClusterView, subject: Subject) -> Iterator[str]:
    if len(view.environments) > 1:
        yield f"it is in the Environments {listed(view.environments)}, and a cluster has one: nothing is placed anew"
    for each in placement.workloads:
        known = subject.plan.by_id.get(each) if subject.plan else None
        if known is None:
            yield f"{each} has not been planned yet"
            continue
        if known.origin != f"{PLACEMENT_ORIGIN}{placement.name}":
            yield f"{each} is there by {known.origin}"
        yield from (f"{each}: {one.message}" for one in known.conditions)


# --- variables --------------------------------------------------------------------------------------------------------


def explain_variable(name: str, subject: Subject, workload: WorkloadId | None = None) -> VariableExplained:
    """Return where the value of a variable comes from on a cluster, for one of its workloads where that is asked."""
    view = subject.view()
    said = [*_of_cluster(name, subject, view)]
    placements = [one for _, one in sorted(subject.fleet.placements.items()) if means(one, view)]
    notes: list[str] = []
    if workload is not None:
        placements = [one for one in placements if workload in one.workloads]
        notes += _why_not_filled_in(workload, subject, placements)
    own = [one for placement in placements for one in _of_overrides(name, placement, view)]
    strongest = [*said, *own] if workload is not None else said
    winner = strongest[-1] if strongest else None
    chain = tuple(replace(one, wins=one is winner) for one in [*said, *own])
    if not chain:
        known = {*view.variables, *(key for one in placements for each in one.overrides for key, _ in each.variables)}
        notes.append(f"nothing sets it; {did_you_mean(name, known)}")
    if len(view.environments) > 1:
        notes.append(f"the Environments {listed(view.environments)} all select it, so the variables of none count")
    return VariableExplained(name, subject.name, winner.value if winner else None, chain, workload, tuple(notes))


def _of_cluster(name: str, subject: Subject, view: ClusterView) -> Iterator[Said]:
    for key in sorted(view.labels):
        value = label_variables({key: view.labels[key]}).get(name)
        if value is not None:
            yield _said(f"label {key}, {subject.origin_of(key)}", value)
    if name == "cluster_name":
        yield _said("built in", view.name)
    environment = subject.fleet.environments.get(view.environment)
    if environment is not None:
        if name == "cluster_env":
            yield _said("built in", environment.name)
        if name in environment.variables:
            yield _said(f"Environment {environment.name}", environment.variables[name])
    if view.declared is not None and name in view.declared.variables:
        yield _said(f"Cluster {view.name}", view.declared.variables[name])


def _of_overrides(name: str, placement: Placement, view: ClusterView) -> Iterator[Said]:
    for position, each in enumerate(placement.overrides):
        for key, value in each.variables:
            if key == name and means(each, view):
                yield _said(f"Placement {placement.name}, spec.overrides[{position}]", value, placement.name)


def _said(by: str, value: str, placement: str = "") -> Said:
    return Said(by, without_line_breaks(value), wins=False, placement=placement)


def _why_not_filled_in(workload: WorkloadId, subject: Subject, placements: Sequence[Placement]) -> Iterator[str]:
    known = subject.plan.by_id.get(workload) if subject.plan else None
    if not placements and known is None:
        yield f"{workload} is no workload of this cluster"
    elif not placements:
        yield f"no Placement gives it {workload}: what a sync path or another workload defines keeps its expressions"
