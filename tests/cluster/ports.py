"""Free TCP ports that stay free."""

from __future__ import annotations

import errno
import random
import socket
import threading

# Below Linux' range for outgoing connections (32768 and up), so that a port stays free for its server while that is
# restarted, and no client of something else takes it between the look here and the server's start.
RANGE = range(20_000, 32_000)
ATTEMPTS = 200

_given: set[int] = set()
_giving = threading.Lock()


def free_ports(count: int) -> list[int]:
    """Return `count` ports that nobody listens on at 127.0.0.1. Raises OSError if there seem to be none.

    No port is returned twice in the life of a process: clusters that start at the same time don't get the same one.
    """
    found: list[int] = []
    with _giving:
        for port in random.sample(RANGE, ATTEMPTS):
            if len(found) == count:
                break
            if port not in _given and _is_free(port):
                found.append(port)
        _given.update(found)
    if len(found) < count:
        raise OSError(errno.EADDRINUSE, f"no {count} free ports among {ATTEMPTS} tried in {RANGE}")
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
