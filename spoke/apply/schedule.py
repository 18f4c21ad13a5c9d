"""When a workload's objects are tried again, and what it left behind is looked at again; the caller has the clock."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from felloe.identity import ObjectId
from spoke.apply.pruning import Outcome, next_look
from spoke.kube.jitter import spread

FIRST_RETRY_SECONDS: Final = 0.5


class Schedule:
    """What is due when, in seconds of a monotonic clock; 0 stands for at once.

    What failed is tried again after `retry_interval` seconds at the latest, sooner where that may be of use.
    """

    def __init__(self, retry_interval: float) -> None:
        self._retry_interval = retry_interval
        self._due: dict[ObjectId, float] = {}
        self._attempts: dict[ObjectId, int] = {}
        self._prune_at = 0.0
        self._prune_attempts = 0

    def now(self, identities: Iterable[ObjectId]) -> None:
        """Try objects at once."""
        self._due |= dict.fromkeys(identities, 0.0)

    def afresh(self, identities: Iterable[ObjectId]) -> None:
        """Try objects at once, for what they failed for may be there by now: should they fail, pauses are short."""
        for identity in identities:
            self._due[identity] = 0.0
            self._attempts.pop(identity, None)

    def at(self, identity: ObjectId, when: float) -> None:
        """Try an object then, and not before."""
        self._due[identity] = when

    def take(self, now: float) -> list[ObjectId]:
        """Return the objects that are due, which they are no more."""
        due = [identity for identity, at in self._due.items() if at <= now]
        for identity in due:
            del self._due[identity]
        return due

    def done(self, identity: ObjectId) -> None:
        """Take it that an object did not fail."""
        self._attempts.pop(identity, None)

    def failed(self, identity: ObjectId, now: float, *, may_pass: bool) -> None:
        """Try an object again that failed, soon if that `may_pass` by itself."""
        attempts = self._attempts[identity] = self._attempts.get(identity, 0) + 1
        longest = max(self._retry_interval, FIRST_RETRY_SECONDS)
        pause = min(longest, FIRST_RETRY_SECONDS * 2 ** min(attempts, 20)) if may_pass else longest
        self._due[identity] = now + spread(pause)

    def prunes(self, now: float) -> bool:
        """Return whether what was left behind may be looked at."""
        return now >= self._prune_at

    def prune_now(self) -> None:
        """Look at what was left behind whenever there is a reason to."""
        self._prune_at = 0.0

    def pruned(self, outcome: Outcome, now: float) -> None:
        """See to it that what is not gone yet is looked at again; an approval or a new owner wakes by itself."""
        if not (outcome.failures or outcome.leaving or outcome.lingering):
            self._prune_attempts, self._prune_at = 0, 0.0
            return
        self._prune_attempts = 0 if outcome.dropped else self._prune_attempts + 1
        self._prune_at = now + next_look(outcome.failures, self._prune_attempts, self._retry_interval)

    def next(self, *, prunes: bool = True) -> float | None:
        """Return when something is due next, None for never; `prunes` says whether what was left behind counts."""
        moments = [*self._due.values(), *([self._prune_at] if self._prune_at and prunes else [])]
        return min(moments) if moments else None
