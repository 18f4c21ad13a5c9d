"""The status of one workload on one cluster, from what the hub wants and what the spoke says.

The rule that all else follows from: what a spoke says is believed for the digest that it said it about, and for no
other. Health that was reported for the previous content never counts for the new one (Argo CD's ApplicationSets judge a
stage by exactly that: argoproj/argo-cd 29410).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from felloe.bundle import object_id_from_proto, workload_id_from_proto
from felloe.digest import short
from felloe.identity import ObjectId, WorkloadId
from felloe.v1 import status_pb2 as pb
from hub.status.facts import ClusterFacts, Condition, ConditionStatus, WorkloadFacts
from hub.status.resource import CLUSTER_LABEL, ENVIRONMENT_LABEL, Collection, Key, Resource, exact_timestamp, settle

_STATUS: Final[Mapping[int, ConditionStatus]] = {
    pb.CONDITION_STATUS_TRUE: "True",
    pb.CONDITION_STATUS_FALSE: "False",
}


NEEDS_APPROVAL: Final = "PruneNeedsApproval"
_OF_SPOKES: Final = frozenset({"Ready", "Healthy"})
"""The conditions that are a spoke's to say. Others would become labels of metrics, as many as it likes."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the desired content of a workload has come. `failed`: the hub or the spoke says why it won't go on."""

    applied: bool
    healthy: bool
    failed: bool


def build_workloads(
    cluster: ClusterFacts, previous: Mapping[Key, Resource], now: datetime
) -> tuple[tuple[Resource, Progress], ...]:
    """Return the cluster's workloads, those that are wanted and those that the spoke has yet to remove."""
    reported = _reported(cluster)
    wanted = {workload.id for workload in cluster.workloads}
    built = [_build(cluster, workload, reported.get(workload.id), previous, now) for workload in cluster.workloads]
    leaving = [_leaving(cluster, id_, said, previous, now) for id_, said in reported.items() if id_ not in wanted]
    return tuple(sorted(built + leaving, key=lambda pair: pair[0].key))


def _reported(cluster: ClusterFacts) -> dict[WorkloadId, pb.WorkloadStatus]:
    if cluster.reported is None:
        return {}
    return {workload_id_from_proto(said.id): said for said in cluster.reported.workloads}


def _build(
    cluster: ClusterFacts,
    workload: WorkloadFacts,
    said: pb.WorkloadStatus | None,
    previous: Mapping[Key, Resource],
    now: datetime,
) -> tuple[Resource, Progress]:
    believed = said if said is not None and workload.digest is not None and said.digest == workload.digest else None
    before = previous.get(_key(cluster, workload.id))
    conditions = settle(_conditions(cluster, workload, said, believed), before, now)
    progress = _progress(workload, said, conditions)
    status: dict[str, object] = {
        "lastAppliedRevision": _applied_revision(workload, said, before),
        "lastAttemptedRevision": workload.attempted_revision or workload.revision,
        "desiredDigest": _digest(workload.digest),
        "appliedDigest": _digest(said.applied_digest if said else None),
        "healthyDigest": _digest(said.healthy_digest if said else None),
        "applied": progress.applied,
        "healthy": progress.healthy,
        "connected": cluster.connection.connected,
        **_counts(said),
    }
    if believed is None:
        status.pop("pendingPrune", None)
    if workload.notes:
        status["notes"] = list(workload.notes)
    spec: dict[str, object] = {
        "path": workload.path,
        "source": workload.source,
        "suspend": workload.suspended,
        "dependsOn": [str(dependency) for dependency in workload.depends_on],
        "origin": workload.origin,
    }
    if workload.parent is not None:
        spec["parent"] = str(workload.parent)
    return _resource(cluster, workload.id, spec, status, conditions), progress


def _leaving(
    cluster: ClusterFacts,
    identity: WorkloadId,
    said: pb.WorkloadStatus,
    previous: Mapping[Key, Resource],
    now: datetime,
) -> tuple[Resource, Progress]:
    """Return a workload that is no longer wanted and that the spoke still has."""
    failing = said.problem_count or len(said.problems)
    message = f"no longer wanted; {failing} objects can't be removed" if failing else "no longer wanted; being removed"
    before = previous.get(_key(cluster, identity))
    ready = Condition("Ready", "False" if failing else "Unknown", "Removing", message)
    for condition in said.conditions:
        if condition.type == "Ready" and condition.reason == NEEDS_APPROVAL:
            told = _how_to_approve(cluster, identity, _from_proto(condition))
            ready = replace(told, message=f"no longer wanted; {told.message}")
    conditions = settle((ready,), before, now)
    status: dict[str, object] = {
        "lastAppliedRevision": _text(before, "lastAppliedRevision"),
        "lastAttemptedRevision": "",
        "appliedDigest": _digest(said.applied_digest),
        "applied": False,
        "healthy": False,
        "connected": cluster.connection.connected,
        **_counts(said),
    }
    return _resource(cluster, identity, {}, status, conditions), Progress(False, False, failed=ready.status == "False")


def _conditions(
    cluster: ClusterFacts, workload: WorkloadFacts, said: pb.WorkloadStatus | None, believed: pb.WorkloadStatus | None
) -> tuple[Condition, ...]:
    """Return the conditions: what the spoke says of this very content, overridden by what the hub knows better."""
    if believed is not None:
        told = (
            _how_to_approve(cluster, workload.id, _from_proto(condition))
            for condition in believed.conditions
            if condition.type in _OF_SPOKES
        )
        conditions = {condition.type: condition for condition in told}
        conditions.setdefault("Ready", Condition("Ready", "Unknown", "Progressing", "being applied"))
    else:
        conditions = {condition.type: condition for condition in _pending(cluster, workload, said)}
    for own in workload.conditions:
        known = conditions.get(own.type)
        if known is None or own.status != "True":
            conditions[own.type] = own
    first = [conditions.pop(kind) for kind in ("Ready", "Healthy") if kind in conditions]
    return (*first, *(conditions[kind] for kind in sorted(conditions)))


