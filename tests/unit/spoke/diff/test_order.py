"""Differences come in order, a few at a time, and stop when there are enough, or nobody listens any more."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from functools import partial

from spoke.diff.differ import in_order


async def test_results_keep_the_order_of_the_work() -> None:
    running: set[int] = set()
    most = 0

    async def work(number: int) -> int:
        nonlocal most
        running.add(number)
        most = max(most, len(running))
        await asyncio.sleep(0.02 if number % 3 == 0 else 0)
        running.discard(number)
        return number

    assert [n async for n in in_order([partial(work, n) for n in range(20)], 4, lambda: True)] == list(range(20))
    assert most == 4


async def test_nothing_is_begun_once_it_is_enough() -> None:
    begun: list[int] = []

    async def work(number: int) -> int:
        begun.append(number)
        return number

    async with aclosing(in_order([partial(work, n) for n in range(20)], 2, lambda: len(begun) < 3)) as results:
        assert [result async for result in results] == begun
    assert len(begun) < 6


async def test_what_is_running_stops_with_the_listener() -> None:
    stopped: list[int] = []

    async def work(number: int) -> int:
        if number:
            try:
                await asyncio.Event().wait()
            finally:
                stopped.append(number)
        return number

    async with aclosing(in_order([partial(work, n) for n in range(4)], 3, lambda: True)) as results:
        assert await anext(results) == 0
    assert stopped == [1, 2]
