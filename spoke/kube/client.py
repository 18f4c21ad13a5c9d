"""Requests to one API server: paced, repeated where that is safe, with the API server's own errors (no Secret in them).

Every request that a spoke makes may be made twice: reads, server-side apply with force, deletes that name a uid, and
those that are refused the second time.

A watch in which nothing arrives for three minutes, not even the bookmark that an API server sends every minute, is
opened again.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final
from urllib.parse import urlencode

import orjson

from felloe import __version__
from felloe.errors import KubernetesError
from felloe.labels import FIELD_MANAGER
from spoke.kube.access import Access, Credentials
from spoke.kube.connections import Connections, Request, Stream
from spoke.kube.discretion import discreet
from spoke.kube.errors import (
    OVERLOAD,
    UNAUTHORIZED,
    RetryLaterError,
    from_answer,
    passing,
    unanswered,
)
from spoke.kube.pace import Gate, Pace
from spoke.kube.turns import Turns

Json = dict[str, object]
Check = Callable[[], Awaitable[None]]

USER_AGENT: Final = f"felloe-spoke/{__version__}"
METADATA_ONLY: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
METADATA_LIST: Final = METADATA_ONLY.replace("PartialObjectMetadata;", "PartialObjectMetadataList;")
_OURS: Final = urlencode({"fieldManager": FIELD_MANAGER})
# Field validation would have the API server parse each manifest once more, to warn of keys that stand in it twice; what
# orjson writes has none, and a field that is not in the schema is refused by server-side apply itself.
_APPLY: Final = urlencode({"fieldManager": FIELD_MANAGER, "force": "true", "fieldValidation": "Ignore"})
# The API server itself gives up after 60 s, and says so.
_TIMEOUT_SECONDS: Final = 65.0
_SILENT_SECONDS: Final = 180.0
_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 5.0
_ATTEMPTS: Final = 5
_HTTP_SUCCESS_ENDS: Final = 300
_HTTP_CREATED: Final = 201
_LARGE_BYTES: Final = 4096
_IN_TURN: Final = frozenset({"PATCH", "DELETE"})
"""What would count whenever it is done; the others name the version that they are about."""


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
async def connect(
    access: Access, silent_seconds: float = _SILENT_SECONDS, pace: Pace | None = None
) -> AsyncIterator[KubeClient]:
    """Yield a client for `access`; its connections are opened when they are needed and closed at the end.

    A watch in which nothing arrives for `silent_seconds` is taken to be broken.
    """
    connections = Connections(access.server, lambda: access.tls_name)
    client = KubeClient(access, connections, pace or Pace(), silent_seconds)
    try:
        yield client
    finally:
        await client.close()
        await connections.close()


class KubeClient:
    """The requests of one spoke to its API server. Errors are KubernetesError, status 0 for no connection."""

    def __init__(self, access: Access, connections: Connections, pace: Pace, silent_seconds: float) -> None:
        self._access = access
        self._connections = connections
        self._pace = pace
        self._gate = Gate(pace)
        self._turns = Turns()
        self._silent_seconds = silent_seconds
        self._user = ""
        self._check: Check | None = None

    def impersonating(self, user: str, check: Check) -> KubeClient:
        """Return a client whose requests are `user`'s; it shares connections and pace with this one.

        `check` is called before each request, and refuses it by raising KubernetesError.

        Only the name is sent (Impersonate-User), as Flux does: of a service account the API server knows the groups
        (system:serviceaccounts, those of its namespace, system:authenticated), and then the spoke needs the right to
        impersonate service accounts, and none to impersonate groups.
        """
        client = KubeClient(self._access, self._connections, self._pace, self._silent_seconds)
        client._gate, client._turns, client._user, client._check = self._gate, self._turns, user, check
        return client

    async def close(self) -> None:
        """Give up the writes whose callers are gone."""
        await self._turns.close()

    @property
    def user(self) -> str:
        """Return whom its requests impersonate; empty for the spoke itself."""
        return self._user

    def work(self, requests: int) -> AbstractContextManager[Callable[[], None]]:
        """Take it that about so many requests are made in this context; what it gives is called as each is done.

        What is much is done more gently than what is little, see spoke.kube.pace.
        """
        return self._pace.work(requests)

    @property
    def server(self) -> str:
        """Return the URL of the API server."""
        return self._access.server

    async def get(
        self, path: str, params: Mapping[str, str] | None = None, *, accept: str = "application/json"
    ) -> Json:
        """Return what is at `path`."""
        return (await self._request("GET", path, query=urlencode(params or {}), accept=accept)).json()

    async def get_bytes(self, path: str, params: Mapping[str, str], *, accept: str = "application/json") -> bytes:
        """Return the unread answer, for a caller who also wants to know its size."""
        return (await self._request("GET", path, query=urlencode(params), accept=accept)).body

    async def apply(
        self,
        path: str,
        manifest: bytes,
        *,
        accept: str = "application/json",
        dry_run: bool = False,
        lost: Callable[[], None] | None = None,
    ) -> Answer:
        """Server-side apply a manifest (JSON is YAML) as `felloe`, taking over fields that others own.

        With `dry_run` everything is checked, by webhooks as well, and nothing is stored. `lost` is called each time
        that it was sent and not answered, also when the caller is gone by then.
        """
        return await self._request(
            "PATCH",
            path,
            query=_APPLY + ("&dryRun=All" if dry_run else ""),
            body=manifest,
            content_type="application/apply-patch+yaml",
            accept=accept,
            lost=lost,
        )

    async def create(self, path: str, manifest: bytes) -> Answer:
        """Create an object in the collection at `path`. Made twice, the second is refused (409)."""
        return await self._request("POST", path, query=_OURS, body=manifest, accept="application/json")

    async def replace(self, path: str, manifest: bytes) -> Answer:
        """Replace an object, if it still is at the resourceVersion in `manifest`. Made twice, the second is refused."""
        return await self._request("PUT", path, query=_OURS, body=manifest, accept="application/json")

    async def replace_managers(
        self, path: str, resource_version: str, managed_fields: object, *, without: Iterable[str] = ()
    ) -> Json:
        """Say who owns which fields of an object, if it still is at this version; return its metadata then.

        Its content stays as it is, apart from the annotations `without`, which it must have.
        """
        operations: list[Mapping[str, object]] = [
            {"op": "remove", "path": f"/metadata/annotations/{name.replace('~', '~0').replace('/', '~1')}"}
            for name in without
        ]
        operations.append({"op": "replace", "path": "/metadata/managedFields", "value": managed_fields})
        return await self.patch(path, resource_version, operations)

    async def patch(
        self,
        path: str,
        resource_version: str,
        operations: Sequence[Mapping[str, object]],
        *,
        manager: str = FIELD_MANAGER,
        accept: str = METADATA_ONLY,
    ) -> Json:
        """Do the operations of a JSON patch (RFC 6902) on an object, if it still is at this version; return it.

        The version makes it safe to ask twice: the second time is a conflict (409).
        """
        expected = {"op": "replace", "path": "/metadata/resourceVersion", "value": resource_version}
        answer = await self._request(
            "PATCH",
            path,
            query=urlencode({"fieldManager": manager}),
            body=orjson.dumps([*operations, expected]),
            content_type="application/json-patch+json",
            accept=accept,
        )
        return answer.json()

    async def delete(self, path: str, uid: str, resource_version: str = "") -> Answer:
        """Delete just the object with this uid (at this version, if given), its dependents in the background.

        The answer is a Status where it is gone now, else mostly the object as it goes.
        """
        preconditions = {"uid": uid} | ({"resourceVersion": resource_version} if resource_version else {})
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": preconditions,
        }
        return await self._request("DELETE", path, body=orjson.dumps(options), accept=METADATA_ONLY)

    @asynccontextmanager
    async def stream(
        self, path: str, params: Mapping[str, str], *, accept: str, seconds: float
    ) -> AsyncIterator[Stream]:
        """Yield the body of a watch that ends by itself after `seconds`; it is none of the requests in flight."""
        if self._check is not None:
            await self._check()
        credentials = self._access.credentials()
        target = f"{path}?{urlencode(params)}"
        request = Request("GET", target, self._headers(credentials, accept), tls=credentials.tls)
        try:
            async with self._connections.stream(request, seconds + 30, self._silent_seconds) as answer:
                if answer.status >= _HTTP_SUCCESS_ENDS:
                    if answer.status == UNAUTHORIZED:
                        self._access.look()
                    raise from_answer(answer.status, await answer.read(), answer.headers.get("retry-after", ""))
                yield answer
        except OSError as error:
            self._access.look()
            raise self._unreachable("watch", path, error) from error

    async def _request(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        body: bytes | None = None,
        content_type: str = "application/json",
        accept: str,
        lost: Callable[[], None] | None = None,
    ) -> Answer:
        if self._check is not None:
            await self._check()
        target = f"{path}?{query}" if query else path
        attempt = 0
        while True:
            try:
                async with self._gate.slot():
                    credentials = self._access.credentials()
                    headers = self._headers(credentials, accept)
                    if body is not None:
                        headers["Content-Type"] = content_type
                    once = partial(self._once, path, Request(method, target, headers, body, credentials.tls), lost)
                    if method in _IN_TURN:
                        return await self._turns.take(path, once)
                    if method == "GET":
                        await self._turns.ended(path)
                    return await once()
            except KubernetesError as error:
                if error.status in (0, UNAUTHORIZED) and self._renewed(credentials):
                    continue
                attempt += 1
                if attempt >= _ATTEMPTS or not passing(error):
                    raise await discreet(error, path, body, self.get) from None
                await asyncio.sleep(_pause(error, attempt))

    async def _once(self, path: str, request: Request, lost: Callable[[], None] | None) -> Answer:
        try:
            return await self._asked(path, request, lost)
        except KubernetesError as error:
            if lost is not None and unanswered(error):
                lost()
            raise

    async def _asked(self, path: str, request: Request, lost: Callable[[], None] | None) -> Answer:
        begin = time.perf_counter()
        try:
            reply = await self._connections.ask(request, _TIMEOUT_SECONDS, lost)
        except OSError as error:
            self._pace.refused()
            raise self._unreachable(request.method, path, error) from error
        if reply.status in OVERLOAD:
            self._pace.refused()
        elif what := _comparable(request):
            self._pace.answered(what, time.perf_counter() - begin)
        if reply.status >= _HTTP_SUCCESS_ENDS:
            raise from_answer(reply.status, reply.body, reply.headers.get("retry-after", ""))
        return Answer(reply.body, reply.status == _HTTP_CREATED)

    def _headers(self, credentials: Credentials, accept: str) -> dict[str, str]:
        headers = {"User-Agent": USER_AGENT, "Accept": accept}
        if credentials.token:
            headers["Authorization"] = f"Bearer {credentials.token}"
        if self._user:
            headers["Impersonate-User"] = self._user
        return headers

    def _renewed(self, used: Credentials) -> bool:
        """Return whether there are newer credentials than those that did not do."""
        self._access.look()
        return self._access.credentials() != used

    def _unreachable(self, verb: str, path: str, error: Exception) -> KubernetesError:
        what = str(error) or type(error).__name__
        return KubernetesError(f"{verb} {path}: the API server {self._access.server} can't be reached: {what}")


def _pause(error: KubernetesError, attempt: int) -> float:
    """Return the seconds to wait before the next attempt, spread so that those who failed at once don't return at once.

    A pause that the API server asks for is kept, and up to a quarter is added to it; else it is full jitter.
    """
    if isinstance(error, RetryLaterError):
        return error.seconds * random.uniform(1, 1.25)  # noqa: S311
    return random.uniform(0, min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2**attempt))  # noqa: S311


def _comparable(request: Request) -> str:
    """Return what requests that should take equally long have in common, nothing for those that list."""
    path, _, query = request.target.partition("?")
    if request.method == "GET" and query:
        return ""
    # Records of ours are ConfigMaps and Secrets too, and a hundred times as large as most.
    size = (len(request.body or b"") // _LARGE_BYTES).bit_length()
    return f"{request.method} {path.split('/')[-2]} {size}"
