"""The status of one cluster: which revision it has, whether its spoke is there, and what its workloads lack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from felloe.bundle import workload_id_from_proto
from hub.status.facts import ClusterFacts, Condition
from hub.status.resource import ENVIRONMENT_LABEL, Collection, Key, Resource, settle, timestamp
from hub.status.workloads import Progress, build_workloads

_MOST_NAMES: Final = 3


@dataclass(frozen=True, slots=True)
class ClusterView:
    """All that is shown about one cluster."""

    cluster: Resource
    workloads: tuple[Resource, ...]

    @property
    def resources(self) -> tuple[Resource, ...]:
        """Return the cluster and its workloads."""
        return (self.cluster, *self.workloads)


def build_cluster(facts: ClusterFacts, previous: Mapping[Key, Resource], now: datetime) -> ClusterView:
    """Return a cluster and its workloads as resources.

    `previous` are the resources that were shown before, by key: they carry the times of the last transitions and, for
    what the hub no longer remembers, the last applied revision.
    """
    built = build_workloads(facts, previous, now)
    workloads = tuple(resource for resource, _ in built)
    before = previous.get(Key("", "Cluster", "", facts.name))
    conditions = settle((_ready(facts, built), *_other_conditions(facts)), before, now)
    labels = dict(facts.labels)
    if facts.environment:
        labels.setdefault(ENVIRONMENT_LABEL, facts.environment)
    resource = Resource(
        Collection.CLUSTERS,
        "Cluster",
        facts.name,
        labels=labels,
        spec={
            "environment": facts.environment,
            "syncPath": facts.sync_path,
            "variables": dict(facts.variables),
            "paused": facts.paused,
            "declared": facts.declared,
        },
        status=_status(facts, built, before),
        conditions=conditions,
    )
    return ClusterView(resource, workloads)


def applied_root(facts: ClusterFacts) -> bytes | None:
    """Return the root that the spoke has applied whole: what it was sent, once all of it and nothing else is there.

    For the desired root each workload that is not suspended must have the desired digest. Of an older root the hub no
    longer has the digests, so there the spoke's word counts that each workload's newest try was applied whole.
    """
    said = facts.reported
    if said is None or not said.root:
        return None
    if said.root != facts.root:
        return said.root if all(one.digest and one.digest == one.applied_digest for one in said.workloads) else None
    suspended = {workload.id for workload in facts.workloads if workload.suspended}
    wanted = {workload.id: workload.digest for workload in facts.workloads if workload.digest is not None}
    there = {workload_id_from_proto(one.id): one.applied_digest for one in said.workloads}
    different = {identity for identity in wanted.keys() | there if wanted.get(identity) != there.get(identity)}
    return said.root if different <= suspended else None


def _status(
    facts: ClusterFacts, built: Sequence[tuple[Resource, Progress]], before: Resource | None
) -> dict[str, object]:
    applied = applied_root(facts)
    status: dict[str, object] = {
        "connected": facts.connection.connected,
        "joined": facts.joined,
        "revision": _revision(facts, applied, before),
        "attemptedRevision": facts.attempted_revision or facts.revision,
        "root": applied.hex() if applied else "",
        "desiredRoot": facts.root.hex() if facts.root else "",
        "generation": facts.generation,
        "spokeVersion": facts.connection.spoke_version,
        "facts": {name: said for name, said in facts.reported.facts.items() if said} if facts.reported else {},
        "workloads": [_summary(resource) for resource, _ in built],
    }
    if facts.connection.since is not None:
        status["connectedSince" if facts.connection.connected else "lastSeen"] = timestamp(facts.connection.since)
    if facts.notes:
        status["notes"] = list(facts.notes)
    return status


def _revision(facts: ClusterFacts, applied: bytes | None, before: Resource | None) -> str:
    """Return the newest fleet revision whose root is what the spoke applied, the last known one while it is between."""
    if applied is not None and applied == facts.root:
        return facts.revision
    if applied is not None and applied in facts.known_revisions:
        return facts.known_revisions[applied]
    last = before.status.get("revision") if before else None
    return last if isinstance(last, str) else ""


def _summary(resource: Resource) -> dict[str, object]:
    """Return what a watcher of clusters must know of a workload: enough to say what a cluster is missing and why."""
    ready = resource.condition("Ready")
    return {
        "kind": resource.kind,
        "namespace": resource.namespace,
        "name": resource.name,
        "ready": ready.status if ready else "Unknown",
        "message": _why(resource),
        "suspended": resource.spec.get("suspend") is True,
        "applied": resource.status["applied"],
        "healthy": resource.status["healthy"],
        "lastAppliedRevision": resource.status["lastAppliedRevision"],
        "lastAttemptedRevision": resource.status["lastAttemptedRevision"],
    }


def _why(resource: Resource) -> str:
    """Return the message of the first condition that is not True, of Ready where all are."""
    ready = resource.condition("Ready")
    healthy = resource.condition("Healthy")
    bad = next((one for one in (ready, healthy) if one is not None and one.status != "True"), ready)
    return bad.message if bad else ""


def _other_conditions(facts: ClusterFacts) -> tuple[Condition, ...]:
    return tuple(sorted((own for own in facts.conditions if own.type != "Ready"), key=lambda own: own.type))


def _ready(facts: ClusterFacts, built: Sequence[tuple[Resource, Progress]]) -> Condition:
    refused = next((own for own in facts.conditions if own.type == "Ready" and own.status == "False"), None)
    if refused is not None:
        return refused
    if not facts.joined:
        hint = f"no spoke has joined yet; make its token with: felloe token create --cluster {facts.name}"
        return Condition("Ready", "Unknown", "NotJoined", hint)
    if not facts.connection.connected:
        return Condition("Ready", "Unknown", "Disconnected", "the spoke is not connected; its last word is shown")
    failing = [resource for resource, progress in built if progress.failed]
    if failing:
        first = failing[0]
        more = f" (and {len(failing) - 1} more)" if len(failing) > 1 else ""
        return Condition("Ready", "False", "WorkloadsFailing", f"{first.namespace}/{first.name}: {_why(first)}{more}")
    return _ready_of_the_willing(facts, built)


def _ready_of_the_willing(facts: ClusterFacts, built: Sequence[tuple[Resource, Progress]]) -> Condition:
    """Return Ready where nothing has failed: nothing wanted yet, on the way, or all there."""
    if facts.root is None:
        return Condition("Ready", "Unknown", "Pending", "nothing has been planned for this cluster yet")
    waiting = [one for one, _ in built if not _is_ready(one) and one.spec.get("suspend") is not True]
    if waiting:
        first = waiting[0]
        what = f"{len(waiting)} of {len(built)} workloads on the way, first {first.namespace}/{first.name}"
        return Condition("Ready", "Unknown", "Progressing", f"{what}: {_why(first)}")
    if applied_root(facts) != facts.root:
        return Condition("Ready", "Unknown", "Progressing", f"taking up {facts.revision or 'the newest state'}")
    number = len(built)
    message = f"{number} workload{'' if number == 1 else 's'} at {facts.revision}" if number else "no workloads"
    return Condition("Ready", "True", "Applied", message + _left_as_they_are(built))


def _left_as_they_are(built: Sequence[tuple[Resource, Progress]]) -> str:
    """Return which workloads are not at that revision because they are suspended."""
    names = [f"{one.namespace}/{one.name}" for one, _ in built if one.spec.get("suspend") is True]
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return f"; suspended: {', '.join(names[:_MOST_NAMES])}{more}" if names else ""


def _is_ready(resource: Resource) -> bool:
    ready = resource.condition("Ready")
    return ready is not None and ready.status == "True"
