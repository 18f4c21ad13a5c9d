"""All objects of one kind that a selector chooses, first listed and then watched, for as long as it is asked to.

Memory is bounded by one page of the list: an object is handed to the sink and forgotten. What makes a watch end (the
API server restarts or closes it, a version too old, a network that is gone) is met by a new one, from where the last
one stood or, if that version is gone, by a new list, with backoff and jitter. What is refused for lack of rights, or is
served no more, is asked for again ever more rarely, and at once when somebody says that this may have changed.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final, Protocol

from felloe.errors import KubernetesError
from spoke.kube.client import METADATA_ONLY, Json, KubeClient, decode
from spoke.kube.errors import FORBIDDEN, GONE, NO_KIND, RetryLaterError, from_status, is_nowhere, passing

Key = tuple[str, str]
"""Namespace and name."""

LIST_METADATA_ONLY: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
_SMALL_PAGE_BYTES: Final = 256 * 1024
_LARGE_PAGE_BYTES: Final = 2 * 1024 * 1024
_FIRST_LIMIT, _HIGHEST_LIMIT, _LOWEST_LIMIT = 100, 500, 5
_WATCH_SECONDS: Final = (300, 600)
_LONGEST_PAUSE_SECONDS: Final = 10.0
_HELD_SECONDS: Final = 10.0
_LONGEST_REFUSED_PAUSE_SECONDS: Final = 300.0
_LONGEST_UNSERVED_PAUSE_SECONDS: Final = 60.0
_log = logging.getLogger(__name__)


class Sink(Protocol):
    """Who gets what a reflector sees. Objects may be given again unchanged, and must not be kept whole."""

    def seen(self, obj: Json) -> None:
        """Take an object as it is now."""
        ...

    def gone(self, obj: Json) -> None:
        """Take an object that was deleted, or that the selector no longer chooses."""
        ...

    def listed(self, keys: set[Key], version: int) -> None:
        """Take it that these were all objects there were at this resourceVersion (0: not known)."""
        ...

    def failed(self, error: KubernetesError) -> None:
        """Take it that the objects can't be read at the moment."""
        ...


