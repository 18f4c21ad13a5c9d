"""When an object that may yet be changed by a request of before is applied again."""

from __future__ import annotations

import pytest

from felloe.identity import ObjectId
from spoke.apply.latecomers import Latecomers

OBJECT, OTHER = ObjectId("", "ConfigMap", "shop", "a"), ObjectId("", "ConfigMap", "shop", "b")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def late(clock: Clock) -> Latecomers:
    return Latecomers(64.0, clock)


def test_what_got_its_answer_is_not_applied_again(late: Latecomers) -> None:
    assert (late.next(OBJECT), late.is_due(OBJECT), late.expected(OBJECT)) == (None, False, False)


def test_what_got_none_is_applied_four_times_and_then_no_more(late: Latecomers, clock: Clock) -> None:
    late.unanswered(OBJECT)
    begin, due = clock.now, []
    while (at := late.next(OBJECT)) is not None:
        assert not late.is_due(OBJECT)
        clock.now = at
        assert late.is_due(OBJECT)
        late.looked_at(OBJECT, clock.now)
        due.append(at - begin)
    assert due == [1.0, 4.0, 16.0, 64.0]


def test_what_is_looked_at_late_is_due_at_most_once_for_all_that_was_missed(late: Latecomers, clock: Clock) -> None:
    late.unanswered(OBJECT)
    clock.now += 20
    late.looked_at(OBJECT, clock.now)
    assert not late.is_due(OBJECT)
    assert late.next(OBJECT) == 164.0


def test_what_falls_due_after_an_object_was_looked_at_is_due_still(late: Latecomers, clock: Clock) -> None:
    late.unanswered(OBJECT)
    begun, clock.now = clock.now + 2, clock.now + 80
    late.looked_at(OBJECT, begun)
    assert late.is_due(OBJECT)


def test_what_a_spoke_before_had_may_be_made_again_after_it_was_deleted(late: Latecomers, clock: Clock) -> None:
    late.inventoried([OBJECT])
    assert late.let_go(OBJECT)
    assert not late.let_go(OTHER), "only we may have made it"
    late.unanswered(OTHER)
    assert late.let_go(OTHER)
    clock.now += 64
    assert not late.let_go(OBJECT)


def test_another_request_without_an_answer_begins_anew(late: Latecomers, clock: Clock) -> None:
    late.unanswered(OBJECT)
    clock.now += 20
    late.looked_at(OBJECT, clock.now)
    late.unanswered(OBJECT)
    assert late.next(OBJECT) == clock.now + 1


def test_what_a_spoke_before_asked_for_counts_for_as_long_as_it_may_be_done(late: Latecomers, clock: Clock) -> None:
    late.from_before([OBJECT])
    assert late.expected(OBJECT)
    assert not late.expected(OTHER)
    clock.now += 64
    assert not late.expected(OBJECT)
    late.from_before([OTHER])
    assert not late.expected(OTHER)
