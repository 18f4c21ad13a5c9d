"""The hub's HTTP API as a client sees it."""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, contextmanager
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import urlsplit

import httpx

from felloe import __version__
from felloe.errors import ConfigError
from felloe.k8syaml import JsonValue
from hub.cli.contexts import Credential
from hub.cli.errors import RefusedError, UnreachableError
from hub.cli.view import Json, mapping, objects, text

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_QUIET = 60.0
"""Seconds without a heartbeat after which a watch counts as broken."""


class Change(NamedTuple):
    """One line of a watch: ADDED, MODIFIED or DELETED with the resource, or SYNCED once all there is has been told."""

    kind: str
    resource: Json


class HubClient:
    """A connection to one hub. Raise UnreachableError where it can't be talked to, RefusedError where it says no."""

    def __init__(self, credential: Credential, timeout: float = 30.0) -> None:
        self._credential = credential
        self._http = httpx.AsyncClient(
            base_url=f"{credential.server.rstrip('/')}/api/v1",
            headers={"Authorization": f"Bearer {credential.token}", "User-Agent": f"felloe/{__version__}"},
            verify=_trust(credential),
            timeout=httpx.Timeout(timeout, connect=min(timeout, 10.0)),
            trust_env=urlsplit(credential.server).hostname not in _LOOPBACK,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> Json:
        """Return what a GET answers."""
        with self._explained():
            response = await self._http.get(path, params=_given(params))
        return self._answer(response)

    async def list(self, path: str, params: Mapping[str, str] | None = None) -> list[Json]:
        """Return the items of a list."""
        return objects(await self.get(path, params), "items")

    async def post(self, path: str, body: Mapping[str, object], *, timeout: float = 120.0) -> Json:
        """Return what a POST answers; `timeout` is seconds."""
        with self._explained():
            response = await self._http.post(path, json=body, timeout=httpx.Timeout(timeout, connect=10.0))
        return self._answer(response)

    async def watch(self, path: str, params: Mapping[str, str] | None = None) -> AsyncGenerator[Change]:
        """Yield what there is, SYNCED, and then every change, until the hub or the caller ends it."""
        async with aclosing(self.lines(path, {**_given(params), "watch": "true"}, timeout=_QUIET)) as lines:
            async for told in lines:
                change = self._change(told)
                if change is not None:
                    yield change
        raise UnreachableError(f"the hub at {self._credential.server} ended the watch")

    async def lines(
        self, path: str, params: Mapping[str, str], *, timeout: float, content: bytes | None = None
    ) -> AsyncGenerator[Json]:
        """Yield the lines of a stream; `timeout` is the seconds that one may take to come.

        With `content`, also an empty one, that is posted.
        """
        async with aclosing(self.texts(path, params, timeout=timeout, content=content)) as lines:
            async for line in lines:
                yield self._object(line)

    async def texts(
        self, path: str, params: Mapping[str, str], *, timeout: float, content: bytes | None = None
    ) -> AsyncGenerator[str]:
        """Yield the lines of a stream as they were sent; `timeout` and `content` are those of `lines`."""
        method = "GET" if content is None else "POST"
        limits = httpx.Timeout(10.0, read=timeout, write=timeout)
        with self._explained():
            async with self._http.stream(
                method, path, params=_given(params), content=content, timeout=limits
            ) as response:
                if response.status_code >= 400:
                    await response.aread()
                    self._answer(response)
                rest = ""
                async for chunk in response.aiter_text():  # aiter_lines takes U+2028 and others for line breaks too
                    *lines, rest = (rest + chunk).split("\n")
                    for line in lines:
                        yield line
                if rest:
                    yield rest

    def _change(self, told: Json) -> Change | None:
        """Return the change that a line tells, None for a heartbeat."""
        resource = mapping(told, "object")
        if told.get("type") != "BOOKMARK":
            return Change(text(told, "type"), resource)
        synced = text(resource, "metadata", "annotations", "k8s.io/initial-events-end") == "true"
        return Change("SYNCED", resource) if synced else None

    def _answer(self, response: httpx.Response) -> Json:
        answer = self._object(response.text)
        if response.status_code == 401:
            raise RefusedError(
                401, f"the hub at {self._credential.server} refuses the token in {self._credential.origin}"
            )
        if response.status_code >= 400:
            message = text(answer, "message") or f"the hub answered HTTP {response.status_code}"
            raise RefusedError(response.status_code, message)
        return answer

    def _object(self, line: str) -> Json:
        try:
            value: JsonValue = json.loads(line)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise UnreachableError(f"what answers at {self._credential.server} is no Felloe hub")
        return value

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Say in words what went wrong on the way to the hub."""
        server, origin = self._credential.server, self._credential.origin
        try:
            yield
        except httpx.TimeoutException as error:
            raise UnreachableError(f"the hub at {server} does not answer in time") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise UnreachableError(
                    f"the hub at {server} does not prove to be the one of {origin} ({_reason(error)}): use the "
                    "admin.yaml of that hub, and an address that its certificate names (felloe hub serve --advertise)"
                ) from error
            if "SSL" in str(error):
                raise UnreachableError(f"what listens at {server} does not speak TLS as a hub does: {error}") from error
            why = _cause(error)
            hint = f"is it running? the address is from {origin}, or FELLOE_HUB"
            raise UnreachableError(f"the hub at {server} can't be reached: {why} ({hint})") from error


def _cause(error: BaseException) -> str:
    """Return what the system says of a failed connection, where it says something; else the library's words."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, OSError) and inner.errno is not None and inner.errno > 0:
            return os.strerror(inner.errno)
        inner = inner.__cause__ or inner.__context__
    return str(error) or type(error).__name__


def _reason(error: Exception) -> str:
    """Return the part of OpenSSL's message that says what is wrong with a certificate."""
    return (
        str(error).partition("certificate verify failed: ")[2].partition(" (_ssl")[0] or "its certificate is not valid"
    )


def _given(params: Mapping[str, str] | None) -> dict[str, str]:
    return {key: value for key, value in (params or {}).items() if value}


def _trust(credential: Credential) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cadata=credential.ca or None)
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError(f"{credential.origin}: ca: is no PEM certificate") from error
