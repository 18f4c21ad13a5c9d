"""Many requests at once, but not too many."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from felloe.errors import FelloeError
from spoke.kube.pace import MOST

_T = TypeVar("_T")


async def bounded(work: Callable[[_T], Awaitable[None]], items: Iterable[_T], limit: int = MOST) -> None:
    """Do some work for each item, at most `limit` at once; the first error ends all and is raised as it is."""
    queue = iter(items)

    async def worker() -> None:
        for item in queue:
            await work(item)

    # No TaskGroup: before Python 3.13 one whose child fails may lose the cancellation of its parent.
    workers = [asyncio.create_task(worker()) for _ in range(limit)]
    try:
        await asyncio.gather(*workers)
    finally:
        for task in workers:
            task.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


def first_of(errors: BaseExceptionGroup[FelloeError]) -> FelloeError:
    """Return the first error of a group, so that it can be raised as it is."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if not isinstance(error, FelloeError):
        raise TypeError("a group of our errors holds another one")
    return error
