"""When clusters may move: windows that cron schedules open, and days on which nothing moves.

A window opens at every time that its schedule names in its zone (as Debian's cron has it, daylight saving included)
and lasts its duration in real time. Without any window it is always open; a freeze closes all of them.
What can't be read (a schedule, a zone, a day) never opens and never freezes: `hub.fleet` refuses it before.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from hub.fleet.strategy import Freeze, Strategy, Window

HORIZON: Final = 2 * 366 * 86_400.0
"""Seconds. What does not open within two years counts as never opening."""

_LAST_DATE: Final = 253_370_764_800.0
"""Seconds: the year 9999, where `datetime` ends."""


@dataclass(frozen=True, slots=True)
class Shut:
    """That clusters may not move now: until when (None: not within two years), and which freeze holds, if one does.

    `zone` is the one in which people reckon with the opening: that of the window that opens, or of the freeze.
    """

    until: float | None
    freeze: Freeze | None = None
    zone: str = "UTC"


def next_opening(strategy: Strategy, now: float, *, within: float = HORIZON) -> float | None:
    """Return the first time, `now` or later, at which clusters may move; None if there is none in `within` seconds.

    Times are seconds since the epoch.
    """
    if not strategy.windows and not strategy.freezes:
        return now
    at = now
    while at <= now + within and 0 <= at < _LAST_DATE:
        end = _frozen_until(strategy.freezes, at)
        if end is not None:
            at = end
        elif not strategy.windows or any(_in_window(window, at) for window in strategy.windows):
            return at
        else:
            following = [start for window in strategy.windows if (start := _next_start(window, at)) is not None]
            if not following:
                return None
            at = min(following)
    return None


def shut(strategy: Strategy, now: float, opening: float | None) -> Shut:
    """Return why clusters may not move now; `opening` is what `next_opening` said."""
    frozen = next((freeze for start, end, freeze in _freeze_times(strategy.freezes) if start <= now < end), None)
    if opening is None:
        return Shut(None, frozen)
    opened = next((window.zone for window in strategy.windows if _in_window(window, opening)), None)
    return Shut(opening, frozen, opened or (frozen.zone if frozen else "UTC"))


def local(at: float, zone: str) -> datetime | None:
    """Return a time as the clocks of a zone show it; None where that is no zone, or the time is beyond them."""
    found = _zone(zone)
    try:
        return None if found is None else datetime.fromtimestamp(at, found)
    except (ValueError, OverflowError, OSError):
        return None


def _frozen_until(freezes: Sequence[Freeze], at: float) -> float | None:
    """Return the end of the longest freeze that holds at a time, None where none does."""
    ends = [end for start, end, _ in _freeze_times(freezes) if start <= at < end]
    return max(ends, default=None)


def _freeze_times(freezes: Sequence[Freeze]) -> Iterator[tuple[float, float, Freeze]]:
    """Yield when each freeze begins and ends."""
    for freeze in freezes:
        zone = _zone(freeze.zone)
        if zone is None:
            continue
        try:
            first, last = date.fromisoformat(freeze.first), date.fromisoformat(freeze.last)
            start = datetime.combine(first, time(), zone).timestamp()
        except (ValueError, OverflowError):
            continue
        yield start, _day_after(last, zone), freeze


def _day_after(last: date, zone: tzinfo) -> float:
    try:
        return datetime.combine(last + timedelta(days=1), time(), zone).timestamp()
    except (ValueError, OverflowError):  # 9999-12-31 is how people write "for ever"
        return math.inf


def _in_window(window: Window, at: float) -> bool:
    start = _start(window, at, backwards=True)
    return start is not None and at < start + window.duration


def _next_start(window: Window, at: float) -> float | None:
    return _start(window, at, backwards=False)


def _start(window: Window, at: float, *, backwards: bool) -> float | None:
    """Return the last start of a window up to a time, or the first one after it."""
    zone = _zone(window.zone)
    if zone is None or not window.duration > 0:
        return None
    moment = datetime.fromtimestamp(at, zone)
    if backwards:
        moment = datetime.fromtimestamp(int(at) + 1, zone)
    try:
        return next(CronSim(window.schedule, moment, reverse=backwards)).timestamp()
    except (CronSimError, StopIteration, OverflowError, ValueError):
        return None


def _zone(name: str) -> tzinfo | None:
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # an unknown zone is a KeyError, a name like ../etc a ValueError
        return None
