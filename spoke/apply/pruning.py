"""Deletes what a workload left behind, last wave first, and only what still carries its labels."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from felloe.errors import KubernetesError
from felloe.identity import ObjectId
from spoke.apply.concurrency import bounded
from spoke.apply.context import Context
from spoke.apply.inventory import Inventory
from spoke.apply.objects import Pruned
from spoke.apply.plan import Leftovers
from spoke.apply.standing import Failure
from spoke.apply.step import UnreachableError
from spoke.kube.errors import FORBIDDEN, no_request_succeeds

_NAMED_AT_MOST: Final = 20
_NAMED_WHEN_KEPT: Final = 5
_OF_ANOTHER_HUB: Final = Failure(
    "InventoryOfAnotherHub",
    "left by the hub that had this cluster before, and not wanted by this one: to delete all such objects, restart the"
    " spoke with --prune-former-hub (chart: pruneFormerHub); to keep it, put it into Git",
)
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Outcome:
    """`dropped` need not be in the inventory any more; `failures` says what could not be deleted, and why.

    `kept` is what an earlier hub applied, and what nobody has allowed to be deleted.
    """

    dropped: set[ObjectId] = field(default_factory=set)
    failures: dict[ObjectId, Failure] = field(default_factory=dict)
    kept: dict[ObjectId, Failure] = field(default_factory=dict)


async def prune(context: Context, inventory: Inventory, left: Leftovers, hub: bytes) -> Outcome:
    """Do what was decided about a workload's leftovers under the bundle of `hub`.

    Raise UnreachableError where the API server is away.
    """
    outcome = Outcome(dropped=set(left.released))
    if inventory.origin.foreign_to(hub) and not context.prune_former_hub:
        outcome.kept = {identity: _OF_ANOTHER_HUB for wave in left.prune for identity in wave}
        return outcome
    if left.prune:
        await context.record.recorded()
    told: list[tuple[ObjectId, Pruned]] = []

    async def one(identity: ObjectId) -> None:
        try:
            item = inventory.items[identity]
            became = await context.objects.prune(identity, item.version, inventory.id, inventory.inherited)
        except KubernetesError as error:
            if no_request_succeeds(error):
                raise UnreachableError(str(error)) from error
            if error.status == FORBIDDEN and not inventory.items[identity].known:
                # It was refused when it was to be applied, and is refused now: it never got into the cluster.
                outcome.dropped.add(identity)
                return
            outcome.failures[identity] = Failure("PruneFailed", str(error))
            return
        outcome.dropped.add(identity)
        _log.debug("event=Pruned workload=%s object=%r became=%r", inventory.id, str(identity), became.value)
        if became is not Pruned.GONE:
            told.append((identity, became))

    try:
        for wave in left.prune:
            await bounded(one, wave)
            if outcome.failures:
                break  # what is of an earlier wave may be what the failed ones need to go away
    finally:
        _tell(context, inventory, told)
    return outcome


def tell_kept(context: Context, inventory: Inventory, kept: Mapping[ObjectId, Failure]) -> None:
    """Tell once that objects of an earlier hub were not deleted."""
    named = ", ".join(str(identity) for identity in sorted(kept)[:_NAMED_WHEN_KEPT])
    more = f" and {len(kept) - _NAMED_WHEN_KEPT} more" if len(kept) > _NAMED_WHEN_KEPT else ""
    message = f"{named}{more}: {_OF_ANOTHER_HUB.message}"
    _log.warning("event=%s workload=%s objects=%d", _OF_ANOTHER_HUB.reason, inventory.id, len(kept))
    context.report.event(_OF_ANOTHER_HUB.reason, message, inventory.id, warning=True)


def _tell(context: Context, inventory: Inventory, told: list[tuple[ObjectId, Pruned]]) -> None:
    """Tell what became of each object; of many that were deleted, how many, so that they crowd out no other event."""
    deleted = sum(became is Pruned.DELETED for _, became in told)
    if deleted:
        _log.info("event=Pruned workload=%s objects=%d", inventory.id, deleted)
    for identity, became in told:
        if became is not Pruned.DELETED or deleted <= _NAMED_AT_MOST:
            context.report.event("Pruned", f"{identity} {became.value}", inventory.id, identity)
    if deleted > _NAMED_AT_MOST:
        context.report.event("Pruned", f"{deleted} objects deleted", inventory.id)
