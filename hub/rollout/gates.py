"""The gates before a stage: which are to be asked, and what their answers mean.

A gate is asked when the stage before is done; what it said before it was asked in this rollout does not count. What a
person said stays. A gate that looks at the world by itself is asked until its stage begins, so that what counts is how
it is then, and not how it was while an approval was waited for; and only while a window is open, for what it saw at
night says little about the morning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from hub.fleet.strategy import ApprovalGate, Gate, Stage
from hub.rollout.draft import Draft
from hub.rollout.model import GateResult, Track, Verdict

_AHEAD: Final = 60.0
"""Seconds. An answer that is further ahead of the clock was given before the clock was set back."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a stage waits for, in words; and the gate that failed, where one did."""

    waits: tuple[str, ...] = ()
    failed: str = ""


def ask(
    draft: Draft, track: Track, stage: Stage, answers: Mapping[tuple[str, str], GateResult], *, now_open: bool
) -> Asked:
    """Take the answers to a stage's gates into the state, and ask for those that are missing."""
    known = dict(draft.stage(stage).gates)
    waits: list[str] = []
    failed = ""
    for gate in stage.gates:
        before = known.get(gate.name)
        human = isinstance(gate, ApprovalGate)
        if before is not None and before.verdict is Verdict.PASSED and (human or before.who):
            continue
        if not now_open and not human:
            known.pop(gate.name, None)
            waits.append(f"gate {gate.name!r} is asked once clusters may move")
            continue
        result = known[gate.name] = _heard(before, answers.get((stage.name, gate.name)), draft.now)
        if result.verdict is Verdict.FAILED:
            failed = failed or f"gate {gate.name!r} failed" + (f": {result.message}" if result.message else "")
            continue
        if result.verdict is Verdict.WAITING:
            waits.append(_waiting(gate, result))
        elif before is None or before.verdict is not Verdict.PASSED:
            _tell(draft, track, stage, gate, result)
        if not human or result.verdict is Verdict.WAITING:
            draft.ask.append((stage.name, gate.name))
    if not waits and not failed:
        draft.ask.clear()
    if known != draft.stage(stage).gates:
        draft.stages[stage.name] = replace(draft.stage(stage), gates=known)
    return Asked(tuple(waits), failed)


def _heard(result: GateResult | None, answer: GateResult | None, now: float) -> GateResult:
    """Return a gate's last word: its answer, where that is one to this rollout's question and says something new."""
    result = result or GateResult(Verdict.WAITING, now, now)
    if answer is None or not result.asked_since <= answer.at <= now + _AHEAD:
        return result
    if (answer.verdict, answer.message, answer.who) == (result.verdict, result.message, result.who):
        return result
    return replace(answer, at=min(answer.at, now), asked_since=result.asked_since)


def _waiting(gate: Gate, result: GateResult) -> str:
    what = f"it waits for approval {gate.name!r}" if isinstance(gate, ApprovalGate) else f"it waits for {gate.name!r}"
    return f"{what}: {result.message}" if result.message else what


def _tell(draft: Draft, track: Track, stage: Stage, gate: Gate, result: GateResult) -> None:
    by = f" by {result.who}" if result.who else ""
    why = f": {result.message}" if result.message else ""
    message = f"{track}: gate {gate.name!r} before stage {stage.name!r} passed{by}{why}"
    draft.note("GatePassed", message, stage=stage.name, warning=False)
