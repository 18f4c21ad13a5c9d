"""An HTTP server that answers as a test tells it to: the ways of an API server that a healthy one does not show."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from spoke.kube.access import Credentials, fixed
from spoke.kube.client import KubeClient, connect

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(handler: Handler, token: str = "", silent_seconds: float = 60.0) -> AsyncIterator[KubeClient]:
    """Yield a client of a server that answers every request by `handler`."""
    runner = web.ServerRunner(web.Server(handler), shutdown_timeout=0.1)  # type: ignore[arg-type]
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        async with connect(fixed(f"http://127.0.0.1:{port}", Credentials(None, token)), silent_seconds) as client:
            yield client
    finally:
        await runner.cleanup()


def status(code: int, reason: str, message: str, **headers: str) -> web.Response:
    """Return a Status object as an API server answers with."""
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason}
    return web.json_response(body | {"message": message}, status=code, headers=headers)
