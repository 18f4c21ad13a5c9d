"""Who may keep a connection: whoever asks something and listens to the answer, nobody else."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio
import yaml
from starlette.requests import Request
from starlette.types import Message

from hub.api.body import read_body
from hub.api.errors import ApiError
from tests.unit.hub.api.inmemory import InMemoryHub, Served, fill, served

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest_asyncio.fixture
async def impatient(data: Path) -> AsyncIterator[Served]:
    hub = InMemoryHub()
    fill(hub)
    async with served(hub, data, heartbeat=0.05, patience=0.1) as one:
        yield one


async def connect(to: Served) -> Connection:
    trust = ssl.create_default_context(cadata=to.ca)
    return await asyncio.open_connection("127.0.0.1", to.server.port, ssl=trust)


async def dripping(connection: Connection) -> bytes:
    """Send the head of a request byte by byte, without end, and return what is answered."""
    reader, writer = connection
    writer.write(b"GET / HTTP/1.1\r\nX-Long: ")
    answer = asyncio.create_task(reader.read())
    while not answer.done():
        writer.write(b"x")
        await asyncio.wait([answer], timeout=0.02)
    return await answer


async def silent(connection: Connection) -> bytes:
    return await connection[0].read()


@pytest.mark.parametrize("client", [silent, dripping])
async def test_a_client_that_asks_nothing_is_let_go(
    impatient: Served, client: Callable[[Connection], Awaitable[bytes]]
) -> None:
    connection = await connect(impatient)
    try:
        assert await asyncio.wait_for(client(connection), 10) == b""
    except ConnectionError:  # said while the client was still writing
        pass
    finally:
        connection[1].close()


async def test_a_watch_lasts_longer(impatient: Served) -> None:
    reader, writer = await connect(impatient)
    token = yaml.safe_load(impatient.credential.read_text())["token"]
    writer.write(
        f"GET /api/v1/clusters?watch=true HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    )
    async with asyncio.timeout(10):
        for _ in range(20):  # a heartbeat each 0.05 s
            await reader.readuntil(b"BOOKMARK")
    writer.close()


async def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    async def receive() -> Message:
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b"x", "more_body": True}

    request = Request({"type": "http", "method": "POST", "path": "/", "headers": []}, receive)
    with pytest.raises(ApiError, match="did not arrive") as caught:
        await asyncio.wait_for(read_body(request, 1_000_000, patience=0.1), 10)
    assert caught.value.code == 408
