"""Who may ask: the admin's bearer token. The hub knows only its sha256."""

from __future__ import annotations

import hashlib
import hmac

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from hub.api.errors import failure


def bearer(connection: HTTPConnection) -> str:
    """Return the bearer token of a request (RFC 6750), empty where there is none."""
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


class BearerAuth:
    """Lets only requests through whose bearer token has this sha256; compared in constant time."""

    def __init__(self, app: ASGIApp, token_sha256: bytes) -> None:
        self._app = app
        self._token_sha256 = token_sha256

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or refuse it."""
        if scope["type"] == "http":
            token = bearer(HTTPConnection(scope))
            if not hmac.compare_digest(hashlib.sha256(token.encode()).digest(), self._token_sha256):
                message = "the token is not this hub's" if token else "a bearer token is needed"
                await failure(401, message)(scope, receive, send)
                return
        await self._app(scope, receive, send)
