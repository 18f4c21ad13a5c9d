"""How long to wait before the next try, so that ten thousand spokes don't come back in the same instant."""

from __future__ import annotations

import random
from collections.abc import Callable


class Backoff:
    """Exponential backoff with full jitter: a random share of a span that doubles from `first` to `last` seconds."""

    def __init__(
        self,
        first: float = 0.5,
        last: float = 30.0,
        rand: Callable[[], float] = random.random,
    ) -> None:
        self._first = first
        self._last = last
        self._rand = rand
        self._tries = 0

    def next(self, at_least: float = 0.0) -> float:
        """Return the seconds to wait now; the spread is above `at_least`."""
        span = min(self._last, self._first * 2.0 ** min(self._tries, 32))
        self._tries += 1
        return at_least + span * self._rand()

    def reset(self) -> None:
        """Begin again with short waits."""
        self._tries = 0
