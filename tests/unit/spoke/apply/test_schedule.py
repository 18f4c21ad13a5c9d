"""What failed is tried again in time, what may be there by now at once, and what is on its way is looked at again."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from felloe.identity import ObjectId
from spoke.apply.deletion import Leaving
from spoke.apply.pruning import Outcome
from spoke.apply.schedule import FIRST_RETRY_SECONDS, Schedule
from spoke.apply.standing import Failure

A = ObjectId("", "ConfigMap", "apps", "a")
B = ObjectId("", "ConfigMap", "apps", "b")
NOW = 1000.0
INTERVAL = 120.0


@pytest.fixture
def schedule() -> Schedule:
    return Schedule(INTERVAL)


def _pause(schedule: Schedule) -> float:
    moment = schedule.next()
    assert moment is not None
    return moment - NOW


def test_nothing_is_due_of_its_own(schedule: Schedule) -> None:
    assert schedule.next() is None
    assert schedule.take(NOW) == []


def test_what_is_due_is_taken_once(schedule: Schedule) -> None:
    schedule.now([A])
    schedule.at(B, NOW + 1)
    assert schedule.take(NOW) == [A]
    assert schedule.next() == NOW + 1
    assert schedule.take(NOW + 1) == [B]
    assert schedule.next() is None


def test_a_failure_that_stays_is_tried_again_within_the_retry_interval(schedule: Schedule) -> None:
    schedule.failed(A, NOW, may_pass=False)
    assert INTERVAL / 2 <= _pause(schedule) <= INTERVAL


def test_a_failure_that_may_pass_is_tried_soon_then_more_and_more_seldom(schedule: Schedule) -> None:
    for attempt in range(1, 12):
        schedule.failed(A, NOW, may_pass=True)
        longest = min(INTERVAL, FIRST_RETRY_SECONDS * 2**attempt)
        assert longest / 2 <= _pause(schedule) <= longest


@pytest.mark.parametrize("succeeded", [True, False], ids=["after a success", "when what was missing appears"])
def test_pauses_begin_anew(schedule: Schedule, *, succeeded: bool) -> None:
    for _ in range(8):
        schedule.failed(A, NOW, may_pass=True)
    if succeeded:
        schedule.done(A)
    else:
        schedule.afresh([A])
        assert schedule.take(NOW) == [A]
    schedule.failed(A, NOW, may_pass=True)
    assert _pause(schedule) <= 2 * FIRST_RETRY_SECONDS


def test_what_is_being_deleted_is_looked_at_again_and_more_seldom_while_nothing_goes(schedule: Schedule) -> None:
    leaving = Outcome(leaving={A: Leaving(datetime.now(UTC))})
    schedule.pruned(leaving, NOW)
    first = _pause(schedule)
    assert not schedule.prunes(NOW)
    schedule.pruned(leaving, NOW)
    assert _pause(schedule) > first
    schedule.pruned(Outcome(leaving=leaving.leaving, dropped={B}), NOW)
    assert _pause(schedule) < first


def test_a_refused_deletion_waits_for_the_retry_interval_at_most_and_for_no_longer_than_its_reason(
    schedule: Schedule,
) -> None:
    for _ in range(20):
        schedule.pruned(Outcome(failures={A: Failure("PruneFailed", "forbidden")}), NOW)
    assert _pause(schedule) == INTERVAL
    schedule.prune_now()
    assert schedule.prunes(NOW)


def test_nothing_left_is_nothing_to_look_at(schedule: Schedule) -> None:
    schedule.pruned(Outcome(failures={A: Failure("PruneFailed", "forbidden")}), NOW)
    schedule.pruned(Outcome(dropped={A}), NOW)
    assert schedule.next() is None
    assert schedule.prunes(NOW)


def test_what_was_left_behind_wakes_nobody_who_may_not_look_at_it_now(schedule: Schedule) -> None:
    schedule.pruned(Outcome(leaving={A: Leaving(datetime.now(UTC))}), NOW)
    assert schedule.next(prunes=False) is None
    schedule.at(B, NOW + 100)
    assert schedule.next(prunes=False) == NOW + 100
