"""What the spoke keeps in mind of a workload from one task to the next, which a newer bundle starts."""

from __future__ import annotations

from dataclasses import dataclass, field

from felloe.identity import ObjectId, WorkloadId
from spoke.apply.inventory import Inventory
from spoke.apply.standing import Standing
from spoke.drift.contest import Contest
from spoke.health import Health


@dataclass(slots=True)
class State:
    """What the spoke knows of a workload, whichever task works on it."""

    inventory: Inventory
    standing: Standing
    contests: dict[ObjectId, Contest] = field(default_factory=dict)
    expired: dict[ObjectId, Health | None] = field(default_factory=dict)
    """Jobs that the cluster has removed because they ended; with why, those that failed."""
    leaving: dict[ObjectId, bool] = field(default_factory=dict)
    """What is being deleted, and whether it was told that this takes too long."""
    kept: frozenset[ObjectId] = frozenset()
    """What an earlier hub applied and it was told of that it stays."""
    asked_about: str = ""
    """The deletion of which it was told that a person has to approve it."""

    @classmethod
    def new(cls, identity: WorkloadId) -> State:
        """Return the state of a workload of which nothing is known."""
        return cls(Inventory(identity), Standing(identity))
