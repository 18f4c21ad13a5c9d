"""The folders of running clusters, which go with them: also those of runs that were killed.

A killed run removes nothing, but the kernel gives its lock back. So each folder holds a lock file that is locked while
its cluster runs, and whoever makes a folder first removes those whose lock nobody holds.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from tests.cluster.binaries.lock import try_lock

PREFIX = "felloe-cluster-"


class ClusterFolder:
    """A new folder for one cluster, removed by `close`."""

    def __init__(self, name: str, base: Path | None = None) -> None:
        base = base or Path(tempfile.gettempdir())
        # Between its making and its lock a folder looks like one whose run is gone: one at a time makes and sweeps.
        with _alone_in(base):
            sweep(base)
            self.path = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{name}-", dir=base))
            self._lock: TextIO = (self.path / ".lock").open("w")
            try_lock(self._lock.fileno())

    def close(self) -> None:
        """Remove the folder and all in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()


@contextmanager
def _alone_in(base: Path) -> Iterator[None]:
    descriptor = os.open(base, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def sweep(base: Path) -> None:
    """Remove this user's cluster folders in `base` whose runs are gone."""
    for folder in base.glob(f"{PREFIX}*"):
        lock = folder / ".lock"
        try:
            if folder.stat().st_uid != os.getuid():
                continue
            with lock.open() as file:
                if try_lock(file.fileno()):
                    shutil.rmtree(folder, ignore_errors=True)
        except OSError:  # it is being made or removed just now
            continue
