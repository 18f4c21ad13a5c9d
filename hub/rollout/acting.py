"""What people do to a rollout: each act makes a new state of the old one, or says why it makes no sense now.

`who` is the name of their credential, `reason` what they say about it; both are kept in the state, where the act
explains the phase. All of them raise ConfigError, with what the act would need.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from felloe.errors import ConfigError
from hub.rollout.model import GateResult, Phase, RolloutState, StageState, Verdict


def pause(state: RolloutState, *, who: str, reason: str, now: float) -> RolloutState:
    """Admit nobody else until it is resumed; clusters that have the release keep it."""
    _need(state, "pause", {Phase.PROGRESSING})
    return replace(state, phase=Phase.PAUSED, reason=reason, who=who)


def resume(state: RolloutState, *, who: str, reason: str, now: float) -> RolloutState:
    """Go on, in spite of the clusters that have failed so far; gates that failed are asked again."""
    _need(state, "resume", {Phase.PAUSED})
    return replace(
        _asked_again(state, now),
        phase=Phase.PROGRESSING,
        accepted=state.accepted | state.failed.keys(),
        reason=reason,
        who=who,
    )


def approve(state: RolloutState, stage: str = "", gate: str = "", *, who: str, reason: str, now: float) -> RolloutState:
    """Let a rollout through a gate that it waits for; stage and gate may be empty where there is only one.

    A person may also let it through a gate that asks a machine; the state says who did.
    """
    _need(state, "approve", {Phase.PROGRESSING, Phase.PAUSED})
    waiting = [
        (name, key)
        for name, each in state.stages.items()
        if each.started_at is None
        for key, result in each.gates.items()
        if result.verdict is not Verdict.PASSED
    ]
    matching = [(name, key) for name, key in waiting if stage in ("", name) and gate in ("", key)]
    if len(matching) != 1:
        choice = ", ".join(f"{key!r} of stage {name!r}" for name, key in matching or waiting)
        asked = " of ".join(
            part for part in (f"gate {gate!r}" if gate else "", f"stage {stage!r}" if stage else "") if part
        )
        if not waiting:
            raise ConfigError("can't approve: the rollout waits for no gate now; its stages are asked for in order")
        if matching:
            raise ConfigError(f"can't approve: several gates wait, name one of them: {choice}")
        raise ConfigError(f"can't approve: {asked} does not wait for anybody; what waits is: {choice}")
    name, key = matching[0]
    known = state.stages[name]
    passed = GateResult(Verdict.PASSED, now, known.gates[key].asked_since, reason, who)
    return replace(state, stages={**state.stages, name: replace(known, gates={**known.gates, key: passed})})


def skip_soak(state: RolloutState, stage: str = "", *, who: str, reason: str, now: float) -> RolloutState:
    """Leave out the rest of a stage's soak (empty: of the one under way); needs a reason, which is recorded."""
    _need(state, "skip the soak", {Phase.PROGRESSING, Phase.PAUSED})
    if not reason.strip():
        raise ConfigError("can't skip the soak without a reason: it is recorded; give one")
    under_way = [name for name, each in state.stages.items() if each.started_at is not None and each.done_at is None]
    name = stage or next(iter(under_way), "")
    if name not in under_way:
        now_is = f"; under way is {under_way[0]!r}" if under_way else ""
        raise ConfigError(f"can't skip the soak: stage {stage!r} is not under way{now_is}")
    known = replace(state.stages[name], soak_skipped=f"{who}: {reason}" if who else reason)
    return replace(state, stages={**state.stages, name: known})


def abort(state: RolloutState, *, who: str, reason: str, now: float) -> RolloutState:
    """End it here: clusters stay as they are, with the release or without."""
    _need(state, "abort", {Phase.PROGRESSING, Phase.PAUSED})
    return replace(state, phase=Phase.ABORTED, ended_at=now, admitted_at={}, reason=reason, who=who)


def undo(
    state: RolloutState, *, who: str, reason: str, now: float, releases: Collection[int] | None = None
) -> RolloutState:
    """Take the release back: every cluster returns to the last release that completed, or to what it had healthy.

    Of a rollout that is complete, that is the release before it. A cluster that has neither keeps what it has.
    What waited for its turn is left out: it was made on top of this release. `releases` are the numbers whose content
    is kept; None: all are.
    """
    _need(state, "undo", {Phase.PROGRESSING, Phase.PAUSED, Phase.ABORTED, Phase.FAILED, Phase.COMPLETE})
    base = state.former if state.base == state.release else state.base

    def restorable(number: int) -> bool:
        return number not in (0, state.release) and (releases is None or number in releases)

    assigned = dict(state.assigned)
    for name, number in state.assigned.items():
        target = next((each for each in (base, state.healthy.get(name, 0)) if restorable(each)), 0)
        if target and number == state.release:
            assigned[name] = target
    if assigned == state.assigned and state.release in state.assigned.values():
        raise ConfigError(
            f"can't undo release {state.release}: no release before it completed or was healthy on a cluster, "
            "or its content is not kept any more; revert the commit instead"
        )
    return replace(
        state,
        phase=Phase.UNDONE,
        ended_at=now,
        base=base,
        former=0,
        queue=(),
        left_out=max(state.queue, default=0),
        assigned=assigned,
        admitted_at={},
        slices={},
        done=frozenset(),
        fallen=frozenset(),
        reason=reason,
        who=who,
    )


def retry(state: RolloutState, *, who: str, reason: str, now: float) -> RolloutState:
    """Give the release another chance: what failed may fail anew, and one that ended begins with its first stage."""
    _need(state, "retry", set(Phase))
    if not state.failed and state.phase in (Phase.PROGRESSING, Phase.COMPLETE):
        raise ConfigError(f"can't retry release {state.release}: no cluster failed at it")
    ended = state.phase in (Phase.FAILED, Phase.UNDONE, Phase.ABORTED)
    state = replace(state, stages={}, stage_of={}, began_at=now) if ended else _asked_again(state, now)
    return replace(
        state,
        phase=state.phase if state.phase is Phase.COMPLETE else Phase.PROGRESSING,
        ended_at=state.ended_at if state.phase is Phase.COMPLETE else None,
        admitted_at={} if ended else {name: at for name, at in state.admitted_at.items() if name not in state.failed},
        failed={},
        accepted=frozenset(),
        retried=frozenset(state.failed),
        left_out=0,
        reason=reason,
        who=who,
    )


def _asked_again(state: RolloutState, now: float) -> RolloutState:
    """Return the state with every gate that failed waiting for a new answer."""

    def again(known: StageState) -> StageState:
        if all(result.verdict is not Verdict.FAILED for result in known.gates.values()):
            return known
        fresh = GateResult(Verdict.WAITING, now, now)
        gates = {key: fresh if each.verdict is Verdict.FAILED else each for key, each in known.gates.items()}
        return replace(known, gates=gates)

    return replace(state, stages={name: again(known) for name, known in state.stages.items()})


def _need(state: RolloutState, act: str, phases: Collection[Phase]) -> None:
    if state.phase not in phases:
        named = " or ".join(sorted(phase.value for phase in phases))
        raise ConfigError(f"can't {act}: the rollout of release {state.release} is {state.phase.value}, not {named}")
