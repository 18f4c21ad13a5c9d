"""A lock between processes, given back by the kernel when its holder dies."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

POLL_SECONDS = 0.5


@contextmanager
def held(path: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold the lock file `path`; `on_wait` is called once if somebody else has it. Whoever holds it bounds the wait."""
    with path.open("a") as file:
        if not try_lock(file.fileno()):
            on_wait()
            while not try_lock(file.fileno()):
                time.sleep(POLL_SECONDS)
        yield


def try_lock(descriptor: int) -> bool:
    """Take the lock on an open file until it is closed; False where somebody else has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
