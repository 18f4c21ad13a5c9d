"""One time limit over a whole conversation with a remote, whoever is slow in it.

Socket timeouts bound one read; a server that sends a byte a minute passes them for ever. Here a timer closes the
connection itself, which wakes whoever is blocked on it, so no thread is lost to a remote.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from felloe.errors import SourceError


class Deadline:
    """A context that lasts at most `seconds`; what is guarded in it is closed when the time is over, or by `abort`."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = float("inf")  # time begins to run when the context is entered
        self._closers: list[Callable[[], None]] = []
        self._lock = threading.Lock()
        self._over = False
        self._timer = threading.Timer(seconds, self.abort)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._end = time.monotonic() + self.seconds
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        with self._lock:
            self._closers.clear()

    @property
    def over(self) -> bool:
        """Whether the time is up or the conversation was aborted."""
        return self._over

    def remaining(self) -> float:
        """Return the seconds left; raises `SourceError` when there are none."""
        left = self._end - time.monotonic()
        if self._over or left <= 0:
            raise SourceError(f"not finished within the timeout of {self.seconds:g} s")
        return left

    def guard(self, close: Callable[[], None]) -> None:
        """Have `close` called when the time is over; at once if it already is."""
        with self._lock:
            if not self._over:
                self._closers.append(close)
                return
        close()

    def guard_socket(self, sock: socket.socket) -> None:
        """Have a socket shut down when the time is over, below any TLS that runs on it."""

        def shut() -> None:
            with suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

        self.guard(shut)

    def abort(self) -> None:
        """End the conversation now."""
        with self._lock:
            self._over = True
            closers, self._closers = self._closers, []
        for close in closers:
            close()
