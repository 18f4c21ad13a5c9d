"""Lists and watches.

``GET /api/v1/<collection>`` answers a Kubernetes-shaped List; with ``watch=true`` a stream of JSON lines, as
Kubernetes' own watch: an ADDED for each resource there is, a BOOKMARK annotated ``k8s.io/initial-events-end``, then
changes as they come, and a BOOKMARK as heartbeat. A watcher that comes back simply starts anew: it is level-based.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from hub.api.control import Control
from hub.api.errors import ApiError
from hub.fleet.selector import parse_selector
from hub.status.board import Board
from hub.status.events import EventLog
from hub.status.fleet import fleet_view
from hub.status.resource import Collection, Key, Resource
from hub.status.top import Top, batches, top

Match = Callable[[Resource], bool]

INITIAL_EVENTS_END: Final = "k8s.io/initial-events-end"
_MOST_NAMES: Final = 20
_FLEET: Final = (Collection.ENVIRONMENTS, Collection.CLUSTERS, Collection.ROLLOUTS)
_MOST_RANKED: Final = 1000
_LEAST_PAUSE: Final = 0.25
_PAUSE_SHARE: Final = 9
_PARAMETERS: Final = frozenset({"labelSelector", "name", "namespace", "cluster", "watch"})


class Lists:
    """The handlers of lists and watches. `heartbeat` is seconds between signs of life of a quiet watch."""

    def __init__(self, control: Control, closing: asyncio.Event, heartbeat: float) -> None:
        self._control = control
        self._closing = closing
        self._heartbeat = heartbeat

    async def resources(self, request: Request) -> Response:
        """Answer ``GET /api/v1/{collection}``."""
        name = request.path_params["collection"]
        if name not in set(Collection):
            raise ApiError(404, f"there is no {name!r}; there are {', '.join(Collection)}")
        collection = Collection(name)
        if collection is Collection.SOURCES and request.query_params.get("cluster"):
            raise ApiError(400, "sources are the hub's, not a cluster's: leave the cluster out")
        match = _match(request)
        if _flag(request, "watch"):
            return _stream(self._watch(collection, match))
        board = self._control.board
        check_cluster(board, request.query_params.get("cluster", ""))
        items = [p.resource.as_json(p.version) for p in board.list(collection) if match(p.resource)]
        return _json(_list(items, board.version))

    async def events(self, request: Request) -> Response:
        """Answer ``GET /api/v1/events``: those with a number above ``since``, of one ``cluster`` where it is given."""
        _no_other(request, frozenset({"since", "cluster", "watch"}))
        since = request.query_params.get("since", "0")
        if not since.isdecimal():
            raise ApiError(400, f"since={since!r} is no number of an event")
        log = self._control.events
        seq = int(since) if int(since) <= log.latest else 0
        cluster = request.query_params.get("cluster", "")
        if _flag(request, "watch"):
            return _stream(self._watch_events(log, seq, cluster))
        items = [one.as_json() for one in log.since(seq) if not cluster or one.event.cluster == cluster]
        if not items:
            check_cluster(self._control.board, cluster)
        return _json(_list(items, log.latest))

    async def fleet(self, request: Request) -> Response:
        """Answer ``GET /api/v1/fleet``: environments, what they run, what waits; with ``watch=true`` as it changes."""
        _no_other(request, frozenset({"watch"}))
        if _flag(request, "watch"):
            return _stream(self._watch_fleet())
        return _json(_fleet(self._control.board))

    async def top(self, request: Request) -> Response:
        """Answer ``GET /api/v1/top?limit=10&labelSelector=…``: the slowest, most drifted and failing workloads."""
        _no_other(request, frozenset({"limit", "labelSelector"}))
        limit = request.query_params.get("limit", "10")
        if not limit.isdecimal() or not 1 <= int(limit) <= _MOST_RANKED:
            raise ApiError(400, f"limit={limit!r} is no number from 1 to {_MOST_RANKED}")
        selects = parse_selector(request.query_params.get("labelSelector", ""))
        found, now = Top(), datetime.now(UTC)
        for portion in batches(list(self._control.board.resources(Collection.WORKLOADS).values())):
            found = top([one for one in portion if selects(one.labels)], int(limit), now, found)
            await asyncio.sleep(0)
        return _json(found.as_json())

    async def _watch_fleet(self) -> AsyncIterator[bytes]:
        """Tell the fleet whenever it shows something else, for a small share of the time however large it is."""
        board = self._control.board
        told: dict[str, object] = {}
        with board.subscribe(*_FLEET) as subscription:
            while not self._closing.is_set():
                began = time.monotonic()
                fleet = _fleet(board)
                if fleet != told:
                    yield _line("MODIFIED" if told else "ADDED", fleet)
                    if not told:
                        yield _bookmark(board.version, initial=True)
                    told = fleet
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LEAST_PAUSE + _PAUSE_SHARE * (time.monotonic() - began)):
                        await self._closing.wait()
                while not self._closing.is_set() and not await self._within_heartbeat(subscription.wait()):
                    yield _bookmark(board.version)
                subscription.take()

    async def _watch(self, collection: Collection, match: Match) -> AsyncIterator[bytes]:
        board = self._control.board
        told: set[Key] = set()
        with board.subscribe(collection) as subscription:
            for posted in board.list(collection):
                if match(posted.resource):
                    told.add(posted.resource.key)
                    yield _line("ADDED", posted.resource.as_json(posted.version))
            yield _bookmark(board.version, initial=True)
            while not self._closing.is_set():
                if not await self._within_heartbeat(subscription.wait()):
                    yield _bookmark(board.version)
                for key in subscription.take():
                    if line := _change(board, collection, key, match, told):
                        yield line

    async def _watch_events(self, log: EventLog, seq: int, cluster: str) -> AsyncIterator[bytes]:
        initial = True
        while not self._closing.is_set():
            for numbered in log.since(seq):
                seq = numbered.seq
                if not cluster or numbered.event.cluster == cluster:
                    yield _line("ADDED", numbered.as_json())
            if initial:
                yield _bookmark(seq, initial=True)
                initial = False
            if not await self._within_heartbeat(log.wait(seq)):
                yield _bookmark(seq)

    async def _within_heartbeat(self, change: Awaitable[None]) -> bool:
        """Wait for a change, the end of the server or the heartbeat; return False for the heartbeat."""
        waiting = {asyncio.ensure_future(change), asyncio.ensure_future(self._closing.wait())}
        try:
            done, _ = await asyncio.wait(waiting, timeout=self._heartbeat, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
        return bool(done)


def _fleet(board: Board) -> dict[str, object]:
    environments, clusters, rollouts = (board.resources(collection).values() for collection in _FLEET)
    return fleet_view(environments, sorted(clusters, key=lambda one: one.name), rollouts)


def _change(board: Board, collection: Collection, key: Key, match: Match, told: set[Key]) -> bytes | None:
    """Return what a watcher is told of a resource that changed; one that no longer matches is gone for it."""
    posted = board.get(collection, key)
    if posted is not None and match(posted.resource):
        kind = "MODIFIED" if key in told else "ADDED"
        told.add(key)
        return _line(kind, posted.resource.as_json(posted.version))
    if key not in told:
        return None
    told.discard(key)
    gone = Resource(collection, key.kind, key.name, key.namespace, key.cluster)
    return _line("DELETED", gone.as_json(board.version))


def _match(request: Request) -> Match:
    """Return what the query asks for. `name` is NAME or NAMESPACE/NAME."""
    _no_other(request, _PARAMETERS)
    query = request.query_params
    selects = parse_selector(query.get("labelSelector", ""))
    namespace, _, name = query.get("name", "").rpartition("/")
    namespace = namespace or query.get("namespace", "")
    cluster = query.get("cluster", "")

    def match(resource: Resource) -> bool:
        return (
            (not name or resource.name == name)
            and (not namespace or resource.namespace == namespace)
            and (not cluster or _is_about(resource, cluster))
            and selects(resource.labels)
        )

    return match


def _is_about(resource: Resource, cluster: str) -> bool:
    """Say whether a resource is a cluster, is on it, or counts it among its own (environment, placement, rollout)."""
    if resource.collection is Collection.CLUSTERS:
        return resource.name == cluster
    if resource.collection is Collection.WORKLOADS:
        return resource.cluster == cluster
    if resource.collection is Collection.ROLLOUTS:
        return cluster in resource.members
    clusters = resource.status.get("clusters")
    return isinstance(clusters, list) and cluster in clusters


def _no_other(request: Request, known: frozenset[str]) -> None:
    if unknown := sorted(request.query_params.keys() - known):
        raise ApiError(400, f"unknown parameter {unknown[0]!r}; known are {', '.join(sorted(known))}")


def check_cluster(board: Board, name: str) -> None:
    """Raise ApiError, saying which there are, where a cluster is named that is not there."""
    if not name or board.get(Collection.CLUSTERS, Key("", "Cluster", "", name)) is not None:
        return
    names = [posted.resource.name for posted in board.list(Collection.CLUSTERS)]
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    there = f"there are: {', '.join(sorted(names)[:_MOST_NAMES])}{more}" if names else "none has joined yet"
    raise ApiError(404, f"there is no cluster {name!r}; {there}")


def _flag(request: Request, name: str) -> bool:
    value = request.query_params.get(name, "false").lower()
    if value not in {"true", "1", "false", "0"}:
        raise ApiError(400, f"{name}={value!r} is neither true nor false")
    return value in {"true", "1"}


def _list(items: list[dict[str, object]], version: int) -> dict[str, object]:
    return {"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": str(version)}, "items": items}


def _json(value: object) -> Response:
    return Response(orjson.dumps(value), media_type="application/json")


def _stream(lines: AsyncIterator[bytes]) -> Response:
    return StreamingResponse(lines, media_type="application/x-ndjson", headers={"Cache-Control": "no-store"})


def _line(kind: str, shown: dict[str, object]) -> bytes:
    return orjson.dumps({"type": kind, "object": shown}, option=orjson.OPT_APPEND_NEWLINE)


def _bookmark(version: int, *, initial: bool = False) -> bytes:
    metadata: dict[str, object] = {"resourceVersion": str(version)}
    if initial:
        metadata["annotations"] = {INITIAL_EVENTS_END: "true"}
    return _line("BOOKMARK", {"kind": "Bookmark", "metadata": metadata})
