"""Fields of Kubernetes' own kinds that its API server refuses to change.

By the validation of each kind (kubernetes/kubernetes, ``Validate…Update`` in ``pkg/apis/*/validation``). What a custom
kind, a webhook or a policy forbids is not known here: `felloe diff` asks the cluster itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from felloe.identity import ObjectId
from felloe.k8syaml import JsonValue
from hub.changes.fields import ANY_ITEM
from hub.changes.model import FieldChange, Operation

Path = tuple[str, ...]


def _paths(*texts: str) -> tuple[Path, ...]:
    return tuple(tuple(text.split(".")) for text in texts)


@dataclass(frozen=True, slots=True)
class Rule:
    """`fixed` are fields that can't change with all that is below them, `free` what of it can nevertheless."""

    fixed: tuple[Path, ...]
    free: tuple[Path, ...] = ()

    def forbids(self, steps: Path) -> bool:
        """Tell whether a change at this place is refused."""
        if any(steps[: len(path)] == path for path in self.free):
            return False
        return any(steps[: len(path)] == path or path[: len(steps)] == steps for path in self.fixed)


_ROLES: Final = "rbac.authorization.k8s.io"
_POD_FREE: Final = _paths(
    f"spec.containers.{ANY_ITEM}.image",
    f"spec.initContainers.{ANY_ITEM}.image",
    "spec.activeDeadlineSeconds",
    "spec.terminationGracePeriodSeconds",
    "spec.tolerations",
    "spec.schedulingGates",
)
_VALUES: Final = Rule(_paths("data", "binaryData", "stringData", "immutable"))
RULES: Final[Mapping[tuple[str, str], Rule]] = {
    ("", "PersistentVolume"): Rule(
        _paths("spec.volumeMode", "spec.csi", "spec.nfs", "spec.hostPath", "spec.local", "spec.iscsi", "spec.rbd",
               "spec.cephfs", "spec.fc", "spec.awsElasticBlockStore", "spec.azureDisk", "spec.azureFile",
               "spec.gcePersistentDisk", "spec.vsphereVolume")
    ),
    ("", "PersistentVolumeClaim"): Rule(
        _paths("spec"), _paths("spec.resources.requests", "spec.volumeAttributesClassName")
    ),
    ("", "Pod"): Rule(_paths("spec"), _POD_FREE),
    ("", "Secret"): Rule(_paths("type")),
    ("", "Service"): Rule(_paths("spec.clusterIP", "spec.clusterIPs")),
    ("apiextensions.k8s.io", "CustomResourceDefinition"): Rule(
        _paths("spec.group", "spec.scope", "spec.names.kind", "spec.names.plural")
    ),
    ("apps", "DaemonSet"): Rule(_paths("spec.selector")),
    ("apps", "Deployment"): Rule(_paths("spec.selector")),
    ("apps", "ReplicaSet"): Rule(_paths("spec.selector")),
    ("apps", "StatefulSet"): Rule(
        _paths("spec"),
        _paths("spec.replicas", "spec.ordinals", "spec.template", "spec.updateStrategy", "spec.revisionHistoryLimit",
               "spec.persistentVolumeClaimRetentionPolicy", "spec.minReadySeconds"),
    ),
    ("batch", "Job"): Rule(
        _paths("spec"),
        _paths("spec.parallelism", "spec.completions", "spec.backoffLimit", "spec.activeDeadlineSeconds",
               "spec.ttlSecondsAfterFinished", "spec.suspend"),
    ),
    ("certificates.k8s.io", "CertificateSigningRequest"): Rule(_paths("spec")),
    ("discovery.k8s.io", "EndpointSlice"): Rule(_paths("addressType")),
    ("networking.k8s.io", "IngressClass"): Rule(_paths("spec.controller")),
    ("node.k8s.io", "RuntimeClass"): Rule(_paths("handler")),
    (_ROLES, "ClusterRoleBinding"): Rule(_paths("roleRef")),
    (_ROLES, "RoleBinding"): Rule(_paths("roleRef")),
    ("scheduling.k8s.io", "PriorityClass"): Rule(_paths("value", "preemptionPolicy")),
    ("storage.k8s.io", "CSIDriver"): Rule(_paths("spec.attachRequired", "spec.volumeLifecycleModes")),
    ("storage.k8s.io", "StorageClass"): Rule(
        _paths("provisioner", "parameters", "reclaimPolicy", "volumeBindingMode")
    ),
    ("storage.k8s.io", "VolumeAttachment"): Rule(_paths("spec")),
}  # fmt: skip
_SEALABLE: Final = frozenset({("", "ConfigMap"), ("", "Secret")})


def immutable_fields(
    identity: ObjectId, before: Mapping[str, JsonValue], changes: tuple[FieldChange, ...]
) -> tuple[str, ...]:
    """Return the paths among `changes` of an object that its API server refuses; `before` is as it is now.

    A field that Git begins to set may have this value in the cluster already (by default, or given by a controller):
    that counts only where Kubernetes fills nothing in.
    """
    rules = [RULES[identity[:2]]] if identity[:2] in RULES else []
    if identity[:2] in _SEALABLE and before.get("immutable") is True:
        rules.append(_VALUES)
    return tuple(change.path for change in changes if any(_refused(identity, rule, change) for rule in rules))


def _refused(identity: ObjectId, rule: Rule, change: FieldChange) -> bool:
    if change.operation is Operation.REORDER or not rule.forbids(change.steps):
        return False
    if rule is _VALUES:
        return True
    if identity[:2] == ("", "Service"):  # taken out of Git it stays as the cluster chose
        return change.operation is not Operation.ADD and change.operation is not Operation.REMOVE
    return change.operation is not Operation.ADD or change.steps[-1] not in _DEFAULTED


_DEFAULTED: Final = frozenset(
    {
        *("attachRequired", "completionMode", "dnsPolicy", "imagePullPolicy", "manualSelector", "nodeName"),
        *("podManagementPolicy", "podReplacementPolicy", "preemptionPolicy", "protocol", "reclaimPolicy"),
        *("restartPolicy", "schedulerName", "securityContext", "serviceAccount", "serviceAccountName"),
        *("storageClassName", "terminationGracePeriodSeconds", "terminationMessagePath", "terminationMessagePolicy"),
        *("type", "volumeBindingMode", "volumeLifecycleModes", "volumeMode", "volumeName"),
    }
)
"""Fields that the API server fills in where Git says nothing: one that is added may say what is there already."""
