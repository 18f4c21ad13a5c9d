"""The tables of the SQLite engine, as a list of migrations: each takes the database from its index to the next."""

from __future__ import annotations

import sqlite3
from typing import Final

from felloe.errors import StoreError

MIGRATIONS: Final = (
    """
    CREATE TABLE hub (one INTEGER PRIMARY KEY CHECK (one = 1), epoch INTEGER NOT NULL);
    INSERT INTO hub VALUES (1, 0);

    CREATE TABLE tokens (
        id TEXT PRIMARY KEY, secret_sha256 BLOB NOT NULL, cluster TEXT NOT NULL, labels TEXT NOT NULL,
        expires_at REAL NOT NULL, used_at REAL, used_key BLOB
    ) WITHOUT ROWID;
    CREATE TABLE clusters (
        name TEXT PRIMARY KEY, labels TEXT NOT NULL, enrolled_at REAL NOT NULL, public_key BLOB NOT NULL,
        revoked INTEGER NOT NULL DEFAULT 0, last_seen REAL, facts TEXT NOT NULL DEFAULT '{}'
    ) WITHOUT ROWID;
    CREATE TABLE certificates (
        serial TEXT PRIMARY KEY, cluster TEXT NOT NULL, not_after REAL NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX certificates_cluster ON certificates (cluster);

    CREATE TABLE bundles (root BLOB PRIMARY KEY, bundle BLOB NOT NULL);
    CREATE TABLE desired (
        cluster TEXT PRIMARY KEY, generation INTEGER NOT NULL, root BLOB NOT NULL, revision TEXT NOT NULL,
        plan TEXT NOT NULL, traceparent TEXT NOT NULL, published_at REAL NOT NULL,
        acked_generation INTEGER NOT NULL DEFAULT 0, acked_root BLOB, acked_at REAL, refusal TEXT NOT NULL DEFAULT ''
    );
    CREATE INDEX desired_root ON desired (root);
    CREATE TABLE former (
        cluster TEXT NOT NULL, generation INTEGER NOT NULL, root BLOB NOT NULL, PRIMARY KEY (cluster, generation)
    ) WITHOUT ROWID;
    CREATE INDEX former_root ON former (root);

    CREATE TABLE statuses (cluster TEXT PRIMARY KEY, status BLOB NOT NULL, at REAL NOT NULL);

    CREATE TABLE marks (
        cluster TEXT NOT NULL, kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
        suspended INTEGER NOT NULL, requested_at TEXT NOT NULL, PRIMARY KEY (cluster, kind, namespace, name)
    ) WITHOUT ROWID;
    CREATE TABLE sources (
        key TEXT PRIMARY KEY, revision TEXT NOT NULL, "commit" TEXT NOT NULL, detail TEXT NOT NULL
    ) WITHOUT ROWID;
    """,
    """
    CREATE TABLE approvals (
        cluster TEXT NOT NULL, kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
        prune TEXT NOT NULL, who TEXT NOT NULL, at REAL NOT NULL, PRIMARY KEY (cluster, kind, namespace, name)
    ) WITHOUT ROWID;
    """,
    """
    CREATE TABLE releases (number INTEGER PRIMARY KEY, detail TEXT NOT NULL);
    CREATE TABLE rollouts (
        unit TEXT NOT NULL, environment TEXT NOT NULL, detail TEXT NOT NULL, PRIMARY KEY (unit, environment)
    ) WITHOUT ROWID;

    CREATE TABLE audit (
        number INTEGER PRIMARY KEY, at REAL NOT NULL, who TEXT NOT NULL, action TEXT NOT NULL, entry TEXT NOT NULL
    );
    CREATE INDEX audit_at ON audit (at);
    CREATE TABLE audit_clusters (
        cluster TEXT NOT NULL, number INTEGER NOT NULL REFERENCES audit (number), PRIMARY KEY (cluster, number)
    ) WITHOUT ROWID;
    CREATE TRIGGER audit_goes_on BEFORE INSERT ON audit
        WHEN NEW.number IS NOT (SELECT COALESCE(MAX(number), 0) + 1 FROM audit)
        BEGIN SELECT RAISE(ABORT, 'the audit log is append-only, without gaps'); END;
    CREATE TRIGGER audit_is_kept BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
    CREATE TRIGGER audit_stays BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
    CREATE TRIGGER audit_clusters_are_kept BEFORE UPDATE ON audit_clusters
        BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
    CREATE TRIGGER audit_clusters_stay BEFORE DELETE ON audit_clusters
        BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
    CREATE TABLE people (
        name TEXT PRIMARY KEY, token_sha256 BLOB NOT NULL, created_at REAL NOT NULL, created_by TEXT NOT NULL,
        expires_at REAL
    ) WITHOUT ROWID;

    CREATE TABLE moves (number INTEGER PRIMARY KEY, sha256 BLOB NOT NULL UNIQUE, detail TEXT NOT NULL);
    CREATE TABLE moved_workloads (
        name TEXT NOT NULL, namespace TEXT NOT NULL, kind TEXT NOT NULL,
        move INTEGER NOT NULL REFERENCES moves (number), PRIMARY KEY (name, namespace, kind, move)
    ) WITHOUT ROWID;
    CREATE INDEX moved_workloads_move ON moved_workloads (move);
    CREATE TABLE history (
        number INTEGER PRIMARY KEY, cluster TEXT NOT NULL, generation INTEGER NOT NULL,
        move INTEGER NOT NULL REFERENCES moves (number), at REAL NOT NULL, applied_at REAL, healthy_at REAL,
        UNIQUE (cluster, generation)
    );
    CREATE INDEX history_move ON history (move);
    """,
)


def migrate(connection: sqlite3.Connection, path: object) -> None:
    """Bring a database up to date, each step in one transaction. Raise StoreError where a newer Felloe wrote it."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise StoreError(
            f"{path} has schema version {version}, this hub knows {len(MIGRATIONS)}: run the newer Felloe that wrote it"
        )
    for number in range(version, len(MIGRATIONS)):
        connection.executescript(f"BEGIN IMMEDIATE; {MIGRATIONS[number]} PRAGMA user_version = {number + 1}; COMMIT;")
