"""Which release a rollout goes for when a newer one is there."""

from __future__ import annotations

from dataclasses import replace

from hub.fleet.strategy import OnNewRelease, Strategy
from hub.rollout.model import Phase, RolloutState, StageState


def succeed(
    state: RolloutState | None, newest: int, strategy: Strategy, now: float, *, same: bool, back: bool = False
) -> RolloutState:
    """Return the state that goes on: for the same release, or at the beginning of another.

    `newest` is the release that the track may go to. `same`: it changes nothing for any cluster of the track beside
    `state.release`; then only the number goes up, and nothing of what was reached is lost. A lower number than the
    present one is passed over unless a person wants it (`back`).

    A release that failed, was undone or aborted is left for any other one, and so is one that the engine paused (over
    failures): a fix must not wait for it. One under way is left as the strategy says. A pause by a person outlives the
    change of releases. What waited when a person undid a release has been left out, for it has the same in it.
    """
    if state is None:
        return RolloutState(newest, began_at=now, strategy=strategy.name)
    left_out = newest <= state.left_out and not back
    if not newest or newest == state.release or left_out or (newest < state.release and not back):
        return _next_in_queue(state, strategy, now)
    if same and not (state.queue and strategy.on_new_release is OnNewRelease.QUEUE):
        return _renumbered(state, newest)
    match strategy.on_new_release:
        case OnNewRelease.QUEUE:
            queue = state.queue if newest in state.queue else (*state.queue, newest)
        case OnNewRelease.FINISH:
            queue = (newest,)
        case _:
            return _restarted(state, newest, (), strategy, now)
    return _next_in_queue(replace(state, queue=queue), strategy, now)


def _next_in_queue(state: RolloutState, strategy: Strategy, now: float) -> RolloutState:
    if not state.queue or not state.gives_way:
        return state
    return _restarted(state, state.queue[0], state.queue[1:], strategy, now)


def _renumbered(state: RolloutState, newest: int) -> RolloutState:
    old = state.release

    def number(each: int) -> int:
        return newest if each == old else each

    return replace(
        state,
        release=newest,
        base=number(state.base),
        queue=(),
        assigned={name: number(each) for name, each in state.assigned.items()},
    )


def _restarted(
    state: RolloutState, newest: int, queue: tuple[int, ...], strategy: Strategy, now: float
) -> RolloutState:
    paused = state.phase is Phase.PAUSED and bool(state.who)
    return RolloutState(
        newest,
        phase=Phase.PAUSED if paused else Phase.PROGRESSING,
        began_at=now,
        base=state.base,
        former=state.former,
        strategy=strategy.name,
        queue=queue,
        left_out=state.left_out,
        stages={name: StageState(proof=each.proof, proven_at=each.healthy_at) for name, each in state.stages.items()},
        assigned=state.assigned,
        healthy={**state.healthy, **dict.fromkeys(state.done, state.release)},
        reason=state.reason if paused else "",
        who=state.who if paused else "",
    )
