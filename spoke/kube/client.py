"""Requests to one API server: bounded in number, repeated where that is safe, with the API server's own errors.

Every request that a spoke makes may be made twice: reads, server-side apply with force, and deletes that name a uid.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson

from felloe import __version__
from felloe.errors import KubernetesError
from felloe.labels import FIELD_MANAGER
from spoke.kube.config import Access
from spoke.kube.errors import TOO_MANY_REQUESTS, from_answer, passing

if TYPE_CHECKING:
    import aiohttp

Json = dict[str, object]

IN_FLIGHT: Final = 32
"""How many requests run at once, watches apart. Measured: 16 to 64 make no difference to a local API server."""

USER_AGENT: Final = f"felloe-spoke/{__version__}"
METADATA_ONLY: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
_TIMEOUT_SECONDS: Final = 60.0
_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 5.0
_ATTEMPTS: Final = 5
_HTTP_ERRORS: Final = 400
_HTTP_CREATED: Final = 201


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API server answered; `created` tells whether a server-side apply made the object."""

    body: bytes
    created: bool

    def json(self) -> Json:
        """Return the answer as an object. Raise KubernetesError where it is none."""
        return decode(self.body)


def decode(body: bytes) -> Json:
    """Return the object that the API server sent. Raise KubernetesError where it is none."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise KubernetesError(f"the API server answered with something that is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise KubernetesError("the API server answered with something that is no object")
    return value


@asynccontextmanager
async def connect(access: Access) -> AsyncIterator[KubeClient]:
    """Yield a client for `access`; its connections are opened when they are needed and closed at the end."""
    import aiohttp

    connector = aiohttp.TCPConnector(limit=0, ssl=access.tls or True, keepalive_timeout=30)
    headers = {"User-Agent": USER_AGENT}
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        yield KubeClient(access, session)


class KubeClient:
    """The requests of one spoke to its API server. Errors are KubernetesError, status 0 for no connection."""

    def __init__(self, access: Access, session: aiohttp.ClientSession) -> None:
        self._access = access
        self._session = session
        self._slots = asyncio.Semaphore(IN_FLIGHT)

    @property
    def server(self) -> str:
        """Return the URL of the API server."""
        return self._access.server

    async def get(
        self, path: str, params: Mapping[str, str] | None = None, *, accept: str = "application/json"
    ) -> Json:
        """Return what is at `path`."""
        return (await self._request("GET", path, params=params, accept=accept)).json()

    async def get_bytes(self, path: str, params: Mapping[str, str], *, accept: str = "application/json") -> bytes:
        """Return the unread answer, for a caller who also wants to know its size."""
        return (await self._request("GET", path, params=params, accept=accept)).body

    async def apply(self, path: str, manifest: bytes, *, accept: str = "application/json") -> Answer:
        """Server-side apply a manifest (JSON is YAML) as `felloe`, taking over fields that others own."""
        return await self._request(
            "PATCH",
            path,
            params={"fieldManager": FIELD_MANAGER, "force": "true"},
            body=manifest,
            content_type="application/apply-patch+yaml",
            accept=accept,
        )

    async def replace_managers(self, path: str, resource_version: str, managed_fields: object) -> None:
        """Say who owns which fields of an object, if it still is at this version; its content stays as it is."""
        operations = [
            {"op": "replace", "path": "/metadata/managedFields", "value": managed_fields},
            {"op": "replace", "path": "/metadata/resourceVersion", "value": resource_version},
        ]
        await self._request(
            "PATCH",
            path,
            params={"fieldManager": FIELD_MANAGER},
            body=orjson.dumps(operations),
            content_type="application/json-patch+json",
            accept=METADATA_ONLY,
        )

    async def delete(self, path: str, uid: str, resource_version: str = "") -> None:
        """Delete just the object with this uid (at this version, if given), its dependents in the background."""
        preconditions = {"uid": uid} | ({"resourceVersion": resource_version} if resource_version else {})
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": preconditions,
        }
        await self._request("DELETE", path, body=orjson.dumps(options), accept=METADATA_ONLY)

    @asynccontextmanager
    async def stream(
        self, path: str, params: Mapping[str, str], *, accept: str, seconds: float
    ) -> AsyncIterator[aiohttp.StreamReader]:
        """Yield the body of a watch that ends by itself after `seconds`; it is none of the requests in flight."""
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=seconds + 30, connect=10)
        try:
            async with self._session.get(
                self._access.server + path, params=params, headers=self._headers(accept), timeout=timeout
            ) as answer:
                if answer.status >= _HTTP_ERRORS:
                    raise from_answer(answer.status, await answer.read())
                yield answer.content
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unreachable("watch", path, error) from error

    async def _request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = "application/json",
        accept: str,
    ) -> Answer:
        attempt = 0
        while True:
            try:
                async with self._slots:
                    return await self._once(method, path, params, body, content_type, accept)
            except _Refused as refused:
                attempt += 1
                if attempt >= _ATTEMPTS or not passing(refused.error):
                    raise refused.error from refused.__cause__
                # A pause that the API server asks for is kept; else full jitter spreads those who failed at once.
                longest = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2**attempt)
                await asyncio.sleep(refused.pause or random.uniform(0, longest))  # noqa: S311

    async def _once(
        self, method: str, path: str, params: Mapping[str, str] | None, body: bytes | None, kind: str, accept: str
    ) -> Answer:
        import aiohttp

        headers = self._headers(accept) | ({"Content-Type": kind} if body is not None else {})
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS, connect=10)
        try:
            async with self._session.request(
                method, self._access.server + path, params=params, data=body, headers=headers, timeout=timeout
            ) as answer:
                content = await answer.read()
                status, after = answer.status, answer.headers.get("Retry-After", "")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _Refused(self._unreachable(method, path, error)) from error
        if status >= _HTTP_ERRORS:
            pause = float(after) if after.isdigit() and status in (TOO_MANY_REQUESTS, 503) else 0.0
            raise _Refused(from_answer(status, content), min(pause, 30.0))
        return Answer(content, status == _HTTP_CREATED)

    def _headers(self, accept: str) -> dict[str, str]:
        token = self._access.token()
        return {"Accept": accept} | ({"Authorization": f"Bearer {token}"} if token else {})

    def _unreachable(self, verb: str, path: str, error: Exception) -> KubernetesError:
        what = str(error) or type(error).__name__
        return KubernetesError(f"{verb} {path}: the API server {self._access.server} can't be reached: {what}")


class _Refused(Exception):  # noqa: N818
    """One attempt that failed, and the pause in seconds that the API server asked for."""

    def __init__(self, error: KubernetesError, pause: float = 0.0) -> None:
        super().__init__(str(error))
        self.error = error
        self.pause = pause