def _pending(cluster: ClusterFacts, workload: WorkloadFacts, said: pb.WorkloadStatus | None) -> tuple[Condition, ...]:
    """Return the conditions while nothing is known of the desired content."""
    if workload.digest is None:
        return (Condition("Ready", "Unknown", "Pending", "nothing has been rendered yet"),)
    if workload.suspended:
        return (Condition("Ready", "Unknown", "Suspended", "suspended; the newest state is not applied"),)
    if not cluster.joined:
        return (Condition("Ready", "Unknown", "NotJoined", "no spoke has joined for this cluster yet"),)
    if not cluster.connection.connected:
        return (Condition("Ready", "Unknown", "Disconnected", "waiting for the spoke to connect again"),)
    revision = workload.revision or short(workload.digest)
    ready = Condition("Ready", "Unknown", "Progressing", f"applying {revision}")
    if said is None or all(condition.type != "Healthy" for condition in said.conditions):
        return (ready,)
    return (ready, Condition("Healthy", "Unknown", "Progressing", f"not known yet for {revision}"))


def _progress(workload: WorkloadFacts, said: pb.WorkloadStatus | None, conditions: tuple[Condition, ...]) -> Progress:
    status = {condition.type: condition.status for condition in conditions}
    refused = any(own.type == "Ready" and own.status == "False" for own in workload.conditions)
    wanted = None if refused or workload.kept_previous else workload.digest
    applied = wanted is not None and said is not None and said.applied_digest == wanted
    healthy = applied and said is not None and said.healthy_digest == wanted and status.get("Healthy", "True") == "True"
    return Progress(applied, healthy, failed="False" in (status.get("Ready"), status.get("Healthy")))


def _applied_revision(workload: WorkloadFacts, said: pb.WorkloadStatus | None, before: Resource | None) -> str:
    if said is None or not said.applied_digest:
        return _text(before, "lastAppliedRevision") if said is None else ""
    if said.applied_digest == workload.digest:
        return workload.revision
    return workload.known_revisions.get(said.applied_digest) or _text(before, "lastAppliedRevision")


def _counts(said: pb.WorkloadStatus | None) -> dict[str, object]:
    if said is None:
        return {"objects": 0, "healed": 0, "problems": [], "problemCount": 0}
    counts: dict[str, object] = {
        "objects": said.objects,
        "healed": said.healed,
        "problems": [_problem(problem) for problem in said.problems],
        "problemCount": said.problem_count or len(said.problems),
    }
    if said.HasField("pending_prune"):
        counts["pendingPrune"] = _pending_prune(said.pending_prune)
    for name in ("received_at", "applied_at", "healthy_at"):
        if said.HasField(name):
            moment: datetime = getattr(said, name).ToDatetime(tzinfo=UTC)
            counts[f"{name.removesuffix('_at')}At"] = exact_timestamp(moment)
    return counts


def _pending_prune(pending: pb.PendingPrune) -> dict[str, object]:
    objects = [str(object_id_from_proto(identity)) for identity in pending.objects]
    return {"name": pending.name, "count": pending.count, "total": pending.total, "objects": objects}


def _how_to_approve(cluster: ClusterFacts, identity: WorkloadId, condition: Condition) -> Condition:
    """Return the condition that asks for approval with the command that gives it: the spoke knows no cluster names."""
    if condition.reason != NEEDS_APPROVAL:
        return condition
    command = f"felloe approve prune --cluster {cluster.name} --workload {identity.namespace}/{identity.name}"
    return replace(condition, message=f"{condition.message}; if that is meant: {command}")


def _problem(problem: pb.ObjectProblem) -> dict[str, object]:
    identity: ObjectId = object_id_from_proto(problem.id)
    return {
        "group": identity.group,
        "kind": identity.kind,
        "namespace": identity.namespace,
        "name": identity.name,
        "object": str(identity),
        "reason": problem.reason,
        "message": problem.message,
    }


def _resource(
    cluster: ClusterFacts,
    identity: WorkloadId,
    spec: Mapping[str, object],
    status: Mapping[str, object],
    conditions: tuple[Condition, ...],
) -> Resource:
    labels = {**cluster.labels, CLUSTER_LABEL: cluster.name}
    if cluster.environment:
        labels[ENVIRONMENT_LABEL] = cluster.environment
    return Resource(
        Collection.WORKLOADS,
        identity.kind,
        identity.name,
        identity.namespace,
        cluster.name,
        labels,
        spec,
        status,
        conditions,
    )


def _key(cluster: ClusterFacts, identity: WorkloadId) -> Key:
    return Key(cluster.name, identity.kind, identity.namespace, identity.name)


def _from_proto(condition: pb.Condition) -> Condition:
    since = condition.last_transition_time
    return Condition(
        condition.type,
        _STATUS.get(condition.status, "Unknown"),
        condition.reason or "Unknown",
        condition.message,
        since.ToDatetime(tzinfo=UTC) if condition.HasField("last_transition_time") else None,
    )


def _digest(value: bytes | None) -> str:
    return f"sha256:{value.hex()}" if value else ""


def _text(resource: Resource | None, field: str) -> str:
    value = resource.status.get(field) if resource else None
    return value if isinstance(value, str) else ""
