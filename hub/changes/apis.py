"""API versions that Kubernetes stopped serving, and since when.

From the Deprecated API Migration Guide (kubernetes.io/docs/reference/using-api/deprecation-guide), 1.16 to 1.32. The
day on which a cluster is upgraded past one, an object written in it can't be applied any more.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

_VERSION: Final = re.compile(r"v?1\.(\d{1,4})(?:\D|\Z)")


class Retirement(NamedTuple):
    """The minor version of Kubernetes 1 that no longer serves an API version, and what to write instead."""

    removed: int
    instead: str


class _Row(NamedTuple):
    removed: int
    api_version: str
    kinds: str
    instead: str


_ROWS: Final = (
    _Row(32, "flowcontrol.apiserver.k8s.io/v1beta3", "FlowSchema PriorityLevelConfiguration",
         "flowcontrol.apiserver.k8s.io/v1"),
    _Row(29, "flowcontrol.apiserver.k8s.io/v1beta2", "FlowSchema PriorityLevelConfiguration",
         "flowcontrol.apiserver.k8s.io/v1"),
    _Row(27, "storage.k8s.io/v1beta1", "CSIStorageCapacity", "storage.k8s.io/v1"),
    _Row(26, "flowcontrol.apiserver.k8s.io/v1beta1", "FlowSchema PriorityLevelConfiguration",
         "flowcontrol.apiserver.k8s.io/v1"),
    _Row(26, "autoscaling/v2beta2", "HorizontalPodAutoscaler", "autoscaling/v2"),
    _Row(25, "autoscaling/v2beta1", "HorizontalPodAutoscaler", "autoscaling/v2"),
    _Row(25, "batch/v1beta1", "CronJob", "batch/v1"),
    _Row(25, "discovery.k8s.io/v1beta1", "EndpointSlice", "discovery.k8s.io/v1"),
    _Row(25, "events.k8s.io/v1beta1", "Event", "events.k8s.io/v1"),
    _Row(25, "node.k8s.io/v1beta1", "RuntimeClass", "node.k8s.io/v1"),
    _Row(25, "policy/v1beta1", "PodDisruptionBudget", "policy/v1"),
    _Row(25, "policy/v1beta1", "PodSecurityPolicy", "Pod Security Admission"),
    _Row(22, "admissionregistration.k8s.io/v1beta1", "MutatingWebhookConfiguration ValidatingWebhookConfiguration",
         "admissionregistration.k8s.io/v1"),
    _Row(22, "apiextensions.k8s.io/v1beta1", "CustomResourceDefinition", "apiextensions.k8s.io/v1"),
    _Row(22, "apiregistration.k8s.io/v1beta1", "APIService", "apiregistration.k8s.io/v1"),
    _Row(22, "authentication.k8s.io/v1beta1", "TokenReview", "authentication.k8s.io/v1"),
    _Row(22, "authorization.k8s.io/v1beta1",
         "LocalSubjectAccessReview SelfSubjectAccessReview SubjectAccessReview SelfSubjectRulesReview",
         "authorization.k8s.io/v1"),
    _Row(22, "certificates.k8s.io/v1beta1", "CertificateSigningRequest", "certificates.k8s.io/v1"),
    _Row(22, "coordination.k8s.io/v1beta1", "Lease", "coordination.k8s.io/v1"),
    _Row(22, "extensions/v1beta1", "Ingress", "networking.k8s.io/v1"),
    _Row(22, "networking.k8s.io/v1beta1", "Ingress IngressClass", "networking.k8s.io/v1"),
    _Row(22, "rbac.authorization.k8s.io/v1beta1", "ClusterRole ClusterRoleBinding Role RoleBinding",
         "rbac.authorization.k8s.io/v1"),
    _Row(22, "scheduling.k8s.io/v1beta1", "PriorityClass", "scheduling.k8s.io/v1"),
    _Row(22, "storage.k8s.io/v1beta1", "CSIDriver CSINode StorageClass VolumeAttachment", "storage.k8s.io/v1"),
    _Row(16, "extensions/v1beta1", "NetworkPolicy", "networking.k8s.io/v1"),
    _Row(16, "extensions/v1beta1", "PodSecurityPolicy", "Pod Security Admission"),
    _Row(16, "extensions/v1beta1", "DaemonSet Deployment ReplicaSet", "apps/v1"),
    _Row(16, "apps/v1beta1", "Deployment StatefulSet ReplicaSet", "apps/v1"),
    _Row(16, "apps/v1beta2", "DaemonSet Deployment ReplicaSet StatefulSet", "apps/v1"),
)  # fmt: skip


def _by_kind(rows: Iterable[_Row]) -> Iterator[tuple[tuple[str, str], Retirement]]:
    for row in rows:
        for kind in row.kinds.split():
            yield (row.api_version, kind), Retirement(row.removed, row.instead)


RETIRED: Final[Mapping[tuple[str, str], Retirement]] = dict(_by_kind(_ROWS))
"""By apiVersion and kind."""


def minor_version(text: str) -> int | None:
    """Return the minor version of a Kubernetes 1 as it tells its version (``v1.34.2+k3s1``), None for another text."""
    found = _VERSION.match(text)
    return int(found[1]) if found else None
