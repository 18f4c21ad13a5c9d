"""``POST /api/v1/plan``: what a commit that is not merged yet would change on every cluster, as a stream of JSON lines.

``?revision=`` names a branch, tag, commit or full ref of the fleet repository; without it the body is a tar archive
(gzip or not) of a checkout. ``labelSelector`` and ``cluster`` say which clusters count.

Each line is ``{"type": "PROGRESS"|"GROUP", "object": …}``. The last is ``END`` with a summary, or ``ERROR`` with a
Status: a stream that ends without either is not whole. Nothing is changed, and no cluster is asked.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import suppress
from typing import Final

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from felloe.errors import FelloeError
from hub.api.body import read_body
from hub.api.control import Control
from hub.api.errors import ApiError, status_of
from hub.changes.grouping import Group
from hub.changes.model import Action, Severity
from hub.changes.shown import group_json
from hub.fleet.durations import format_duration
from hub.fleet.selector import parse_selector
from hub.planning.forecast import Forecast, Progress
from hub.planning.order import TrackOrder

_log = logging.getLogger(__name__)

MOST_BYTES: Final = 64 * 1024 * 1024
"""Of an archive, as it is sent."""
_UPLOAD_SECONDS: Final = 120.0
_SECONDS: Final = 900.0
_AT_ONCE: Final = 2
_HEARTBEAT: Final = 2.0
_DETAILED: Final = 8 * 1024 * 1024
_TOLD: Final = 24 * 1024 * 1024
"""Bytes of the groups of an answer: those after the first number come without fields, those after the second not."""
_PARAMETERS: Final = frozenset({"revision", "labelSelector", "cluster"})


class Forecasts:
    """The handler; at most two forecasts are under way at a time."""

    def __init__(self, control: Control, *, seconds: float = _SECONDS) -> None:
        self._control = control
        self._seconds = seconds
        self._running = 0

    async def plan(self, request: Request) -> Response:
        """Answer ``POST /api/v1/plan``."""
        if unknown := sorted(request.query_params.keys() - _PARAMETERS):
            raise ApiError(400, f"unknown parameter {unknown[0]!r}; known are {', '.join(sorted(_PARAMETERS))}")
        query = request.query_params
        selects = parse_selector(query.get("labelSelector", ""))
        revision = query.get("revision", "")
        if self._running >= _AT_ONCE:
            raise ApiError(429, f"{_AT_ONCE} plans are being made already: try again in a moment")
        self._running += 1
        try:
            packed = await _archive(request, revision)
            run = _Run(self._control.forecast(revision, packed, selects, query.get("cluster", "")), self._seconds)
        except BaseException:
            self._running -= 1
            raise
        run.task.add_done_callback(self._ended)
        return StreamingResponse(run.lines(), media_type="application/x-ndjson", headers={"Cache-Control": "no-store"})

    def _ended(self, task: asyncio.Task[Forecast]) -> None:
        self._running -= 1


async def _archive(request: Request, revision: str) -> bytes:
    """Return the archive that is asked about, empty where it is a revision instead."""
    packed = await read_body(request, MOST_BYTES, _UPLOAD_SECONDS)
    if bool(revision) == bool(packed):
        raise ApiError(400, "either ?revision= is needed, or a tar archive of a checkout as the body")
    return packed


class _Run:
    """One forecast that is made, however slowly its client reads."""

    def __init__(self, steps: AsyncIterator[Progress | Forecast], seconds: float) -> None:
        self._steps = steps
        self._seconds = seconds
        self._progress = Progress("fetching", 0, 1)
        self.task = asyncio.get_running_loop().create_task(self._make(), name="plan")

    async def _make(self) -> Forecast:
        try:
            async with asyncio.timeout(self._seconds):
                async for step in self._steps:
                    if isinstance(step, Forecast):
                        return step
                    self._progress = step
        except TimeoutError:
            raise ApiError(
                503, f"the plan was not done within {self._seconds:g} s: ask for fewer clusters (--selector, --cluster)"
            ) from None
        except FelloeError:
            raise
        except Exception as error:
            _log.exception("a plan failed")
            raise ApiError(500, "the hub failed at this plan; its log says why") from error
        raise ApiError(500, "the plan ended without a result; the hub's log says why")

    async def lines(self) -> AsyncIterator[bytes]:
        """Yield how far it is at once and every two seconds, and then what came of it."""
        try:
            while not self.task.done():
                yield _line("PROGRESS", _progress(self._progress))
                await asyncio.wait({self.task}, timeout=_HEARTBEAT)
            try:
                forecast = self.task.result()
            except FelloeError as error:
                yield _line("ERROR", status_of(error))
                return
            told = await asyncio.to_thread(_Told, forecast)
            for line in told.groups():
                yield line
                await asyncio.sleep(0)
            yield _line("END", told.summary())
        finally:
            self.task.cancel()
            with suppress(asyncio.CancelledError, FelloeError):
                await self.task


class _Told:
    """What is told of a forecast, within bounds."""

    def __init__(self, forecast: Forecast) -> None:
        self._forecast = forecast
        self._groups = forecast.groups.groups()
        self._stages = {
            (track.track.unit, name): (str(track.track), stage.name)
            for track in forecast.order
            for stage in track.stages
            for name in stage.clusters
        }
        self._all_stages = list(dict.fromkeys(self._stages.values()))
        self._bytes = 0
        self._without_fields = self._left_out = 0

    def groups(self) -> Iterator[bytes]:
        """Yield the groups, the largest first."""
        for group in self._groups:
            if self._bytes > _TOLD:
                self._left_out += 1
                continue
            shown = self._with_stages(group_json(group), group)
            line = _line("GROUP", shown)
            if self._bytes + len(line) > _DETAILED:
                self._without_fields += 1
                line = _line("GROUP", _without_fields(shown))
            self._bytes += len(line)
            if self._bytes > _TOLD:
                self._left_out += 1
            else:
                yield line

    def _with_stages(self, shown: dict[str, object], group: Group) -> dict[str, object]:
        """Return a group with the stages of its clusters, workload by workload."""
        told = shown["workloads"]
        for workload, each in zip(told if isinstance(told, list) else (), group.workloads, strict=True):
            found = Counter(self._stages.get((each.change.unit, name)) for name in group.clusters)
            workload["stages"] = [
                {"track": track, "stage": stage, "clusters": found[track, stage]}
                for track, stage in self._all_stages
                if stage and found[track, stage]
            ]
        return shown

    def summary(self) -> dict[str, object]:
        """Return what it all comes to."""
        forecast = self._forecast
        found = forecast.groups.findings()
        troubles: dict[str, list[str]] = {}
        for cluster, message in sorted(forecast.troubles.items()):
            troubles.setdefault(message, []).append(cluster)
        return {
            "kind": "Plan",
            "revision": forecast.revision,
            "baseRevision": forecast.base,
            "subject": forecast.subject,
            "author": forecast.author,
            "clusters": len(forecast.groups.clusters) + len(forecast.troubles),
            "changedClusters": len(forecast.groups.changed),
            "objects": _counted(self._groups),
            "order": [_track(each) for each in forecast.order],
            "findings": {severity.value: found[severity] for severity in Severity},
            "failed": [{"message": message, "clusters": names} for message, names in troubles.items()],
            "groupsWithoutFields": self._without_fields,
            "groupsLeftOut": self._left_out,
        }


def _track(each: TrackOrder) -> dict[str, object]:
    return {
        "track": str(each.track),
        "rollout": each.rollout,
        "after": each.after,
        "afterSoak": format_duration(each.soak) if each.soak else "",
        "afterApproval": each.approval,
        "stages": [
            {
                "name": stage.name,
                "clusters": list(stage.clusters),
                "members": stage.members,
                "gates": list(stage.gates),
                "soak": format_duration(stage.soak) if stage.soak else "",
            }
            for stage in each.stages
        ],
    }


def _counted(groups: list[Group]) -> dict[str, int]:
    """Return how many different changes of objects there are, by what becomes of the object."""
    actions = [each.action for group in groups for one in group.workloads for each in one.change.objects]
    return {action.value: actions.count(action) for action in Action if action is not Action.SAME}


def _without_fields(shown: dict[str, object]) -> dict[str, object]:
    """Return a group that names its objects only."""
    workloads = shown["workloads"]
    for workload in workloads if isinstance(workloads, list) else ():
        for each in workload["objects"]:
            each["fieldsLeftOut"] = each.get("fieldsLeftOut", 0) + len(each["fields"])
            each["fields"] = []
            each.pop("manifest", None)
    return shown


def _progress(progress: Progress) -> dict[str, object]:
    return {"doing": progress.doing, "done": progress.done, "total": progress.total}


def _line(kind: str, shown: Mapping[str, object]) -> bytes:
    return orjson.dumps({"type": kind, "object": shown}, option=orjson.OPT_APPEND_NEWLINE)
