from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.fleet.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10m0s", 600), ("1h30m", 5400), ("1.5h", 5400), ("500ms", 0.5), ("0", 0), ("1h0m0.5s", 3600.5), ("3us", 3e-6)],
)
def test_durations_are_read_as_go_reads_them(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "10 m", "-1m", "1d", "m", "1m ", "1,5h", "9999999h", "٣m"])
def test_what_go_refuses_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@given(st.integers(0, 99), st.integers(0, 59), st.integers(0, 59))
@settings(deadline=None)
def test_hours_minutes_and_seconds_add_up(hours: int, minutes: int, seconds: int) -> None:
    assert parse_duration(f"{hours}h{minutes}m{seconds}s") == hours * 3600 + minutes * 60 + seconds


@pytest.mark.parametrize(("seconds", "text"), [(3600, "1h"), (90, "1m30s"), (5400, "1h30m"), (45, "45s"), (0, "0s")])
def test_a_duration_is_written_as_it_is_read(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
    assert parse_duration(text) == seconds
