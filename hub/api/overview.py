"""What sums up the whole fleet: ``GET /api/v1/fleet`` (with ``watch=true``: as it changes) and ``GET /api/v1/top``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from hub.api.control import Control
from hub.api.errors import ApiError
from hub.api.streaming import Pulse, as_json, bookmark, flag, line, no_other, stream
from hub.fleet.selector import parse_selector
from hub.status.board import Board
from hub.status.fleet import fleet_view
from hub.status.resource import Collection
from hub.status.top import Top, batches, top

_FLEET: Final = (Collection.ENVIRONMENTS, Collection.CLUSTERS, Collection.ROLLOUTS)
_MOST_RANKED: Final = 1000
_LEAST_PAUSE: Final = 0.25
_PAUSE_SHARE: Final = 9


class Overview:
    """The handlers."""

    def __init__(self, control: Control, pulse: Pulse) -> None:
        self._control = control
        self._pulse = pulse

    async def fleet(self, request: Request) -> Response:
        """Answer ``GET /api/v1/fleet``: environments, what they run, what waits; with ``watch=true`` as it changes."""
        no_other(request, frozenset({"watch"}))
        if flag(request, "watch"):
            return stream(self._watch_fleet())
        return as_json(_fleet(self._control.board))

    async def top(self, request: Request) -> Response:
        """Answer ``GET /api/v1/top?limit=10&labelSelector=…``: the slowest, most drifted and failing workloads."""
        no_other(request, frozenset({"limit", "labelSelector"}))
        limit = request.query_params.get("limit", "10")
        if not limit.isdecimal() or not 1 <= int(limit) <= _MOST_RANKED:
            raise ApiError(400, f"limit={limit!r} is no number from 1 to {_MOST_RANKED}")
        selects = parse_selector(request.query_params.get("labelSelector", ""))
        found, now = Top(), datetime.now(UTC)
        for portion in batches(list(self._control.board.resources(Collection.WORKLOADS).values())):
            found = top([one for one in portion if selects(one.labels)], int(limit), now, found)
            await asyncio.sleep(0)
        return as_json(found.as_json())

    async def _watch_fleet(self) -> AsyncIterator[bytes]:
        """Tell the fleet whenever it shows something else, for a small share of the time however large it is."""
        board = self._control.board
        told: dict[str, object] = {}
        with board.subscribe(*_FLEET) as subscription:
            while not self._pulse.stopped:
                began = time.monotonic()
                fleet = _fleet(board)
                if fleet != told:
                    yield line("MODIFIED" if told else "ADDED", fleet)
                    if not told:
                        yield bookmark(board.version, initial=True)
                    told = fleet
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LEAST_PAUSE + _PAUSE_SHARE * (time.monotonic() - began)):
                        await self._pulse.end()
                while not self._pulse.stopped and not await self._pulse.within(subscription.wait()):
                    yield bookmark(board.version)
                subscription.take()


def _fleet(board: Board) -> dict[str, object]:
    environments, clusters, rollouts = (board.resources(collection).values() for collection in _FLEET)
    return fleet_view(environments, sorted(clusters, key=lambda one: one.name), rollouts)
