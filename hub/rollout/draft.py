"""A rollout's state while a step works on it: the same facts, open for change, and what the step says besides.

`Draft.finish` gives the very state back that it was made of where nothing changed, so that nobody stores it again.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace

from hub.fleet.strategy import Stage, Strategy
from hub.rollout.model import GateResult, Member, Note, Phase, RolloutState, StageState, Step


class Draft:
    """One step's working copy. Times of the state that lie in the future (a clock was set back) are taken for now."""

    def __init__(self, state: RolloutState, strategy: Strategy, now: float, releases: Collection[int]) -> None:
        self.origin = state
        state = clamped(state, now)
        self.now = now
        self.strategy = strategy
        self.releases = releases
        self.release = state.release
        self.phase = state.phase
        self.reason = state.reason
        self.who = state.who
        self.ended_at = state.ended_at
        self.base = state.base
        self.former = state.former
        self.stages: dict[str, StageState] = dict(state.stages)
        self.stage_of: Mapping[str, str] = state.stage_of
        self.assigned = dict(state.assigned)
        self.admitted_at = dict(state.admitted_at)
        self.slices = dict(state.slices)
        self.healthy = dict(state.healthy)
        self.done = set(state.done)
        self.fallen = set(state.fallen)
        self.failed = dict(state.failed)
        self.accepted = set(state.accepted)
        self.retried = set(state.retried)
        self.began_at = state.began_at
        self.waits: dict[str, str] = {}
        self.ask: list[tuple[str, str]] = []
        self.notes: list[Note] = []
        self.wakes: list[float] = []
        self.shut = ""
        """Why clusters may not move now, in words; empty where they may."""

    def stage(self, stage: Stage) -> StageState:
        """Return how far a stage is."""
        return self.stages.get(stage.name) or StageState()

    def keep(self, names: AbstractSet[str]) -> None:
        """Forget every cluster that is none of these."""
        for record in (self.assigned, self.admitted_at, self.slices, self.healthy, self.failed):
            if not record.keys() <= names:
                for name in record.keys() - names:
                    del record[name]
        self.done &= names
        self.fallen &= names
        self.accepted &= names
        self.retried &= names

    def wake(self, at: float | None) -> None:
        """Look again at that time, if it ever comes."""
        if at is not None and self.now < at < math.inf:
            self.wakes.append(at)

    def note(self, reason: str, message: str, *, stage: str = "", clusters: Sequence[str] = (), warning: bool) -> None:
        """Say that something happened."""
        self.notes.append(Note(reason, message, tuple(clusters), stage, warning))

    def end(self, phase: Phase, reason: str) -> None:
        """Change the phase, by the engine's own decision."""
        self.phase, self.reason, self.who = phase, reason, ""
        self.ask.clear()
        if phase is not Phase.PAUSED:
            self.ended_at = self.now
        if phase is Phase.FAILED:
            self.wakes.clear()

    def give(self, member: Member) -> None:
        """Let a cluster have the release."""
        self.assigned[member.name] = self.release
        self.slices[member.name] = checksum(member.target)

    def take_back(self, names: Collection[str]) -> list[str]:
        """Return clusters to what they last had healthy, and return the names of those that have nothing to go to."""
        stuck = []
        for name in names:
            former = next(
                (each for each in (self.healthy.get(name, 0), self.base, self.former) if self._restorable(each)), 0
            )
            if not former:
                stuck.append(name)
                continue
            self.assigned[name] = former
            self.done.discard(name)
            self.fallen.discard(name)
            for record in (self.admitted_at, self.slices):
                record.pop(name, None)
        return stuck

    def _restorable(self, number: int) -> bool:
        return number not in (0, self.release) and number in self.releases

    def finish(self) -> Step:
        """Return the step."""
        state = replace(
            self.origin,
            phase=self.phase,
            reason=self.reason,
            who=self.who,
            began_at=self.began_at,
            ended_at=self.ended_at,
            base=self.base,
            former=self.former,
            strategy=self.strategy.name,
            stages=self.stages,
            stage_of=self.stage_of,
            assigned=self.assigned,
            admitted_at=self.admitted_at,
            slices=self.slices,
            healthy=self.healthy,
            done=frozenset(self.done),
            fallen=frozenset(self.fallen),
            failed=self.failed,
            accepted=frozenset(self.accepted),
            retried=frozenset(self.retried),
        )
        return Step(
            self.origin if state == self.origin else state,
            min(self.wakes, default=None),
            self.waits,
            tuple(self.ask),
            tuple(self.notes),
            self.shut,
        )


def checksum(text: str) -> int:
    """Return a number by which two slices of one cluster are told apart."""
    return zlib.crc32(text.encode())


def clamped(state: RolloutState, now: float) -> RolloutState:
    """Return the state with no time after `now`."""

    def past(at: float | None) -> float | None:
        return None if at is None else min(at, now)

    def gate(each: GateResult) -> GateResult:
        return replace(each, at=min(each.at, now), asked_since=min(each.asked_since, now))

    stages = {
        name: replace(
            each,
            started_at=past(each.started_at),
            healthy_at=past(each.healthy_at),
            done_at=past(each.done_at),
            proven_at=past(each.proven_at),
            gates={key: gate(value) for key, value in each.gates.items()},
        )
        for name, each in state.stages.items()
    }
    admitted_at = state.admitted_at
    if max(admitted_at.values(), default=now) > now:
        admitted_at = {name: min(at, now) for name, at in admitted_at.items()}
    return replace(
        state, began_at=min(state.began_at, now), ended_at=past(state.ended_at), stages=stages, admitted_at=admitted_at
    )
