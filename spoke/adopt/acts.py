"""What was begun goes on without the one who asked for it: half way neither Flux nor the spoke would apply anything."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass

from felloe.errors import AdoptionError, FelloeError

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Act:
    begin: Callable[[], Coroutine[None, None, str]]
    done: asyncio.Future[str]


class Acts:
    """Does what it is asked to, one after the other, in the task that runs `run`."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[_Act] | None = None

    async def run(self) -> None:
        """Work until cancelled: what is being done then is cut off, and whoever waits for it is told."""
        queue = self._queue = asyncio.Queue()
        act: _Act | None = None
        try:
            while True:
                act = await queue.get()
                if not act.done.cancelled():
                    await self._do(act)
        finally:
            self._queue = None
            for cut in (act, *(queue.get_nowait() for _ in range(queue.qsize()))):
                if cut is not None and not cut.done.done():
                    cut.done.set_exception(AdoptionError("the spoke stopped before this was done: ask for it again"))

    async def do(self, begin: Callable[[], Coroutine[None, None, str]]) -> str:
        """Have something done, and return what that returned. Raise AdoptionError where nobody runs."""
        if self._queue is None:
            raise AdoptionError("this spoke does not work on its cluster now: `felloe describe cluster` says why")
        act = _Act(begin, asyncio.get_running_loop().create_future())
        await self._queue.put(act)
        return await act.done

    async def _do(self, act: _Act) -> None:
        task = asyncio.create_task(act.begin())
        try:
            await asyncio.wait((task,))
        finally:
            task.cancel()
        error = task.exception()
        if error is not None:
            _log.warning("event=AdoptionFailed error=%r", str(error), exc_info=not isinstance(error, FelloeError))
        if act.done.cancelled():
            return
        if error is not None:
            act.done.set_exception(error)
        else:
            act.done.set_result(task.result())
