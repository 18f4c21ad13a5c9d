"""Which cluster may take which bundle now: pure, from what is desired, what each cluster has, and who is paused.

Every cluster takes its bundle at once, except one that is paused: it keeps what it has.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from felloe.bundle import Bundle


@dataclass(frozen=True, slots=True)
class Candidate:
    """One cluster: the bundle that targeting made for it, the one that it was given last, and whether it is paused."""

    cluster: str
    desired: Bundle
    current: Bundle | None = None
    paused: bool = False


def admit(candidates: Iterable[Candidate]) -> dict[str, Bundle | None]:
    """Return the bundle that each cluster is to have now; None for one that is paused and was never given any."""
    return {each.cluster: each.current if each.paused else each.desired for each in candidates}
