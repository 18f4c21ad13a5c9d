"""A release gets to the next environment when it was healthy on the whole of the one before, long enough."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hub.fleet.strategy import Promotion
from hub.rollout import PromotionState, observe, promote, promotion_json, promotion_of
from hub.rollout.model import GateResult, Phase, RolloutState, StageState, Verdict
from hub.rollout.promotion import KEPT, Completion, Promoted

HOUR = 3600.0
SOAK = Promotion("staging", soak=HOUR)
DONE = RolloutState(7, Phase.COMPLETE, ended_at=100.0, base=7, stages={"all": StageState(90.0, 100.0, 100.0)})


def after(*looks: tuple[RolloutState | None, float]) -> PromotionState:
    known = PromotionState()
    for upstream, now in looks:
        known = observe(known, upstream, now)
        assert observe(known, upstream, now) is known
    return known


def asked(promotion: Promotion, upstream: RolloutState | None, known: PromotionState, now: float) -> Promoted:
    return promote(promotion, upstream, known, {}, now)


def test_it_goes_on_when_it_has_soaked() -> None:
    known = after((DONE, 100.0))
    assert asked(SOAK, DONE, known, 100.0) == Promoted(
        0, 100.0 + HOUR, "release 7 soaks in staging until 1970-01-01T01:01:40Z (1h)"
    )
    assert asked(SOAK, DONE, known, 100.0 + HOUR) == Promoted(7)


def test_without_a_soak_it_goes_on_when_it_is_complete() -> None:
    assert asked(Promotion("dev"), DONE, after((DONE, 100.0)), 100.0) == Promoted(7)


def test_a_cluster_that_falls_back_begins_the_soak_anew() -> None:
    fallen = replace(DONE, stages={"all": StageState(90.0, None, 100.0)})
    again = replace(DONE, stages={"all": StageState(90.0, 2000.0, 100.0)})
    known = after((DONE, 100.0), (fallen, 1900.0))
    assert asked(SOAK, fallen, known, 5000.0) == Promoted(0, None, "release 7 is not healthy on all of staging")
    known = after((DONE, 100.0), (fallen, 1900.0), (again, 2000.0))
    assert asked(SOAK, again, known, 4000.0).wake_at == 2000.0 + HOUR
    unseen = after((DONE, 100.0), (again, 2000.0))
    assert asked(SOAK, again, unseen, 4000.0).wake_at == 2000.0 + HOUR, "also when nobody looked meanwhile"


def test_what_was_ready_stays_so_when_a_newer_one_comes_and_what_was_not_never_is() -> None:
    newer = RolloutState(8, began_at=5000.0)
    assert asked(SOAK, newer, after((DONE, 100.0), (newer, 5000.0)), 5000.0).release == 7
    early = RolloutState(8, began_at=200.0)
    known = after((DONE, 100.0), (early, 200.0))
    assert asked(SOAK, early, known, 9000.0) == Promoted(0, None, "release 8 is Progressing in staging")


def test_the_newest_that_is_ready_goes_on_and_the_next_is_told() -> None:
    newer = RolloutState(8, Phase.COMPLETE, ended_at=5000.0, base=8)
    known = after((DONE, 100.0), (newer, 5000.0))
    promoted = asked(SOAK, newer, known, 5000.0)
    assert (promoted.release, promoted.wake_at) == (7, 5000.0 + HOUR)
    assert promoted.waiting.startswith("release 8 soaks in staging until")
    assert asked(SOAK, newer, known, 5000.0 + HOUR) == Promoted(8)


@pytest.mark.parametrize("phase", [Phase.UNDONE, Phase.FAILED])
def test_what_was_taken_back_never_goes_on(phase: Phase) -> None:
    back = replace(DONE, phase=phase, reason="broken")
    known = after((DONE, 100.0), (back, 9000.0))
    assert asked(SOAK, back, known, 9000.0) == Promoted(0, None, f"release 7 is {phase.value} in staging: broken")


def test_it_waits_for_a_person_where_one_approves() -> None:
    promotion = Promotion("staging", approval=True)
    known = after((DONE, 100.0))
    assert asked(promotion, DONE, known, 100.0) == Promoted(0, None, "release 7 waits for approval", asks=True)
    refused = {7: GateResult(Verdict.FAILED, 100.0, 100.0, "not on a Friday", "jo")}
    assert promote(promotion, DONE, known, refused, 100.0).waiting == "release 7 was refused: not on a Friday"
    approved = {7: GateResult(Verdict.PASSED, 100.0, 100.0, "", "jo")}
    assert promote(promotion, DONE, known, approved, 100.0) == Promoted(7)


def test_an_approval_does_not_replace_the_soak_and_urgency_does() -> None:
    promotion = Promotion("staging", soak=HOUR, approval=True)
    approved = {7: GateResult(Verdict.PASSED, 100.0, 100.0, "", "jo")}
    known = after((DONE, 100.0))
    assert promote(promotion, DONE, known, approved, 100.0).release == 0
    assert promote(promotion, DONE, known, approved, 100.0, urgent={7: "outage"}) == Promoted(7)


def test_nothing_upstream_is_told() -> None:
    assert asked(SOAK, None, after((None, 1.0)), 1.0) == Promoted(0, None, "nothing has come to staging yet")


def test_a_clock_that_was_set_back_blocks_for_no_longer_than_the_soak() -> None:
    known = after((DONE, 100.0), (DONE, 50.0))
    assert known.completions == (Completion(7, 50.0),)
    assert asked(SOAK, DONE, known, 50.0 + HOUR) == Promoted(7)


def test_what_is_kept_is_bounded_and_outlives_the_hub() -> None:
    known = after(*((replace(DONE, release=n, ended_at=float(n)), float(n)) for n in range(100, 200)))
    assert len(known.completions) == KEPT
    assert promotion_of(promotion_json(known)) == known
    with pytest.raises(ValueError, match="can't be read"):
        promotion_of("[1]")
