"""Which release an environment may go to, by what became of releases in the environment before it.

A release is ready for the next environment when it was on all clusters of the one before and all of them stayed healthy
for the soak, without a break. What was ready once stays so when a newer release has taken its place; what was taken
back (undone, rolled back) never gets further. The newest that is ready is the one to go to.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from hub.fleet.durations import format_duration
from hub.fleet.strategy import Promotion
from hub.rollout.model import GateResult, Phase, RolloutState, Verdict
from hub.rollout.telling import clock

KEPT: Final = 32
"""Records of an environment; a release older than these that never got further never will."""


@dataclass(frozen=True, slots=True)
class Completion:
    """A time in which a release was healthy on a whole environment: `until` is None while it is."""

    release: int
    since: float
    until: float | None = None


@dataclass(frozen=True, slots=True)
class PromotionState:
    """What is known of the releases of the environment before, oldest first; `environment` is that one's name."""

    completions: tuple[Completion, ...] = ()
    environment: str = ""

    def of(self, environment: str) -> PromotionState:
        """Return what is known of an environment: nothing where it is not the one before any more."""
        if self.environment == environment:
            return self
        return PromotionState(() if self.environment else self.completions, environment)


@dataclass(frozen=True, slots=True)
class Promoted:
    """The release to go to (0: none yet), when to ask again if nothing happens before, and what is waited for.

    `asks` tells whether a person's approval would let something newer go on.
    """

    release: int = 0
    wake_at: float | None = None
    waiting: str = ""
    asks: bool = False


def observe(known: PromotionState, upstream: RolloutState | None, now: float) -> PromotionState:
    """Return what is known after a look at the rollout of the environment before; the same object if nothing is new."""
    if upstream is None:
        return known
    since = _healthy_since(upstream, now)
    completions: list[Completion] = []
    taken_back = upstream.release if upstream.phase in (Phase.UNDONE, Phase.FAILED) else 0
    open_since = None
    for each in known.completions:
        begun = min(each.since, now)
        if each.release == taken_back:
            continue
        if each.until is not None:
            completions.append(each)
        elif each.release == upstream.release and since is not None and since <= begun:
            open_since = begun
            completions.append(each if begun == each.since else replace(each, since=begun))
        else:
            completions.append(replace(each, since=begun, until=now))
    if since is not None and open_since is None:
        completions.append(Completion(upstream.release, since))
    found = replace(known, completions=tuple(completions[-KEPT:]))
    return known if found == known else found


def promote(
    promotion: Promotion,
    upstream: RolloutState | None,
    known: PromotionState,
    approved: Mapping[int, GateResult],
    now: float,
    *,
    urgent: Mapping[int, str] | None = None,
) -> Promoted:
    """Return the newest release that may go on; `known` is what `observe` returned last for this `upstream`.

    `approved` are people's answers by release, `urgent` the reasons of releases that leave out soaks.
    """
    urgent = urgent or {}
    best, wake_at, waiting, asks = 0, math.inf, "", False
    for each in sorted(known.completions, key=lambda each: each.release):
        soak = 0.0 if urgent.get(each.release) else promotion.soak
        ready_at = each.since + soak
        if (each.until if each.until is not None else now) < ready_at:
            if each.until is None and each.release > best:
                wake_at = min(wake_at, ready_at)
                left = format_duration(max(ready_at - now, 1.0))
                waiting = f"release {each.release} soaks in {promotion.environment} until {clock(ready_at)} ({left})"
            continue
        answer = approved.get(each.release)
        if not promotion.approval or (answer is not None and answer.verdict is Verdict.PASSED):
            best, waiting, wake_at, asks = each.release, "", math.inf, False
        elif answer is not None and answer.verdict is Verdict.FAILED:
            waiting = f"release {each.release} was refused" + (f": {answer.message}" if answer.message else "")
        else:
            waiting, asks = f"release {each.release} waits for approval", True
    if not waiting and (upstream is None or upstream.release > best):
        waiting = _upstream(promotion, upstream)
    return Promoted(best, None if wake_at == math.inf else wake_at, waiting, asks)


def _healthy_since(upstream: RolloutState, now: float) -> float | None:
    if upstream.phase is not Phase.COMPLETE or upstream.ended_at is None or upstream.failed:
        return None
    times = [stage.healthy_at for stage in upstream.stages.values()]
    if any(at is None for at in times):
        return None
    return min(now, max([upstream.ended_at, *(at for at in times if at is not None)]))


def _upstream(promotion: Promotion, upstream: RolloutState | None) -> str:
    name = promotion.environment
    if upstream is None:
        return f"nothing has come to {name} yet"
    if upstream.phase is Phase.COMPLETE:
        return f"release {upstream.release} is not healthy on all of {name}"
    why = f": {upstream.reason}" if upstream.reason else ""
    return f"release {upstream.release} is {upstream.phase.value} in {name}{why}"
