"""Lists and watches.

``GET /api/v1/<collection>`` answers a Kubernetes-shaped List; with ``watch=true`` a stream of JSON lines, as
Kubernetes' own watch: an ADDED for each resource there is, a BOOKMARK annotated ``k8s.io/initial-events-end``, then
changes as they come, and a BOOKMARK as heartbeat. A watcher that comes back simply starts anew: it is level-based.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from hub.api.control import Control
from hub.api.errors import ApiError
from hub.api.streaming import Pulse, as_json, bookmark, flag, line, no_other, stream
from hub.fleet.selector import parse_selector
from hub.status.board import Board
from hub.status.events import EventLog
from hub.status.resource import Collection, Key, Resource

Match = Callable[[Resource], bool]

_MOST_NAMES: Final = 20
_PARAMETERS: Final = frozenset({"labelSelector", "name", "namespace", "cluster", "watch"})


class Lists:
    """The handlers of lists and watches."""

    def __init__(self, control: Control, pulse: Pulse) -> None:
        self._control = control
        self._pulse = pulse

    async def resources(self, request: Request) -> Response:
        """Answer ``GET /api/v1/{collection}``."""
        name = request.path_params["collection"]
        if name not in set(Collection):
            raise ApiError(404, f"there is no {name!r}; there are {', '.join(Collection)}")
        collection = Collection(name)
        if collection is Collection.SOURCES and request.query_params.get("cluster"):
            raise ApiError(400, "sources are the hub's, not a cluster's: leave the cluster out")
        match = _match(request)
        if flag(request, "watch"):
            return stream(self._watch(collection, match))
        board = self._control.board
        check_cluster(board, request.query_params.get("cluster", ""))
        items = [p.resource.as_json(p.version) for p in board.list(collection) if match(p.resource)]
        return as_json(_list(items, board.version))

    async def events(self, request: Request) -> Response:
        """Answer ``GET /api/v1/events``: those with a number above ``since``, of one ``cluster`` where it is given."""
        no_other(request, frozenset({"since", "cluster", "watch"}))
        since = request.query_params.get("since", "0")
        if not since.isdecimal():
            raise ApiError(400, f"since={since!r} is no number of an event")
        log = self._control.events
        seq = int(since) if int(since) <= log.latest else 0
        cluster = request.query_params.get("cluster", "")
        if flag(request, "watch"):
            return stream(self._watch_events(log, seq, cluster))
        items = [one.as_json() for one in log.since(seq) if not cluster or one.event.cluster == cluster]
        if not items:
            check_cluster(self._control.board, cluster)
        return as_json(_list(items, log.latest))

    async def _watch(self, collection: Collection, match: Match) -> AsyncIterator[bytes]:
        board = self._control.board
        told: set[Key] = set()
        with board.subscribe(collection) as subscription:
            for posted in board.list(collection):
                if match(posted.resource):
                    told.add(posted.resource.key)
                    yield line("ADDED", posted.resource.as_json(posted.version))
            yield bookmark(board.version, initial=True)
            while not self._pulse.stopped:
                if not await self._pulse.within(subscription.wait()):
                    yield bookmark(board.version)
                for key in subscription.take():
                    if change := _change(board, collection, key, match, told):
                        yield change

    async def _watch_events(self, log: EventLog, seq: int, cluster: str) -> AsyncIterator[bytes]:
        initial = True
        while not self._pulse.stopped:
            for numbered in log.since(seq):
                seq = numbered.seq
                if not cluster or numbered.event.cluster == cluster:
                    yield line("ADDED", numbered.as_json())
            if initial:
                yield bookmark(seq, initial=True)
                initial = False
            if not await self._pulse.within(log.wait(seq)):
                yield bookmark(seq)


def _change(board: Board, collection: Collection, key: Key, match: Match, told: set[Key]) -> bytes | None:
    """Return what a watcher is told of a resource that changed; one that no longer matches is gone for it."""
    posted = board.get(collection, key)
    if posted is not None and match(posted.resource):
        kind = "MODIFIED" if key in told else "ADDED"
        told.add(key)
        return line(kind, posted.resource.as_json(posted.version))
    if key not in told:
        return None
    told.discard(key)
    gone = Resource(collection, key.kind, key.name, key.namespace, key.cluster)
    return line("DELETED", gone.as_json(board.version))


def _match(request: Request) -> Match:
    """Return what the query asks for. `name` is NAME or NAMESPACE/NAME."""
    no_other(request, _PARAMETERS)
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


def check_cluster(board: Board, name: str) -> None:
    """Raise ApiError, saying which there are, where a cluster is named that is not there."""
    if not name or board.get(Collection.CLUSTERS, Key("", "Cluster", "", name)) is not None:
        return
    names = [posted.resource.name for posted in board.list(Collection.CLUSTERS)]
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    there = f"there are: {', '.join(sorted(names)[:_MOST_NAMES])}{more}" if names else "none has joined yet"
    raise ApiError(404, f"there is no cluster {name!r}; {there}")


def _list(items: list[dict[str, object]], version: int) -> dict[str, object]:
    return {"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": str(version)}, "items": items}
