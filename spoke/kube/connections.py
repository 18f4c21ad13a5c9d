"""Connections to one server that speaks HTTP/1.1, kept open between requests.

A connection whose other end is gone without a word is noticed by TCP's own probes within half a minute, which cost the
server nothing.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final, cast
from urllib.parse import urlsplit

from spoke.kube.answers import Answer, BrokenError

_CONNECT_SECONDS: Final = 10.0
_IDLE_SECONDS: Final = 30.0
_CLOSE_SECONDS: Final = 1.0
_PROBED_AFTER_SECONDS, _PROBED_EVERY_SECONDS, _PROBES = 15, 5, 3
_OPTIONS: Final = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _PROBED_AFTER_SECONDS),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _PROBED_EVERY_SECONDS),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _PROBES),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * (_PROBED_AFTER_SECONDS + _PROBED_EVERY_SECONDS * _PROBES)),
)
_UNREAD_BYTES: Final = 256 * 1024

_Address = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked: a method, a path with its query, encoded, and headers. `tls` None: over plain http."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes | None = None
    tls: ssl.SSLContext | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Connections:
    """The connections to one server. Each of its requests raises OSError (TimeoutError, BrokenError) where it fails."""

    def __init__(self, server: str, tls_name: Callable[[], str] = str) -> None:
        """`server` is a URL, whose path comes before that of each request.

        `tls_name` returns the name that its certificate is for, empty where that is the URL's host.
        """
        self._tls_name = tls_name
        url = urlsplit(server)
        self._secure = url.scheme == "https"
        self._host = url.hostname or ""
        self._port = url.port or (443 if self._secure else 80)
        self._name = url.netloc.rpartition("@")[2]
        self._prefix = url.path.rstrip("/")
        self._idle: list[_Connection] = []
        self._open: set[_Connection] = set()
        self._system: ssl.SSLContext | None = None
        self._reached: _Address | None = None

    async def ask(self, request: Request, seconds: float, repeated: Callable[[], None] | None = None) -> Reply:
        """Return the answer, if it is there within so many seconds.

        Where a connection that was kept open turns out to be closed, the request is made once more on another one;
        `repeated` is called then, for it may have arrived by the first one.
        """
        data = self._encoded(request)
        async with asyncio.timeout(seconds):
            while True:
                connection, used = await self._connection(request.tls)
                try:
                    connection.send(data)
                    await connection.head()
                    body = await connection.rest()
                except BaseException as error:
                    connection.abort()
                    if used and isinstance(error, OSError) and not connection.answer.begun:
                        if repeated is not None:
                            repeated()
                        continue
                    raise
                answer = connection.answer
                self._done(connection)
                return Reply(answer.status, answer.headers, body)

    @asynccontextmanager
    async def stream(self, request: Request, seconds: float, silent_seconds: float) -> AsyncIterator[Stream]:
        """Yield an answer that comes bit by bit, for `seconds` at most, and not without any for `silent_seconds`."""
        data = self._encoded(request)
        end = asyncio.get_running_loop().time() + seconds
        connection, _ = await self._connection(request.tls, fresh=True)
        try:
            connection.send(data, unread_at_most=_UNREAD_BYTES)
            async with asyncio.timeout(silent_seconds):
                await connection.head()
            yield Stream(connection, end, silent_seconds)
        finally:
            connection.abort()

    async def close(self) -> None:
        """Close all of them."""
        left = list(self._open)
        for connection in left:
            connection.abort()
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                for connection in left:
                    await connection.closed.wait()

    async def _connection(self, tls: ssl.SSLContext | None, *, fresh: bool = False) -> tuple[_Connection, bool]:
        """Return a connection, and whether it was used before."""
        while self._idle and not fresh:
            connection = self._idle.pop()
            if connection.wake() and connection.tls is tls:
                return connection, True
            connection.abort()  # those with former credentials go
        return await self._connect(tls), False

    async def _connect(self, tls: ssl.SSLContext | None) -> _Connection:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(_CONNECT_SECONDS):
            connected = await self._reach(loop)
            secure = (tls or self._trusting()) if self._secure else None
            connection = _Connection(tls, self._open)
            try:
                await loop.create_connection(
                    lambda: connection,
                    sock=connected,  # from here on the event loop's: nobody else may close it
                    ssl=secure,
                    server_hostname=(self._tls_name() or self._host) if secure else None,
                )
            except BaseException:
                connection.abandon()
                raise
        return connection

    async def _reach(self, loop: asyncio.AbstractEventLoop) -> socket.socket:
        """Return a socket that is connected to the first address at which anybody answers, the last such one first."""
        addresses: list[tuple[int, _Address]] = _literal(self._host, self._port) or [
            (family, address)
            for family, *_, address in await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        ]
        addresses.sort(key=lambda each: each[1] != self._reached)
        problem: OSError | None = None
        for family, address in addresses:
            try:
                made = _socket(family)
            except OSError as error:  # a kernel without IPv6
                problem = error
                continue
            try:
                # Where nothing is answered at all, there is to be time for the next one.
                async with asyncio.timeout(_CONNECT_SECONDS / len(addresses)):
                    await loop.sock_connect(made, address)
            except OSError as error:
                made.close()
                problem = error
            except BaseException:
                made.close()
                raise
            else:
                self._reached = address
                return made
        raise problem or BrokenError(f"{self._host} has no address")

    def _trusting(self) -> ssl.SSLContext:
        """Return what trusts whom the system trusts."""
        if self._system is None:
            self._system = ssl.create_default_context()
        return self._system

    def _done(self, connection: _Connection) -> None:
        """Keep a connection for the next request."""
        if connection.rest_a_while(_IDLE_SECONDS):
            self._idle = [each for each in self._idle if not each.closed.is_set()]
            self._idle.append(connection)

    def _encoded(self, request: Request) -> bytes:
        target = self._prefix + request.target
        if not (target.isascii() and target.isprintable()) or " " in target:
            raise BrokenError(f"{target!r} is no path that can be asked for")
        lines = [f"{request.method} {target} HTTP/1.1", f"Host: {self._name}"]
        for name, value in request.headers.items():
            if not (value.isascii() and value.isprintable()):
                raise BrokenError(f"the header {name} would have characters that no header can have")
            lines.append(f"{name}: {value}")
        if request.body is not None:
            lines.append(f"Content-Length: {len(request.body)}")
        return "\r\n".join((*lines, "", "")).encode("latin-1", "strict") + (request.body or b"")


class Stream:
    """An answer that comes bit by bit; `status` and `headers` are there."""

    def __init__(self, connection: _Connection, end: float, silent_seconds: float) -> None:
        self._connection = connection
        self._end = end
        self._silent_seconds = silent_seconds
        self.status = connection.answer.status
        self.headers = connection.answer.headers

    async def read(self) -> bytes:
        """Return all of it, as it is to be expected of an error."""
        async with asyncio.timeout(self._silent_seconds):
            return await self._connection.rest()

    async def iter_any(self) -> AsyncIterator[bytes]:
        """Yield it as it comes."""
        loop = asyncio.get_running_loop()
        while True:
            async with asyncio.timeout(min(self._silent_seconds, self._end - loop.time())):
                part = await self._connection.part()
            if not part:
                return
            yield part


class _Connection(asyncio.Protocol):
    """One connection: at rest, or with one request on its way."""

    def __init__(self, tls: ssl.SSLContext | None, everyone: set[_Connection]) -> None:
        self.tls = tls
        self.answer = Answer()
        self.closed = asyncio.Event()
        self._everyone = everyone
        self._transport: asyncio.Transport | None = None
        self._busy = False
        self._unwanted = False
        self._body: deque[bytes] = deque()
        self._unread = 0
        self._unread_at_most = sys.maxsize
        self._paused = False
        self._problem: OSError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    # -- by whom it is used

    def send(self, data: bytes, unread_at_most: int = sys.maxsize) -> None:
        """Make a request; with so much of its answer unread, no more is taken from the server."""
        if self._transport is None or self._transport.is_closing():
            raise self._problem or BrokenError("the connection is closed")
        self.answer, self._busy, self._unread_at_most = Answer(), True, unread_at_most
        self._transport.write(data)

    async def head(self) -> None:
        """Wait for status and headers."""
        while not self.answer.status:
            await self._more()

    async def part(self) -> bytes:
        """Return the next part of the body, empty at its end."""
        while not self._body:
            if self.answer.complete:
                return b""
            await self._more()
        part = self._body.popleft()
        self._unread -= len(part)
        if self._paused and self._unread < self._unread_at_most and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return part

    async def rest(self) -> bytes:
        """Return what is left of the body."""
        parts = []
        while part := await self.part():
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _more(self) -> None:
        """Wait until something comes. Raise OSError where nothing will."""
        if self._problem is not None:
            raise self._problem
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def rest_a_while(self, seconds: float) -> bool:
        """Wait for the next request for some time; return False where there can't be one."""
        if not (self.answer.complete and self.answer.stays) or self._transport is None or self._transport.is_closing():
            self.abort()
            return False
        self._busy = False
        self._timer = asyncio.get_running_loop().call_later(seconds, self.abort)
        return True

    def wake(self) -> bool:
        """Return whether another request can be made."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return self._transport is not None and not self._transport.is_closing()

    def abort(self) -> None:
        """Close it at once."""
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()

    def abandon(self) -> None:
        """Close it as soon as it is there: who asked for it has gone, which asyncio may notice too late."""
        self._unwanted = True
        self.abort()

    # -- by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are no subclasses
        if self._unwanted:
            self._transport.abort()
            return
        self._everyone.add(self)

    def data_received(self, data: bytes) -> None:
        if not self._busy:
            self.abort()  # nobody asked
            return
        try:
            for part in self.answer.feed(data):
                self._body.append(part)
                self._unread += len(part)
        except BrokenError as error:
            self._problem = error
            self.abort()
        if self._unread >= self._unread_at_most and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._tell()

    def connection_lost(self, error: Exception | None) -> None:
        self._everyone.discard(self)
        try:
            self.answer.ended()
        except BrokenError as broken:
            self._problem = self._problem or (error if isinstance(error, OSError) else broken)
        self._transport = None
        self.closed.set()
        self._tell()

    def _tell(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _literal(host: str, port: int) -> list[tuple[int, _Address]]:
    """Return family and address of a host that is an IP address already, nothing of a name."""
    for family in (socket.AF_INET, socket.AF_INET6):
        with suppress(OSError):
            socket.inet_pton(family, host)
            return [(family, (host, port))]
    return []


def _socket(family: int) -> socket.socket:
    """Return a socket that notices when the other end is gone, at rest and while it waits for acknowledgements."""
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setblocking(False)
    for level, option, value in _OPTIONS:
        made.setsockopt(level, option, value)
    return made
