"""The kinds that run pods: Deployment, ReplicaSet, StatefulSet, DaemonSet, Pod and Job.

Which counts are compared, and in which order, is kstatus' (fluxcd/cli-utils, pkg/kstatus/status/core.go); the Job is
Flux' own (fluxcd/pkg, runtime/statusreaders/job.go). Where a controller says why it can't go on, the message has it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from spoke.health.model import Health, HealthStatus
from spoke.health.snapshot import Json, Snapshot, count, entries, integer, section, text
from spoke.health.verdict import current, failed, from_condition, in_progress, shortfall

SCHEDULE_WINDOW = timedelta(seconds=15)
"""How long a pod may be unschedulable before that is a failure."""

_NO_DEADLINE = 2**31 - 1
"""What the Deployment controller takes for "no progressDeadlineSeconds"; it then sets no Progressing condition."""


def deployment(obj: Snapshot) -> Health:
    """Judge a Deployment: the counts, then the conditions Progressing and Available."""
    want = count(obj.spec, "replicas", 1)
    ready = count(obj.status, "readyReplicas")
    available = count(obj.status, "availableReplicas")
    progressing = obj.condition("Progressing")
    if progressing and progressing.reason == "ProgressDeadlineExceeded":
        said = progressing.message.rstrip(".") or "progress deadline exceeded"
        message = f"{said}; {shortfall(available, want, 'replicas available')}{_create_failure(obj)}"
        return failed(progressing.reason, message)
    if short := _deployment_shortfall(obj, want, ready, available):
        if obj.spec.get("paused") is True:
            return in_progress("DeploymentPaused", f"the rollout is paused (spec.paused); {short.message}")
        return in_progress(short.reason, short.message + _create_failure(obj))
    deadline = count(obj.spec, "progressDeadlineSeconds", _NO_DEADLINE)
    complete = progressing and progressing.status == "True" and progressing.reason == "NewReplicaSetAvailable"
    if deadline != _NO_DEADLINE and not complete:
        if progressing:
            return from_condition(HealthStatus.IN_PROGRESS, progressing, "the new ReplicaSet is not available yet")
        return in_progress("ReplicaSetNotAvailable", "the new ReplicaSet is not available yet")
    if not obj.condition("Available", "True"):
        if unavailable := obj.condition("Available"):
            return from_condition(HealthStatus.IN_PROGRESS, unavailable, "the Deployment is not available")
        return in_progress("DeploymentNotAvailable", "the Deployment is not available")
    return current(shortfall(available, want, "replicas available"))


def _deployment_shortfall(obj: Snapshot, want: int, ready: int, available: int) -> Health | None:
    replicas = count(obj.status, "replicas")
    updated = count(obj.status, "updatedReplicas")
    if replicas < want:
        return in_progress("LessReplicas", shortfall(replicas, want, "replicas created"))
    if updated < want:
        return in_progress("LessUpdated", shortfall(updated, want, "replicas updated"))
    if replicas > want:
        return in_progress("ExtraPods", f"{replicas - want} old replicas pending termination")
    if available < updated:
        return in_progress("LessAvailable", shortfall(available, updated, "replicas available"))
    if ready < want:
        return in_progress("LessReady", shortfall(ready, want, "replicas ready"))
    return None


def _create_failure(obj: Snapshot) -> str:
    """Return why the controller can't create pods (a quota, a webhook, no service account), as the end of a message."""
    condition = obj.condition("ReplicaFailure", "True")
    return f"; {condition.reason or condition.type}: {condition.message}" if condition else ""


def replica_set(obj: Snapshot) -> Health:
    """Judge a ReplicaSet: ReplicaFailure, then the counts."""
    want = count(obj.spec, "replicas", 1)
    if failure := obj.condition("ReplicaFailure", "True"):
        return from_condition(HealthStatus.IN_PROGRESS, failure, "pods can't be created")
    for field, reason, what in (
        ("fullyLabeledReplicas", "LessLabelled", "replicas labelled"),
        ("availableReplicas", "LessAvailable", "replicas available"),
        ("readyReplicas", "LessReady", "replicas ready"),
    ):
        have = count(obj.status, field)
        if have < want:
            return in_progress(reason, shortfall(have, want, what))
    replicas = count(obj.status, "replicas")
    if replicas > want:
        return in_progress("ExtraPods", f"{replicas - want} replicas pending termination")
    return current(shortfall(count(obj.status, "availableReplicas"), want, "replicas available"))


