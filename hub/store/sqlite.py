"""The embedded engine of the store.

What may not be undone by a power cut either (the epoch, tokens, certificates, desired state, what people asked for) is
synced to disk with each commit. Status and last-seen times are not: after a SIGKILL they are there, after a power cut
the spokes tell them again.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Final

import orjson

from felloe.digest import Digest
from felloe.identity import WorkloadId
from hub.store.database import Database, Row
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

FORMER_KEPT: Final = 8
HISTORY_KEPT: Final = 200
"""Generations of a cluster that its history goes back."""
TOKENS_KEPT: Final = 86400.0
"""Seconds that an expired token stays known, so that its refusal can say why."""

_CLUSTER = "SELECT name, labels, enrolled_at, revoked, last_seen, facts FROM clusters"
_DESIRED = (
    "SELECT cluster, generation, root, revision, plan, traceparent, published_at,"
    " acked_generation, acked_root, acked_at, refusal FROM desired"
)
_AUDIT = (
    "SELECT number, at, who, action, entry FROM audit"
    " WHERE number > ?1 AND at >= ?2 AND (?3 = '' OR action = ?3)"
    " AND (?4 = '' OR number IN (SELECT number FROM audit_clusters WHERE cluster = ?4)) ORDER BY number LIMIT ?5"
)
_HISTORY = (
    "SELECT cluster, generation, at, detail, applied_at, healthy_at FROM history JOIN moves ON moves.number = move"
    " WHERE history.number IN (SELECT number FROM history WHERE (?1 = '' OR cluster = ?1) AND (?2 = '' OR move IN"
    " (SELECT move FROM moved_workloads WHERE name = ?2 AND (?3 = '' OR namespace = ?3)))"
    " ORDER BY number DESC LIMIT ?4) ORDER BY history.number DESC"
)


class SqliteStore:
    """The hub's state in one file. Opening it claims the next epoch; a second process is refused."""

    def __init__(self, path: Path, *, epoch_at_least: int = 0) -> None:
        """Open or create the store at `path`.

        `epoch_at_least` is for a hub restored from a backup that is older than what its spokes have seen. Raise
        StoreError where the file is no store, belongs to a newer Felloe, or is in use.
        """
        self._db = Database(path)
        self._db.write("UPDATE hub SET epoch = MAX(epoch + 1, ?)", epoch_at_least)
        self._epoch = int(self._db.rows("SELECT epoch FROM hub")[0][0])

    @property
    def epoch(self) -> int:
        """Return this run's epoch."""
        return self._epoch

    def batch(self) -> AbstractContextManager[None]:
        """Make everything inside one transaction."""
        return self._db.transaction()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    # -- tokens, clusters, certificates

    def add_token(self, token: Token) -> None:
        """Keep a new token."""
        with self._db.transaction():
            self._db.insert(
                "INSERT INTO tokens (id, secret_sha256, cluster, labels, expires_at) VALUES (?, ?, ?, ?, ?)",
                token.id,
                token.secret_sha256,
                token.cluster,
                _json(token.labels),
                token.expires_at,
            )

    def token(self, token_id: str) -> Token | None:
        """Return a token, used or not."""
        row = self._db.row(
            "SELECT id, secret_sha256, cluster, labels, expires_at, used_at FROM tokens WHERE id = ?", token_id
        )
        return Token(row[0], row[1], row[2], orjson.loads(row[3]), row[4], row[5]) if row else None

    def spend_token(self, token_id: str, secret_sha256: bytes, issued: Issued, now: float) -> Spending:
        """Spend a token and record its cluster with this certificate, or refuse and change nothing."""
        with self._db.transaction():
            self._db.write("DELETE FROM tokens WHERE expires_at < ?", now - TOKENS_KEPT)
            row = self._db.row(
                "SELECT secret_sha256, cluster, labels, expires_at, used_key FROM tokens WHERE id = ?", token_id
            )
            if row is None or not hmac.compare_digest(row[0], secret_sha256):
                return Spending.UNKNOWN
            _, cluster, labels, expires_at, used_key = row
            if expires_at <= now:
                return Spending.EXPIRED
            if used_key is not None and not self._may_repeat(cluster, used_key, issued):
                return Spending.USED
            self._db.write("UPDATE tokens SET used_at = ?, used_key = ? WHERE id = ?", now, issued.public_key, token_id)
            self._db.write(
                "INSERT INTO clusters (name, labels, enrolled_at, public_key) VALUES (?, ?, ?, ?) ON CONFLICT (name)"
                " DO UPDATE SET labels = excluded.labels, enrolled_at = excluded.enrolled_at,"
                " public_key = excluded.public_key, revoked = 0",
                cluster,
                labels,
                now,
                issued.public_key,
            )
            self._db.write("DELETE FROM certificates WHERE cluster = ?", cluster)
            self._add_certificate(cluster, issued)
        return Spending.SPENT if used_key is None else Spending.REPEATED

    def _may_repeat(self, cluster: str, used_key: bytes, issued: Issued) -> bool:
        """Tell whether the same key asks again, for the membership that this token founded and that still stands."""
        row = self._db.row("SELECT public_key, revoked FROM clusters WHERE name = ?", cluster)
        return row is not None and not row[1] and used_key == issued.public_key == row[0]

    def _add_certificate(self, cluster: str, issued: Issued) -> None:
        self._db.insert("INSERT INTO certificates VALUES (?, ?, ?)", issued.serial, cluster, issued.not_after)

    def cluster_of_certificate(self, serial: str) -> str | None:
        """Return the cluster whose certificate this is."""
        row = self._db.row("SELECT cluster FROM certificates WHERE serial = ?", serial)
        return str(row[0]) if row else None

    def renew_certificate(self, serial: str, issued: Issued) -> bool:
        """Add a certificate for the cluster of `serial`, and drop those that are neither."""
        with self._db.transaction():
            cluster = self.cluster_of_certificate(serial)
            if cluster is None:
                return False
            self._db.write("DELETE FROM certificates WHERE cluster = ? AND serial != ?", cluster, serial)
            self._add_certificate(cluster, issued)
        return True

    def clusters(self) -> Sequence[Cluster]:
        """Return every enrolled cluster, by name."""
        return [_cluster(row) for row in self._db.rows(f"{_CLUSTER} ORDER BY name")]

    def cluster(self, name: str) -> Cluster | None:
        """Return one cluster."""
        row = self._db.row(f"{_CLUSTER} WHERE name = ?", name)
        return _cluster(row) if row else None

    def revoke(self, name: str) -> bool:
        """Make every certificate and unspent token of a cluster worthless."""
        with self._db.transaction():
            self._db.write("DELETE FROM certificates WHERE cluster = ?", name)
            self._db.write("DELETE FROM tokens WHERE cluster = ?", name)
            return self._db.write("UPDATE clusters SET revoked = 1 WHERE name = ?", name) > 0

    def remove_cluster(self, name: str) -> None:
        """Forget a cluster."""
        with self._db.transaction():
            newest = self.desired(name)
            self._db.write("DELETE FROM clusters WHERE name = ?", name)
            for table in ("tokens", "certificates", "desired", "statuses", "approvals"):
                self._db.write(f"DELETE FROM {table} WHERE cluster = ?", name)  # noqa: S608 -- the names stand above
            if newest is not None:
                self._forget_former(name, newest.generation)
                self._forget_history(name, newest.generation)
                self._drop_bundles([newest.root])

    def seen(self, name: str, at: float, facts: Mapping[str, str] | None = None) -> None:
        """Record that a cluster was heard of."""
        self._db.write(
            "UPDATE clusters SET last_seen = ?, facts = COALESCE(?, facts) WHERE name = ?",
            at,
            None if facts is None else _json(facts),
            name,
            durable=False,
        )

    # -- desired state

    def publish(self, publication: Publication, now: float) -> Desired:
        """Make it the cluster's newest desired state."""
        p = publication
        with self._db.transaction():
            old = self.desired(p.cluster)
            if old is not None and old.root == p.root:
                self._db.write(
                    "UPDATE desired SET revision = ?, plan = ? WHERE cluster = ?", p.revision, p.plan, p.cluster
                )
                return replace(old, revision=p.revision, plan=p.plan)
            generation = old.generation + 1 if old else 1
            self._db.write(
                "INSERT INTO desired (cluster, generation, root, revision, plan, traceparent, published_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (cluster) DO UPDATE SET generation = excluded.generation,"
                " root = excluded.root, revision = excluded.revision, plan = excluded.plan, refusal = '',"
                " traceparent = excluded.traceparent, published_at = excluded.published_at",
                *(p.cluster, generation, p.root, p.revision, p.plan, p.traceparent, now),
            )
            self._db.write("INSERT OR IGNORE INTO bundles VALUES (?, ?)", p.root, p.bundle)
            if old is not None:
                self._db.insert("INSERT INTO former VALUES (?, ?, ?)", p.cluster, old.generation, old.root)
                self._forget_former(p.cluster, old.generation - FORMER_KEPT)
        new = Desired(p.cluster, generation, p.root, p.revision, p.plan, p.traceparent, now)
        if old is None:
            return new
        return replace(new, acked_generation=old.acked_generation, acked_root=old.acked_root, acked_at=old.acked_at)

    def _forget_former(self, cluster: str, up_to: int) -> None:
        """Forget a cluster's former generations `up_to` this one, and the bundles that nobody names any more."""
        rows = self._db.rows("SELECT root FROM former WHERE cluster = ? AND generation <= ?", cluster, up_to)
        self._db.write("DELETE FROM former WHERE cluster = ? AND generation <= ?", cluster, up_to)
        self._drop_bundles(row[0] for row in rows)

    def _drop_bundles(self, roots: Iterable[bytes]) -> None:
        for root in roots:
            self._db.write(
                "DELETE FROM bundles WHERE root = ?1 AND NOT EXISTS (SELECT 1 FROM desired WHERE root = ?1)"
                " AND NOT EXISTS (SELECT 1 FROM former WHERE root = ?1)",
                root,
            )

    def outrun(self, cluster: str, generation: int) -> Desired | None:
        """Let the newest desired state of a cluster have a higher generation than this one, and return it."""
        self._db.write(
            "UPDATE desired SET generation = ?2 + 1 WHERE cluster = ?1 AND generation <= ?2", cluster, generation
        )
        return self.desired(cluster)

    def move(self, cluster: str, revision: str) -> None:
        """Let the newest desired state of a cluster stand for another revision."""
        self._db.write("UPDATE desired SET revision = ? WHERE cluster = ?", revision, cluster)

    def desired(self, cluster: str) -> Desired | None:
        """Return the newest desired state of a cluster."""
        row = self._db.row(f"{_DESIRED} WHERE cluster = ?", cluster)
        return Desired(*row) if row else None

    def all_desired(self) -> Sequence[Desired]:
        """Return the newest desired state of every cluster that has one."""
        return [Desired(*row) for row in self._db.rows(f"{_DESIRED} ORDER BY cluster")]

    def bundle(self, root: Digest) -> bytes | None:
        """Return the bundle of a root."""
        row = self._db.row("SELECT bundle FROM bundles WHERE root = ?", root)
        return bytes(row[0]) if row else None

    def roots(self) -> Sequence[Digest]:
        """Return every root whose bundle is still known."""
        return [Digest(row[0]) for row in self._db.rows("SELECT root FROM bundles")]

    def acked(self, cluster: str, generation: int, root: Digest, at: float) -> None:
        """Record that a spoke holds a bundle."""
        self._db.write(
            "UPDATE desired SET acked_generation = ?, acked_root = ?, acked_at = ?,"
            " refusal = CASE WHEN root = ? THEN '' ELSE refusal END WHERE cluster = ?",
            *(generation, root, at, root, cluster),
            durable=False,
        )

    def refused(self, cluster: str, root: Digest, message: str) -> None:
        """Record why a spoke can't take the newest root."""
        self._db.write(
            "UPDATE desired SET refusal = ? WHERE cluster = ? AND root = ?", message, cluster, root, durable=False
        )

    # -- history

    def add_history(
        self, cluster: str, generation: int, at: float, detail: str, workloads: Collection[WorkloadId]
    ) -> None:
        """Keep what a publication moved."""
        name = sha256(detail.encode()).digest()
        with self._db.transaction():
            row = self._db.row("SELECT number FROM moves WHERE sha256 = ?", name)
            move = row[0] if row else self._add_move(name, detail, workloads)
            self._db.insert(
                "INSERT INTO history (cluster, generation, move, at) VALUES (?, ?, ?, ?)", cluster, generation, move, at
            )
            self._forget_history(cluster, generation - HISTORY_KEPT)

    def _add_move(self, name: bytes, detail: str, workloads: Collection[WorkloadId]) -> int:
        move = self._db.insert("INSERT INTO moves (sha256, detail) VALUES (?, ?)", name, detail)
        for each in workloads:
            values = (each.name, each.namespace, each.kind, move)
            self._db.insert("INSERT INTO moved_workloads VALUES (?, ?, ?, ?)", *values)
        return move

    def _forget_history(self, cluster: str, up_to: int) -> None:
        """Forget what moved a cluster up to a generation, and the moves that nothing names any more."""
        which = "FROM history WHERE cluster = ? AND generation <= ?"
        moves = self._db.rows(f"SELECT DISTINCT move {which}", cluster, up_to)
        if not moves:
            return
        self._db.write(f"DELETE {which}", cluster, up_to)
        for (move,) in moves:
            if self._db.row("SELECT 1 FROM history WHERE move = ? LIMIT 1", move) is None:
                self._db.write("DELETE FROM moved_workloads WHERE move = ?", move)
                self._db.write("DELETE FROM moves WHERE number = ?", move)

    def reached(self, cluster: str, root: Digest, at: float, *, healthy: bool) -> None:
        """Record that a cluster has applied a root, or is healthy with it."""
        column = "healthy_at" if healthy else "applied_at"
        self._db.write(
            f"UPDATE history SET {column} = ? WHERE {column} IS NULL AND cluster = ?"  # noqa: S608 -- one of two names
            " AND generation = (SELECT generation FROM desired WHERE cluster = ? AND root = ?)",
            *(at, cluster, cluster, root),
            durable=False,
        )

    def history(
        self, *, cluster: str = "", namespace: str = "", workload: str = "", limit: int = 100
    ) -> Sequence[HistoryRecord]:
        """Return the newest publications, oldest first."""
        rows = self._db.rows(_HISTORY, cluster, workload, namespace, limit)
        return [HistoryRecord(*row) for row in reversed(rows)]

    # -- status, events

    def save_status(self, cluster: str, status: bytes, at: float) -> None:
        """Keep the whole last reported status of a cluster."""
        self._db.write("INSERT OR REPLACE INTO statuses VALUES (?, ?, ?)", cluster, status, at, durable=False)

    def statuses(self) -> Sequence[StatusRecord]:
        """Return the last reported status of every cluster."""
        return [StatusRecord(*row) for row in self._db.rows("SELECT cluster, status, at FROM statuses")]

    # -- what people asked for, sources

    def mark(self, mark: Mark) -> None:
        """Set what a person asked of a workload; a mark that says nothing is removed."""
        if mark.suspended or mark.requested_at:
            values = (mark.cluster, *mark.workload, mark.suspended, mark.requested_at)
            self._db.write("INSERT OR REPLACE INTO marks VALUES (?, ?, ?, ?, ?, ?)", *values)
        else:
            self._db.write(
                "DELETE FROM marks WHERE cluster = ? AND kind = ? AND namespace = ? AND name = ?",
                *(mark.cluster, *mark.workload),
            )

    def marks(self) -> Mapping[tuple[str, WorkloadId], Mark]:
        """Return every mark by (cluster, workload)."""
        rows = self._db.rows("SELECT cluster, kind, namespace, name, suspended, requested_at FROM marks")
        marks = [Mark(WorkloadId(*row[1:4]), row[0], bool(row[4]), row[5]) for row in rows]
        return {(mark.cluster, mark.workload): mark for mark in marks}

    def approve(self, approval: Approval) -> None:
        """Keep an approval."""
        values = (approval.cluster, *approval.workload, approval.prune, approval.who, approval.at)
        self._db.write("INSERT OR REPLACE INTO approvals VALUES (?, ?, ?, ?, ?, ?, ?)", *values)

    def withdraw(self, approval: Approval) -> None:
        """Forget an approval, unless another one has replaced it."""
        self._db.write(
            "DELETE FROM approvals WHERE cluster = ? AND kind = ? AND namespace = ? AND name = ? AND prune = ?",
            *(approval.cluster, *approval.workload, approval.prune),
        )

    def approvals(self) -> Sequence[Approval]:
        """Return every approval."""
        rows = self._db.rows("SELECT cluster, kind, namespace, name, prune, who, at FROM approvals")
        return [Approval(row[0], WorkloadId(*row[1:4]), *row[4:]) for row in rows]

    # -- releases and rollouts

    def save_release(self, number: int, detail: str) -> None:
        """Keep a release."""
        with self._db.transaction():
            self._db.write("INSERT OR REPLACE INTO releases (number, detail) VALUES (?, ?)", number, detail)

    def releases(self) -> Mapping[int, str]:
        """Return the details of every release that is kept."""
        return {int(row[0]): str(row[1]) for row in self._db.rows("SELECT number, detail FROM releases")}

    def forget_releases(self, numbers: Collection[int]) -> None:
        """Forget releases."""
        with self._db.transaction():
            for number in numbers:
                self._db.write("DELETE FROM releases WHERE number = ?", number)

    def save_rollout(self, unit: str, environment: str, detail: str) -> None:
        """Keep the state of a rollout, or remove it."""
        with self._db.transaction():
            if detail:
                self._db.write("INSERT OR REPLACE INTO rollouts VALUES (?, ?, ?)", unit, environment, detail)
            else:
                self._db.write("DELETE FROM rollouts WHERE unit = ? AND environment = ?", unit, environment)

    def rollouts(self) -> Mapping[tuple[str, str], str]:
        """Return the state of every rollout."""
        rows = self._db.rows("SELECT unit, environment, detail FROM rollouts")
        return {(str(unit), str(environment)): str(detail) for unit, environment, detail in rows}

    # -- who did what, and who may

    def add_audit(self, record: AuditRecord, clusters: Collection[str]) -> None:
        """Append an entry."""
        values = (record.number, record.at, record.who, record.action, record.entry)
        with self._db.transaction():
            self._db.insert("INSERT INTO audit (number, at, who, action, entry) VALUES (?, ?, ?, ?, ?)", *values)
            for cluster in set(clusters):
                self._db.insert("INSERT INTO audit_clusters VALUES (?, ?)", cluster, record.number)

    def last_audit(self) -> AuditRecord | None:
        """Return the newest entry of the audit log."""
        row = self._db.row("SELECT number, at, who, action, entry FROM audit ORDER BY number DESC LIMIT 1")
        return AuditRecord(*row) if row else None

    def audit(self, query: AuditQuery) -> Sequence[AuditRecord]:
        """Return the entries that are asked for."""
        values = (query.after, query.since, query.action, query.cluster, query.limit)
        rows = self._db.rows(_AUDIT, *values)
        return [AuditRecord(*row) for row in rows]

    def add_person(self, person: Person) -> bool:
        """Keep a new person."""
        values = (person.name, person.token_sha256, person.created_at, person.created_by, person.expires_at)
        return self._db.write("INSERT OR IGNORE INTO people VALUES (?, ?, ?, ?, ?)", *values) > 0

    def people(self) -> Sequence[Person]:
        """Return everybody who may use the API."""
        rows = self._db.rows("SELECT name, token_sha256, created_at, created_by, expires_at FROM people ORDER BY name")
        return [Person(*row) for row in rows]

    def remove_person(self, name: str) -> bool:
        """Forget a person."""
        return self._db.write("DELETE FROM people WHERE name = ?", name) > 0

    # -- sources

    def save_source(self, state: SourceState) -> None:
        """Keep the last good state of a source."""
        values = (state.key, state.revision, state.commit, state.detail)
        self._db.write("INSERT OR REPLACE INTO sources VALUES (?, ?, ?, ?)", *values)

    def sources(self) -> Mapping[str, SourceState]:
        """Return the last good state of every source by its key."""
        rows = self._db.rows('SELECT key, revision, "commit", detail FROM sources')
        return {row[0]: SourceState(*row) for row in rows}


def _json(labels: Mapping[str, str]) -> str:
    return orjson.dumps(dict(labels), option=orjson.OPT_SORT_KEYS).decode()


def _cluster(row: Row) -> Cluster:
    name, labels, enrolled_at, revoked, last_seen, facts = row
    return Cluster(name, orjson.loads(labels), enrolled_at, bool(revoked), last_seen, orjson.loads(facts))
