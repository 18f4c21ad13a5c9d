"""Clusters begin to move only while a window is open and no freeze holds."""

from __future__ import annotations

from datetime import datetime

import pytest

from hub.fleet.strategy import Freeze, Share, Stage, Strategy, Window
from hub.rollout.model import Phase
from hub.rollout.windows import next_opening
from tests.unit.hub.rollout.simulated import fleet

OFFICE = Window("0 9 * * 1-5", 8 * 3600.0, "Europe/Berlin")
HOLIDAYS = Freeze("2026-12-23", "2027-01-02")


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("now", "opening"),
    [
        ("2026-11-23T09:00:00+01:00", "2026-11-23T09:00:00+01:00"),
        ("2026-11-23T16:59:59+01:00", "2026-11-23T16:59:59+01:00"),
        ("2026-11-23T17:00:00+01:00", "2026-11-24T09:00:00+01:00"),
        ("2026-11-21T12:00:00+01:00", "2026-11-23T09:00:00+01:00"),
        ("2026-03-27T18:00:00+01:00", "2026-03-30T09:00:00+02:00"),  # over the night of summer time
        ("2026-12-22T18:00:00+01:00", "2027-01-04T09:00:00+01:00"),
        ("2026-12-23T00:30:00+01:00", "2026-12-23T09:00:00+01:00"),  # the freeze is in UTC, one hour later
    ],
)
def test_when_clusters_may_move_next(now: str, opening: str) -> None:
    strategy = Strategy("careful", windows=(OFFICE,), freezes=(HOLIDAYS,))
    if now == "2026-12-23T00:30:00+01:00":
        strategy = Strategy("careful", windows=(OFFICE,))
    assert next_opening(strategy, at(now)) == at(opening)


def test_a_window_that_begins_before_midnight_goes_on_after_it() -> None:
    night = Strategy("careful", windows=(Window("0 22 * * *", 6 * 3600.0),))
    for time, opening in (("03:59:59", "23T03:59:59"), ("04:00:00", "23T22:00:00")):
        assert next_opening(night, at(f"2026-11-23T{time}+00:00")) == at(f"2026-11-{opening}+00:00")


def test_any_of_several_windows_is_enough_and_freezes_close_all() -> None:
    both = Strategy("careful", windows=(OFFICE, Window("0 22 * * *", 3600.0)), freezes=(HOLIDAYS,))
    for time, is_open in ((at("2026-11-23T22:30:00+00:00"), True), (at("2026-12-24T22:30:00+00:00"), False)):
        assert (next_opening(both, time) == time) is is_open
    assert next_opening(Strategy("careful", freezes=(HOLIDAYS,)), at("2026-12-24T12:00:00+00:00")) == at(
        "2027-01-03T00:00:00+00:00"
    )


@pytest.mark.parametrize(
    "window",
    [
        Window("0 0 31 2 *", 3600.0),
        Window("0 0 30 2 MON#5", 3600.0),
        Window("no cron", 3600.0),
        Window("* * * * *", 0.0),
        Window("0 9 * * *", 3600.0, "Europe/Atlantis"),
    ],
)
def test_a_window_that_never_opens_is_told(window: Window) -> None:
    assert next_opening(Strategy("careful", windows=(window,)), at("2026-11-23T00:00:00+00:00")) is None
    world = fleet([Stage("all")], "a")
    world.strategy = Strategy("careful", world.strategy.stages, windows=(window,))
    step = world.step()
    assert step.wake_at is None
    assert step.waits == {"a": "no window opens within two years: change the windows or freezes of the Rollout"}


def test_a_freeze_without_end_is_told() -> None:
    forever = Strategy("careful", windows=(OFFICE,), freezes=(Freeze("2000-01-01", "9999-12-31"),))
    assert next_opening(forever, at("2026-11-23T00:00:00+00:00")) is None


def test_nobody_else_moves_when_the_window_closes_and_nothing_is_taken_back() -> None:
    world = fleet([Stage("all", max_concurrent=Share(1))], "a", "b")
    world.now = at("2026-11-23T16:59:00+01:00")
    world.strategy = Strategy("careful", world.strategy.stages, windows=(OFFICE,))
    world.step()
    assert world.on(2) == ["a"]
    world.now = at("2026-11-23T17:00:00+01:00")
    world.report()
    step = world.step()
    assert (world.on(2), step.wake_at) == (["a"], at("2026-11-24T09:00:00+01:00"))
    assert step.waits["b"] == "no window is open until 2026-11-24T08:00:00Z (Tue 2026-11-24 09:00 in Europe/Berlin)"
    world.now = at("2026-11-24T09:00:00+01:00")
    world.settle()
    assert world.phase is Phase.COMPLETE


def test_a_new_cluster_gets_outside_of_windows_what_all_others_have() -> None:
    world = fleet([Stage("all", max_concurrent=Share(1))], "a")
    world.settle()
    world.strategy = Strategy("careful", world.strategy.stages, windows=(Window("0 0 31 2 *", 1.0),))
    world.join("b", "c")
    world.step()
    assert world.on(2) == ["a", "b"]
    world.settle()
    assert world.on(2) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("now", "windows", "freezes", "says"),
    [
        (
            "2026-11-21T12:00:00+01:00",
            (Window("0 9 * * *", 3600.0),),
            (),
            "no window is open until 2026-11-22T09:00:00Z",
        ),
        (
            "2026-11-21T12:00:00+01:00",
            (OFFICE, Window("0 8 * * *", 3600.0, "Asia/Tokyo")),
            (),
            "no window is open until 2026-11-21T23:00:00Z (Sun 2026-11-22 08:00 in Asia/Tokyo)",
        ),
        (
            "2026-12-24T12:00:00+01:00",
            (),
            (Freeze("2026-12-24", "2026-12-24", "Europe/Berlin"),),
            (
                "frozen (2026-12-24, Europe/Berlin): clusters may move from 2026-12-24T23:00:00Z "
                "(Fri 2026-12-25 00:00 in Europe/Berlin)"
            ),
        ),
        (
            "2026-12-24T12:00:00+01:00",
            (OFFICE,),
            (HOLIDAYS,),
            (
                "frozen (2026-12-23 to 2027-01-02, UTC): clusters may move from 2027-01-04T08:00:00Z "
                "(Mon 2027-01-04 09:00 in Europe/Berlin)"
            ),
        ),
    ],
)
def test_why_and_until_when_nothing_moves_is_said_in_the_time_zone_of_the_window(
    now: str, windows: tuple[Window, ...], freezes: tuple[Freeze, ...], says: str
) -> None:
    world = fleet([Stage("all")], "a")
    world.now = at(now)
    world.strategy = Strategy("careful", world.strategy.stages, windows=windows, freezes=freezes)
    step = world.step()
    assert (step.shut, step.waits["a"]) == (says, says)
