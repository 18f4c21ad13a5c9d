"""Workloads on which no work is done: another one applies them still, or a person suspended them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from felloe.errors import KubernetesError
from spoke.apply import standing
from spoke.apply.context import Context
from spoke.apply.hold import Hold
from spoke.apply.release import released
from spoke.apply.standing import Verdict
from spoke.apply.state import State

_PAUSE_SECONDS: Final = 15.0
_log = logging.getLogger(__name__)

Publish = Callable[[Verdict], None]
"""Tells what Ready has to say."""


async def held(context: Context, state: State, hold: Hold, publish: Publish) -> None:
    """Leave a workload to the one who applies it, having given back what there is of it if that is asked for."""
    publish(Verdict(standing.FALSE, "AppliedByFlux", hold.reason))
    if hold.release:
        await released(context, state, hold)
        publish(Verdict(standing.FALSE, "AppliedByFlux", hold.reason))
        context.peers.changed()
    await asyncio.Event().wait()


async def suspended(context: Context, state: State, publish: Publish) -> None:
    """Do nothing, and see to it that this is remembered should the workload leave the bundle."""
    context.peers.changed()
    unsure = context.inventories.unsure
    while state.inventory.items and (not state.inventory.suspend or unsure(state.inventory.id)):
        draft = replace(state.inventory, suspend=True)
        try:
            await context.inventories.write(draft)
            state.inventory = draft
        except KubernetesError as error:
            _log.warning("event=suspend-not-recorded workload=%s error=%r", state.inventory.id, str(error))
            await asyncio.sleep(_PAUSE_SECONDS)
    known = state.standing.conditions.get("Ready")
    verdict = Verdict(standing.UNKNOWN, "Suspended", "reconciliation is suspended")
    publish(Verdict(known.status, known.reason, known.message) if known else verdict)
    await asyncio.Event().wait()
