"""The API's server: uvicorn inside the hub's own event loop, with TLS and without its signal handlers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from felloe.errors import ConfigError
from hub.api.app import ApiApp

PATIENCE: Final = 15.0
"""Seconds that a client may take to send the head of a request. uvicorn waits for the first one for ever."""


def _protocol(patience: float) -> type[H11Protocol]:
    """Return uvicorn's protocol that closes a connection on which no request comes.

    Otherwise whoever reaches the port could use up the hub's file descriptors, without any credential.
    """

    class Impatient(H11Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._look_again()

        def _look_again(self) -> None:
            self._seen = self.cycle
            self._timer = self.loop.call_later(patience, self._look)

        def _look(self) -> None:
            idle = self.cycle is None or self.cycle.response_complete
            if idle and self.cycle is self._seen:
                self.transport.close()
            else:
                self._look_again()

        def connection_lost(self, exc: Exception | None) -> None:
            self._timer.cancel()
            super().connection_lost(exc)

    return Impatient


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Have the server end."""
        self.should_exit = True
        self._stopping.set()

    async def main_loop(self) -> None:
        """Renew the Date header every second until told to stop (uvicorn's own loop wakes ten times as often)."""
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), 1.0)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the hub."""
        yield


class ApiServer:
    """A running server. `port` is the real one, where 0 was asked for; `stop` ends its watches and then itself."""

    def __init__(self, server: _Server, task: asyncio.Task[None], app: ApiApp, port: int) -> None:
        self._server = server
        self._task = task
        self._app = app
        self.port = port

    async def stop(self) -> None:
        """Stop: no new requests, watches end, running requests have a second. Returns when all is closed."""
        self._app.closing.set()
        self._server.stop()
        await self._task

    async def wait(self) -> None:
        """Return when the server has ended; a failure of it is raised."""
        await asyncio.shield(self._task)


async def serve(
    app: ApiApp, host: str, port: int, certfile: Path, keyfile: Path, *, patience: float = PATIENCE
) -> ApiServer:
    """Listen and serve `app` over TLS until `stop`.

    `certfile` and `keyfile` are PEM files: the chain, leaf first, and its key. `patience` is how many seconds a client
    may take to send the head of a request. Raise ConfigError where host and port or the certificate can't be used.
    """
    listener = _listen(host, port)
    config = uvicorn.Config(
        app,
        ssl_certfile=certfile,
        ssl_keyfile=str(keyfile),
        loop="none",
        http=_protocol(patience),
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=1,
    )
    try:
        config.load()
    except OSError as error:
        listener.close()
        raise ConfigError(f"the HTTP API can't use the certificate {certfile} and its key: {error}") from error
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]), name="http api")
    real_port: int = listener.getsockname()[1]
    return ApiServer(server, task, app, real_port)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(2048)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise ConfigError(f"the HTTP API can't listen on {host}:{port}: {error.strerror or error}") from error
    listener.setblocking(False)
    return listener
