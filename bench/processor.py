"""How much processor time processes used within a span of time, which on a busy machine says more than the clock."""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

_EVERY_SECONDS = 0.02


class Processor:
    """Looks at processes again and again; `add` them, and ask what they used `between` two moments."""

    def __init__(self) -> None:
        self._pids: dict[str, int] = {}
        self._times: list[float] = []
        self._used: list[Mapping[str, float]] = []

    def add(self, name: str, pid: int) -> None:
        """Look at a process from now on."""
        self._pids[name] = pid

    def between(self, begin: float, end: float) -> dict[str, float]:
        """Return the seconds of processor time by name; `begin` and `end` are seconds since 1970."""
        first, last = self._at(begin), self._at(end)
        return {name: seconds - first.get(name, 0.0) for name, seconds in last.items()}

    def _at(self, moment: float) -> Mapping[str, float]:
        position = bisect_right(self._times, moment)
        return self._used[position - 1] if position else {}

    def look(self) -> None:
        """Take down what each process has used until now."""
        used = {name: _used(pid) for name, pid in list(self._pids.items())}
        self._times.append(time.time())
        self._used.append(used)


@contextmanager
def looking() -> Iterator[Processor]:
    """Yield what looks at processes for as long as the context."""
    processor, ended = Processor(), threading.Event()

    def look() -> None:
        while not ended.wait(_EVERY_SECONDS):
            processor.look()

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield processor
    finally:
        ended.set()
        thread.join()


def _used(pid: int) -> float:
    """Return the seconds that all threads of a process have run: to the nanosecond, where /proc/PID/stat has ticks."""
    nanoseconds = 0
    for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            nanoseconds += int(thread.read_text().split()[0])
        except OSError:  # it has ended
            continue
    return nanoseconds / 1e9
