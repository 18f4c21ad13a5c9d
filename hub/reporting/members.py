"""What sources, environments and placements are now, as the facts that the status shows. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from hub.fleet import Fleet, LabelSelector, Placement
from hub.sources.follow import SourceState
from hub.sources.spec import FLEET_KEY, SourceKey
from hub.sources.url import shown
from hub.status.facts import Condition, ConditionStatus, EnvironmentFacts, PlacementFacts, SourceFacts
from hub.targeting import ClusterPlan, DeclaredSource
from hub.targeting import Condition as PlanCondition
from hub.targeting.explaining import unmatched, unmatched_selector
from hub.targeting.select import matches
from hub.targeting.variables import ClusterView, means
from hub.targeting.words import listed, selection

_STATUSES: Final[Mapping[str, ConditionStatus]] = {"True": "True", "False": "False"}


def source_facts(
    states: Iterable[SourceState], declared: Iterable[DeclaredSource], fleet_problem: str = ""
) -> list[SourceFacts]:
    """Return every source that is followed, each by the name under which it is declared.

    `fleet_problem` says why the newest commit of the fleet repository is not in force; it is shown there. Where
    clusters mean different repositories by one name, one is shown, and that there are others.
    """
    by_spec = {state.spec: state for state in states}
    used = [each for each in declared if each.followed in by_spec]
    named = {each.declared.key for each in used}
    shown_ones = used + [DeclaredSource(spec, spec) for spec in by_spec if spec.key not in named]
    by_name: dict[SourceKey, list[DeclaredSource]] = {}
    for each in shown_ones:
        by_name.setdefault(each.declared.key, []).append(each)
    return [
        _source(each[0], by_spec[each[0].followed], _meanings(each) - 1, fleet_problem if key == FLEET_KEY else "")
        for key, each in sorted(by_name.items())
    ]


def _meanings(sources: Iterable[DeclaredSource]) -> int:
    return len({(each.declared, each.followed) for each in sources})


def _source(source: DeclaredSource, state: SourceState, others: int, problem: str) -> SourceFacts:
    spec, fetched = source.declared, state.fetched
    ready: list[Condition] = []
    if state.error:
        ready = [Condition("Ready", "False", "GitOperationFailed", state.error)]
    elif fetched:
        said = f"{fetched.revision}: {fetched.commit.subject} ({fetched.commit.author})"
        ready = [Condition("Ready", "True", "Succeeded", said)]
        if problem:
            ready = [Condition("Ready", "False", "FleetNotLoaded", f"{fetched.revision} is not in force: {problem}")]
    return SourceFacts(
        kind="GitRepository",
        namespace=spec.namespace,
        name=spec.name,
        url=shown(spec.url),
        ref=str(spec.ref),
        interval=spec.interval,
        suspended=spec.suspend,
        revision=fetched.revision if fetched else "",
        checked_at=state.looked_at,
        conditions=(*ready, *(shown_condition(one) for one in source.conditions)),
        notes=(f"other clusters mean something else by this name ({others} more)",) if others > 0 else (),
    )


def environment_facts(fleet: Fleet, plans: Mapping[str, ClusterPlan]) -> list[EnvironmentFacts]:
    """Return every environment with the clusters that it selects, and a warning where these are none."""
    views = _views(plans)
    return [
        EnvironmentFacts(
            each.name,
            selector=_selector(each.selector),
            variables=each.variables,
            promoted_from=each.promotes_from.environment if each.promotes_from else "",
            clusters=tuple(name for name, plan in sorted(plans.items()) if matches(each.selector, plan.labels)),
            conditions=_idle(unmatched_selector(each.selector, views)),
        )
        for each in fleet.environments.values()
    ]


def placement_facts(fleet: Fleet, plans: Mapping[str, ClusterPlan]) -> list[PlacementFacts]:
    """Return every placement with the clusters that it selects, and a warning where it or an override selects none."""
    views = _views(plans)
    return [
        PlacementFacts(
            namespace="",
            name=each.name,
            workloads=each.workloads,
            selector=_selector(each.selector) if each.selector else {},
            environments=each.environments,
            clusters=tuple(name for name, plan in sorted(plans.items()) if each.name in plan.placements),
            conditions=_idle(unmatched(each, views) or _idle_overrides(each, views)),
        )
        for each in fleet.placements.values()
    ]


def _views(plans: Mapping[str, ClusterPlan]) -> list[ClusterView]:
    """Return the clusters as they were planned."""
    return [
        ClusterView(name, plan.labels, environments=(plan.environment,) if plan.environment else ())
        for name, plan in sorted(plans.items())
    ]


def _idle(message: str) -> tuple[Condition, ...]:
    return (Condition("Selected", "False", "NoClusterMatches", message),) if message else ()


def _idle_overrides(placement: Placement, views: Iterable[ClusterView]) -> str:
    """Return which overrides mean no cluster of their Placement, in words."""
    if not placement.overrides:
        return ""
    own = [view for view in views if means(placement, view)]
    idle = [
        f"spec.overrides[{position}] ({selection(each)})"
        for position, each in enumerate(placement.overrides)
        if not any(means(each, view) for view in own)
    ]
    return f"{listed(tuple(idle))} of it mean none of its {len(own)} clusters" if idle else ""


def shown_condition(condition: PlanCondition) -> Condition:
    """Return a condition of targeting as the status shows it."""
    return Condition(condition.type, _STATUSES.get(condition.status, "Unknown"), condition.reason, condition.message)


def _selector(selector: LabelSelector) -> dict[str, object]:
    """Return a selector as it was written."""
    written: dict[str, object] = {}
    if selector.match_labels:
        written["matchLabels"] = dict(selector.match_labels)
    if selector.match_expressions:
        written["matchExpressions"] = [
            {"key": each.key, "operator": each.operator, "values": list(each.values)}
            for each in selector.match_expressions
        ]
    return written
