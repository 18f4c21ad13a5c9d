"""Request bodies, bounded: what comes from the network is read only as far as it may be long."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

import orjson
from starlette.requests import Request

from hub.api.errors import ApiError

PATIENCE: Final = 30.0
"""Seconds that a body may take to arrive."""
LONGEST_REASON: Final = 1000


async def read_body(request: Request, limit: int, patience: float = PATIENCE) -> bytes:
    """Return a request's body.

    Raise ApiError: 413 once it is longer than `limit` bytes, without reading on; 408 where it takes more than
    `patience` seconds.
    """
    try:
        async with asyncio.timeout(patience):
            return await _read(request, limit)
    except TimeoutError:
        raise ApiError(408, f"the body did not arrive within {patience:g} s") from None


async def _read(request: Request, limit: int) -> bytes:
    announced = request.headers.get("content-length", "0")
    body = bytearray()
    if not announced.isdecimal() or int(announced) <= limit:
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                break
        else:
            return bytes(body)
    raise ApiError(413, f"the body is longer than {limit} bytes")


async def read_object(request: Request, known: frozenset[str], limit: int = 64 * 1024) -> dict[str, object]:
    """Return a body that is a JSON object with no other keys than `known`; an empty body is an empty object."""
    body = await read_body(request, limit)
    if not body:
        return {}
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ApiError(400, f"the body is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise ApiError(400, "the body is no JSON object")
    if unknown := sorted(value.keys() - known):
        raise ApiError(422, f"unknown field {unknown[0]!r}; known are {', '.join(sorted(known))}")
    return value


def reason_of(asked: Mapping[str, object]) -> str:
    """Return why something is asked for, in a person's own words; empty where they don't say. Raise ApiError (422)."""
    reason = asked.get("reason", "")
    if not isinstance(reason, str) or len(reason) > LONGEST_REASON:
        raise ApiError(422, f"reason: must be a text of at most {LONGEST_REASON} characters")
    return reason.strip()
