"""Answers and watches as the API gives them: JSON, JSON lines with heartbeats, and what queries may ask."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Final

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from hub.api.errors import ApiError

INITIAL_EVENTS_END: Final = "k8s.io/initial-events-end"


class Pulse:
    """What every watch goes by: `closing` ends it, `heartbeat` is seconds between signs of life of a quiet one."""

    def __init__(self, closing: asyncio.Event, heartbeat: float) -> None:
        self._closing = closing
        self._heartbeat = heartbeat

    @property
    def stopped(self) -> bool:
        """Tell whether watches are to end."""
        return self._closing.is_set()

    async def end(self) -> None:
        """Return when watches are to end."""
        await self._closing.wait()

    async def within(self, change: Awaitable[None]) -> bool:
        """Wait for a change, the end of the server or the heartbeat; return False for the heartbeat."""
        waiting = {asyncio.ensure_future(change), asyncio.ensure_future(self._closing.wait())}
        try:
            done, _ = await asyncio.wait(waiting, timeout=self._heartbeat, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
        return bool(done)


def no_other(request: Request, known: frozenset[str]) -> None:
    """Raise ApiError where a request has another parameter than these."""
    if unknown := sorted(request.query_params.keys() - known):
        raise ApiError(400, f"unknown parameter {unknown[0]!r}; known are {', '.join(sorted(known))}")


def flag(request: Request, name: str) -> bool:
    """Return a parameter that says true or false; false without. Raise ApiError."""
    value = request.query_params.get(name, "false").lower()
    if value not in {"true", "1", "false", "0"}:
        raise ApiError(400, f"{name}={value!r} is neither true nor false")
    return value in {"true", "1"}


def as_json(value: object) -> Response:
    """Return an answer of JSON."""
    return Response(orjson.dumps(value), media_type="application/json")


def stream(lines: AsyncIterator[bytes]) -> Response:
    """Return an answer that is a stream of JSON lines."""
    return StreamingResponse(lines, media_type="application/x-ndjson", headers={"Cache-Control": "no-store"})


def line(kind: str, shown: dict[str, object]) -> bytes:
    """Return one line of a watch."""
    return orjson.dumps({"type": kind, "object": shown}, option=orjson.OPT_APPEND_NEWLINE)


def bookmark(version: int, *, initial: bool = False) -> bytes:
    """Return a heartbeat or, `initial`, the line after which only changes follow."""
    metadata: dict[str, object] = {"resourceVersion": str(version)}
    if initial:
        metadata["annotations"] = {INITIAL_EVENTS_END: "true"}
    return line("BOOKMARK", {"kind": "Bookmark", "metadata": metadata})
