"""One write at a time to each object, in the order in which they were asked for.

A newer bundle cancels what is being applied of an older one, but not what the API server was already asked: that may
wait there for seconds, for a slow webhook. Were the newer write sent beside it, the older one could be done last.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spoke.kube.client import Answer


class Turns:
    """Who writes to which path now."""

    def __init__(self) -> None:
        self._writing: dict[str, asyncio.Task[Answer]] = {}

    async def ended(self, path: str) -> None:
        """Wait until nothing is written to a path."""
        while (writing := self._writing.get(path)) is not None:
            await asyncio.wait([writing])

    async def take(self, path: str, write: Callable[[], Coroutine[None, None, Answer]]) -> Answer:
        """Write when it is this one's turn. A caller who is cancelled leaves at once; the write goes on to its end."""
        await self.ended(path)
        task = self._writing[path] = asyncio.create_task(write())
        task.add_done_callback(lambda done: self._end(path, done))
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Give up what is still being written."""
        left = list(self._writing.values())
        for task in left:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*left, return_exceptions=True)

    def _end(self, path: str, task: asyncio.Task[Answer]) -> None:
        if self._writing.get(path) is task:
            del self._writing[path]
        if not task.cancelled():
            task.exception()  # its caller has it, or is gone
