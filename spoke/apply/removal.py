"""The end of a workload: what it left in the cluster goes, or stays, as its inventory says."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from typing import Final

from felloe.digest import Digest
from felloe.errors import FelloeError
from felloe.identity import ObjectId
from spoke.apply import standing
from spoke.apply.context import Context
from spoke.apply.plan import leftovers
from spoke.apply.pruning import prune, tell_kept
from spoke.apply.standing import Failure, Verdict
from spoke.apply.step import State

_FIRST_PAUSE_SECONDS: Final = 0.5
_LONGEST_PAUSE_SECONDS: Final = 15.0


async def removed(context: Context, state: State, hub: bytes) -> None:
    """Take down a workload that is in the bundle of `hub` no more, as its inventory says.

    Return when nothing of it is left.
    """
    inventory = state.inventory
    kept: Mapping[ObjectId, Failure] = {}
    pause = _FIRST_PAUSE_SECONDS
    while True:
        failures: dict[ObjectId, Failure] = {}
        message = ""
        try:
            keep = inventory.suspend or not inventory.prune
            left = leftovers(inventory, (), context.fleet.claims, context.fleet.recorded, prune=not keep)
            outcome = await prune(context, inventory, left, hub)
            if outcome.kept and outcome.kept != kept:
                tell_kept(context, inventory, outcome.kept)
            kept = outcome.kept
            inventory.items = {i: item for i, item in inventory.items.items() if i not in outcome.dropped}
            failures = outcome.failures | outcome.kept
            if not inventory.items:
                await context.inventories.delete(inventory.id)
                context.report.removed(inventory.id)
                return
        except FelloeError as error:
            message = str(error)
        if failures or message:
            verdict = (
                standing.ready_while_failing(failures, len(inventory.items))
                if failures
                else Verdict(standing.FALSE, "PruneFailed", message)
            )
            state.standing.set("Ready", verdict, time.time())
            context.report.workload(
                standing.status(
                    state.standing,
                    digest=inventory.applied_digest or Digest(b""),
                    applied_digest=inventory.applied_digest,
                    applied_at=inventory.applied_at,
                    objects=len(inventory.items),
                    troubles=standing.problems(failures, {}),
                )
            )
        await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
