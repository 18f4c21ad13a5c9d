"""What is to be promoted in Git, and what became of it: facts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from hub.fleet.strategy import GitPromotion
from hub.sources.spec import GitSpec


@dataclass(frozen=True, slots=True)
class Wanted:
    """What `environment` is to be brought to: a `commit` of the source `spec` that `upstream` has verified.

    `release` and `subject` are that commit's; `who` let it through, and `reason` is why, for those who read the commit.
    """

    environment: str
    upstream: str
    how: GitPromotion
    spec: GitSpec
    commit: str
    release: int
    subject: str = ""
    who: str = ""
    reason: str = ""


class State(StrEnum):
    """How far a promotion is."""

    WAITING = "Waiting"
    """There is nothing yet that may be promoted."""
    WORKING = "Working"
    DONE = "Done"
    PROPOSED = "Proposed"
    """A pull request is open; people merge it."""
    DECLINED = "Declined"
    """Its pull request was closed and not merged."""
    FAILED = "Failed"
    """It is tried again."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a promotion; `url` is that of a pull request, `wrote` tells of something just written for it."""

    state: State
    message: str
    at: float
    url: str = ""
    wrote: bool = False
