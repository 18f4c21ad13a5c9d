"""One request of a gate: how long it may take, how much is read of its answer, and who is shown the credentials.

Addresses are written by those who write the fleet repository, answers by whoever is at the address. So neither the
query of a URL (it may hold a token) nor a secret is ever shown, and what comes back is bounded.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import httpx

from felloe.errors import SourceError
from hub.sources.http import HttpAuth
from hub.sources.url import shown

_MAX_REDIRECTS: Final = 5
_LONGEST_QUOTE: Final = 300
_DIRECT: Final[Mapping[str, None]] = {"all://localhost": None, "all://127.0.0.1": None, "all://[::1]": None}
"""No proxy is asked for a loopback address, as for Git."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked: a GET, or with `form` or `json` a POST of it. At most `limit` bytes of the answer are read.

    A redirect is followed for a GET only, unless its status is one of `final`.
    """

    url: str
    limit: int
    form: Mapping[str, str] | None = None
    json: Mapping[str, object] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    final: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and the body; `cut` where the body is longer than was read."""

    status: int
    body: bytes
    cut: bool = False


async def fetch(request: Request, auth: HttpAuth, context: ssl.SSLContext, timeout: float) -> Answer:
    """Make a request within `timeout` seconds, all of it. Raise `SourceError` where no answer comes."""
    where = display(request.url)
    headers = {"User-Agent": "felloe", "Accept-Encoding": "identity", **request.headers}
    if auth.header:
        headers["Authorization"] = auth.header
    try:
        async with (
            asyncio.timeout(timeout),
            httpx.AsyncClient(verify=context, headers=headers, timeout=timeout, mounts=dict(_DIRECT)) as client,
        ):
            method = "GET" if request.form is None and request.json is None else "POST"
            sent = client.build_request(method, request.url, data=request.form, json=request.json)
            return await _follow(client, sent, request)
    except (TimeoutError, httpx.TimeoutException):
        raise SourceError(f"{where}: no answer within {timeout:g} s") from None
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError, UnicodeError) as error:
        raise SourceError(f"{where} can't be asked: {plain(_innermost(error))}") from error


def display(url: str) -> str:
    """Return a URL for messages: without user information and without its query."""
    return shown(url.partition("?")[0])


async def _follow(client: httpx.AsyncClient, first: httpx.Request, asked: Request) -> Answer:
    """Send a request, and go where redirects lead; httpx drops the credentials where that is another origin."""
    sent = first
    for _ in range(_MAX_REDIRECTS + 1):
        response = await client.send(sent, stream=True)
        try:
            following = response.next_request if response.status_code not in asked.final else None
            if following is None:
                return await _read(response, asked.limit)
        finally:
            await response.aclose()
        _check_redirect(sent, following)
        sent = following
    raise SourceError(f"{display(asked.url)}: more than {_MAX_REDIRECTS} redirects")


def _check_redirect(sent: httpx.Request, following: httpx.Request) -> None:
    where = f"{display(str(sent.url))} redirects to {display(str(following.url))}"
    if sent.method != "GET":
        raise SourceError(f"{where}; what was sent is not sent on: use the new address")
    if following.url.scheme not in {"http", "https"} or (sent.url.scheme, following.url.scheme) == ("https", "http"):
        raise SourceError(f"{where}, from {sent.url.scheme} to {following.url.scheme}; refused")


async def _read(response: httpx.Response, limit: int) -> Answer:
    if response.headers.get("Content-Encoding", "identity").lower() != "identity" and limit:
        raise SourceError(f"{display(str(response.url))} answered compressed, which was not asked for")
    body = bytearray()
    if limit:
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > limit:
                break
    return Answer(response.status_code, bytes(body[:limit]), cut=len(body) > limit)


def describe_status(status: int) -> str:
    """Return a status as people know it: ``HTTP 503 Service Unavailable``."""
    try:
        return f"HTTP {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP {status}"


def plain(text: str) -> str:
    """Return a stranger's text for one line of a message: what can't be printed is a blank, and it has an end."""
    line = "".join(letter if letter.isprintable() else " " for letter in text[: _LONGEST_QUOTE + 1])
    return f"{line[:_LONGEST_QUOTE]}…" if len(line) > _LONGEST_QUOTE else line


def _innermost(error: BaseException) -> str:
    """Return the text of the cause at the bottom, which is the operating system's or OpenSSL's own."""
    while (below := error.__cause__ or error.__context__) is not None:
        error = below
    if isinstance(error, ConnectionError) and error.errno:
        return os.strerror(error.errno)  # asyncio's own text repeats the address instead
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
