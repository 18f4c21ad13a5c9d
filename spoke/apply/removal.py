"""The end of a workload: what it left in the cluster goes, or stays, as its inventory says."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Final

from felloe.digest import Digest
from felloe.errors import FelloeError
from felloe.v1 import status_pb2 as pb
from spoke.apply import standing
from spoke.apply.context import Context
from spoke.apply.plan import leftovers
from spoke.apply.pruning import Outcome, next_look, prune
from spoke.apply.standing import Verdict
from spoke.apply.state import State
from spoke.kube.jitter import spread

_LONGEST_PAUSE_SECONDS: Final = 60.0
_REMOVED: Final = b"removed"


async def removed(context: Context, state: State, hub: bytes) -> None:
    """Take down a workload that is in the bundle of `hub` no more, as its inventory says.

    Return when nothing of it is left, nor may come back. It counts as removed as soon as nothing is left.
    """
    attempt, told = 0, b""
    while True:
        outcome, message = Outcome(), ""
        try:
            outcome = await _take_down(context, state, hub)
            if not state.inventory.items:
                await context.inventories.delete(state.inventory)
                context.report.removed(state.inventory.id)
                return
        except FelloeError as error:
            message = str(error)
        if not message and outcome.done and state.inventory.items.keys() <= outcome.lingering:
            if told != _REMOVED:
                told = _REMOVED
                context.report.removed(state.inventory.id)
        else:
            status = _status(state, outcome, message)
            if (data := status.SerializeToString(deterministic=True)) != told:
                told = data
                context.report.workload(status)
        attempt = 0 if outcome.dropped else attempt + 1
        # An approval comes with a newer bundle, and with that this begins again.
        longest = _LONGEST_PAUSE_SECONDS
        seconds = longest if outcome.pending else next_look(outcome.failures, attempt, longest)
        await asyncio.sleep(spread(seconds))


async def _take_down(context: Context, state: State, hub: bytes) -> Outcome:
    inventory = state.inventory
    left = leftovers(inventory, (), context.peers.claims, context.peers.recorded, prune=inventory.deletes_at_removal)
    outcome = await prune(context, state, left, (), inventory.parting, hub)
    items = {i: item for i, item in state.inventory.items.items() if i not in outcome.dropped}
    state.inventory = replace(state.inventory, items=items)
    return outcome


def _status(state: State, outcome: Outcome, message: str) -> pb.WorkloadStatus:
    inventory, failures = state.inventory, outcome.failures | outcome.kept
    if message:
        verdict = Verdict(standing.FALSE, "PruneFailed", message)
    elif failures:
        verdict = standing.ready_while_failing(failures, len(inventory.items))
    else:
        verdict = outcome.verdict() or Verdict(standing.UNKNOWN, "Progressing", "being removed")
    state.standing.set("Ready", verdict, time.time())
    return standing.status(
        state.standing,
        digest=inventory.applied_digest or Digest(b""),
        applied_digest=inventory.applied_digest,
        applied_at=inventory.applied_at,
        objects=len(inventory.items),
        troubles=standing.problems(failures, {}),
        pending=outcome.pending,
    )
