"""One resource as the API shows it: typed on the inside, Kubernetes-shaped JSON on the outside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, NamedTuple

from felloe.labels import GROUP
from hub.status.facts import Condition

CLUSTER_LABEL: Final = f"{GROUP}/cluster"
ENVIRONMENT_LABEL: Final = f"{GROUP}/environment"

_FLUX: Final = {
    "GitRepository": "source.toolkit.fluxcd.io/v1",
    "OCIRepository": "source.toolkit.fluxcd.io/v1",
    "HelmRepository": "source.toolkit.fluxcd.io/v1",
    "HelmChart": "source.toolkit.fluxcd.io/v1",
    "Bucket": "source.toolkit.fluxcd.io/v1",
    "Kustomization": "kustomize.toolkit.fluxcd.io/v1",
    "HelmRelease": "helm.toolkit.fluxcd.io/v2",
}


class Collection(StrEnum):
    """The lists of the API, by the plural that the CLI and the URL use."""

    CLUSTERS = "clusters"
    SOURCES = "sources"
    ENVIRONMENTS = "environments"
    PLACEMENTS = "placements"
    WORKLOADS = "workloads"
    ROLLOUTS = "rollouts"


class Key(NamedTuple):
    """Who a resource is inside its collection; `cluster` is empty but for workloads."""

    cluster: str
    kind: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource. Equal resources show the same; the version that a board gives it is no part of it.

    `members` are the clusters that it is about, where its status does not list all of them; they are not shown.
    """

    collection: Collection
    kind: str
    name: str
    namespace: str = ""
    cluster: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    spec: Mapping[str, object] = field(default_factory=dict)
    status: Mapping[str, object] = field(default_factory=dict)
    conditions: tuple[Condition, ...] = ()
    members: frozenset[str] = frozenset()

    @property
    def key(self) -> Key:
        """Return who it is."""
        return Key(self.cluster, self.kind, self.namespace, self.name)

    def condition(self, kind: str) -> Condition | None:
        """Return its condition of one type."""
        return next((condition for condition in self.conditions if condition.type == kind), None)

    def as_json(self, version: int) -> dict[str, object]:
        """Return it as the API sends it; `version` becomes its ``resourceVersion``."""
        metadata: dict[str, object] = {"name": self.name}
        if self.namespace:
            metadata["namespace"] = self.namespace
        metadata["labels"] = dict(self.labels)
        metadata["resourceVersion"] = str(version)
        shown: dict[str, object] = {
            "kind": self.kind,
            "apiVersion": _FLUX.get(self.kind, f"{GROUP}/v1alpha1"),
            "metadata": metadata,
        }
        if self.cluster:
            shown["cluster"] = self.cluster
        conditions = [_condition_json(condition) for condition in self.conditions]
        return shown | {"spec": dict(self.spec), "status": dict(self.status) | {"conditions": conditions}}


def timestamp(moment: datetime) -> str:
    """Return a time as Kubernetes writes it (RFC 3339, UTC, seconds)."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def exact_timestamp(moment: datetime) -> str:
    """Return a time as Kubernetes' MicroTime has it: for moments whose distance is of interest."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def settle(conditions: tuple[Condition, ...], previous: Resource | None, now: datetime) -> tuple[Condition, ...]:
    """Give each condition the time of its last transition: its own, else the previous one while its status is the same.

    The time changes with the status only, not with reason or message (metav1.Condition.lastTransitionTime).
    """
    settled = []
    for condition in conditions:
        if condition.since is None:
            before = previous.condition(condition.type) if previous else None
            same = before is not None and before.status == condition.status
            condition = replace(condition, since=before.since if before and same else now)
        settled.append(condition)
    return tuple(settled)


def _condition_json(condition: Condition) -> dict[str, object]:
    return {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
        "lastTransitionTime": timestamp(condition.since) if condition.since else None,
    }
