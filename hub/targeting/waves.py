"""Which objects of a workload come before which: by their kind, or by a wave that their author names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from felloe.errors import ConfigError
from felloe.identity import ObjectId
from felloe.labels import WAVE_ANNOTATION
from felloe.waves import ADMISSION, CLUSTER_SCOPED, DEFINITIONS, HIGHEST, LOWEST, NAMESPACES, THE_REST, own_wave

_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,6}", re.ASCII)
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


def wave_of(identity: ObjectId, manifest: Mapping[str, object]) -> int:
    """Return the wave of an object. Raise ConfigError where its annotation names none.

    Namespaces and definitions come first whatever they say: everything else may need them.
    """
    wave = wave_of_kind(identity.group, identity.kind)
    metadata = manifest.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, Mapping) else None
    said = annotations.get(WAVE_ANNOTATION) if isinstance(annotations, Mapping) else None
    if said is None:
        return wave
    if not _NUMBER.fullmatch(str(said)) or not LOWEST <= int(str(said)) <= HIGHEST:
        raise ConfigError(
            f"{identity}: {WAVE_ANNOTATION} is {said!r}; use a whole number from {LOWEST} to {HIGHEST}, in quotes"
        )
    return wave if wave in (NAMESPACES, DEFINITIONS) else own_wave(int(str(said)))


def wave_of_kind(group: str, kind: str) -> int:
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
