"""The built-in kinds without pods, any other kind, and what holds for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spoke.health import Health, HealthStatus, assess, assess_missing

CURRENT, IN_PROGRESS, FAILED = HealthStatus.CURRENT, HealthStatus.IN_PROGRESS, HealthStatus.FAILED
TERMINATING, UNKNOWN = HealthStatus.TERMINATING, HealthStatus.UNKNOWN
Object = dict[str, object]
Row = tuple[Mapping[str, object], Mapping[str, object], HealthStatus, str, str]


def make(api: str, kind: str, spec: Mapping[str, object], status: object, **metadata: object) -> Object:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": "web", **metadata}, "spec": spec, "status": status}


def conditions(*listed: tuple[str, str, str, str]) -> Object:
    return {"conditions": [dict(zip(("type", "status", "reason", "message"), entry, strict=True)) for entry in listed]}


def check(api: str, kind: str, row: Row) -> None:
    spec, status, expected, reason, said = row
    health = assess(make(api, kind, spec, status))
    assert (health.status, health.reason) == (expected, reason), health
    assert said in health.message


@pytest.mark.parametrize(
    "row",
    [
        ({"volumeName": "pvc-1"}, {"phase": "Bound"}, CURRENT, "Current", "bound to pvc-1"),
        ({}, {"phase": "Pending"}, IN_PROGRESS, "NotBound", "phase Pending"),
        ({}, {"phase": "Lost"}, IN_PROGRESS, "NotBound", "phase Lost"),
        ({}, {}, IN_PROGRESS, "NotBound", "phase unknown"),
    ],
)
def test_persistent_volume_claim(row: Row) -> None:
    check("v1", "PersistentVolumeClaim", row)


BALANCER = {"type": "LoadBalancer", "clusterIP": "10.0.0.7"}


@pytest.mark.parametrize(
    "row",
    [
        ({"type": "ClusterIP", "clusterIP": "10.0.0.7"}, {"loadBalancer": {}}, CURRENT, "Current", "ready"),
        ({"type": "ExternalName", "externalName": "example.org"}, {}, CURRENT, "Current", "ready"),
        (BALANCER, {"loadBalancer": {"ingress": [{"ip": "203.0.113.9"}]}}, CURRENT, "Current", "203.0.113.9"),
        (BALANCER, {"loadBalancer": {}}, CURRENT, "NoAddress", "no load balancer address"),
        ({"type": "LoadBalancer"}, {"loadBalancer": {}}, IN_PROGRESS, "NoIPAssigned", "no cluster IP"),
    ],
)
def test_service(row: Row) -> None:
    check("v1", "Service", row)


@pytest.mark.parametrize(
    "row",
    [
        ({}, {"loadBalancer": {"ingress": [{"hostname": "lb.example.org"}]}}, CURRENT, "Current", "lb.example.org"),
        ({}, {"loadBalancer": {}}, CURRENT, "NoAddress", "no Ingress address"),
    ],
)
def test_ingress(row: Row) -> None:
    check("networking.k8s.io/v1", "Ingress", row)


ACCEPTED = ("NamesAccepted", "True", "NoConflicts", "no conflicts found")
CONFLICT = ("NamesAccepted", "False", "PluralConflict", '"widgets" is already in use')


@pytest.mark.parametrize(
    "row",
    [
        (
            {},
            conditions(ACCEPTED, ("Established", "True", "InitialNamesAccepted", "accepted")),
            CURRENT,
            "Established",
            "established",
        ),
        ({}, {}, IN_PROGRESS, "Installing", "not established yet"),
        (
            {},
            conditions(ACCEPTED, ("Established", "False", "Installing", "the initial names have been accepted")),
            IN_PROGRESS,
            "Installing",
            "not established yet",
        ),
        (
            {},
            conditions(("Established", "False", "NotAccepted", "not all names are accepted"), ACCEPTED),
            FAILED,
            "NotAccepted",
            "not all names are accepted",
        ),
        (
            {},
            conditions(("Established", "False", "NotAccepted", "not all names are accepted"), CONFLICT),
            FAILED,
            "PluralConflict",
            "already in use",
        ),
    ],
)
def test_custom_resource_definition(row: Row) -> None:
    check("apiextensions.k8s.io/v1", "CustomResourceDefinition", row)


@pytest.mark.parametrize(
    "row",
    [
        (
            {},
            {"currentHealthy": 3, "desiredHealthy": 2, "disruptionsAllowed": 1},
            CURRENT,
            "Current",
            "1 disruptions allowed, 3 pods healthy, 2 needed",
        ),
        (
            {},
            conditions(
                ("DisruptionAllowed", "False", "SyncFailed", "jobs.batch does not implement the scale subresource")
            ),
            CURRENT,
            "SyncFailed",
            "does not implement the scale subresource",
        ),
    ],
)
def test_pod_disruption_budget(row: Row) -> None:
    check("policy/v1", "PodDisruptionBudget", row)


ABLE = ("AbleToScale", "True", "ReadyForNewScale", "recommended size matches current size")


@pytest.mark.parametrize(
    "row",
    [
        (
            {},
            {"currentReplicas": 2, "desiredReplicas": 3}
            | conditions(ABLE, ("ScalingActive", "True", "ValidMetricFound", "")),
            CURRENT,
            "Current",
            "2 replicas, 3 wanted",
        ),
        (
            {},
            conditions(
                ABLE,
                ("ScalingActive", "False", "ScalingDisabled", "scaling is disabled since the replica count is zero"),
            ),
            CURRENT,
            "Current",
            "",
        ),
        ({}, conditions(("AbleToScale", "False", "BackoffBoth", "")), CURRENT, "Current", ""),
        (
            {},
            conditions(ABLE, ("ScalingActive", "False", "FailedGetResourceMetric", "unable to fetch metrics")),
            CURRENT,
            "FailedGetResourceMetric",
            "unable to fetch metrics",
        ),
        (
            {},
            conditions(("AbleToScale", "False", "FailedGetScale", 'deployments.apps "web" not found')),
            CURRENT,
            "FailedGetScale",
            '"web" not found',
        ),
    ],
)
def test_horizontal_pod_autoscaler(row: Row) -> None:
    check("autoscaling/v2", "HorizontalPodAutoscaler", row)


@pytest.mark.parametrize(
    "row",
    [
        ({}, conditions(("Available", "True", "Passed", "all checks passed")), CURRENT, "Available", "available"),
        (
            {},
            conditions(("Available", "False", "MissingEndpoints", "endpoints for service/metrics have no addresses")),
            IN_PROGRESS,
            "MissingEndpoints",
            "have no addresses",
        ),
        ({}, {}, IN_PROGRESS, "NotChecked", "not been checked"),
    ],
)
def test_api_service(row: Row) -> None:
    check("apiregistration.k8s.io/v1", "APIService", row)


@pytest.mark.parametrize(
    "row",
    [
        ({}, {"phase": "Active"}, CURRENT, "Current", "active"),
        ({}, {}, CURRENT, "Current", "active"),
        ({}, {"phase": "Terminating"}, TERMINATING, "Terminating", "being deleted"),
    ],
)
def test_namespace(row: Row) -> None:
    check("v1", "Namespace", row)


@pytest.mark.parametrize(("api", "kind"), [("v1", "ConfigMap"), ("v1", "Secret"), ("batch/v1", "CronJob")])
def test_what_only_has_to_exist(api: str, kind: str) -> None:
    assert assess(make(api, kind, {}, {"active": []})).status is CURRENT


@pytest.mark.parametrize(
    "row",
    [
        ({}, {}, CURRENT, "Current", "exists"),
        ({}, conditions(("Ready", "True", "Issued", "certificate is up to date")), CURRENT, "Issued", "up to date"),
        (
            {},
            conditions(("Ready", "False", "DoesNotExist", "secret is missing")),
            IN_PROGRESS,
            "DoesNotExist",
            "missing",
        ),
        ({}, conditions(("Ready", "Unknown", "", "")), IN_PROGRESS, "Ready", "not ready"),
        ({}, conditions(("Ready", "Maybe", "", "")), CURRENT, "Current", ""),
        (
            {},
            conditions(("Reconciling", "True", "Progressing", "pulling"), ("Ready", "True", "Done", "")),
            IN_PROGRESS,
            "Progressing",
            "pulling",
        ),
        (
            {},
            conditions(("Ready", "False", "Failed", "x"), ("Stalled", "True", "InvalidSpec", "no such issuer")),
            FAILED,
            "InvalidSpec",
            "no such issuer",
        ),
        ({}, conditions(("Reconciling", "False", "", ""), ("Stalled", "False", "", "")), CURRENT, "Current", ""),
    ],
)
def test_any_other_kind(row: Row) -> None:
    check("cert-manager.io/v1", "Certificate", row)


def test_the_group_tells_a_built_in_kind_from_another_of_its_name() -> None:
    status = conditions(("Ready", "False", "RevisionMissing", "revision failed"))
    assert assess(make("serving.knative.dev/v1", "Service", {}, status)).reason == "RevisionMissing"


def test_an_object_being_deleted_says_what_it_waits_for() -> None:
    dying = make(
        "v1",
        "Namespace",
        {},
        conditions(("NamespaceContentRemaining", "True", "SomeResourcesRemain", "pods. has 2 resource instances")),
        deletionTimestamp="2026-03-01T10:00:00Z",
        finalizers=["example.org/cleanup"],
    )
    health = assess(dying)
    assert health.status is TERMINATING
    assert "2026-03-01T10:00:00Z" in health.message
    assert "example.org/cleanup" in health.message
    assert "pods. has 2 resource instances" in health.message


def test_a_status_for_an_older_generation_does_not_count() -> None:
    status = {"observedGeneration": 1, **conditions(("Ready", "True", "Done", ""))}
    assert assess(make("example.org/v1", "Widget", {}, status, generation=2)).reason == "LatestGenerationNotObserved"
    assert assess(make("example.org/v1", "Widget", {}, status, generation=1)).status is CURRENT


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("fine", "status is a str"),
        ({"conditions": {"Ready": True}}, "status.conditions is a dict"),
        ({"conditions": ["Ready"]}, "entry that is not a mapping"),
        ({"observedGeneration": "2"}, "status.observedGeneration is not a whole number"),
    ],
)
def test_a_status_that_can_not_be_read_is_unknown_and_named(status: object, said: str) -> None:
    health = assess(make("example.org/v1", "Widget", {}, status, generation=2))
    assert (health.status, health.reason) == (UNKNOWN, "Malformed")
    assert said in health.message


def test_an_object_that_is_gone() -> None:
    assert assess_missing(make("apps/v1", "Deployment", {}, {})).status is HealthStatus.NOT_FOUND
    assert assess_missing(make("batch/v1", "Job", {}, {})).status is HealthStatus.NOT_FOUND
    assert assess_missing(make("batch/v1", "Job", {"ttlSecondsAfterFinished": 0}, {})).status is CURRENT


ANY_SPEED = settings(suppress_health_check=[HealthCheck.too_slow])
KINDS = [
    ("v1", "ConfigMap"),
    ("v1", "Namespace"),
    ("v1", "PersistentVolumeClaim"),
    ("v1", "Pod"),
    ("v1", "Service"),
    ("apps/v1", "DaemonSet"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "ReplicaSet"),
    ("apps/v1", "StatefulSet"),
    ("batch/v1", "Job"),
    ("policy/v1", "PodDisruptionBudget"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("networking.k8s.io/v1", "Ingress"),
    ("apiregistration.k8s.io/v1", "APIService"),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
    ("example.org/v1", "Widget"),
]
FIELDS = [
    "type",
    "status",
    "reason",
    "message",
    "name",
    "state",
    "waiting",
    "phase",
    "conditions",
    "replicas",
    "readyReplicas",
    "updatedReplicas",
    "containerStatuses",
    "initContainerStatuses",
    "loadBalancer",
    "ingress",
    "updateStrategy",
    "rollingUpdate",
    "partition",
    "observedGeneration",
    "generation",
    "desiredNumberScheduled",
    "deletionTimestamp",
    "finalizers",
    "creationTimestamp",
    "suspend",
]
WORDS = [
    "True",
    "False",
    "Ready",
    "Running",
    "Pending",
    "Failed",
    "PodScheduled",
    "Unschedulable",
    "Available",
    "Progressing",
    "Stalled",
    "OnDelete",
]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(WORDS)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=4), inner, max_size=5)
    ),
    max_leaves=15,
)


@ANY_SPEED
@given(obj=st.dictionaries(st.sampled_from(["apiVersion", "kind", "metadata", "spec", "status"]), JSON))
def test_any_json_gets_an_answer(obj: Object) -> None:
    assert isinstance(assess(obj), Health)
    assert isinstance(assess_missing(obj), Health)


@ANY_SPEED
@given(created=st.text() | st.datetimes().map(str) | st.just("0001-01-01T00:00:00+23:59"))
def test_any_creation_time_gets_an_answer(created: str) -> None:
    status = {"phase": "Pending", **conditions(("PodScheduled", "False", "Unschedulable", ""))}
    health = assess(make("v1", "Pod", {}, status, creationTimestamp=created), now=datetime(2026, 3, 1, tzinfo=UTC))
    assert health.status in (IN_PROGRESS, FAILED)


@ANY_SPEED
@given(kind=st.sampled_from(KINDS), metadata=JSON, spec=JSON, status=JSON)
def test_any_status_of_a_known_kind_gets_an_answer(
    kind: tuple[str, str], metadata: object, spec: object, status: object
) -> None:
    obj = {"apiVersion": kind[0], "kind": kind[1], "metadata": metadata, "spec": spec, "status": status}
    health = assess(obj, now=datetime(2026, 3, 1, tzinfo=UTC))
    assert health.reason
    assert health.message
