"""A workload that somebody else applies: the spoke leaves it alone, and gives back what it has of it if asked to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from felloe.bundle import Bundle
from felloe.identity import ObjectId, WorkloadId


@dataclass(frozen=True, slots=True)
class Hold:
    """Why a workload is left alone.

    With `release` its objects lose our labels, and our fields go to the field manager `manager`; those in `theirs` get
    `labels`, with which that one marks its own.
    """

    reason: str
    manager: str
    release: bool = False
    labels: tuple[tuple[str, str], ...] = ()
    theirs: frozenset[ObjectId] = frozenset()


class Gate(Protocol):
    """Says which workloads somebody else applies."""

    async def ready(self) -> None:
        """Wait until that is known."""
        ...

    def holds(self, bundle: Bundle, claims: Mapping[ObjectId, WorkloadId]) -> Mapping[WorkloadId, Hold]:
        """Return them."""
        ...
