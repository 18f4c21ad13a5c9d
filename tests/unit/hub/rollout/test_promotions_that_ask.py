from __future__ import annotations

from hub.fleet.strategy import Promotion
from hub.rollout import Promoted, PromotionState, promote
from hub.rollout.model import GateResult, Phase, RolloutState, Verdict
from hub.rollout.promotion import Completion

STAGING = Promotion("staging", soak=60.0, approval=True)
THERE = RolloutState(7, phase=Phase.COMPLETE, ended_at=0.0)
HEALTHY = PromotionState((Completion(7, 0.0),))


def at(now: float, said: Verdict | None = None) -> Promoted:
    answers = {7: GateResult(said, now, now)} if said else {}
    return promote(STAGING, THERE, HEALTHY, answers, now)


def test_a_person_is_asked_once_the_release_has_soaked_and_until_one_has_answered() -> None:
    assert [at(now).asks for now in (59.0, 60.0)] == [False, True]
    assert at(60.0, said=Verdict.PASSED).asks is False
    assert at(60.0, said=Verdict.FAILED).asks is False
