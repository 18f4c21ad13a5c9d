"""What the hub asks of a spoke is answered, or refused at once and in words; nobody waits for ever or for too much."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest
from grpc import aio

from felloe.errors import KubernetesError, LinkError
from felloe.parts import LARGEST_MESSAGE, WINDOW, cost, parts
from felloe.v1 import link_pb2 as pb
from hub.link.queries import OPEN_PER_CLUSTER, AwayError, BusyError, QueryError
from spoke.link import Handler
from tests.unit.hub.link.rig import Hub, Spoke, ending, eventually, hello, raw_stream, read, running_hub


@asynccontextmanager
async def linked(folder: Path, handlers: Mapping[str, Handler]) -> AsyncGenerator[tuple[Hub, Spoke], None]:
    """A hub, and a spoke of cluster dev that is connected to it."""
    spoke = Spoke(folder / "spoke", handlers)
    async with running_hub(folder / "hub") as hub:
        await spoke.join(hub, "dev")
        async with spoke.running():
            await eventually(lambda: spoke.client.connected)
            yield hub, spoke


async def ask(hub: Hub, name: str, question: bytes = b"", timeout: float = 20.0) -> list[bytes]:
    async with hub.server.ask("dev", name, question, timeout=timeout) as messages:
        return [message async for message in messages]


async def echo(question: bytes) -> AsyncGenerator[bytes, None]:
    yield question
    yield question[::-1]


async def never(_: bytes) -> AsyncGenerator[bytes, None]:
    await asyncio.Event().wait()
    yield b""


async def test_a_question_is_answered_whatever_its_size(tmp_path: Path) -> None:
    large = os.urandom(3_000_000)
    async with linked(tmp_path, {"echo": echo}) as (hub, _):
        assert await ask(hub, "echo", b"abc") == [b"abc", b"cba"]
        assert await ask(hub, "echo") == [b"", b""]
        assert await ask(hub, "echo", large) == [large, large[::-1]]
        with pytest.raises(LinkError, match="larger than the link takes"):
            await ask(hub, "echo", bytes(LARGEST_MESSAGE + 1))


async def test_a_bundle_arrives_while_a_large_question_is_asked(tmp_path: Path) -> None:
    large = os.urandom(4_000_000)
    async with linked(tmp_path, {"echo": echo}) as (hub, spoke):
        asking = asyncio.create_task(ask(hub, "echo", large))
        bundle = hub.publish("dev", {"a": os.urandom(500_000).hex()})
        await eventually(lambda: spoke.root == bundle.root)
        assert await asking == [large, large[::-1]]


async def test_several_are_answered_at_once_and_no_more(tmp_path: Path) -> None:
    async with linked(tmp_path, {"echo": echo, "never": never}) as (hub, _), AsyncExitStack() as stack:
        for _ in range(OPEN_PER_CLUSTER - 1):
            await stack.enter_async_context(hub.server.ask("dev", "never"))
        assert await ask(hub, "echo", b"x") == [b"x", b"x"]
        await stack.enter_async_context(hub.server.ask("dev", "never"))
        with pytest.raises(BusyError, match="try again"):
            await ask(hub, "echo")
        await stack.aclose()
        assert await ask(hub, "echo", b"y") == [b"y", b"y"]


async def test_a_cluster_that_is_away_is_said_at_once(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        with pytest.raises(AwayError, match=r"cluster dev is not connected \(it has never joined"):
            await ask(hub, "echo")
        spoke = Spoke(tmp_path / "spoke", {"echo": echo})
        await spoke.join(hub, "dev")
        async with spoke.running():
            await eventually(lambda: spoke.client.connected)
        await eventually(lambda: not hub.server.sessions())
        with pytest.raises(AwayError, match=r"cluster dev is not connected \(last seen 20\d\d-\d\d-\d\dT"):
            await ask(hub, "echo")


async def test_a_spoke_that_does_not_know_the_question_is_not_asked(tmp_path: Path) -> None:
    async with linked(tmp_path, {}) as (hub, _):
        with pytest.raises(QueryError, match=r"can't answer 'echo'.*same version"):
            await ask(hub, "echo")


async def test_the_spoke_goes_away_in_the_middle(tmp_path: Path) -> None:
    spoke = Spoke(tmp_path / "spoke", {"never": never})
    async with running_hub(tmp_path / "hub") as hub:
        await spoke.join(hub, "dev")
        async with spoke.running():
            await eventually(lambda: spoke.client.connected)
            asking = asyncio.create_task(ask(hub, "never"))
            await asyncio.sleep(0)
        with pytest.raises(AwayError, match="disconnected before its answer was whole"):
            await asking


async def test_what_goes_wrong_at_the_spoke_is_told(tmp_path: Path) -> None:
    async def refused(_: bytes) -> AsyncGenerator[bytes, None]:
        yield b"first"
        raise KubernetesError("the API server said no")

    async def broken(_: bytes) -> AsyncGenerator[bytes, None]:
        yield b"first"
        raise ValueError("a secret detail")

    async with linked(tmp_path, {"refused": refused, "broken": broken, "echo": echo}) as (hub, spoke):
        async with hub.server.ask("dev", "refused") as messages:
            assert await anext(messages) == b"first"
            with pytest.raises(QueryError, match="cluster dev: the API server said no"):
                await anext(messages)
        with pytest.raises(QueryError, match="the spoke failed at the question broken; its log says why"):
            await ask(hub, "broken")
        assert await ask(hub, "echo", b"still") == [b"still", b"llits"]
        assert spoke.client.connected


async def test_an_answer_has_its_time(tmp_path: Path) -> None:
    async with linked(tmp_path, {"never": never}) as (hub, spoke):
        with pytest.raises(QueryError, match=r"cluster dev did not answer within 0\.2 s|took longer than 0\.2 s"):
            await ask(hub, "never", timeout=0.2)
        assert spoke.client.connected


def watched() -> tuple[Handler, list[str], Callable[[], Awaitable[object]]]:
    """A handler without an end that notes when it was stopped, and how much it could send until then."""
    stopped = asyncio.Event()
    sent: list[str] = []

    async def endless(_: bytes) -> AsyncGenerator[bytes, None]:
        try:
            while True:
                yield os.urandom(20_000)
                sent.append("x")
        finally:
            stopped.set()

    return endless, sent, stopped.wait


@pytest.mark.parametrize("how", ["left", "cancelled"])
async def test_the_spoke_stops_when_nobody_waits_any_more(tmp_path: Path, how: str) -> None:
    endless, sent, stopped = watched()

    async def listen(hub: Hub) -> None:
        async with hub.server.ask("dev", "endless") as messages:
            await anext(messages)
            if how == "cancelled":
                await asyncio.Event().wait()

    async with linked(tmp_path, {"endless": endless, "echo": echo}) as (hub, spoke):
        listening = asyncio.create_task(listen(hub))
        await eventually(lambda: sent)
        if how == "cancelled":
            listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening
        async with asyncio.timeout(20):
            await stopped()
        assert await ask(hub, "echo", b"ab") == [b"ab", b"ba"]
        assert spoke.client.connected
        assert len(hub.listener.hellos) == 1


async def test_an_answer_that_nobody_takes_waits_at_the_spoke(tmp_path: Path) -> None:
    endless, sent, _ = watched()
    async with linked(tmp_path, {"endless": endless}) as (hub, _), hub.server.ask("dev", "endless") as messages:
        await eventually(lambda: len(sent) >= WINDOW // 22_000)
        await asyncio.sleep(0.3)
        assert len(sent) <= WINDOW // 20_000
        for _ in range(40):
            await anext(messages)
        await eventually(lambda: len(sent) >= 40)


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([pb.SpokeMessage(answer_end=pb.AnswerEnd(id=9))], "an answer to query 9, which was never asked"),
        ([pb.SpokeMessage(answer=pb.Part(id=1, data=bytes(65_537)))], "a part of 65537 bytes"),
        ([pb.SpokeMessage(answer=pb.Part(id=1))], "a part of 0 bytes"),
        (
            [pb.SpokeMessage(answer=pb.Part(id=1, data=bytes(60_000), whole=True))] * (WINDOW // 60_000 + 1),
            "larger than its credit",
        ),
    ],
)
async def test_a_spoke_that_says_too_much_is_cut_off(tmp_path: Path, answers: list[pb.SpokeMessage], said: str) -> None:
    async with running_hub(tmp_path / "hub") as hub, raw_stream(hub.member("dev")) as call:
        first = hello()
        first.hello.queries.append("echo")
        await call.write(first)
        await eventually(hub.server.sessions)
        async with hub.server.ask("dev", "echo") as messages:
            while not (await read(call)).HasField("question"):
                pass
            with suppress(aio.AioRpcError):  # the hub may have had enough already
                for answer in answers:
                    await call.write(answer)
            assert said in await ending(call)
            with pytest.raises(QueryError):
                [message async for message in messages]


async def test_an_answer_that_is_damaged_is_an_error(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub, raw_stream(hub.member("dev")) as call:
        first = hello()
        first.hello.queries.append("echo")
        await call.write(first)
        await eventually(hub.server.sessions)
        async with hub.server.ask("dev", "echo") as messages:
            await call.write(pb.SpokeMessage(answer=pb.Part(id=1, data=b"no zstd", whole=True)))
            with pytest.raises(QueryError, match="a message is damaged"):
                await anext(messages)


def test_parts_are_bounded_and_make_the_message_again() -> None:
    message = os.urandom(200_000)
    made = list(parts(7, message))
    assert [part.whole for part in made] == [False, False, False, True]
    assert all(part.id == 7 and cost(part) <= 64 * 1024 for part in made)
