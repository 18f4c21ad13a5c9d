"""What the status is made of: facts that the other steps of the hub know, without their types.

One `ClusterFacts` holds all about one cluster, so that a change anywhere rebuilds that cluster alone and a fleet of ten
thousand costs no more per change than a fleet of ten.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from felloe.identity import ObjectId, WorkloadId
from felloe.v1 import status_pb2 as pb

ConditionStatus = Literal["True", "False", "Unknown"]


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition as Kubernetes' ``metav1.Condition``. `since` is None where only the hub's memory can tell."""

    type: str
    status: ConditionStatus
    reason: str
    message: str = ""
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Connection:
    """The stream of one cluster. `since` is when it opened, or, while there is none, when the last one ended."""

    connected: bool = False
    since: datetime | None = None
    spoke_version: str = ""


@dataclass(frozen=True, slots=True)
class WorkloadFacts:
    """What the hub wants of one workload on one cluster.

    `digest` is the desired `felloe.bundle.Workload.digest`, None while nothing could be rendered yet. `revision` is the
    source's revision that the digest was rendered from, `attempted_revision` the newest that was tried; they differ
    where the newest does not build and the hub keeps the previous one. `conditions` are the hub's own (a Ready that is
    False overrides whatever the spoke says); `notes` are remarks such as fields that are not supported yet.
    `known_revisions` tells which revision an earlier digest stood for (`hub.status.revisions`).
    """

    id: WorkloadId
    digest: bytes | None
    revision: str
    attempted_revision: str = ""
    source: str = ""
    path: str = ""
    origin: str = ""
    parent: WorkloadId | None = None
    suspended: bool = False
    kept_previous: bool = False
    depends_on: tuple[WorkloadId, ...] = ()
    conditions: tuple[Condition, ...] = ()
    notes: tuple[str, ...] = ()
    known_revisions: Mapping[bytes, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """All about one cluster.

    `root` is the desired root, None before the first plan; `revision` the fleet repository's revision that it was
    planned from, `attempted_revision` the newest that was tried. `reported` is the spoke's whole status: every delta
    merged, workloads that the spoke removed left out. `known_revisions` tells the newest fleet revision of earlier
    roots.
    """

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    environment: str = ""
    sync_path: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    paused: bool = False
    declared: bool = False
    joined: bool = False
    root: bytes | None = None
    generation: int = 0
    revision: str = ""
    attempted_revision: str = ""
    workloads: tuple[WorkloadFacts, ...] = ()
    conditions: tuple[Condition, ...] = ()
    notes: tuple[str, ...] = ()
    connection: Connection = field(default_factory=Connection)
    reported: pb.ClusterStatus | None = None
    known_revisions: Mapping[bytes, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """One source. `ref` is shown as people write it (``main``, ``semver >=1.0``); `url` holds no credentials."""

    kind: str
    namespace: str
    name: str
    url: str
    ref: str = ""
    interval: float = 0.0
    suspended: bool = False
    revision: str = ""
    fetched_at: datetime | None = None
    checked_at: datetime | None = None
    conditions: tuple[Condition, ...] = ()
    notes: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EnvironmentFacts:
    """One environment and the clusters that its selector matches now."""

    name: str
    selector: Mapping[str, object] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    promoted_from: str = ""
    clusters: tuple[str, ...] = ()
    conditions: tuple[Condition, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PlacementFacts:
    """One placement, what it places, and the clusters that it matches now."""

    namespace: str
    name: str
    workloads: tuple[WorkloadId, ...] = ()
    selector: Mapping[str, object] = field(default_factory=dict)
    environments: tuple[str, ...] = ()
    clusters: tuple[str, ...] = ()
    conditions: tuple[Condition, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EventFacts:
    """Something that happened once. `cluster` is empty for what concerns the hub alone (a fetch, a token)."""

    time: datetime
    type: Literal["Normal", "Warning"]
    reason: str
    message: str
    cluster: str = ""
    involved: WorkloadId | None = None
    object: ObjectId | None = None
