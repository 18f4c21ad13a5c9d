"""Connections to a server that is what servers are: slow, restarted, gone in the middle."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from spoke.kube.answers import BrokenError
from spoke.kube.connections import Connections, Reply, Request, _Connection
from tests.cluster.pki import Authority

GET = Request("GET", "/x", {"Accept": "text/plain"})
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

Serve = Callable[[int, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""Serves one connection; the first is 1."""


class Server:
    """What a server was asked, on which of its connections."""

    def __init__(self, connections: Connections) -> None:
        self.connections = connections
        self.opened = 0
        self.asked: list[tuple[int, bytes]] = []


@asynccontextmanager
async def serving(serve: Serve, path: str = "") -> AsyncIterator[Server]:
    tasks: set[asyncio.Task[None]] = set()

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.opened += 1
        task = asyncio.current_task()
        assert task
        tasks.add(task)
        try:
            await serve(server.opened, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(accepted, "127.0.0.1", 0)
    host, port = listening.sockets[0].getsockname()
    server = Server(Connections(f"http://{host}:{port}{path}"))
    try:
        async with asyncio.timeout(20):
            yield server
    finally:
        await server.connections.close()
        listening.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def head(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


async def friendly(_: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        await head(reader)
        writer.write(OK)


async def test_a_connection_is_used_again_and_as_many_are_opened_as_are_needed_at_once() -> None:
    async with serving(friendly) as server:
        for _ in range(3):
            assert (await server.connections.ask(GET, 5)).body == b"ok"
        assert server.opened == 1
        await asyncio.gather(*(server.connections.ask(GET, 5) for _ in range(4)))
        assert server.opened == 4


async def test_a_request_is_sent_as_it_is_said() -> None:
    asked: list[bytes] = []

    async def serve(_: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await head(reader) + await reader.readexactly(4))
        writer.write(OK)

    async with serving(serve, "/k8s/") as server:
        request = Request("PATCH", "/api?a=b", {"Content-Type": "x"}, b"body")
        assert (await server.connections.ask(request, 5)).status == 200
    assert asked[0].startswith(b"PATCH /k8s/api?a=b HTTP/1.1\r\nHost: 127.0.0.1:")
    assert asked[0].endswith(b"\r\nContent-Type: x\r\nContent-Length: 4\r\n\r\nbody")


@pytest.mark.parametrize(
    "request_",
    [
        Request("GET", "/a b", {}),
        Request("GET", "/a", {"X": "a\r\nY: b"}),
        Request("GET", "/a", {"X": "\u65e5"}),
    ],
)
async def test_nothing_that_breaks_a_request_in_two_is_sent(request_: Request) -> None:
    async with serving(friendly) as server:
        with pytest.raises(BrokenError):
            await server.connections.ask(request_, 5)
        assert server.opened == 0


async def test_a_kept_connection_that_turns_out_to_be_closed_costs_no_request() -> None:
    async def serve(_: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader)
        writer.write(OK)
        await head(reader)  # and closes it without an answer

    async with serving(serve) as server:
        assert (await server.connections.ask(GET, 5)).body == b"ok"
        assert (await server.connections.ask(GET, 5)).body == b"ok"
        assert server.opened == 2


async def test_a_new_connection_that_is_closed_without_an_answer_is_an_error() -> None:
    async def serve(_: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader)

    async with serving(serve) as server:
        with pytest.raises(BrokenError, match="closed the connection unasked"):
            await server.connections.ask(GET, 5)
        assert server.opened == 1


async def test_an_answer_that_is_cut_short_is_an_error_and_not_asked_for_again() -> None:
    async def serve(_: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader)
        writer.write(OK)
        await head(reader)
        writer.write(OK[:-1])

    async with serving(serve) as server:
        await server.connections.ask(GET, 5)
        with pytest.raises(BrokenError, match="in its answer"):
            await server.connections.ask(GET, 5)
        assert server.opened == 1


@pytest.mark.parametrize("seconds", [0.2, 20.0])
async def test_what_nobody_waits_for_any_more_is_nobody_elses_answer(seconds: float) -> None:
    asked, answer = asyncio.Event(), asyncio.Event()

    async def serve(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader)
        asked.set()
        if number == 1:
            await answer.wait()
        writer.write(OK.replace(b"ok", b"%02d" % number))
        await head(reader)

    async with serving(serve) as server:
        late = asyncio.create_task(server.connections.ask(GET, seconds))
        await asked.wait()
        if seconds > 1:
            late.cancel()
        with pytest.raises((asyncio.CancelledError, TimeoutError)):
            await late
        answer.set()
        assert (await server.connections.ask(GET, 5)).body == b"02"


async def test_an_answer_larger_than_what_is_kept_unread_comes_whole() -> None:
    large = bytes(range(256)) * 20_000

    async def serve(_: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await head(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(large) + large)

    async with serving(serve) as server:
        for _ in range(2):
            assert (await server.connections.ask(GET, 15)).body == large
        assert server.opened == 1


async def test_a_stream_comes_as_it_is_sent_and_holds_back_who_sends_faster_than_is_read() -> None:
    sent = 0

    async def serve(_: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        while sent < 64 * 2**20:
            writer.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            sent += 65536
            await writer.drain()
        writer.write(b"0\r\n\r\n")

    async with serving(serve) as server, server.connections.stream(GET, 20, 20) as stream:
        parts = stream.iter_any()
        assert (await anext(parts)).startswith(b"first")
        await asyncio.sleep(0.2)
        assert 0 < sent < 32 * 2**20
        received = len(b"first")
        async for part in parts:
            received += len(part)
        assert received == len(b"first") + sent


@pytest.mark.parametrize(("seconds", "silent"), [(30.0, 0.1), (0.3, 20.0)])
async def test_a_stream_ends_when_it_is_silent_or_takes_too_long(seconds: float, silent: float) -> None:
    async def serve(_: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while silent > seconds:
            writer.write(b"1\r\nx\r\n")
            await asyncio.sleep(0.01)
        await asyncio.sleep(20)

    async def follow(connections: Connections) -> None:
        async with connections.stream(GET, seconds, silent) as stream:
            async for _ in stream.iter_any():
                pass

    async with serving(serve) as server:
        with pytest.raises(TimeoutError):
            await follow(server.connections)


async def test_nobody_there_is_an_error() -> None:
    async with serving(friendly) as server:
        pass
    with pytest.raises(OSError, match="onnect"):
        await server.connections.ask(GET, 5)


@pytest.mark.parametrize("first", ["silent", "impossible"])
async def test_of_several_addresses_one_that_does_not_answer_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    loop = asyncio.get_running_loop()
    asked: list[object] = []
    with socket.socket() as silent:
        # A backlog that is full answers no more than a network that drops everything.
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(silent.getsockname())
        async with serving(friendly) as server:
            port = server.connections._port
            refused = (socket.AF_INET, silent.getsockname()) if first == "silent" else (-1, ("", 0))

            async def addresses(*_: object, **__: object) -> list[tuple[object, ...]]:
                found = [refused, (socket.AF_INET, ("127.0.0.1", port))]
                return [(family, socket.SOCK_STREAM, 0, "", address) for family, address in found]

            monkeypatch.setattr("spoke.kube.connections._CONNECT_SECONDS", 4.0)
            monkeypatch.setattr(loop, "getaddrinfo", addresses)
            connect = loop.sock_connect

            async def connecting(made: socket.socket, address: tuple[str, int]) -> None:
                asked.append(address)
                await connect(made, address)

            monkeypatch.setattr(loop, "sock_connect", connecting)
            connections = Connections(f"http://cluster.example:{port}")
            for _ in range(2):
                assert (await connections.ask(GET, 15)).body == b"ok"
                await connections.close()
        for each in waiting:
            each.close()
    # The one that answered is the first to be asked the next time.
    assert asked[-2:] == [("127.0.0.1", port)] * 2


async def test_who_goes_as_a_tls_handshake_ends_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority("ca")
    pair = authority.server("apiserver")
    (tmp_path / "server.pem").write_bytes(pair.certificate + pair.key)
    offered = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    offered.load_cert_chain(tmp_path / "server.pem")
    trusting = ssl.create_default_context(cadata=authority.certificate.decode())
    open_: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_.add(writer)
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(OK)
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass
        finally:
            open_.discard(writer)
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=offered)
    server = f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    asked = replace(GET, tls=trusting)
    going: set[asyncio.Task[Reply]] = set()
    made = _Connection.connection_made

    def connection_made(connection: _Connection, transport: asyncio.BaseTransport) -> None:
        made(connection, transport)
        while going:
            going.pop().cancel()

    monkeypatch.setattr(_Connection, "connection_made", connection_made)
    async with asyncio.timeout(30):
        for _ in range(10):
            connections = Connections(server)
            task = asyncio.create_task(connections.ask(asked, 10.0))
            going.add(task)
            await asyncio.gather(task, return_exceptions=True)
            assert task.cancelled()
            replies = await asyncio.gather(*(connections.ask(asked, 10.0) for _ in range(4)))
            assert {reply.body for reply in replies} == {b"ok"}
            await connections.close()
        while open_:  # noqa: ASYNC110 -- the other end takes a moment to notice
            await asyncio.sleep(0.01)
    listening.close()
