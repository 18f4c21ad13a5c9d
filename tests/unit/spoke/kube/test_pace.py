"""How many requests run at once, as the API server's answers tell it."""

from __future__ import annotations

import asyncio
import random

from spoke.kube.pace import MOST, Gate, Pace


class Server:
    """An API server that works on a number of requests at once: more of them only wait for each other."""

    def __init__(self, at_once: int) -> None:
        self.at_once = at_once
        self.now = 0.0
        self.pace = Pace(lambda: self.now)

    def serve(self, requests: int, what: str = "PATCH configmaps") -> None:
        for _ in range(requests):
            seconds = 0.002 * max(1.0, self.pace.limit / self.at_once)
            self.now += seconds
            self.pace.wants()
            self.pace.answered(what, seconds)


def test_an_idle_server_is_given_more_until_it_answers_later() -> None:
    server = Server(at_once=4)
    server.serve(600)
    assert 12 <= server.pace.limit < MOST


def test_a_fast_server_is_given_all() -> None:
    server = Server(at_once=1000)
    server.serve(600)
    assert server.pace.limit == MOST


def test_a_server_that_becomes_busy_is_given_less_and_more_again_later() -> None:
    server = Server(at_once=20)
    server.serve(600)
    before = server.pace.limit
    server.at_once = 1
    server.serve(600)
    assert server.pace.limit <= 16
    server.at_once = 20
    server.serve(2000)
    assert server.pace.limit >= before / 2


def test_what_is_refused_halves_it_once_a_moment_and_never_to_nothing() -> None:
    server = Server(at_once=1000)
    server.serve(600)
    for _ in range(10):
        server.pace.refused()
    assert server.pace.limit == MOST // 2
    for _ in range(10):
        server.now += 2.0
        server.pace.refused()
    assert server.pace.limit >= 1


def test_slow_kinds_are_compared_with_themselves() -> None:
    server = Server(at_once=1000)
    for _ in range(60):
        server.serve(5)
        server.pace.answered("PATCH slowpokes", 2.0)
    assert server.pace.limit == MOST


def test_much_work_is_done_more_gently_than_little_from_its_beginning_on() -> None:
    little, much = Server(at_once=4), Server(at_once=4)
    with little.pace.work(1000), much.pace.work(5000):
        assert much.pace.limit <= little.pace.limit
        little.serve(600)
        much.serve(600)
    assert much.pace.limit <= 9 < 15 <= little.pace.limit


def test_work_of_many_parts_counts_as_one() -> None:
    server = Server(at_once=4)
    with server.pace.work(1000), server.pace.work(1000):
        server.serve(600)
    assert server.pace.limit <= 9


def test_what_is_done_of_a_work_is_left_to_do_no_more() -> None:
    server = Server(at_once=4)
    with server.pace.work(2000) as done:
        for _ in range(1500):
            done()
        server.now += 60.0
        server.serve(300)
        assert server.pace.limit >= 12


def test_one_small_work_after_another_is_gentle_in_the_end_and_brisk_after_a_rest() -> None:
    server = Server(at_once=4)
    for _ in range(10):
        with server.pace.work(300):
            server.serve(300)
    assert server.pace.limit <= 9
    server.now += 60.0
    server.serve(300)
    assert server.pace.limit >= 12


def test_a_fast_server_is_given_all_for_much_work_too() -> None:
    server = Server(at_once=1000)
    with server.pace.work(5000):
        server.serve(3000)
    assert server.pace.limit == MOST


def test_the_slow_ones_of_a_round_count() -> None:
    server = Server(at_once=1000)
    server.serve(100)
    for number in range(600):
        server.now += 0.020
        server.pace.wants()
        server.pace.answered("PATCH configmaps", 0.020 if number % 3 == 0 else 0.002)
    assert server.pace.limit < 6


def test_a_server_whose_answers_vary_by_themselves_is_not_taken_to_be_busy() -> None:
    now = 0.0
    pace = Pace(lambda: now)
    randomness = random.Random(1)  # noqa: S311
    with pace.work(5000) as done:
        for _ in range(5000):
            seconds = 0.05 * randomness.lognormvariate(0.0, 0.7)  # one of ten takes 2.5 times the median
            now += seconds / pace.limit
            pace.wants()
            pace.answered("PATCH configmaps", seconds)
            done()
    assert now < 30


def test_what_nobody_waits_for_does_not_grow() -> None:
    pace = Pace(lambda: 0.0)
    first = pace.limit
    for _ in range(600):
        pace.answered("PATCH configmaps", 0.002)
    assert pace.limit == first


async def test_requests_pass_in_order_and_as_many_as_may() -> None:
    gate = Gate(Pace())
    running: list[int] = []
    order: list[int] = []
    go_on = asyncio.Event()

    async def request(number: int) -> None:
        async with gate.slot():
            running.append(number)
            order.append(number)
            await go_on.wait()

    tasks = [asyncio.create_task(request(number)) for number in range(20)]
    await asyncio.sleep(0.01)
    limit = len(running)
    assert limit == Pace().limit
    for task in tasks[limit : limit + 3]:  # some give up while they wait
        task.cancel()
    go_on.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert order == [*range(limit), *range(limit + 3, 20)]


async def test_those_who_are_cancelled_when_it_is_their_turn_pass_it_on() -> None:
    gate = Gate(Pace())
    holding = asyncio.Event()

    async def hold() -> None:
        async with gate.slot():
            await holding.wait()

    async def quick() -> None:
        async with gate.slot():
            pass

    holders = [asyncio.create_task(hold()) for _ in range(Pace().limit)]
    await asyncio.sleep(0)
    unlucky = asyncio.create_task(quick())
    await asyncio.sleep(0)
    holding.set()
    await asyncio.gather(*holders)
    unlucky.cancel()
    async with asyncio.timeout(5):
        await asyncio.gather(unlucky, *(quick() for _ in range(100)), return_exceptions=True)


async def test_a_request_that_is_stuck_lets_others_by() -> None:
    gate = Gate(Pace())
    stuck = asyncio.Event()

    async def webhook() -> None:
        async with gate.slot():
            await stuck.wait()

    tasks = [asyncio.create_task(webhook()) for _ in range(Pace().limit)]
    await asyncio.sleep(0)
    async with asyncio.timeout(20), gate.slot():
        assert not any(task.done() for task in tasks)
    stuck.set()
    await asyncio.gather(*tasks)
