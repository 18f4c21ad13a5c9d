"""What was: the audit log, as JSON lines, and the history of clusters and workloads."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from hub.api.control import Control
from hub.api.errors import ApiError
from hub.api.lists import check_cluster
from hub.audit import Action
from hub.fleet.durations import parse_duration
from hub.status.resource import timestamp
from hub.store import AuditQuery, Store

_AT_ONCE: Final = 50
"""Entries that are read together: one may name thousands of clusters."""
_MOST: Final = 10_000
_AUDIT: Final = frozenset({"after", "limit", "cluster", "action", "since"})
_HISTORY: Final = frozenset({"cluster", "workload", "limit"})


class Records:
    """The handlers."""

    def __init__(self, store: Store, control: Control) -> None:
        self._store = store
        self._control = control

    async def audit(self, request: Request) -> Response:
        """Answer ``GET /api/v1/audit?after=NUMBER&limit=N&cluster=NAME&action=ACTION&since=24h``.

        One entry a line, oldest first, as it was written: the sha256 of a line is in the next one. `since` is a
        duration or a time (RFC 3339). A page is at most `limit` (1,000) long; the next begins after its last number.
        """
        no_other(request, _AUDIT)
        given = request.query_params
        action = given.get("action", "")
        if action and action not in set(Action):
            raise ApiError(400, f"action={action!r} is none; there are {', '.join(Action)}")
        query = AuditQuery(
            _number(request, "after", 0, 2**62),
            _number(request, "limit", 1000, _MOST),
            given.get("cluster", ""),
            action,
            _since(given.get("since", "")),
        )
        headers = {"Cache-Control": "no-store"}
        return StreamingResponse(self._entries(query), media_type="application/x-ndjson", headers=headers)

    async def _entries(self, query: AuditQuery) -> AsyncIterator[bytes]:
        while query.limit > 0:
            found = self._store.audit(replace(query, limit=min(query.limit, _AT_ONCE)))
            if not found:
                return
            yield "".join(f"{record.entry}\n" for record in found).encode()
            query = replace(query, after=found[-1].number, limit=query.limit - len(found))

    async def history(self, request: Request) -> Response:
        """Answer ``GET /api/v1/history?cluster=NAME&workload=[NAMESPACE/]NAME&limit=N``.

        The newest publications that moved a cluster, oldest first: the revision of the fleet repository and the one
        before, the workloads that changed, their authors, which rollouts let them through (`via`; none: the commits
        went through as they came) and who approved, and when the cluster had it applied and was healthy with it.
        """
        no_other(request, _HISTORY)
        given = request.query_params
        cluster = given.get("cluster", "")
        namespace, _, workload = given.get("workload", "").rpartition("/")
        limit = _number(request, "limit", 100, _MOST)
        found = self._store.history(cluster=cluster, namespace=namespace, workload=workload, limit=limit)
        if not found:
            check_cluster(self._control.board, cluster)
        items = [
            {
                "kind": "Publication",
                "cluster": each.cluster,
                "generation": each.generation,
                "at": _time(each.at),
                "appliedAt": _time(each.applied_at),
                "healthyAt": _time(each.healthy_at),
                **orjson.loads(each.detail),
            }
            for each in found
        ]
        body = orjson.dumps({"kind": "List", "apiVersion": "v1", "items": items})
        return Response(body, media_type="application/json", headers={"Cache-Control": "no-store"})


def _time(at: float | None) -> str | None:
    return None if at is None else timestamp(datetime.fromtimestamp(at, UTC))


def no_other(request: Request, known: frozenset[str]) -> None:
    """Raise ApiError where a query has other parameters than `known`."""
    if unknown := sorted(request.query_params.keys() - known):
        raise ApiError(400, f"unknown parameter {unknown[0]!r}; known are {', '.join(sorted(known))}")


def _number(request: Request, name: str, default: int, most: int) -> int:
    text = request.query_params.get(name, str(default))
    if not (text.isascii() and text.isdecimal()) or len(text) > 18 or int(text) > most:
        raise ApiError(400, f"{name}={text!r} is no whole number up to {most}")
    return int(text)


def _since(text: str) -> float:
    """Return seconds since 1970."""
    if not text:
        return 0.0
    try:
        return time.time() - parse_duration(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ApiError(400, f"since={text!r} is neither a duration (24h) nor a time (2026-01-31T12:00:00Z)") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
