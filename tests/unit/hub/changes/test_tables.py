"""What Kubernetes is known to refuse: fields that can't be changed, and API versions that are gone."""

from __future__ import annotations

from typing import Any

import pytest

from felloe.identity import ObjectId
from hub.changes.apis import RETIRED, minor_version
from hub.changes.fields import compare
from hub.changes.immutable import immutable_fields


def nested(path: str, value: object) -> dict[str, Any]:
    """Return an object with one field; ``*`` in its path is the one item of a list."""
    for key in reversed(path.split(".")):
        value = [value] if key == "*" else {key: value}
    return value  # type: ignore[return-value]


def refused(group: str, kind: str, path: str, before: object = "a", after: object = "b") -> tuple[str, ...]:
    above, _, field = path.rpartition(".")
    old, new = (nested(path, value) for value in (before, after))
    if None in (before, after):  # what is around the field is there anyway
        fields = ({"other": 1} if value is None else {"other": 1, field: value} for value in (before, after))
        old, new = (nested(above, each) for each in fields)
    return immutable_fields(ObjectId(group, kind, "shop", "x"), old, tuple(compare(old, new)))


@pytest.mark.parametrize(
    ("group", "kind", "path"),
    [
        ("apps", "Deployment", "spec.selector.matchLabels.app"),
        ("apps", "DaemonSet", "spec.selector.matchLabels.app"),
        ("apps", "StatefulSet", "spec.selector.matchLabels.app"),
        ("apps", "StatefulSet", "spec.serviceName"),
        ("apps", "StatefulSet", "spec.volumeClaimTemplates.*.spec.storageClassName"),
        ("batch", "Job", "spec.template.spec.containers.*.image"),
        ("batch", "Job", "spec.completionMode"),
        ("", "Service", "spec.clusterIP"),
        ("", "PersistentVolumeClaim", "spec.storageClassName"),
        ("", "PersistentVolumeClaim", "spec.accessModes.*"),
        ("", "PersistentVolume", "spec.csi.volumeHandle"),
        ("", "Pod", "spec.containers.*.env.*.value"),
        ("", "Secret", "type"),
        ("storage.k8s.io", "StorageClass", "parameters.type"),
        ("storage.k8s.io", "StorageClass", "reclaimPolicy"),
        ("rbac.authorization.k8s.io", "RoleBinding", "roleRef.name"),
        ("rbac.authorization.k8s.io", "ClusterRoleBinding", "roleRef"),
        ("scheduling.k8s.io", "PriorityClass", "value"),
        ("networking.k8s.io", "IngressClass", "spec.controller"),
        ("apiextensions.k8s.io", "CustomResourceDefinition", "spec.scope"),
    ],
)
def test_fields_that_can_not_be_changed(group: str, kind: str, path: str) -> None:
    assert len(refused(group, kind, path)) == 1


@pytest.mark.parametrize(
    ("group", "kind", "path"),
    [
        ("apps", "Deployment", "spec.template.spec.containers.*.image"),
        ("apps", "StatefulSet", "spec.template.spec.containers.*.image"),
        ("apps", "StatefulSet", "spec.replicas"),
        ("apps", "StatefulSet", "metadata.labels.a"),
        ("batch", "Job", "spec.parallelism"),
        ("batch", "CronJob", "spec.jobTemplate.spec.template.spec.containers.*.image"),
        ("", "Service", "spec.selector.app"),
        ("", "PersistentVolumeClaim", "spec.resources.requests.storage"),
        ("", "Pod", "spec.containers.*.image"),
        ("", "ConfigMap", "data.a"),
        ("storage.k8s.io", "StorageClass", "allowVolumeExpansion"),
        ("rbac.authorization.k8s.io", "RoleBinding", "subjects.*.name"),
        ("example.org", "Deployment", "spec.selector.matchLabels.app"),
    ],
)
def test_fields_that_can(group: str, kind: str, path: str) -> None:
    assert refused(group, kind, path) == ()


def test_a_field_that_is_added_may_say_what_is_there_already() -> None:
    assert refused("apps", "StatefulSet", "spec.podManagementPolicy", None, "OrderedReady") == ()
    assert refused("", "Service", "spec.clusterIP", None, "10.0.0.1") == ()
    assert refused("", "Service", "spec.clusterIP", "10.0.0.1", None) == ()
    assert refused("apps", "Deployment", "spec.selector.matchLabels.tier", None, "web") == (
        "spec.selector.matchLabels.tier",
    )
    assert refused("batch", "Job", "spec.template.spec.containers.*.command", None, ["a"])


@pytest.mark.parametrize("kind", ["ConfigMap", "Secret"])
def test_what_is_sealed_by_immutable(kind: str) -> None:
    old: dict[str, Any]
    new: dict[str, Any]
    old, new = {"immutable": True, "data": {"a": "1"}}, {"immutable": True, "data": {"a": "1", "b": "2"}}
    identity = ObjectId("", kind, "shop", "x")
    assert immutable_fields(identity, old, tuple(compare(old, new))) == ("data.b",)
    open_ = {**old, "immutable": False}
    assert immutable_fields(identity, old, tuple(compare(old, open_))) == ("immutable",)
    assert immutable_fields(identity, open_, tuple(compare(open_, new))) == ()
    labelled = {**old, "metadata": {"labels": {"a": "b"}}}
    assert immutable_fields(identity, old, tuple(compare(old, labelled))) == ()


@pytest.mark.parametrize(
    ("api_version", "kind", "removed", "instead"),
    [
        ("flowcontrol.apiserver.k8s.io/v1beta3", "FlowSchema", 32, "flowcontrol.apiserver.k8s.io/v1"),
        ("autoscaling/v2beta2", "HorizontalPodAutoscaler", 26, "autoscaling/v2"),
        ("batch/v1beta1", "CronJob", 25, "batch/v1"),
        ("policy/v1beta1", "PodDisruptionBudget", 25, "policy/v1"),
        ("extensions/v1beta1", "Ingress", 22, "networking.k8s.io/v1"),
        ("apps/v1beta2", "StatefulSet", 16, "apps/v1"),
    ],
)
def test_api_versions_that_are_gone(api_version: str, kind: str, removed: int, instead: str) -> None:
    assert RETIRED[api_version, kind] == (removed, instead)


def test_api_versions_that_are_served() -> None:
    assert ("apps/v1", "Deployment") not in RETIRED
    assert ("batch/v1", "CronJob") not in RETIRED


@pytest.mark.parametrize(
    ("text", "minor"),
    [("v1.34.2", 34), ("v1.34.2+k3s1", 34), ("v1.27.3-gke.100", 27), ("1.9", 9), ("v2.0.1", None), ("", None),
     ("nonsense", None)],
)  # fmt: skip
def test_versions_of_kubernetes(text: str, minor: int | None) -> None:
    assert minor_version(text) == minor
