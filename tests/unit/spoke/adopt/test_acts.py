"""A handover goes on without the one who asked for it, and its end is told to the one who waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from felloe.errors import AdoptionError
from spoke.adopt.acts import Acts


@asynccontextmanager
async def running() -> AsyncIterator[tuple[Acts, asyncio.Task[None]]]:
    acts = Acts()
    task = asyncio.create_task(acts.run())
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        yield acts, task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_what_was_begun_goes_on_without_the_one_who_asked() -> None:
    go, ended = asyncio.Event(), asyncio.Event()

    async def act() -> str:
        await go.wait()
        ended.set()
        return "done"

    async with running() as (acts, _):
        asked = asyncio.create_task(acts.do(act))
        await asyncio.sleep(0.01)
        asked.cancel()
        go.set()
        await ended.wait()


async def test_one_after_the_other_also_after_one_that_failed() -> None:
    async def bad() -> str:
        raise ValueError("no")

    async def good() -> str:
        return "done"

    async with running() as (acts, _):
        first, second = await asyncio.gather(acts.do(bad), acts.do(good), return_exceptions=True)
        assert isinstance(first, ValueError)
        assert second == "done"


async def test_whoever_waits_is_told_of_the_end_of_the_spoke() -> None:
    async with running() as (acts, task):
        asked = [asyncio.create_task(acts.do(lambda: asyncio.sleep(3600, "never"))) for _ in range(2)]
        await asyncio.sleep(0.01)
        task.cancel()
        for each in asked:
            with pytest.raises(AdoptionError, match="again"):
                await each
    with pytest.raises(AdoptionError, match="describe"):
        await acts.do(lambda: asyncio.sleep(0, "never"))
