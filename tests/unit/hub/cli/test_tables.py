from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from hub.cli.human import age, revision, shortened
from hub.cli.table import Screen, Table

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("ago", "shown"),
    [
        (timedelta(seconds=45), "45s"),
        (timedelta(seconds=119), "119s"),
        (timedelta(minutes=3, seconds=20), "3m20s"),
        (timedelta(minutes=9), "9m"),
        (timedelta(minutes=179), "179m"),
        (timedelta(hours=5, minutes=1), "5h1m"),
        (timedelta(hours=47), "47h"),
        (timedelta(days=3, hours=2), "3d2h"),
        (timedelta(days=30), "30d"),
        (timedelta(seconds=-5), "0s"),
    ],
)
def test_ages_are_those_of_kubectl(ago: timedelta, shown: str) -> None:
    assert age((NOW - ago).strftime("%Y-%m-%dT%H:%M:%SZ"), NOW) == shown


def test_a_message_in_a_table_has_short_revisions() -> None:
    sha = "0123456789abcdef0123456789abcdef01234567"
    assert shortened(f"applying main@sha1:{sha}") == "applying main@sha1:01234567"


def test_what_is_no_time_or_no_revision() -> None:
    assert age("", NOW) == "-"
    assert age("soon", NOW) == "-"
    assert revision("") == "-"
    assert revision("v1.2.0@sha1:0123456789abcdef0123456789abcdef01234567") == "v1.2.0@sha1:01234567"


def test_a_terminal_cuts_the_last_column_and_colours_states() -> None:
    table = Table(("NAME", "READY", "MESSAGE"), Screen(width=40, colour=True))
    head, row = table.lines([["a", "False", "x" * 100]])
    assert head == "NAME   READY   MESSAGE"
    assert row == f"a      \x1b[31mFalse\x1b[0m   {'x' * 24}…"
    assert Table(("A", "MESSAGE"), Screen()).lines([["b", "x" * 500]])[1] == f"b   {'x' * 500}"


def test_later_rows_of_a_watch_stay_aligned() -> None:
    table = Table(("NAME", "B"), Screen())
    table.lines([["a-long-name", "1"]])
    assert table.lines([["a", "2"]], header=False) == ["a             2"]
