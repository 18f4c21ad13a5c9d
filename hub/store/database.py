"""One SQLite file in WAL mode, used by one process from one thread: opening, transactions, errors that say where."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from felloe.errors import StoreError
from hub.store.schema import migrate

Row = tuple[Any, ...]


class Database:
    """A file of mode 0600, locked for this process. Every sqlite3 error leaves as a StoreError."""

    def __init__(self, path: Path) -> None:
        """Open or create it, and bring its tables up to date."""
        self._path = path
        self._inside = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
            path.chmod(0o600)
            self._db = sqlite3.connect(path, timeout=1.0, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"can't open the hub's state {path}: {error}") from error
        try:
            self._prepare()
        except BaseException:
            self._db.close()
            raise

    def _prepare(self) -> None:
        try:
            self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("BEGIN IMMEDIATE")  # takes the lock now, so that a second hub is refused here
            self._db.execute("COMMIT")
            migrate(self._db, self._path)
        except sqlite3.Error as error:
            if "locked" in str(error):
                raise StoreError(f"{self._path} is in use: another hub runs with this data folder") from error
            raise StoreError(f"can't open the hub's state {self._path}: {error}; restore it from a backup") from error

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[None]:
        """Make everything inside one transaction; inside another one, a part of it. `durable` also syncs the disk."""
        if self._inside:
            yield
            return
        try:
            self._db.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            self._db.execute("BEGIN IMMEDIATE")
            self._inside = True
            try:
                yield
                self._db.execute("COMMIT")
            finally:
                self._inside = False
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise StoreError(f"can't write the hub's state {self._path}: {error}") from error

    def rows(self, sql: str, *values: object) -> list[Row]:
        """Return what a query finds."""
        try:
            return self._db.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"can't read the hub's state {self._path}: {error}") from error

    def row(self, sql: str, *values: object) -> Row | None:
        """Return the first row that a query finds."""
        found = self.rows(sql, *values)
        return found[0] if found else None

    def write(self, sql: str, *values: object, durable: bool = True) -> int:
        """Change something; return how many rows it met."""
        with self.transaction(durable=durable):
            return self._db.execute(sql, values).rowcount

    def insert(self, sql: str, *values: object) -> int:
        """Insert a row inside a transaction; return its rowid."""
        return self._db.execute(sql, values).lastrowid or 0
