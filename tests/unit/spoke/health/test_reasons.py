"""What pods and events tell a person, with statuses as the kubelet writes them."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spoke.health.reasons import last_warning, of_pod, selector, worst

Object = dict[str, object]


def pod(name: str = "web-abc", *, deleted: str = "", **status: object) -> Object:
    metadata = {"name": name, "uid": f"uid-{name}"} | ({"deletionTimestamp": deleted} if deleted else {})
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": status}


def condition(kind: str, status: str, reason: str = "", message: str = "") -> Object:
    return {"type": kind, "status": status, "reason": reason, "message": message}


def container(name: str = "main", *, ready: bool = False, restarts: int = 0, **states: Object) -> Object:
    """Return a container's status; `waiting`, `running`, `terminated` are its state, `last` how it ended before."""
    last = {"terminated": states.pop("last")} if "last" in states else {}
    return {"name": name, "ready": ready, "restartCount": restarts, "state": states, "lastState": last}


def waiting(reason: str, message: str = "") -> Object:
    return {"reason": reason, "message": message}


READY = pod("web-ok", phase="Running", conditions=[condition("Ready", "True")])
SECRET = {"exitCode": 1, "reason": "Error", "message": "password is hunter2"}


@pytest.mark.parametrize(
    ("status", "what", "message"),
    [
        (
            {
                "phase": "Pending",
                "containerStatuses": [container(waiting=waiting("ImagePullBackOff", 'Back-off pulling image "x:9"'))],
            },
            "blocked",
            'container main: ImagePullBackOff: Back-off pulling image "x:9"',
        ),
        (
            {
                "phase": "Running",
                "containerStatuses": [
                    container(
                        waiting=waiting("CrashLoopBackOff", "back-off 5m0s restarting failed container=main pod=web"),
                        last=SECRET,
                        restarts=7,
                    )
                ],
            },
            "blocked",
            "container main: CrashLoopBackOff: ended with exit code 1 (Error), restarted 7 times",
        ),
        (
            {
                "phase": "Running",
                "containerStatuses": [
                    container("side", ready=True, running={"startedAt": "2026-03-01T10:00:00Z"}),
                    container(terminated={"exitCode": 137, "reason": "OOMKilled"}),
                ],
            },
            "blocked",
            "container main: ended with exit code 137 (OOMKilled)",
        ),
        (
            {
                "phase": "Pending",
                "initContainerStatuses": [
                    container("migrate", waiting=waiting("CreateContainerConfigError", 'secret "db" not found'))
                ],
                "containerStatuses": [container(waiting=waiting("PodInitializing"))],
            },
            "blocked",
            'container migrate: CreateContainerConfigError: secret "db" not found',
        ),
        (
            {
                "phase": "Pending",
                "conditions": [
                    condition("PodScheduled", "False", "Unschedulable", "0/3 nodes are available: 3 Insufficient cpu.")
                ],
            },
            "unscheduled",
            "Unschedulable: 0/3 nodes are available: 3 Insufficient cpu",
        ),
        (
            {"phase": "Pending", "containerStatuses": [container(waiting=waiting("ContainerCreating"))]},
            "starting",
            "waits for container main to be created",
        ),
        (
            {
                "phase": "Running",
                "conditions": [condition("Ready", "False", "ContainersNotReady", "containers with unready status")],
                "containerStatuses": [container(running={}), container("side", running={})],
            },
            "unready",
            "containers main, side running but not ready",
        ),
        (
            {
                "phase": "Running",
                "conditions": [condition("Ready", "False", "ReadinessGatesNotReady", "gate lb is off")],
            },
            "unready",
            "not ready: gate lb is off",
        ),
        (
            {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."},
            "ended",
            "Evicted: The node was low on resource: memory",
        ),
        (
            {"phase": "Failed", "containerStatuses": [container(terminated=SECRET)]},
            "ended",
            "container main: ended with exit code 1 (Error)",
        ),
        ({}, "pending", "phase unknown"),
    ],
)
def test_what_is_wrong_with_a_pod(status: Object, what: str, message: str) -> None:
    trouble = of_pod({**pod(), "status": status})
    assert trouble
    assert (trouble.what, trouble.message) == (what, message)
    assert (trouble.pod, trouble.uid) == ("web-abc", "uid-web-abc")


FIELDS = ["phase", "conditions", "containerStatuses", "state", "waiting", "terminated", "lastState", "type", "status"]
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.sampled_from(["Running", "Failed", "Ready"])
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4),
    max_leaves=10,
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(metadata=JSON, status=JSON)
def test_any_pod_gets_an_answer(metadata: object, status: object) -> None:
    worst([{"metadata": metadata, "status": status}])


def test_ready_and_completed_pods_have_no_trouble() -> None:
    assert of_pod(READY) is None
    assert of_pod(pod(phase="Succeeded")) is None
    assert worst([READY, READY]) is None


def test_the_pod_that_tells_most_is_named_and_the_others_like_it_counted() -> None:
    starting = pod("web-a", phase="Pending", containerStatuses=[container(waiting=waiting("ContainerCreating"))])
    going = pod("web-0", deleted="2026-03-01T10:00:00Z", phase="Running")
    broken = [
        pod(name, phase="Pending", containerStatuses=[container(waiting=waiting("ErrImagePull", "not found"))])
        for name in ("web-z", "web-y")
    ]
    found = worst([going, starting, READY, *broken])
    assert found
    assert (found[0].pod, found[1]) == ("web-y", 1)
    only_going = worst([going, READY])
    assert only_going
    assert only_going[0].message == "being deleted since 2026-03-01T10:00:00Z"


def event(reason: str, message: str, kind: str = "Warning", **times: object) -> Object:
    return {"type": kind, "reason": reason, "message": message, **times}


def test_the_newest_warning_that_tells_something() -> None:
    events = [
        event("Unhealthy", "Readiness probe failed: HTTP 500", lastTimestamp="2026-03-01T10:02:00Z"),
        event("FailedMount", "configmap not found", lastTimestamp="2026-03-01T10:00:00Z"),
        event("BackOff", "Back-off restarting failed container", lastTimestamp="2026-03-01T10:09:00Z"),
        event("Pulled", "pulled", "Normal", lastTimestamp="2026-03-01T10:09:00Z"),
    ]
    assert last_warning(events) == "Unhealthy: Readiness probe failed: HTTP 500"
    newer = event("Failed", "registry\n  says no.", series={"lastObservedTime": "2026-03-01T10:03:00.000000Z"})
    assert last_warning([*events, newer]) == "Failed: registry says no"
    assert last_warning(events[2:]) == ""
    long = last_warning([event("Failed", "x" * 5000)])
    assert len(long) < 320
    assert long.endswith("…")


@pytest.mark.parametrize(
    ("wanted", "query"),
    [
        ({"matchLabels": {"app": "web", "tier": "front"}}, "app=web,tier=front"),
        (
            {
                "matchLabels": {"app": "web"},
                "matchExpressions": [
                    {"key": "env", "operator": "In", "values": ["a", "b"]},
                    {"key": "old", "operator": "NotIn", "values": ["x"]},
                    {"key": "team", "operator": "Exists"},
                    {"key": "gone", "operator": "DoesNotExist"},
                ],
            },
            "app=web,env in (a,b),old notin (x),team,!gone",
        ),
        ({}, ""),
        (None, ""),
        ("app=web", ""),
    ],
)
def test_the_selector_as_a_query(wanted: object, query: str) -> None:
    assert selector({"spec": {"selector": wanted}}) == query
