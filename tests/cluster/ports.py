"""Free TCP ports that stay free."""

from __future__ import annotations

import errno
import random
import socket
import tempfile
import threading
from pathlib import Path
from typing import TextIO

from tests.cluster.binaries.lock import try_lock

# Below Linux' range for outgoing connections (32768 and up), so that a port stays free for its server while that is
# restarted, and no client of something else takes it between the look here and the server's start.
RANGE = range(20_000, 32_000)
ATTEMPTS = 200

_CLAIMS = Path(tempfile.gettempdir()) / "felloe-ports"
_claimed: list[TextIO] = []
_giving = threading.Lock()


def free_ports(count: int) -> list[int]:
    """Return `count` ports that nobody listens on at 127.0.0.1. Raises OSError if there seem to be none.

    A port that was returned is this process's for its life: clusters that start at the same time, also those of another
    test run, don't get the same one.
    """
    found: list[int] = []
    with _giving:
        for port in random.sample(RANGE, ATTEMPTS):
            if len(found) == count:
                break
            if _is_free(port) and _claim(port):
                found.append(port)
    if len(found) < count:
        raise OSError(errno.EADDRINUSE, f"no {count} free ports among {ATTEMPTS} tried in {RANGE}")
    return found


def _claim(port: int) -> bool:
    """Lock the file that stands for a port; the kernel unlocks it when this process ends."""
    _CLAIMS.mkdir(exist_ok=True)
    file = (_CLAIMS / str(port)).open("a")
    if not try_lock(file.fileno()):
        file.close()
        return False
    _claimed.append(file)
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
