"""What the comparison of two plans comes to, as facts; `hub.changes.shown` makes JSON of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from felloe.identity import ObjectId, WorkloadId
from felloe.k8syaml import JsonValue


class Operation(StrEnum):
    """What becomes of a field. `VARIABLE`: it stays as written, and what its variables stand for changes."""

    ADD = "add"
    REMOVE = "remove"
    REPLACE = "replace"
    REORDER = "reorder"
    VARIABLE = "variable"


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field that changes.

    `path` is for people: ``spec.template.spec.containers[name=web].image``. `steps` are its keys, with ``*`` for every
    item of a list. A text of several lines has a unified `diff` instead of `before` and `after`.
    """

    path: str
    operation: Operation
    before: JsonValue = None
    after: JsonValue = None
    diff: str = ""
    steps: tuple[str, ...] = field(default=(), repr=False)


class Action(StrEnum):
    """What becomes of an object, or of a workload. `RELEASE`: it stays in the cluster, and is not Felloe's any more."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    RELEASE = "release"
    SAME = "same"


class Severity(StrEnum):
    """How much a person should care: an `ERROR` is what the hub can't make a desired state of."""

    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"


class Reason(StrEnum):
    """What a finding is about."""

    NOT_BUILT = "NotBuilt"
    IMMUTABLE_FIELD = "ImmutableField"
    MASS_PRUNE = "MassPrune"
    DEFINITION_REMOVED = "DefinitionRemoved"
    NAMESPACE_DELETED = "NamespaceDeleted"
    DATA_DELETED = "DataDeleted"
    REMOVED_API = "RemovedApi"
    DEPRECATED_API = "DeprecatedApi"
    KEPT = "Kept"
    CONTENT_UNKNOWN = "ContentUnknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a person should know before the commit is merged; `object` is None where it is the workload's."""

    reason: Reason
    severity: Severity
    message: str
    object: ObjectId | None = None


@dataclass(frozen=True, slots=True)
class ObjectChange:
    """One object that changes.

    `former` is who it was where its generated name changes. `origin` is the workload that it comes from where it
    moves. `manifest` is the whole object where it is new. `left_out` counts fields that are not told.
    """

    id: ObjectId
    api_version: str
    action: Action
    fields: tuple[FieldChange, ...] = ()
    manifest: JsonValue = None
    former: ObjectId | None = None
    origin: WorkloadId | None = None
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class WorkloadChange:
    """What changes of a workload, the same on every cluster where `fingerprint` is the same.

    `unit` is what it moves with in a rollout. `options` are those of its Kustomization. `variables` are the names of
    those whose values change.
    """

    id: WorkloadId
    unit: str
    action: Action
    objects: tuple[ObjectChange, ...] = ()
    options: tuple[FieldChange, ...] = ()
    variables: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    fingerprint: bytes = field(default=b"", repr=False)

    @property
    def changes(self) -> bool:
        """Tell whether anything but findings comes of it."""
        return self.action is not Action.SAME


class VariableChange(NamedTuple):
    """A variable of a workload on a cluster; None is one that is not set."""

    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Placed:
    """A workload's change on one cluster."""

    change: WorkloadChange
    variables: tuple[VariableChange, ...] = ()
