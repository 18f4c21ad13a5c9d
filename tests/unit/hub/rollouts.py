"""A rollout in the middle: `shop` in production, its first cluster on the way, the others waiting."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hub.fleet.strategy import ApprovalGate, HttpGate, Share, Stage, Strategy
from hub.rollout.model import Health, Member, Release, RolloutState, StageState, Track
from hub.status.rollouts import RolloutFacts

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
T = NOW.timestamp()
CAREFUL = Strategy(
    "careful",
    (
        Stage("canary", share=Share(1), soak=600.0),
        Stage("rest", max_concurrent=Share(percent=50), gates=(ApprovalGate("ok"), HttpGate("smoke", "https://x"))),
    ),
)
RELEASES = {
    11: Release(11, "main@sha1:11", T - 900, subject="before"),
    12: Release(12, "main@sha1:12", T - 90, subject="Scale up", author="ann"),
}
STATE = RolloutState(
    12,
    began_at=T - 60,
    base=11,
    strategy="careful",
    stages={"canary": StageState(started_at=T - 60)},
    stage_of={"a": "canary", "b": "rest", "c": "rest", "d": "rest"},
    assigned={"a": 12, "b": 11, "c": 11, "d": 11},
    admitted_at={"a": T - 60},
)


def member(name: str, **more: Any) -> Member:
    return Member(name, **{"target": "new", "given": "old", "release": 11, "health": Health.HEALTHY, **more})


MOVING = member("a", given="new", release=12, health=Health.PROGRESSING, message="2 of 3 replicas")
DONE = member("a", given="new", release=12)
FACTS = RolloutFacts(
    Track("placement/shop", "production"),
    STATE,
    CAREFUL,
    RELEASES,
    (MOVING, member("b"), member("c", online=False), member("d", frozen=True)),
    {"b": "stage canary comes first", "c": "stage canary comes first"},
)
