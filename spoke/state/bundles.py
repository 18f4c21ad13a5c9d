"""The spoke's disk: the newest whole bundle, the one before it, and their objects by digest.

One SQLite file (WAL) instead of thousands of small ones: a commit is one transaction, so that after a crash there is
the old bundle or the new one, never a mixture, and pruning can trust what it reads. Objects arrive before the manifest
is committed and are verified when they come in and each time they are read. The library is in Python already and its
page cache is held at half a MiB.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import zstandard

from felloe.bundle import Bundle, bundle_from_proto, bundle_to_pieces
from felloe.digest import Digest, digest, short
from felloe.errors import BundleError, StoreError
from felloe.v1 import bundle_pb2

_SCHEMA: Final = """
    CREATE TABLE IF NOT EXISTS hub (
        one INTEGER PRIMARY KEY CHECK (one = 1), trust BLOB NOT NULL, epoch INTEGER NOT NULL
    );
    INSERT OR IGNORE INTO hub VALUES (1, x'', 0);
    CREATE TABLE IF NOT EXISTS bundles (
        number INTEGER PRIMARY KEY AUTOINCREMENT, epoch INTEGER NOT NULL, generation INTEGER NOT NULL,
        root BLOB NOT NULL, traceparent TEXT NOT NULL, received_at REAL NOT NULL, bundle BLOB NOT NULL,
        hub BLOB NOT NULL
    );
    CREATE TABLE IF NOT EXISTS spoke (one INTEGER PRIMARY KEY CHECK (one = 1), instance TEXT NOT NULL);
    INSERT OR IGNORE INTO spoke VALUES (1, lower(hex(randomblob(16))));
    CREATE TABLE IF NOT EXISTS blobs (digest BLOB PRIMARY KEY, data BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS parts (
        digest BLOB NOT NULL, start INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (digest, start)
    ) WITHOUT ROWID;
    PRAGMA user_version = 2;
"""
_VERSION: Final = 2
_FROM_1: Final = "BEGIN IMMEDIATE; DROP TABLE bundles; PRAGMA user_version = 2; COMMIT;"
"""A spoke of version 1 did not say of which hub its bundles are: the hub sends the newest again."""


@dataclass(frozen=True, slots=True)
class StoredBundle:
    """A bundle that is whole and verified on this disk, and the delivery that brought it (seconds since 1970).

    `hub` names the CA of the hub that sent it, empty where that is not known.
    """

    epoch: int
    generation: int
    bundle: Bundle
    traceparent: str
    received_at: float
    hub: bytes = b""


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of an object: `data` begins at `offset` of its `size` bytes."""

    digest: Digest
    offset: int
    size: int
    data: bytes


class WrongObjectError(BundleError):
    """A received object is not what its digest says, or does not go on where its last piece ended."""

    def __init__(self, message: str, name: Digest) -> None:
        self.digest = name
        super().__init__(message)


class BundleStore:
    """The spoke's state in one file (mode 0600) of one process and one thread; methods are synchronous and short."""

    def __init__(self, folder: Path) -> None:
        """Open or create the store in `folder`.

        A damaged file is set aside as ``bundles.db.damaged``: the hub sends everything again. Raise StoreError where
        the folder can't be used, another spoke uses it, or a newer Felloe wrote it.
        """
        self._path = folder / "bundles.db"
        self.on_damage: Callable[[Digest], None] = _ignore
        """Called when an object turns out to be damaged and has to be fetched again."""
        self.on_doubt: Callable[[], None] = _do_nothing
        """Called when the newest bundle here turns out to be older than what was applied."""
        self._doubtful = False
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise StoreError(f"can't make the folder {folder} for the spoke's state: {error}") from error
        try:
            self._db = self._open()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise self._error("open", error) from error
            self._set_aside()
            self._db = self._open()
        self._current = self._load()

    def _open(self) -> sqlite3.Connection:
        try:
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise StoreError(f"can't open the spoke's state {self._path}: {error}") from error
        db = sqlite3.connect(self._path, timeout=1.0, isolation_level=None)
        try:
            db.execute("PRAGMA cache_size=-512")
            db.execute("PRAGMA locking_mode=EXCLUSIVE")
            db.execute("PRAGMA journal_mode=WAL")
            self._check(db)
            db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
        except BaseException:
            db.close()
            raise
        return db

    def _check(self, db: sqlite3.Connection) -> None:
        if db.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("damaged")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version > _VERSION:
            raise StoreError(f"{self._path} was written by a newer spoke (version {version}): run that one")
        if version == 1:
            db.executescript(_FROM_1)

    def _set_aside(self) -> None:
        try:
            for suffix in ("-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
            self._path.replace(self._path.with_name(self._path.name + ".damaged"))
        except OSError as error:
            raise StoreError(f"can't set the damaged {self._path} aside: {error}") from error

    def _error(self, doing: str, error: sqlite3.Error) -> StoreError:
        if "locked" in str(error):
            return StoreError(f"{self._path} is in use: another spoke runs with this state folder")
        return StoreError(f"can't {doing} the spoke's state {self._path}: {error}")

    @contextmanager
    def _transaction(self, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        try:
            self._db.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise self._error("write", error) from error

    def _rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        try:
            return self._db.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise self._error("read", error) from error

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @property
    def instance(self) -> str:
        """Return what names this folder, from its first use on: one process at a time has it."""
        return str(self._rows("SELECT instance FROM spoke")[0][0])

    # -- the hub that is followed

    @property
    def trusted(self) -> bytes:
        """Return what names the hub that is followed, empty before the first."""
        return bytes(self._rows("SELECT trust FROM hub")[0][0])

    @property
    def epoch(self) -> int:
        """Return the highest epoch that was seen of the trusted hub."""
        return int(self._rows("SELECT epoch FROM hub")[0][0])

    def see_epoch(self, epoch: int) -> None:
        """Remember an epoch; a lower one than before changes nothing. On disk when this returns."""
        if epoch > self.epoch:
            with self._transaction(durable=True) as db:
                db.execute("UPDATE hub SET epoch = MAX(epoch, ?)", (epoch,))

    def trust(self, hub: bytes) -> None:
        """Follow this hub (`Identity.trust`). Under another one, epochs and generations count from the beginning."""
        if self._rows("SELECT 1 FROM hub WHERE trust = ?", hub):
            return
        with self._transaction(durable=True) as db:
            db.execute("UPDATE hub SET trust = ?, epoch = 0", (hub,))
            db.execute("UPDATE bundles SET epoch = 0, generation = 0")
        if self._current is not None:
            self._current = replace(self._current, epoch=0, generation=0)

    # -- bundles

    @property
    def current(self) -> StoredBundle | None:
        """Return the newest whole bundle."""
        return self._current

    def _load(self) -> StoredBundle | None:
        rows = self._rows(
            "SELECT epoch, generation, root, traceparent, received_at, hub, bundle FROM bundles ORDER BY number DESC"
        )
        for epoch, generation, root, traceparent, received_at, hub, packed in rows:
            try:
                bundle = _unpack(packed)
            except (BundleError, ValueError, zstandard.ZstdError):
                continue
            if bundle.root == root:
                return StoredBundle(epoch, generation, bundle, traceparent, received_at, hub)
        return None

    def commit(self, stored: StoredBundle) -> None:
        """Make a bundle the newest one, on disk when this returns; keep the one before, drop what neither needs.

        Raise BundleError where one of its objects is not here: then nothing has changed.
        """
        bundle = stored.bundle
        lacking = self.missing(bundle)
        if lacking:
            raise BundleError(f"{len(lacking)} objects of the bundle are not here, the first is {short(lacking[0])}")
        before = self._current
        same = before is not None and before.bundle.root == bundle.root
        values = (stored.epoch, stored.generation, stored.traceparent, stored.received_at, stored.hub)
        with self._transaction(durable=True) as db:
            db.execute("UPDATE hub SET epoch = MAX(epoch, ?)", (stored.epoch,))
            if same:
                db.execute(
                    "UPDATE bundles SET epoch = ?, generation = ?, traceparent = ?, received_at = ?, hub = ?"
                    " WHERE root = ?",
                    (*values, bundle.root),
                )
            else:
                db.execute(
                    "INSERT INTO bundles (epoch, generation, traceparent, received_at, hub, root, bundle)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (*values, bundle.root, _pack(bundle)),
                )
                db.execute(
                    "DELETE FROM bundles WHERE number NOT IN (SELECT number FROM bundles ORDER BY number DESC LIMIT 2)"
                )
                keep = bundle.digests()
                keep |= before.bundle.digests() if before else set()
                self._collect(db, keep)
        self._current = stored
        self._doubtful = False

    def restore(self, stored: StoredBundle, highest_epoch: int) -> StoredBundle:
        """Take over what another disk had, unless this one has something newer; return the newest bundle now.

        The hub is asked whether it still is what it wants (`doubtful`). Raise BundleError where an object is not here.
        """
        if not self.trusted:
            self.trust(stored.hub)
        if self.trusted == stored.hub:
            self.see_epoch(highest_epoch)
        else:
            stored = replace(stored, epoch=0, generation=0)
        current = self._current
        if current is not None and (current.epoch, current.generation) >= (stored.epoch, stored.generation):
            return current
        self.commit(stored)
        self._doubtful = True
        return stored

    @property
    def doubtful(self) -> bool:
        """Return whether the newest bundle here may be older than what was applied in the cluster."""
        return self._doubtful

    def doubt(self) -> None:
        """Take it that the newest bundle here is older than what was applied: only the hub can tell what is right."""
        if not self._doubtful:
            self._doubtful = True
            self.on_doubt()

    def _collect(self, db: sqlite3.Connection, keep: set[Digest]) -> None:
        gone = [(name,) for (name,) in db.execute("SELECT digest FROM blobs") if name not in keep]
        db.executemany("DELETE FROM blobs WHERE digest = ?", gone)
        db.execute("DELETE FROM parts")

    # -- objects

    def get(self, name: Digest) -> bytes | None:
        """Return an object's canonical JSON, None where it is not here; a damaged one is dropped and not here."""
        rows = self._rows("SELECT data FROM blobs WHERE digest = ?", name)
        if not rows:
            return None
        data = rows[0][0]
        if isinstance(data, bytes) and digest(data) == name:
            return data
        with self._transaction() as db:
            db.execute("DELETE FROM blobs WHERE digest = ?", (name,))
        self.on_damage(name)
        return None

    def missing(self, bundle: Bundle) -> list[Digest]:
        """Return the objects of `bundle` that are not here, sorted. Content is verified by `get`, not here."""
        lacking = bundle.digests()
        try:
            lacking.difference_update(name for (name,) in self._db.execute("SELECT digest FROM blobs"))
        except sqlite3.Error as error:
            raise self._error("read", error) from error
        return sorted(lacking)

    def offset(self, name: Digest) -> int:
        """Return how many bytes of an object are here of an earlier transfer that broke off."""
        rows = self._rows("SELECT COALESCE(MAX(start + LENGTH(data)), 0) FROM parts WHERE digest = ?", name)
        return int(rows[0][0])

    def add(self, parts: Iterable[Part]) -> None:
        """Keep objects and pieces of objects, in one transaction.

        Raise WrongObjectError where one is not what its digest says, or does not go on where the last piece ended; then
        nothing of `parts` is kept, nor is anything of that object.
        """
        try:
            with self._transaction() as db:
                for part in parts:
                    self._add(db, part)
        except WrongObjectError as error:
            with self._transaction() as db:
                db.execute("DELETE FROM parts WHERE digest = ?", (error.digest,))
            raise

    def _add(self, db: sqlite3.Connection, part: Part) -> None:
        data = part.data
        if part.offset or len(data) != part.size:
            here = self.offset(part.digest)
            if part.offset != here or here + len(data) > part.size:
                raise WrongObjectError(
                    f"a piece of {short(part.digest)} begins at {part.offset}, {here} bytes are here", part.digest
                )
            db.execute("INSERT INTO parts VALUES (?, ?, ?)", (part.digest, part.offset, data))
            if here + len(data) < part.size:
                return
            data = self._join(db, part.digest)
        if sha256(data).digest() != part.digest:
            raise WrongObjectError(
                f"an object that should be {short(part.digest)} is {short(digest(data))}", part.digest
            )
        db.execute("INSERT OR REPLACE INTO blobs VALUES (?, ?)", (part.digest, data))
        db.execute("DELETE FROM parts WHERE digest = ?", (part.digest,))

    def _join(self, db: sqlite3.Connection, name: Digest) -> bytes:
        return b"".join(row[0] for row in db.execute("SELECT data FROM parts WHERE digest = ? ORDER BY start", (name,)))


def _pack(bundle: Bundle) -> bytes:
    pieces = list(bundle_to_pieces(bundle))
    frame = zstandard.ZstdCompressor().compressobj(size=sum(map(len, pieces)))
    return b"".join((*map(frame.compress, pieces), frame.flush()))


def _unpack(packed: bytes) -> Bundle:
    return bundle_from_proto(bundle_pb2.Bundle.FromString(zstandard.ZstdDecompressor().decompress(packed)))


def _ignore(_: Digest) -> None:
    """Do nothing."""


def _do_nothing() -> None:
    """Do nothing."""
