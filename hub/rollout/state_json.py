"""A rollout's state as JSON text, as the store keeps it, and what is known for a promotion.

What many clusters share is written once (`{"12": ["a", "b"]}`), so that the text for 10,000 clusters stays small.
Fields that are not known, because a newer hub wrote them, are passed over; missing ones have their defaults.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, TypeVar

import orjson

from hub.rollout.model import GateResult, Phase, RolloutState, StageState, Verdict
from hub.rollout.promotion import Completion, PromotionState

_Value = TypeVar("_Value", bound=Hashable)


def state_json(state: RolloutState) -> str:
    """Return a state as JSON text; states that are equal, with clusters in equal order, give equal texts."""
    return orjson.dumps(
        {
            "release": state.release,
            "phase": state.phase.value,
            "beganAt": state.began_at,
            "endedAt": state.ended_at,
            "base": state.base,
            "former": state.former,
            "strategy": state.strategy,
            "queue": list(state.queue),
            "leftOut": state.left_out,
            "stages": [{"name": name, **_stage(each)} for name, each in state.stages.items()],
            "stageOf": _by_value(state.stage_of, state.stage_of, str),
            "assigned": _grouped(state.assigned, str),
            "admittedAt": _grouped(state.admitted_at, repr),
            "slices": _grouped(state.slices, str),
            "healthy": _grouped(state.healthy, str),
            "done": sorted(state.done),
            "fallen": sorted(state.fallen),
            "failed": dict(state.failed),
            "accepted": sorted(state.accepted),
            "retried": sorted(state.retried),
            "reason": state.reason,
            "who": state.who,
        },
        option=orjson.OPT_SORT_KEYS,
    ).decode()


def state_of(text: str) -> RolloutState:
    """Read what `state_json` wrote. Raise ValueError for text that is no such state."""
    try:
        read = orjson.loads(text)
        return _state(read)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"the state of a rollout can't be read: {type(error).__name__}: {error}") from error


def promotion_json(known: PromotionState) -> str:
    """Return what is known for a promotion as JSON text."""
    rows = [[each.release, each.since, each.until] for each in known.completions]
    return orjson.dumps({"completions": rows, "environment": known.environment}).decode()


def promotion_of(text: str) -> PromotionState:
    """Read what `promotion_json` wrote. Raise ValueError for text that is no such state."""
    try:
        read = orjson.loads(text)
        rows = read.get("completions", ())
        return PromotionState(
            tuple(
                Completion(int(release), float(since), None if until is None else float(until))
                for release, since, until in rows
            ),
            str(read.get("environment", "")),
        )
    except (TypeError, AttributeError) as error:
        raise ValueError(f"the state of a promotion can't be read: {type(error).__name__}: {error}") from error


def _state(read: Mapping[str, Any]) -> RolloutState:
    ended_at = read.get("endedAt")
    return RolloutState(
        release=int(read["release"]),
        phase=Phase(read["phase"]),
        began_at=float(read.get("beganAt", 0.0)),
        ended_at=None if ended_at is None else float(ended_at),
        base=int(read.get("base", 0)),
        former=int(read.get("former", 0)),
        strategy=str(read.get("strategy", "")),
        queue=tuple(int(each) for each in read.get("queue", ())),
        left_out=int(read.get("leftOut", 0)),
        stages={str(each["name"]): _stage_of(each) for each in read.get("stages", ())},
        stage_of=_spread(read.get("stageOf", {}), str),
        assigned=_spread(read.get("assigned", {}), int),
        admitted_at=_spread(read.get("admittedAt", {}), float),
        slices=_spread(read.get("slices", {}), int),
        healthy=_spread(read.get("healthy", {}), int),
        done=_names(read.get("done", ())),
        fallen=_names(read.get("fallen", ())),
        failed={str(name): str(why) for name, why in read.get("failed", {}).items()},
        accepted=_names(read.get("accepted", ())),
        retried=_names(read.get("retried", ())),
        reason=str(read.get("reason", "")),
        who=str(read.get("who", "")),
    )


def _stage(state: StageState) -> dict[str, Any]:
    return {
        "startedAt": state.started_at,
        "healthyAt": state.healthy_at,
        "doneAt": state.done_at,
        "soakSkipped": state.soak_skipped,
        "proof": state.proof,
        "provenAt": state.proven_at,
        "gates": {
            name: {
                "verdict": each.verdict.value,
                "at": each.at,
                "askedSince": each.asked_since,
                "message": each.message,
                "who": each.who,
            }
            for name, each in state.gates.items()
        },
    }


def _stage_of(read: Mapping[str, Any]) -> StageState:
    return StageState(
        started_at=read.get("startedAt"),
        healthy_at=read.get("healthyAt"),
        done_at=read.get("doneAt"),
        gates={
            str(name): GateResult(
                Verdict(each["verdict"]),
                float(each["at"]),
                float(each["askedSince"]),
                str(each.get("message", "")),
                str(each.get("who", "")),
            )
            for name, each in read.get("gates", {}).items()
        },
        soak_skipped=str(read.get("soakSkipped", "")),
        proof=int(read.get("proof", 0)),
        proven_at=read.get("provenAt"),
    )


def _grouped(values: Mapping[str, _Value], key: Callable[[_Value], str]) -> dict[str, list[str]]:
    return _by_value(sorted(values), values, key)


def _by_value(names: Iterable[str], values: Mapping[str, _Value], key: Callable[[_Value], str]) -> dict[str, list[str]]:
    groups: dict[_Value, list[str]] = {}
    for name in names:
        groups.setdefault(values[name], []).append(name)
    return {key(value): names for value, names in groups.items()}


def _spread(groups: Mapping[str, Iterable[str]], value: Callable[[str], _Value]) -> dict[str, _Value]:
    return {name: read for key, names in groups.items() for read in [value(key)] for name in names}


def _names(read: Iterable[str]) -> frozenset[str]:
    return frozenset(str(each) for each in read)
