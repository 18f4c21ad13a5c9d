"""What was asked of the API server without an answer, and may yet be done: by a spoke before this one, or by this one.

A request outlives its client: in a queue, behind a slow webhook, in a load balancer. Where an object is known, a write
names the version that it is about, and a late one is refused. What creates an object can name none: it may land when
the object has another state by now, or is wanted no more. So for as long as that can be, objects that may have been
on their way are applied again now and then (but none that somebody said to leave alone, nor a Job that has been and
gone), and those that are wanted no more stay in the inventory, looked for until
none can come any more. A deletion names the version too; what is wanted again gets another one (see `Objects.renew`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Final

from felloe.identity import ObjectId

LATE_SECONDS: Final = 65.0
"""The API server gives up a request after 60 seconds (--request-timeout)."""
_SHARES: Final = (1 / 64, 1 / 16, 1 / 4, 1.0)
"""When an object is applied again, of the time in which it may be changed by a latecomer."""


class Latecomers:
    """The objects that a request without an answer may yet make or change."""

    def __init__(self, seconds: float = LATE_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with nothing but that a spoke before us may have been killed just now."""
        self._seconds = seconds
        self._clock = clock
        self._start = clock()
        self._since: dict[ObjectId, float] = {}
        self._times: dict[ObjectId, int] = {}
        """How often an object was applied again, or left as it is because it may not be."""
        self._inventoried: set[ObjectId] = set()
        """What a spoke before us had, for as long as it may have been asking for it."""

    def from_before(self, identities: Iterable[ObjectId]) -> None:
        """Take it that the spoke before us may have been making these."""
        if self._clock() < self._start + self._seconds:
            for identity in identities:
                self._since.setdefault(identity, self._start)

    def inventoried(self, identities: Iterable[ObjectId]) -> None:
        """Take it that a spoke before us had these: it may have been healing any of them, and have asked twice."""
        self._inventoried.update(identities)

    def let_go(self, identity: ObjectId) -> bool:
        """Take it that an object was deleted, or left to somebody else, and return whether that may be undone.

        If we, or a spoke before us, asked for it twice, it may be made once more, or get our labels once more.
        """
        if self._clock() >= self._start + self._seconds:
            self._inventoried.clear()
        elif identity in self._inventoried:
            self.from_before([identity])
        return self.expected(identity)

    def unanswered(self, identity: ObjectId) -> None:
        """Take it that we asked for an object just now and got no answer."""
        self._since[identity] = self._clock()
        self._times.pop(identity, None)

    def expected(self, identity: ObjectId) -> bool:
        """Return whether an object may still be made, or made another one, by a request of before."""
        since = self._since.get(identity)
        if since is not None and self._clock() >= since + self._seconds:
            self._forget(identity)
            return False
        return since is not None

    def next(self, identity: ObjectId) -> float | None:
        """Return when an object is to be applied again, in seconds of the clock; None for never."""
        since = self._since.get(identity)
        if since is None:
            return None
        return since + self._seconds * _SHARES[self._times.get(identity, 0)]

    def is_due(self, identity: ObjectId) -> bool:
        """Return whether an object is to be applied again now."""
        due = self.next(identity)
        return due is not None and self._clock() >= due

    def looked_at(self, identity: ObjectId, since: float) -> None:
        """Take it that since a time an object was applied, with an answer, or found to be one that is left as it is.

        What falls due after that time, in seconds of the clock, is due still: a round of thousands of objects may have
        applied this one long before its own end.
        """
        while (due := self.next(identity)) is not None and since >= due:
            times = self._times[identity] = self._times.get(identity, 0) + 1
            if times == len(_SHARES):
                self._forget(identity)

    def _forget(self, identity: ObjectId) -> None:
        self._since.pop(identity, None)
        self._times.pop(identity, None)
