"""Rollouts: which cluster may take which release now."""

from hub.rollout.acting import abort, approve, pause, resume, retry, skip_soak, undo
from hub.rollout.engine import advance
from hub.rollout.promotion import Promoted, PromotionState, observe, promote
from hub.rollout.stages import stages_of
from hub.rollout.state_json import promotion_json, promotion_of, state_json, state_of
from hub.rollout.succession import succeed

__all__ = [
    "Promoted",
    "PromotionState",
    "abort",
    "advance",
    "approve",
    "observe",
    "pause",
    "promote",
    "promotion_json",
    "promotion_of",
    "resume",
    "retry",
    "skip_soak",
    "stages_of",
    "state_json",
    "state_of",
    "succeed",
    "undo",
]
