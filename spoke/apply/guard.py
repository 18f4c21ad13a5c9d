"""The guard against mass deletion: a commit that would delete most of a workload waits until a person approves it."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from felloe.bundle import object_id_to_proto
from felloe.digest import canonical_json
from felloe.identity import ObjectId
from felloe.massprune import replaced, too_many
from felloe.v1 import status_pb2 as pb
from spoke.apply.inventory import Inventory

_NAMED: Final = 3
_TOLD_AT_MOST: Final = 50


@dataclass(frozen=True, slots=True)
class Pending:
    """A deletion that waits for a person: these of `total` objects, more than the share `limit` of them."""

    name: str
    objects: tuple[ObjectId, ...]
    total: int
    limit: float

    @property
    def message(self) -> str:
        """Return what a person has to know, but for the command, which names the cluster."""
        more = len(self.objects) - _NAMED
        named = ", ".join(map(str, self.objects[:_NAMED])) + (f" and {more} more" if more > 0 else "")
        return (
            f"{len(self.objects)} of {self.total} objects would be deleted ({len(self.objects) / self.total:.0%}, more "
            f"than {self.limit:.0%} at once need approval): {named}"
        )

    def to_proto(self) -> pb.PendingPrune:
        """Return the message of it."""
        objects = [object_id_to_proto(identity) for identity in self.objects[:_TOLD_AT_MOST]]
        return pb.PendingPrune(name=self.name, count=len(self.objects), total=self.total, objects=objects)


def pending(
    inventory: Inventory, doomed: Collection[ObjectId], wanted: Collection[ObjectId], limit: float
) -> Pending | None:
    """Return the deletion that a person has to approve, None where these objects may be deleted without a question.

    Not counted are those of an earlier approval, those of a generation that was never applied whole, and a generated
    ConfigMap or Secret whose successor is wanted. The name is good for one time: once a workload has been applied
    whole, the same objects deleted again are another deletion.
    """
    followed, items = replaced(doomed, wanted), inventory.items
    counted = sorted(identity for identity in doomed if identity not in followed and items[identity].settled)
    total = max(inventory.applied_objects, len(counted))
    if not too_many(len(counted), total, limit):
        return None
    facts = [[*inventory.id], inventory.applied_at, [[*identity] for identity in counted]]
    return Pending(hashlib.sha256(canonical_json(facts)).hexdigest()[:16], tuple(counted), total, limit)
