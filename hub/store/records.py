"""The facts that the store keeps. Every time is in seconds since 1970, UTC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from felloe.digest import Digest
from felloe.identity import WorkloadId


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate that the hub's CA signed for a cluster. Of `public_key` only the sha256 is kept (SPKI, DER)."""

    serial: str
    public_key: bytes
    not_after: float


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster that has enrolled. Labels are those of its token; `facts` what it last said of itself."""

    name: str
    labels: Mapping[str, str]
    enrolled_at: float
    revoked: bool = False
    last_seen: float | None = None
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Token:
    """A join token; the secret itself is never kept."""

    id: str
    secret_sha256: bytes
    cluster: str
    labels: Mapping[str, str]
    expires_at: float
    used_at: float | None = None


class Spending(Enum):
    """What became of an attempt to spend a token."""

    SPENT = "spent"
    REPEATED = "repeated"
    """The same key asked again within the token's time: the first answer may have been lost."""
    UNKNOWN = "unknown"
    EXPIRED = "expired"
    USED = "used"


@dataclass(frozen=True, slots=True)
class Publication:
    """What a cluster should be. `plan` and `revision` are for people; they are no part of the root."""

    cluster: str
    root: Digest
    bundle: bytes
    """A serialized felloe.v1.Bundle, zstd; the same for every cluster with this root."""
    revision: str = ""
    plan: str = ""
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class Desired:
    """The newest publication of a cluster and how far it got. The bundle is read apart, by its root."""

    cluster: str
    generation: int
    root: Digest
    revision: str
    plan: str
    traceparent: str
    published_at: float
    acked_generation: int = 0
    acked_root: Digest | None = None
    acked_at: float | None = None
    refusal: str = ""
    """Why the spoke can't take this root, in its own words; empty again with the next root or Ack."""


@dataclass(frozen=True, slots=True)
class StatusRecord:
    """The last reported status of a cluster: a serialized felloe.v1.ClusterStatus."""

    cluster: str
    status: bytes
    at: float


@dataclass(frozen=True, slots=True)
class Mark:
    """What a person asked of a workload. `cluster` is empty for every cluster's."""

    workload: WorkloadId
    cluster: str = ""
    suspended: bool = False
    requested_at: str = ""


@dataclass(frozen=True, slots=True)
class Approval:
    """A deletion (`prune`, as the spoke names it) that a person approved for a workload of a cluster, wanted or not."""

    cluster: str
    workload: WorkloadId
    prune: str
    who: str
    at: float


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """An entry of the audit log: `entry` is the whole of it, one line of JSON; the rest is what it is found by."""

    number: int
    at: float
    who: str
    action: str
    entry: str


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """Which entries of the audit log are asked for; what is empty asks for nothing.

    `after` is the number of the last entry that is known already, `since` seconds since 1970.
    """

    after: int = 0
    limit: int = 100
    cluster: str = ""
    action: str = ""
    since: float = 0.0


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who may use the API. Of the token only the sha256 is kept; None is a credential without an end."""

    name: str
    token_sha256: bytes
    created_at: float
    created_by: str
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class HistoryRecord:
    """A publication that moved a cluster to another root. `detail` is JSON of whoever plans: what moved, and why.

    `applied_at` and `healthy_at` are when the cluster first reported this very root so.
    """

    cluster: str
    generation: int
    at: float
    detail: str
    applied_at: float | None = None
    healthy_at: float | None = None


@dataclass(frozen=True, slots=True)
class SourceState:
    """The last good state of a source. `detail` is JSON of whoever fetches."""

    key: str
    revision: str
    commit: str
    detail: str = "{}"
