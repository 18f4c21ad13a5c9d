"""Which objects of a workload come before which: what others need first, what can block others last."""

from __future__ import annotations

from typing import Final

NAMESPACES: Final = 0
DEFINITIONS: Final = 1
CLUSTER_SCOPED: Final = 2
THE_REST: Final = 3
ADMISSION: Final = 4

_CLUSTER_SCOPED: Final = frozenset(
    {
        ("", "PersistentVolume"),
        ("rbac.authorization.k8s.io", "ClusterRole"),
        ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
        ("policy", "PodSecurityPolicy"),
        ("certificates.k8s.io", "ClusterTrustBundle"),
        ("flowcontrol.apiserver.k8s.io", "FlowSchema"),
        ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration"),
        ("storage.k8s.io", "CSIDriver"),
    }
)
_ADMISSION: Final = frozenset(
    {
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"),
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicy"),
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding"),
        ("apiregistration.k8s.io", "APIService"),
    }
)


def wave_of(group: str, kind: str) -> int:
    """Return the wave of a kind. Kinds that end in ``Class`` come early, as in Flux."""
    if (group, kind) == ("", "Namespace"):
        return NAMESPACES
    if (group, kind) == ("apiextensions.k8s.io", "CustomResourceDefinition"):
        return DEFINITIONS
    if (group, kind) in _ADMISSION:
        return ADMISSION
    if (group, kind) in _CLUSTER_SCOPED or kind.endswith("Class"):
        return CLUSTER_SCOPED
    return THE_REST
