"""What the hub needs of its store, whatever engine is behind it.

Methods are synchronous on purpose: each is one short transaction (tens of microseconds with SQLite), less than the
hand-over to a thread costs. Many changes at once go into one `batch()`, which must not be held across an ``await``.
Whatever a method has returned from survives a SIGKILL of the hub. Every method raises StoreError where the store can't
be read or written.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from felloe.digest import Digest
from felloe.identity import WorkloadId
from hub.store.records import (
    Approval,
    AuditQuery,
    AuditRecord,
    Cluster,
    Desired,
    HistoryRecord,
    Issued,
    Mark,
    Person,
    Publication,
    SourceState,
    Spending,
    StatusRecord,
    Token,
)


class Store(Protocol):
    """The hub's state."""

    @property
    def epoch(self) -> int:
        """Return this run's epoch: higher than that of every run before it."""
        ...

    def batch(self) -> AbstractContextManager[None]:
        """Make everything inside one transaction: all of it or, where an exception leaves it, nothing."""
        ...

    def close(self) -> None:
        """Close the store; nothing else may be called afterwards."""
        ...

    # -- tokens, clusters, certificates

    def add_token(self, token: Token) -> None:
        """Keep a new token. Expired tokens go after a day."""
        ...

    def token(self, token_id: str) -> Token | None:
        """Return a token, used or not."""
        ...

    def spend_token(self, token_id: str, secret_sha256: bytes, issued: Issued, now: float) -> Spending:
        """Spend a token and record its cluster with this certificate, in one transaction, or refuse and change nothing.

        The cluster's earlier certificates are worth nothing from then on, and a revoked cluster is a member again.
        """
        ...

    def cluster_of_certificate(self, serial: str) -> str | None:
        """Return the cluster whose certificate this is, None where it was replaced or revoked."""
        ...

    def renew_certificate(self, serial: str, issued: Issued) -> bool:
        """Add a certificate for the cluster of `serial`; return False where that one is worth nothing any more.

        The old one stays good until the new one renews itself (the answer may be lost); all others go.
        """
        ...

    def clusters(self) -> Sequence[Cluster]:
        """Return every enrolled cluster, revoked ones too, by name."""
        ...

    def cluster(self, name: str) -> Cluster | None:
        """Return one cluster."""
        ...

    def revoke(self, name: str) -> bool:
        """Make every certificate and unspent token of a cluster worthless; return whether it was enrolled."""
        ...

    def remove_cluster(self, name: str) -> None:
        """Forget a cluster with its desired state, status and certificates."""
        ...

    def seen(self, name: str, at: float, facts: Mapping[str, str] | None = None) -> None:
        """Record that a cluster was heard of; None leaves its facts as they are."""
        ...

    # -- desired state

    def publish(self, publication: Publication, now: float) -> Desired:
        """Make it the cluster's newest desired state; the generation rises only where the root differs."""
        ...

    def outrun(self, cluster: str, generation: int) -> Desired | None:
        """Let the newest desired state of a cluster have a higher generation than this one, and return it."""
        ...

    def move(self, cluster: str, revision: str) -> None:
        """Let the newest desired state of a cluster stand for another revision; all else stays."""
        ...

    def desired(self, cluster: str) -> Desired | None:
        """Return the newest desired state of a cluster."""
        ...

    def all_desired(self) -> Sequence[Desired]:
        """Return the newest desired state of every cluster that has one."""
        ...

    def bundle(self, root: Digest) -> bytes | None:
        """Return the bundle of a root: any newest one, and the last few former ones of each cluster."""
        ...

    def roots(self) -> Sequence[Digest]:
        """Return every root whose bundle is still known."""
        ...

    def acked(self, cluster: str, generation: int, root: Digest, at: float) -> None:
        """Record that a spoke holds a bundle."""
        ...

    def refused(self, cluster: str, root: Digest, message: str) -> None:
        """Record why a spoke can't take the newest root; ignored for any other root."""
        ...

    # -- history

    def add_history(
        self, cluster: str, generation: int, at: float, detail: str, workloads: Collection[WorkloadId]
    ) -> None:
        """Keep what a publication moved, found by its cluster and by these workloads; the oldest of a cluster go."""
        ...

    def reached(self, cluster: str, root: Digest, at: float, *, healthy: bool) -> None:
        """Record that a cluster has applied a root, or is healthy with it; the first time counts, the newest root."""
        ...

    def history(
        self, *, cluster: str = "", namespace: str = "", workload: str = "", limit: int = 100
    ) -> Sequence[HistoryRecord]:
        """Return the newest publications, oldest first: of a cluster, of workloads of a name, or of all."""
        ...

    # -- status

    def save_status(self, cluster: str, status: bytes, at: float) -> None:
        """Keep the whole last reported status of a cluster."""
        ...

    def statuses(self) -> Sequence[StatusRecord]:
        """Return the last reported status of every cluster."""
        ...

    # -- what people asked for

    def mark(self, mark: Mark) -> None:
        """Set what a person asked of a workload; a mark that says nothing is removed."""
        ...

    def marks(self) -> Mapping[tuple[str, WorkloadId], Mark]:
        """Return every mark by (cluster, workload)."""
        ...

    def approve(self, approval: Approval) -> None:
        """Keep an approval; it replaces an earlier one of the same workload on the same cluster."""
        ...

    def withdraw(self, approval: Approval) -> None:
        """Forget an approval, unless another one has replaced it."""
        ...

    def approvals(self) -> Sequence[Approval]:
        """Return every approval."""
        ...

    # -- releases and rollouts

    def save_release(self, number: int, detail: str) -> None:
        """Keep a release: `detail` is JSON of whoever plans."""
        ...

    def releases(self) -> Mapping[int, str]:
        """Return the details of every release that is kept, by number."""
        ...

    def forget_releases(self, numbers: Collection[int]) -> None:
        """Forget releases that nothing needs any more."""
        ...

    def save_rollout(self, unit: str, environment: str, detail: str) -> None:
        """Keep the state of the rollout of a unit in an environment; an empty detail removes it."""
        ...

    def rollouts(self) -> Mapping[tuple[str, str], str]:
        """Return the state of every rollout, by unit and environment."""
        ...

    # -- who did what, and who may

    def add_audit(self, record: AuditRecord, clusters: Collection[str]) -> None:
        """Append an entry that names these clusters; refused unless its number is that of the last one plus one."""
        ...

    def last_audit(self) -> AuditRecord | None:
        """Return the newest entry of the audit log."""
        ...

    def audit(self, query: AuditQuery) -> Sequence[AuditRecord]:
        """Return the entries that are asked for, oldest first."""
        ...

    def add_person(self, person: Person) -> bool:
        """Keep a new person; return False, and change nothing, where the name is taken."""
        ...

    def people(self) -> Sequence[Person]:
        """Return everybody who may use the API, by name, expired credentials too."""
        ...

    def remove_person(self, name: str) -> bool:
        """Forget a person; return whether there was one."""
        ...

    # -- sources

    def save_source(self, state: SourceState) -> None:
        """Keep the last good state of a source."""
        ...

    def sources(self) -> Mapping[str, SourceState]:
        """Return the last good state of every source by its key."""
        ...
