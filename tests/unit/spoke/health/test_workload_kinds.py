"""The kinds that run pods, each with status objects as the API server returns them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from spoke.health import HealthStatus, assess

CURRENT, IN_PROGRESS, FAILED = HealthStatus.CURRENT, HealthStatus.IN_PROGRESS, HealthStatus.FAILED
Object = dict[str, object]
Row = tuple[Mapping[str, object], Mapping[str, object], HealthStatus, str, str]


def make(api: str, kind: str, spec: Mapping[str, object], status: Mapping[str, object]) -> Object:
    return {
        "apiVersion": api,
        "kind": kind,
        "metadata": {
            "name": "web",
            "namespace": "shop",
            "generation": 4,
            "creationTimestamp": "2026-03-01T10:00:00Z",
        },
        "spec": spec,
        "status": status,
    }


def cond(kind: str, status: str, reason: str = "", message: str = "") -> Object:
    return {"type": kind, "status": status, "reason": reason, "message": message}


def check(api: str, kind: str, row: Row) -> None:
    spec, status, expected, reason, said = row
    health = assess(make(api, kind, spec, status))
    assert (health.status, health.reason) == (expected, reason), health
    assert said in health.message


AVAILABLE = cond("Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
UNAVAILABLE = cond("Available", "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
ROLLED = cond("Progressing", "True", "NewReplicaSetAvailable", 'ReplicaSet "web-6f" has successfully progressed.')
ROLLING = cond("Progressing", "True", "ReplicaSetUpdated", 'ReplicaSet "web-6f" is progressing.')
LATE = cond("Progressing", "False", "ProgressDeadlineExceeded", 'ReplicaSet "web-6f" has timed out progressing.')
PAUSED = cond("Progressing", "Unknown", "DeploymentPaused", "Deployment is paused")
QUOTA = cond("ReplicaFailure", "True", "FailedCreate", 'pods "web-6f-x" is forbidden: exceeded quota: small')
THREE = {"replicas": 3, "progressDeadlineSeconds": 600}


def counts(total: int, updated: int, ready: int, available: int, *conditions: Object, seen: int = 4) -> Object:
    return {
        "observedGeneration": seen,
        "replicas": total,
        "updatedReplicas": updated,
        "readyReplicas": ready,
        "availableReplicas": available,
        "unavailableReplicas": total - available,
        "conditions": list(conditions),
    }


@pytest.mark.parametrize(
    "row",
    [
        (THREE, counts(3, 3, 3, 3, AVAILABLE, ROLLED), CURRENT, "Current", "3 of 3 replicas available"),
        ({"replicas": 3}, counts(3, 3, 3, 3, AVAILABLE), CURRENT, "Current", "3 of 3"),
        ({**THREE, "replicas": 0}, counts(0, 0, 0, 0, AVAILABLE, ROLLED), CURRENT, "Current", "0 of 0"),
        (THREE, {}, IN_PROGRESS, "LessReplicas", "0 of 3 replicas created"),
        (
            THREE,
            counts(3, 3, 3, 3, AVAILABLE, ROLLED, seen=3),
            IN_PROGRESS,
            "LatestGenerationNotObserved",
            "generation 4",
        ),
        (THREE, counts(3, 1, 3, 3, AVAILABLE, ROLLING), IN_PROGRESS, "LessUpdated", "1 of 3 replicas updated"),
        (THREE, counts(4, 3, 4, 4, AVAILABLE, ROLLING), IN_PROGRESS, "ExtraPods", "1 old replicas pending termination"),
        (THREE, counts(3, 3, 3, 2, AVAILABLE, ROLLING), IN_PROGRESS, "LessAvailable", "2 of 3 replicas available"),
        (THREE, counts(3, 3, 2, 3, AVAILABLE, ROLLING), IN_PROGRESS, "LessReady", "2 of 3 replicas ready"),
        (THREE, counts(3, 3, 3, 3, AVAILABLE, ROLLING), IN_PROGRESS, "ReplicaSetUpdated", "is progressing"),
        (THREE, counts(3, 3, 3, 3, AVAILABLE), IN_PROGRESS, "ReplicaSetNotAvailable", "not available"),
        (THREE, counts(3, 3, 3, 3, UNAVAILABLE, ROLLED), IN_PROGRESS, "MinimumReplicasUnavailable", "minimum"),
        (
            THREE,
            counts(3, 3, 3, 1, UNAVAILABLE, LATE),
            FAILED,
            "ProgressDeadlineExceeded",
            "timed out progressing; 1 of 3",
        ),
        (THREE, counts(0, 0, 0, 0, UNAVAILABLE, ROLLING, QUOTA), IN_PROGRESS, "LessReplicas", "exceeded quota: small"),
        ({**THREE, "paused": True}, counts(3, 1, 3, 3, AVAILABLE, PAUSED), IN_PROGRESS, "DeploymentPaused", "1 of 3"),
        (
            {**THREE, "paused": True},
            counts(3, 3, 3, 3, AVAILABLE, PAUSED),
            IN_PROGRESS,
            "DeploymentPaused",
            "is paused",
        ),
    ],
)
def test_deployment(row: Row) -> None:
    check("apps/v1", "Deployment", row)


@pytest.mark.parametrize(
    "row",
    [
        (
            {"replicas": 2},
            {"replicas": 2, "fullyLabeledReplicas": 2, "availableReplicas": 2, "readyReplicas": 2},
            CURRENT,
            "Current",
            "2 of 2 replicas available",
        ),
        ({"replicas": 2}, {"replicas": 2, "fullyLabeledReplicas": 1}, IN_PROGRESS, "LessLabelled", "1 of 2"),
        (
            {"replicas": 2},
            {"replicas": 2, "fullyLabeledReplicas": 2, "availableReplicas": 1, "readyReplicas": 2},
            IN_PROGRESS,
            "LessAvailable",
            "1 of 2 replicas available",
        ),
        (
            {"replicas": 1},
            {"replicas": 2, "fullyLabeledReplicas": 2, "availableReplicas": 2, "readyReplicas": 2},
            IN_PROGRESS,
            "ExtraPods",
            "1 replicas pending termination",
        ),
        ({"replicas": 2}, {"replicas": 0, "conditions": [QUOTA]}, IN_PROGRESS, "FailedCreate", "exceeded quota"),
    ],
)
def test_replica_set(row: Row) -> None:
    check("apps/v1", "ReplicaSet", row)


def stateful(total: int, ready: int, current: int, updated: int, revision: str = "db-1") -> Object:
    return {
        "observedGeneration": 4,
        "replicas": total,
        "readyReplicas": ready,
        "currentReplicas": current,
        "updatedReplicas": updated,
        "currentRevision": revision,
        "updateRevision": "db-1",
    }


def rolling(partition: int) -> Object:
    return {"replicas": 3, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}}}


@pytest.mark.parametrize(
    "row",
    [
        ({"replicas": 3}, stateful(3, 3, 3, 3), CURRENT, "Current", "3 of 3 replicas ready"),
        (rolling(0), stateful(3, 3, 3, 3), CURRENT, "Current", "3 of 3 replicas ready, 3 updated"),
        (rolling(2), stateful(3, 3, 2, 1, "db-0"), CURRENT, "Current", "1 updated (partition 2)"),
        (rolling(5), stateful(3, 3, 3, 0, "db-0"), CURRENT, "Current", "0 updated (partition 5)"),
        (
            {"replicas": 3, "updateStrategy": {"type": "OnDelete"}},
            stateful(1, 0, 0, 0, "db-0"),
            CURRENT,
            "Current",
            "OnDelete",
        ),
        ({"replicas": 3}, stateful(2, 2, 2, 2), IN_PROGRESS, "LessReplicas", "2 of 3 replicas created"),
        ({"replicas": 3}, stateful(3, 2, 3, 3), IN_PROGRESS, "LessReady", "2 of 3 replicas ready"),
        ({"replicas": 1}, stateful(2, 2, 2, 2), IN_PROGRESS, "ExtraPods", "1 replicas pending"),
        (
            rolling(1),
            stateful(3, 3, 2, 1, "db-0"),
            IN_PROGRESS,
            "PartitionRollout",
            "1 of 2 replicas updated (partition 1)",
        ),
        ({"replicas": 3}, stateful(3, 3, 2, 1), IN_PROGRESS, "LessCurrent", "2 of 3"),
        ({"replicas": 3}, stateful(3, 3, 3, 0, "db-0"), IN_PROGRESS, "RevisionMismatch", "from revision db-0 to db-1"),
    ],
)
def test_stateful_set(row: Row) -> None:
    check("apps/v1", "StatefulSet", row)


def daemons(scheduled: int, updated: int, available: int, ready: int) -> Object:
    return {
        "observedGeneration": 4,
        "desiredNumberScheduled": 5,
        "currentNumberScheduled": scheduled,
        "updatedNumberScheduled": updated,
        "numberAvailable": available,
        "numberReady": ready,
    }


ON_DELETE = {"updateStrategy": {"type": "OnDelete"}}


@pytest.mark.parametrize(
    "row",
    [
        ({}, daemons(5, 5, 5, 5), CURRENT, "Current", "5 of 5 pods available"),
        ({}, {**daemons(0, 0, 0, 0), "desiredNumberScheduled": 0}, CURRENT, "Current", "0 of 0"),
        (ON_DELETE, daemons(5, 1, 5, 5), CURRENT, "Current", "5 of 5 pods available"),
        (ON_DELETE, daemons(5, 1, 4, 5), IN_PROGRESS, "LessAvailable", "4 of 5 pods available"),
        ({}, {}, IN_PROGRESS, "NoObservedGeneration", "has not seen it"),
        ({}, {"observedGeneration": 4}, IN_PROGRESS, "NoDesiredNumber", "not counted"),
        ({}, daemons(3, 3, 3, 3), IN_PROGRESS, "LessCurrent", "3 of 5 pods scheduled"),
        ({}, daemons(5, 2, 5, 5), IN_PROGRESS, "LessUpdated", "2 of 5 pods updated"),
        ({}, daemons(5, 5, 4, 5), IN_PROGRESS, "LessAvailable", "4 of 5 pods available"),
        ({}, daemons(5, 5, 5, 4), IN_PROGRESS, "LessReady", "4 of 5 pods ready"),
    ],
)
def test_daemon_set(row: Row) -> None:
    check("apps/v1", "DaemonSet", row)


def container(reason: str, message: str = "") -> Object:
    return {"name": "app", "ready": False, "state": {"waiting": {"reason": reason, "message": message}}}


NOT_READY = cond("Ready", "False", "ContainersNotReady", "containers with unready status: [app]")
PULL = 'Back-off pulling image "shop/web:9"'
CRASH = "back-off 5m0s restarting failed container=app"
UNSCHEDULABLE = cond("PodScheduled", "False", "Unschedulable", "0/3 nodes are available: 3 Insufficient memory.")


@pytest.mark.parametrize(
    "row",
    [
        ({}, {"phase": "Running", "conditions": [cond("Ready", "True")]}, CURRENT, "PodReady", "ready"),
        ({}, {"phase": "Succeeded"}, CURRENT, "PodCompleted", "completed"),
        (
            {},
            {"phase": "Failed", "reason": "Evicted", "message": "low on memory"},
            CURRENT,
            "PodFailed",
            "low on memory",
        ),
        (
            {},
            {"phase": "Running", "conditions": [NOT_READY]},
            IN_PROGRESS,
            "PodRunningNotReady",
            "unready status: [app]",
        ),
        (
            {},
            {
                "phase": "Running",
                "conditions": [NOT_READY],
                "containerStatuses": [container("CrashLoopBackOff", CRASH)],
            },
            FAILED,
            "CrashLoopBackOff",
            f"containers keep crashing: app: {CRASH}",
        ),
        (
            {},
            {"phase": "Pending", "containerStatuses": [container("ImagePullBackOff", PULL)]},
            IN_PROGRESS,
            "ImagePullBackOff",
            PULL,
        ),
        (
            {},
            {"phase": "Running", "containerStatuses": [container("ImagePullBackOff", PULL)]},
            IN_PROGRESS,
            "ImagePullBackOff",
            PULL,
        ),
        (
            {},
            {
                "phase": "Pending",
                "initContainerStatuses": [container("CreateContainerConfigError", 'secret "db" not found')],
                "containerStatuses": [container("PodInitializing")],
            },
            IN_PROGRESS,
            "CreateContainerConfigError",
            'secret "db" not found',
        ),
        (
            {},
            {"phase": "Pending", "containerStatuses": [container("ContainerCreating")]},
            IN_PROGRESS,
            "PodPending",
            "",
        ),
        (
            {},
            {"phase": "Pending", "conditions": [UNSCHEDULABLE]},
            IN_PROGRESS,
            "Unschedulable",
            "3 Insufficient memory",
        ),
        ({}, {}, IN_PROGRESS, "PodNotObserved", "no phase"),
        ({}, {"phase": "Unknown"}, HealthStatus.UNKNOWN, "UnknownPhase", "phase is Unknown"),
    ],
)
def test_pod(row: Row) -> None:
    check("v1", "Pod", row)


@pytest.mark.parametrize(("second", "expected"), [(14, IN_PROGRESS), (15, IN_PROGRESS), (16, FAILED)])
def test_a_pod_without_a_node_fails_after_fifteen_seconds(second: int, expected: HealthStatus) -> None:
    pod = make("v1", "Pod", {}, {"phase": "Pending", "conditions": [UNSCHEDULABLE]})
    health = assess(pod, now=datetime(2026, 3, 1, 10, 0, second, tzinfo=UTC))
    assert (health.status, health.message) == (expected, "0/3 nodes are available: 3 Insufficient memory.")


@pytest.mark.parametrize(
    "row",
    [
        (
            {},
            {"succeeded": 1, "conditions": [cond("Complete", "True")]},
            CURRENT,
            "JobComplete",
            "1 of 1 pods succeeded",
        ),
        ({"suspend": True}, {}, CURRENT, "JobSuspended", "suspended"),
        ({}, {}, IN_PROGRESS, "JobNotStarted", "not started"),
        (
            {"completions": 4, "parallelism": 2},
            {"startTime": "2026-03-01T10:00:01Z", "active": 2, "succeeded": 1, "failed": 1},
            IN_PROGRESS,
            "JobInProgress",
            "1 of 4 pods succeeded, 2 active, 1 failed",
        ),
        (
            {"backoffLimit": 6},
            {
                "startTime": "2026-03-01T10:00:01Z",
                "failed": 7,
                "conditions": [
                    cond("Failed", "True", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
                ],
            },
            FAILED,
            "BackoffLimitExceeded",
            "Job has reached the specified backoff limit (0 of 1 pods succeeded, 7 failed)",
        ),
        (
            {},
            {"startTime": "2026-03-01T10:00:01Z", "conditions": [cond("Complete", "False"), cond("Failed", "False")]},
            IN_PROGRESS,
            "JobInProgress",
            "0 of 1",
        ),
    ],
)
def test_job(row: Row) -> None:
    check("batch/v1", "Job", row)


@pytest.mark.parametrize(("end", "expected"), [("Complete", CURRENT), ("Failed", FAILED)])
def test_a_job_that_is_removed_because_it_ended_is_what_it_ended_as(end: str, expected: HealthStatus) -> None:
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "migrate", "deletionTimestamp": "2026-03-01T10:00:01Z"},
        "spec": {"ttlSecondsAfterFinished": 60},
        "status": {"conditions": [cond(end, "True")]},
    }
    assert assess(job).status is expected
    assert assess({**job, "spec": {}}).status is HealthStatus.TERMINATING
    assert assess({**job, "status": {}}).status is HealthStatus.TERMINATING
