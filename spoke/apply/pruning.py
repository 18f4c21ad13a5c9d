"""Deletes what a workload left behind, last wave first, and only what still carries its labels."""

from __future__ import annotations

import logging
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
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Outcome:
    """`dropped` need not be in the inventory any more; `failures` says what could not be deleted, and why."""

    dropped: set[ObjectId] = field(default_factory=set)
    failures: dict[ObjectId, Failure] = field(default_factory=dict)


async def prune(context: Context, inventory: Inventory, left: Leftovers) -> Outcome:
    """Do what was decided about a workload's leftovers. Raise UnreachableError where the API server is away."""
    outcome = Outcome(dropped=set(left.released))
    told: list[tuple[ObjectId, Pruned]] = []

    async def one(identity: ObjectId) -> None:
        try:
            item = inventory.items[identity]
            became = await context.objects.prune(identity, item.version, inventory.id, inventory.inherited)
        except KubernetesError as error:
            if no_request_succeeds(error):
                raise UnreachableError(str(error)) from error
            if error.status == FORBIDDEN and not inventory.items[identity].applied:
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
