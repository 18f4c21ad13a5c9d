"""Gives a workload's objects back to the one who applied them before us: all stay, none is ours any more."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Final

from felloe.errors import KubernetesError
from felloe.identity import ObjectId
from spoke.apply.concurrency import bounded
from spoke.apply.context import Context
from spoke.apply.hold import Hold
from spoke.apply.inventory import Inventory
from spoke.apply.state import State
from spoke.kube.jitter import spread

_FIRST_PAUSE_SECONDS: Final = 0.5
_LONGEST_PAUSE_SECONDS: Final = 15.0
_log = logging.getLogger(__name__)


async def released(context: Context, state: State, hold: Hold) -> None:
    """Release all that a workload's inventory names, and then the inventory; return when nothing of it is left."""
    pause, told = _FIRST_PAUSE_SECONDS, ""
    while True:
        inventory = state.inventory
        try:
            message = await _once(context, state, hold)
            if not message:
                await context.inventories.delete(inventory)
                state.inventory = Inventory(inventory.id)
                return
        except KubernetesError as error:
            message = str(error)
        _log.warning("event=ReleaseFailed workload=%s error=%r", inventory.id, message)
        if message != told:
            told = message
            context.report.event("ReleaseFailed", message, inventory.id, warning=True)
        await asyncio.sleep(spread(pause))
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)


async def _once(context: Context, state: State, hold: Hold) -> str:
    """Try all objects once; return what went wrong with the first that could not be released, empty where all were."""
    inventory = state.inventory
    failures: dict[ObjectId, str] = {}

    async def one(identity: ObjectId) -> None:
        item = inventory.items[identity]
        labels = dict(hold.labels) if identity in hold.theirs else {}
        try:
            await context.objects.release(identity, item.version, inventory.id, labels, hold.manager)
        except KubernetesError as error:
            failures[identity] = str(error)

    await bounded(one, inventory.items)
    if not failures:
        return ""
    draft = replace(inventory, items={identity: inventory.items[identity] for identity in failures})
    await context.inventories.write(draft)
    state.inventory = draft
    identity, message = min(failures.items())
    return f"{len(failures)} objects could not be given back: {identity}: {message}"
