"""How many requests run at once: as many as the API server answers without delay, so that others don't wait for us.

A first sync wants all of an API server, which has other users. How long a request takes tells how busy it is: as long
as answers come nearly as fast as the fastest ones seen, more requests run at once; when they come late, fewer; when
the API server refuses or gives up (429, 503, 504, no answer), half as many. This is TCP's way (slow start, additive
increase, multiplicative decrease) with delay as its signal, as in TCP Vegas.

A request that takes longer than a second waits for something else, such as a webhook: it lets others by.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

MOST: Final = 32
"""How many requests run at once at most, watches apart."""

_FEWEST: Final = 2
_FIRST: Final = 4
_ROUND: Final = 12
_EARLY: Final = 2.2
_LATE: Final = 3.0
_SHRINK: Final = 0.8
_IDLE_SECONDS: Final = 30.0
_CLASSES_AT_MOST: Final = 200
_FORGET_A_SECOND: Final = 0.01
_LETS_BY_SECONDS: Final = 1.0


class Pace:
    """Learns from how requests fare how many should run at once. `limit` is that number."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._limit = float(_FIRST)
        self._starting = True
        self._best: dict[str, tuple[float, float]] = {}
        self._round: list[float] = []
        self._wanted_more = False
        self._at = clock()
        self._halved_at = float("-inf")

    @property
    def limit(self) -> int:
        """Return how many requests may run at once."""
        return int(self._limit)

    def wants(self) -> None:
        """Take it that a request has to wait: the limit is what holds us back."""
        now = self._clock()
        if now - self._at > _IDLE_SECONDS:
            self._at, self._limit, self._starting = now, min(self._limit, float(_FIRST)), True
        self._wanted_more = True

    def answered(self, what: str, seconds: float) -> None:
        """Take how long a request took; only requests of the same kind (`what`) are compared."""
        now = self._clock()
        best, seen_at = self._best.get(what, (seconds, now))
        # Slowly forgotten, for an API server may become slower for good.
        best = min(seconds, best * (1 + _FORGET_A_SECOND * (now - seen_at)))
        if len(self._best) >= _CLASSES_AT_MOST and what not in self._best:
            self._best.clear()
        self._best[what] = (best, now)
        self._at = now
        self._round.append(seconds / max(best, 1e-6))
        if len(self._round) >= max(_ROUND, self.limit):
            self._judge(statistics.median(self._round))
            self._round.clear()
            self._wanted_more = False

    def refused(self) -> None:
        """Take it that the API server had too much; refusals of the same moment count once."""
        now = self._clock()
        if now - self._halved_at < 1.0:
            return
        self._halved_at = now
        self._limit, self._starting = max(float(_FEWEST), self._limit / 2), False
        self._round.clear()

    def _judge(self, delay: float) -> None:
        if delay > _LATE:
            self._limit, self._starting = max(float(_FEWEST), self._limit * _SHRINK), False
        elif delay < _EARLY and self._wanted_more:
            grown = self._limit * 1.5 if self._starting else self._limit + 1
            self._limit = min(float(MOST), grown)
        else:
            self._starting = self._starting and delay < _EARLY


class Gate:
    """Lets requests pass, first come, first served, as many at once as its pace says."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._running = 0
        self._stuck = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for a turn, and hold it for as long as the context, but no longer than a second."""
        await self._enter()
        turn = _Turn(self)
        timer = asyncio.get_running_loop().call_later(_LETS_BY_SECONDS, turn.let_by)
        try:
            yield
        finally:
            timer.cancel()
            turn.end()

    async def _enter(self) -> None:
        if not self._waiting and self._free():
            self._running += 1
            return
        self._pace.wants()
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():  # it was our turn already
                self._running -= 1
                self.admit()
            raise

    def _free(self) -> bool:
        return self._running < self._pace.limit and self._running + self._stuck < MOST

    def admit(self) -> None:
        """Let those pass whose turn it is."""
        while self._waiting and self._free():
            waiter = self._waiting.popleft()
            if not waiter.done():
                self._running += 1
                waiter.set_result(None)

    def moved(self, running: int, stuck: int) -> None:
        """Take it that requests ended, or take longer than they should."""
        self._running += running
        self._stuck += stuck
        self.admit()


class _Turn:
    """One request that passed."""

    __slots__ = ("_gate", "_stuck")

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._stuck = False

    def let_by(self) -> None:
        self._stuck = True
        self._gate.moved(-1, 1)

    def end(self) -> None:
        if self._stuck:
            self._gate.moved(0, -1)
        else:
            self._gate.moved(-1, 0)
