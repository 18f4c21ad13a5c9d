"""How many requests run at once: as many as the API server answers without much delay, so that others need not wait.

A first sync wants all of an API server, which has other users. How much longer a request takes than with next to none
beside it tells how much of the delay is our own doing: while it is little, more requests run at once; when it is much,
fewer; when the API server refuses or gives up (429, 503, 504, no answer), half as many. This is TCP's way (slow start,
additive increase, multiplicative decrease) with delay as its signal, as in TCP Vegas. What is compared with is measured
anew every few seconds, with two requests at once for a moment, as BBR does it: where others keep an API server busy,
that is not taken for our doing. Others feel the slow ones: of each round the 75th percentile counts (a higher one would
also tell how much an API server's answers vary by themselves).

What is done in a second or two is done briskly; what takes longer leaves more to others (ADR 9). A bucket says which:
it holds the requests that may be made briskly, is filled again bit by bit, and work that is known to need more than is
in it is done gently from its first request on.

A request that takes longer than a second waits for something else, such as a webhook: it lets others by.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final

MOST: Final = 32
"""How many requests run at once at most, watches apart."""

_FEWEST: Final = 2
_MEASURED: Final = 10
_SHRINK: Final = 0.8
_GOOD_SECONDS: Final = 5.0
_IDLE_SECONDS: Final = 30.0
_KINDS_AT_MOST: Final = 200
_LETS_BY_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Manner:
    """How much room is taken: `first` requests at once to begin with, and then by the delay of rounds of requests.

    Below `little` times what they take alone more requests run at once, above `much` times fewer. The longer the
    `round`, the less by chance.
    """

    first: int
    little: float
    much: float
    round: int


@dataclass(frozen=True, slots=True)
class Manners:
    """How requests are made: the first `burst` of them briskly, and `refill` more a second; the others gently."""

    brisk: Manner = Manner(first=12, little=6.0, much=9.0, round=16)
    gentle: Manner = Manner(first=3, little=1.7, much=2.4, round=32)
    burst: float = 1500.0
    refill: float = 25.0


class Pace:
    """Learns from how requests fare how many should run at once. `limit` is that number."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, manners: Manners | None = None) -> None:
        self._clock = clock
        self._manners = manners or Manners()
        self._manner = self._manners.brisk
        self._left = 0
        self._bucket = self._manners.burst
        self._filled_at = clock()
        self._limit = float(self._manner.first)
        self._starting = True
        self._alone: dict[str, float] = {}
        self._round: list[float] = []
        self._wanted_more = False
        self._halved_at = float("-inf")
        self._answered_at = clock()
        self._measure()

    @property
    def limit(self) -> int:
        """Return how many requests may run at once."""
        return _FEWEST if self._measuring else int(self._limit)

    @contextmanager
    def work(self, requests: int) -> Iterator[Callable[[], None]]:
        """Take it that so many requests, or some more, are to be made; what is yielded is called as each is done."""
        left = requests

        def done() -> None:
            nonlocal left
            if left:
                left -= 1
                self._left -= 1

        self._left += requests
        self._choose()
        try:
            yield done
        finally:
            self._left -= left

    def wants(self) -> None:
        """Take it that a request has to wait: the limit is what holds us back."""
        self._wanted_more = True
        if self._clock() - self._answered_at > _IDLE_SECONDS and not self._measuring:
            self._limit, self._starting = min(self._limit, float(self._manner.first)), True
            self._measure()

    def answered(self, what: str, seconds: float) -> None:
        """Take how long a request took; only requests of the same kind (`what`) are compared."""
        now = self._answered_at = self._clock()
        self._bucket -= 1.0
        self._choose()
        if now - seconds < self._since:
            return  # it began when more or fewer were let through
        if self._measuring:
            self._measured.setdefault(what, []).append(seconds)
            self._count += 1
            if self._count >= _MEASURED:
                self._compare_with_this()
        elif what in self._alone:
            self._round.append(seconds / max(self._alone[what], 1e-6))
            if len(self._round) >= max(self._manner.round, self.limit):
                self._judge(_at(self._round, 0.75))
            elif now - self._measured_at > _GOOD_SECONDS:
                self._measure()
        else:
            self._count += 1
            if self._count >= _MEASURED:
                self._measure()

    def refused(self) -> None:
        """Take it that the API server had too much; refusals of the same moment count once."""
        now = self._clock()
        if now - self._halved_at < 1.0:
            return
        self._halved_at = now
        self._starting = False
        self._change(self._limit / 2)

    def _choose(self) -> None:
        """Choose the manner that what is left to do, and what was done of late, ask for."""
        now, manners = self._clock(), self._manners
        self._bucket = min(manners.burst, max(0.0, self._bucket) + (now - self._filled_at) * manners.refill)
        self._filled_at = now
        # Once gentle it takes more than a drop to be brisk again.
        needed = self._left + (1.0 if self._manner is manners.brisk else manners.burst / 10)
        manner = manners.brisk if needed <= self._bucket else manners.gentle
        if manner is not self._manner:
            self._manner, self._starting = manner, True
            first = float(manner.first)
            self._change(min(self._limit, first) if manner is manners.gentle else max(self._limit, first))

    def _measure(self) -> None:
        """Let next to nothing through for a moment."""
        self._measuring = True
        self._measured: dict[str, list[float]] = {}
        self._count = 0
        self._round.clear()
        self._since = self._clock()

    def _compare_with_this(self) -> None:
        if len(self._alone) > _KINDS_AT_MOST:
            self._alone.clear()
        self._alone |= {what: _at(seconds, 0.5) for what, seconds in self._measured.items()}
        self._measuring = False
        self._count = 0
        self._since = self._measured_at = self._clock()

    def _judge(self, delay: float) -> None:
        if delay > self._manner.much:
            self._starting = False
            self._change(self._limit * _SHRINK)
        elif delay < self._manner.little and self._wanted_more:
            self._change(self._limit * 1.5 if self._starting else self._limit + 1)
        else:
            self._starting = self._starting and delay < self._manner.little
            self._round.clear()
        self._wanted_more = False

    def _change(self, limit: float) -> None:
        self._limit = min(float(MOST), max(float(_FEWEST), limit))
        self._round.clear()
        if not self._measuring:
            self._since = self._clock()


def _at(values: list[float], share: float) -> float:
    # The statistics module brings decimal and fractions along, which a spoke has no other use for.
    return sorted(values)[int(len(values) * share)]


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
