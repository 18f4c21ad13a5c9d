"""Sources, environments and placements as resources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from hub.status.facts import Condition, EnvironmentFacts, PlacementFacts, SourceFacts
from hub.status.resource import Collection, Key, Resource, settle, timestamp


def build_source(facts: SourceFacts, previous: Mapping[Key, Resource], now: datetime) -> Resource:
    """Return a source as a resource; ``status.artifact.revision`` is where Flux has it."""
    before = previous.get(Key("", facts.kind, facts.namespace, facts.name))
    status: dict[str, object] = {"artifact": {"revision": facts.revision}} if facts.revision else {}
    for field, moment in (("lastFetched", facts.fetched_at), ("lastChecked", facts.checked_at)):
        if moment is not None:
            status[field] = timestamp(moment)
    if facts.notes:
        status["notes"] = list(facts.notes)
    return Resource(
        Collection.SOURCES,
        facts.kind,
        facts.name,
        facts.namespace,
        labels=facts.labels,
        spec={"url": facts.url, "ref": facts.ref, "interval": facts.interval, "suspend": facts.suspended},
        status=status,
        conditions=settle(_with_ready(facts.conditions, "not fetched yet"), before, now),
    )


def build_environment(
    facts: EnvironmentFacts, clusters: Mapping[str, Resource], previous: Mapping[Key, Resource], now: datetime
) -> Resource:
    """Return an environment as a resource; Ready sums up its clusters, which `clusters` has by name."""
    before = previous.get(Key("", "Environment", "", facts.name))
    return Resource(
        Collection.ENVIRONMENTS,
        "Environment",
        facts.name,
        labels=facts.labels,
        spec={
            "clusterSelector": dict(facts.selector),
            "variables": dict(facts.variables),
            "promotedFrom": facts.promoted_from,
        },
        status=_membership(facts.clusters, clusters),
        conditions=settle(_summed_up(facts.conditions, facts.clusters, clusters), before, now),
    )


def build_placement(
    facts: PlacementFacts, clusters: Mapping[str, Resource], previous: Mapping[Key, Resource], now: datetime
) -> Resource:
    """Return a placement as a resource; Ready sums up its clusters, which `clusters` has by name."""
    before = previous.get(Key("", "Placement", facts.namespace, facts.name))
    return Resource(
        Collection.PLACEMENTS,
        "Placement",
        facts.name,
        facts.namespace,
        labels=facts.labels,
        spec={
            "workloads": [str(workload) for workload in facts.workloads],
            "clusterSelector": dict(facts.selector),
            "environments": list(facts.environments),
        },
        status=_membership(facts.clusters, clusters),
        conditions=settle(_summed_up(facts.conditions, facts.clusters, clusters), before, now),
    )


def _membership(names: Sequence[str], clusters: Mapping[str, Resource]) -> dict[str, object]:
    ready = sum(1 for name in names if _status(clusters.get(name)) == "True")
    return {"clusters": list(names), "readyClusters": ready}


def _summed_up(
    own: tuple[Condition, ...], names: Sequence[str], clusters: Mapping[str, Resource]
) -> tuple[Condition, ...]:
    """Return the own conditions, or where they have no Ready, one that says how the clusters are."""
    if any(condition.type == "Ready" for condition in own):
        return own
    failing = [name for name in names if _status(clusters.get(name)) == "False"]
    waiting = [name for name in names if _status(clusters.get(name)) == "Unknown"]
    if failing:
        ready = Condition("Ready", "False", "ClustersFailing", f"failing: {_some(failing)}")
    elif waiting:
        ready = Condition("Ready", "Unknown", "Progressing", f"on the way or not connected: {_some(waiting)}")
    else:
        message = f"{len(names)} cluster{'' if len(names) == 1 else 's'} ready" if names else "no cluster matches"
        ready = Condition("Ready", "True", "Ready", message)
    return (ready, *own)


def _some(names: Sequence[str], most: int = 5) -> str:
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def _status(cluster: Resource | None) -> str:
    ready = cluster.condition("Ready") if cluster else None
    return ready.status if ready else "Unknown"


def _with_ready(conditions: tuple[Condition, ...], otherwise: str) -> tuple[Condition, ...]:
    if any(condition.type == "Ready" for condition in conditions):
        return conditions
    return (Condition("Ready", "Unknown", "Pending", otherwise), *conditions)