class Reflector:
    """Follows the objects at one collection path into one sink."""

    def __init__(
        self,
        client: KubeClient,
        path: str,
        selector: Mapping[str, str],
        sink: Sink,
        *,
        metadata_only: bool = False,
        held: bool = False,
        moved: Callable[[], Awaitable[str]] | None = None,
    ) -> None:
        """With `held` it lists, and watches only when it is released.

        `moved` returns the path by which the objects are served now, where the API server does not know the last one.
        """
        self._client = client
        self._path = path
        self._selector = dict(selector)
        self._sink = sink
        self._metadata_only = metadata_only
        self._moved = moved
        self._hurry = asyncio.Event()
        self._released = asyncio.Event()
        self._outdated = False
        if not held:
            self._released.set()

    def release(self, *, outdated: bool) -> None:
        """Begin to watch, where that was held; after another list if the first one is `outdated`.

        Thousands of events of what we did ourselves cost the API server several times what a list of them costs.
        """
        if not self._released.is_set():
            self._outdated = outdated
            self._released.set()

    def again(self) -> None:
        """Try at once if nothing can be read at the moment."""
        self._hurry.set()

    async def run(self) -> None:
        """Follow until cancelled."""
        pauses = 0
        version = ""
        while True:
            problem: KubernetesError | None = None
            self._hurry.clear()
            try:
                version = version or await self._list()
                if not self._released.is_set() and await self._held():
                    version = ""
                    continue
                pauses += 1  # taken back by the first event: a watch that ends at once must not be opened in a hurry
                async for reached in self._watch(version):
                    version, pauses = reached, 0
            except KubernetesError as error:
                pauses += 1
                problem = await self._found_again(error)
                _log.debug("event=watch-broken path=%s pauses=%d error=%r", self._path, pauses, str(error))
                if not passing(error) or isinstance(error, _EndedError):
                    version = ""
                # While the version is good, what happens meanwhile is only late.
                if not version and (error.status or error.reason) and error.status != GONE:
                    self._sink.failed(error)
            # No wait_for: before Python 3.12 it loses a cancellation that comes together with the event.
            with suppress(TimeoutError):
                async with asyncio.timeout(_pause(problem, pauses)):
                    await self._hurry.wait()

    async def _found_again(self, error: KubernetesError) -> KubernetesError:
        """Look for the path anew where it leads nowhere; return what is wrong."""
        if self._moved is not None and is_nowhere(error):
            try:
                self._path = await self._moved()
            except KubernetesError as problem:
                return problem
        return error

    async def _held(self) -> bool:
        """Wait to be released, but not for long, and return whether another list is needed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_HELD_SECONDS):
                await self._released.wait()
        self.release(outdated=True)
        return self._outdated

    async def _list(self) -> str:
        accept = LIST_METADATA_ONLY if self._metadata_only else "application/json"
        keys: set[Key] = set()
        limit, token = _FIRST_LIMIT, ""
        while True:
            params = self._selector | {"limit": str(limit)} | ({"continue": token} if token else {})
            body = await self._client.get_bytes(self._path, params, accept=accept)
            answer, size = decode(body), len(body)
            del body
            items = answer.get("items")
            for item in items if isinstance(items, list) else []:
                keys.add(key_of(item))
                self._sink.seen(item)
            metadata = answer.get("metadata")
            metadata = metadata if isinstance(metadata, Mapping) else {}
            token = str(metadata.get("continue") or "")
            if not token:
                version = str(metadata.get("resourceVersion") or "0")
                self._sink.listed(keys, int(version) if version.isdigit() else 0)
                return version
            if size < _SMALL_PAGE_BYTES:
                limit = min(limit * 2, _HIGHEST_LIMIT)
            elif size > _LARGE_PAGE_BYTES:
                limit = max(limit // 4, _LOWEST_LIMIT)

    async def _watch(self, version: str) -> AsyncIterator[str]:
        """Yield the version up to which everything was seen; return when the API server ends the watch."""
        seconds = random.uniform(*_WATCH_SECONDS)  # noqa: S311
        params = self._selector | {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(int(seconds)),
        }
        accept = METADATA_ONLY if self._metadata_only else "application/json"
        async with self._client.stream(self._path, params, accept=accept, seconds=seconds) as content:
            async for line in _lines(content):
                yield self._take(decode(line))

    def _take(self, event: Json) -> str:
        obj = event.get("object")
        if not isinstance(obj, dict):
            raise KubernetesError("a watch delivered an event without an object")
        match event.get("type"):
            case "ADDED" | "MODIFIED":
                self._sink.seen(obj)
            case "DELETED":
                self._sink.gone(obj)
            case "ERROR":
                raise _EndedError(from_status(obj))
        return version_of(obj)


class _EndedError(KubernetesError):
    """What the API server said in a watch before it ended it: what came after the last event may be missed."""

    def __init__(self, cause: KubernetesError) -> None:
        super().__init__(str(cause), status=cause.status, reason=cause.reason)


def _pause(problem: KubernetesError | None, pauses: int) -> float:
    """Return the seconds until the next try; a pause that the API server asks for is kept."""
    if isinstance(problem, RetryLaterError):
        return problem.seconds * random.uniform(1, 1.25)  # noqa: S311
    longest = _LONGEST_PAUSE_SECONDS
    if problem is not None and problem.status == FORBIDDEN:
        longest = _LONGEST_REFUSED_PAUSE_SECONDS
    elif problem is not None and problem.reason == NO_KIND:
        longest = _LONGEST_UNSERVED_PAUSE_SECONDS
    return random.uniform(0, min(longest, 0.1 * 2 ** min(pauses, 12)))  # noqa: S311


class _Chunks(Protocol):
    def iter_any(self) -> AsyncIterator[bytes]: ...


async def _lines(content: _Chunks) -> AsyncIterator[bytes]:
    """Yield the lines of a stream, of whatever length."""
    rest = bytearray()
    async for chunk in content.iter_any():
        *whole, last = chunk.split(b"\n")
        for part in whole:
            rest += part
            if rest:
                yield bytes(rest)
            rest = bytearray()
        rest += last


def key_of(obj: Mapping[str, object]) -> Key:
    """Return namespace and name of an object."""
    metadata = obj.get("metadata")
    metadata = metadata if isinstance(metadata, Mapping) else {}
    return str(metadata.get("namespace") or ""), str(metadata.get("name") or "")


def version_of(obj: Mapping[str, object]) -> str:
    """Return the resourceVersion of an object."""
    metadata = obj.get("metadata")
    return str(metadata.get("resourceVersion") or "") if isinstance(metadata, Mapping) else ""