def stateful_set(obj: Snapshot) -> Health:
    """Judge a StatefulSet: the counts, the partition, the revisions. OnDelete is in the hands of its user: CURRENT."""
    strategy = section(obj.spec, "updateStrategy")
    if text(strategy, "type") == "OnDelete":
        return current("update strategy OnDelete: pods are replaced by hand")
    want = count(obj.spec, "replicas", 1)
    replicas = count(obj.status, "replicas")
    ready = count(obj.status, "readyReplicas")
    if replicas < want:
        return in_progress("LessReplicas", shortfall(replicas, want, "replicas created"))
    if ready < want:
        return in_progress("LessReady", shortfall(ready, want, "replicas ready"))
    if replicas > want:
        return in_progress("ExtraPods", f"{replicas - want} replicas pending termination")
    partition = integer(section(strategy, "rollingUpdate"), "partition")
    if partition is not None:
        return _partitioned(obj, want, partition)
    current_replicas = count(obj.status, "currentReplicas")
    if current_replicas < want:
        return in_progress("LessCurrent", shortfall(current_replicas, want, "replicas at the current revision"))
    have, update = text(obj.status, "currentRevision"), text(obj.status, "updateRevision")
    if have != update:
        return in_progress("RevisionMismatch", f"rolling from revision {have or '(none)'} to {update or '(none)'}")
    return current(shortfall(ready, want, "replicas ready"))


def _partitioned(obj: Snapshot, want: int, partition: int) -> Health:
    updated, to_update = count(obj.status, "updatedReplicas"), max(want - partition, 0)
    at = f" (partition {partition})" if partition else ""
    if updated < to_update:
        return in_progress("PartitionRollout", shortfall(updated, to_update, f"replicas updated{at}"))
    return current(f"{shortfall(count(obj.status, 'readyReplicas'), want, 'replicas ready')}, {updated} updated{at}")


def daemon_set(obj: Snapshot) -> Health:
    """Judge a DaemonSet by its counts.

    With OnDelete, pods of an older template are its user's choice, so the updated count is not looked at; kstatus
    looks at it, and waits for ever.
    """
    if integer(obj.metadata, "generation") is None or integer(obj.status, "observedGeneration") is None:
        return in_progress("NoObservedGeneration", "the DaemonSet controller has not seen it yet")
    want = integer(obj.status, "desiredNumberScheduled")
    if want is None:
        return in_progress("NoDesiredNumber", "the DaemonSet controller has not counted its nodes yet")
    on_delete = text(section(obj.spec, "updateStrategy"), "type") == "OnDelete"
    for field, reason, what in (
        ("currentNumberScheduled", "LessCurrent", "pods scheduled"),
        ("updatedNumberScheduled", "LessUpdated", "pods updated"),
        ("numberAvailable", "LessAvailable", "pods available"),
        ("numberReady", "LessReady", "pods ready"),
    ):
        have = count(obj.status, field)
        if have < want and not (on_delete and reason == "LessUpdated"):
            return in_progress(reason, shortfall(have, want, what))
    return current(shortfall(count(obj.status, "numberAvailable"), want, "pods available"))


def pod(obj: Snapshot, now: datetime | None) -> Health:
    """Judge a Pod by its phase. One that has ended is CURRENT, also where it failed: it will not change any more."""
    phase = text(obj.status, "phase")
    why = text(obj.status, "message") or text(obj.status, "reason")
    if phase == "Succeeded":
        return current("the pod has completed", "PodCompleted")
    if phase == "Failed":
        return current(f"the pod has ended without success{': ' if why else ''}{why}", "PodFailed")
    if phase == "Running":
        return _running(obj)
    if phase == "Pending":
        return _pending(obj, now)
    if not phase:
        return in_progress("PodNotObserved", "the pod has no phase yet")
    return Health(HealthStatus.UNKNOWN, "UnknownPhase", f"the pod's phase is {phase}")


