"""What nothing needs any more goes from the hub's disk: objects that no plan and no published bundle holds."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from hub.link.server import LinkServer
from hub.planning.plans import Plans
from hub.store import Blobs

log = logging.getLogger(__name__)

_COLLECT_EVERY: Final = 3600.0
COLLECT_AFTER: Final = 86400.0
"""Seconds: a revert within a day finds its objects here."""


async def keep_collecting(plans: Plans, link: LinkServer, blobs: Blobs) -> None:
    """Collect every hour, until cancelled."""
    while True:
        await asyncio.sleep(_COLLECT_EVERY)
        try:
            removed = await collect(plans, link, blobs)
        except Exception:  # what is too much on the disk is no reason to end
            log.exception("can't remove the blobs that nothing needs any more, trying again later")
        else:
            log.info("removed %d blobs that nothing needs any more", removed)


async def collect(plans: Plans, link: LinkServer, blobs: Blobs, *, older_than: float = COLLECT_AFTER) -> int:
    """Remove what is not needed and was put more than `older_than` seconds ago; return how many. Raise StoreError."""
    known = {plan.bundle.root: plan.bundle for plan in plans.clusters.values()}
    keep = link.needed(known.keys())
    for bundle in known.values():
        keep |= bundle.digests()
    return await asyncio.to_thread(blobs.collect, keep, older_than=older_than)
