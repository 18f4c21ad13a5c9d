"""Who asks: a request is let through by its bearer token, and carries the name of the person from then on."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.requests import HTTPConnection, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hub.api.errors import ApiError, failure
from hub.api.people import ADMIN, People, Principal

_PRINCIPAL: Final = "felloe.principal"


def bearer(connection: HTTPConnection) -> str:
    """Return the bearer token of a request (RFC 6750), empty where there is none."""
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def principal_of(request: Request) -> Principal:
    """Return who asks."""
    principal = request.scope[_PRINCIPAL]
    assert isinstance(principal, Principal)  # noqa: S101 -- BearerAuth has put it there
    return principal


def who(request: Request) -> str:
    """Return the name of who asks, as the audit log has it."""
    return principal_of(request).name


def only_admin(request: Request, what: str) -> str:
    """Return the name of who asks. Raise ApiError (403) where that is not the admin, who alone may do this."""
    name = who(request)
    if name != ADMIN:
        raise ApiError(403, f"only {ADMIN} may {what}, not {name}: use the hub's admin.yaml")
    return name


class BearerAuth:
    """Lets only requests through that have a person's token, for as long as it is good."""

    def __init__(self, app: ASGIApp, people: People) -> None:
        self._app = app
        self._people = people

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        token = bearer(HTTPConnection(scope))
        principal = self._people.principal(token) if token else None
        if principal is None:
            message = "the token is not this hub's, was revoked or has expired" if token else "a bearer token is needed"
            await failure(401, message)(scope, receive, send)
            return
        scope[_PRINCIPAL] = principal
        if scope["method"] != "GET":  # what is under way to change something is not left half done
            await self._app(scope, receive, send)
            return
        with self._people.asking(principal) as gone:
            answer = _Answer(receive, send, gone)
            await self._app(scope, answer.receive, answer.send)
            await answer.finish()


class _Answer:
    """An answer that ends when the credential does: the app is told that the client has gone."""

    def __init__(self, receive: Receive, send: Send, gone: asyncio.Event) -> None:
        self._receive = receive
        self._send = send
        self._gone = gone
        self._open = False

    async def receive(self) -> Message:
        waiting = {asyncio.ensure_future(each) for each in (self._receive(), self._left())}
        try:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
        return done.pop().result()

    async def _left(self) -> Message:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self._open = message["type"] == "http.response.start" or bool(message.get("more_body"))
        await self._send(message)

    async def finish(self) -> None:
        """End an answer that was cut short, so that the client sees that it ended."""
        if self._open and self._gone.is_set():
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