def _running(obj: Snapshot) -> Health:
    if obj.condition("Ready", "True"):
        return current("the pod is ready", "PodReady")
    crashing = [
        name for name, state in _waiting(obj, "containerStatuses") if text(state, "reason") == "CrashLoopBackOff"
    ]
    if crashing:
        messages = [text(state, "message") for _, state in _waiting(obj, "containerStatuses")]
        why = next((f": {message}" for message in messages if message), "")
        return failed("CrashLoopBackOff", f"containers keep crashing: {', '.join(crashing)}{why}")
    if blocked := _blocked(obj):
        return blocked
    not_ready = obj.condition("Ready")
    said = f": {not_ready.message}" if not_ready and not_ready.message else ""
    return in_progress("PodRunningNotReady", f"the pod is running but not ready{said}")


def _pending(obj: Snapshot, now: datetime | None) -> Health:
    unscheduled = obj.condition("PodScheduled", "False")
    if unscheduled and unscheduled.reason == "Unschedulable":
        late = _age_exceeds(text(obj.metadata, "creationTimestamp"), SCHEDULE_WINDOW, now)
        status = HealthStatus.FAILED if late else HealthStatus.IN_PROGRESS
        return from_condition(status, unscheduled, "no node can take the pod")
    return _blocked(obj) or in_progress("PodPending", "the pod is pending")


def _blocked(obj: Snapshot) -> Health | None:
    """Return why a container can't start (its image, its configuration); the kubelet tries again, so not a failure."""
    for field in ("initContainerStatuses", "containerStatuses"):
        for name, state in _waiting(obj, field):
            reason = text(state, "reason")
            if reason and reason not in ("ContainerCreating", "PodInitializing"):
                message = text(state, "message")
                return in_progress(reason, f"container {name}: {reason}{': ' if message else ''}{message}")
    return None


def _waiting(obj: Snapshot, field: str) -> Iterator[tuple[str, Json]]:
    """Yield (name, ``state.waiting``) of the containers that wait."""
    for container in entries(obj.status, field):
        if waiting := section(container, "state", "waiting"):
            yield text(container, "name"), waiting


def _age_exceeds(created: str, limit: timedelta, now: datetime | None) -> bool:
    if now is None:
        return False
    try:
        since = datetime.fromisoformat(created)
    except ValueError:
        return False
    return now - (since if since.tzinfo else since.replace(tzinfo=UTC)) > limit


def expiring(obj: Snapshot) -> bool:
    """Return whether this is a Job that ended and is being removed for that: what counts is how it ended."""
    return (
        (obj.group, obj.kind) == ("batch", "Job")
        and bool(text(obj.metadata, "deletionTimestamp"))
        and integer(obj.spec, "ttlSecondsAfterFinished") is not None
        and any(obj.condition(end, "True") for end in ("Complete", "Failed"))
    )


def job(obj: Snapshot) -> Health:
    """Judge a Job: CURRENT only when it is complete or suspended, unlike kstatus, for which a started one is."""
    if obj.spec.get("suspend") is True:
        return current("the Job is suspended", "JobSuspended")
    want = count(obj.spec, "completions", count(obj.spec, "parallelism", 1))
    succeeded, lost = count(obj.status, "succeeded"), count(obj.status, "failed")
    if obj.condition("Complete", "True"):
        return current(shortfall(succeeded, want, "pods succeeded"), "JobComplete")
    if failure := obj.condition("Failed", "True"):
        said = failure.message or "the Job failed"
        return failed(
            failure.reason or "JobFailed", f"{said} ({shortfall(succeeded, want, 'pods succeeded')}, {lost} failed)"
        )
    if not text(obj.status, "startTime"):
        return in_progress("JobNotStarted", "the Job has not started")
    active = count(obj.status, "active")
    progress = f"{shortfall(succeeded, want, 'pods succeeded')}, {active} active, {lost} failed"
    return in_progress("JobInProgress", progress)
