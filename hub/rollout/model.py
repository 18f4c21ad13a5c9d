"""What a rollout is decided by, and what is decided: facts, all of them plain and frozen.

A *unit* is what moves as one: the workloads that one Placement gives, or those below the sync path. A *track* is a unit
in one environment of a promotion chain (or, environment empty, on all clusters that are in none); each track has one
rollout at a time. A *release* is the content of every source at one time, by number. A *slice* is what a unit is on one
cluster at one release: a digest over its workloads' digests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

SYNC_UNIT: Final = "sync"


class Track(NamedTuple):
    """A unit (``sync``, or ``placement/NAME``) in an environment of a promotion chain; empty: on all other clusters."""

    unit: str
    environment: str = ""

    def __str__(self) -> str:
        """Return it as people name it: ``shop``, ``shop@production``."""
        name = self.unit.removeprefix("placement/")
        return f"{name}@{self.environment}" if self.environment else name

    @classmethod
    def named(cls, name: str) -> Track:
        """Return the track that people call so."""
        unit, _, environment = name.partition("@")
        return cls(unit if unit == SYNC_UNIT else f"placement/{unit}", environment)


class Health(StrEnum):
    """How a cluster is with the slice that it was given, by reports about this very slice."""

    HEALTHY = "Healthy"
    PROGRESSING = "Progressing"
    FAILED = "Failed"


class Phase(StrEnum):
    """Where a rollout is."""

    PROGRESSING = "Progressing"
    PAUSED = "Paused"
    FAILED = "Failed"
    """Clusters failed and went back; this release goes no further unless somebody retries."""
    ABORTED = "Aborted"
    """A person ended it; clusters stay as they are."""
    UNDONE = "Undone"
    """A person had it taken back."""
    COMPLETE = "Complete"


class Act(StrEnum):
    """What a person may do to a rollout, as the API and the command line call it."""

    PAUSE = "pause"
    RESUME = "resume"
    APPROVE = "approve"
    """Let a gate of a stage pass."""
    ABORT = "abort"
    """End it; clusters stay as they are."""
    UNDO = "undo"
    """Take it back: every cluster gets what it had before."""
    RETRY = "retry"
    """Give it again to the clusters that failed."""
    SKIP_SOAK = "skip-soak"


@dataclass(frozen=True, slots=True)
class Member:
    """A cluster of a rollout as it is now.

    `target` is the slice of the rollout's release for it (empty: the release has nothing for it); `given` the one that
    it was given last (empty: none), of the release number `release` (0: none), and `health` how it is with that one.
    `unresolved` says why the target can't be made for it, empty where it can. `frozen`: a person paused the cluster.
    """

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    environment: str = ""
    online: bool = True
    target: str = ""
    given: str = ""
    release: int = 0
    health: Health = Health.PROGRESSING
    message: str = ""
    unresolved: str = ""
    frozen: bool = False

    @property
    def on_target(self) -> bool:
        """Tell whether what it was given is what the release is for it, whichever release brought it."""
        return self.given == self.target and not self.unresolved

    @property
    def done(self) -> bool:
        """Tell whether it has the target, and is healthy with it."""
        return self.on_target and self.health is Health.HEALTHY


class Verdict(StrEnum):
    """What a gate last said."""

    PASSED = "Passed"
    WAITING = "Waiting"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class GateResult:
    """A gate's last word, and since when it has been asked; `who` and `message` are for people."""

    verdict: Verdict
    at: float
    asked_since: float
    message: str = ""
    who: str = ""


@dataclass(frozen=True, slots=True)
class StageState:
    """How far a stage is. `healthy_at` is since when all of it is healthy (its soak begins), None where it is not.

    `healthy_at` goes on to be kept when the stage is done: it is then since when no cluster of it fell back.
    """

    started_at: float | None = None
    healthy_at: float | None = None
    done_at: float | None = None
    gates: Mapping[str, GateResult] = field(default_factory=dict)
    """By name; an answer that was given before `asked_since` is to an earlier question and says nothing."""
    soak_skipped: str = ""
    """Why the soak is left out, where it is."""
    proof: int = 0
    """A checksum of the clusters that were done when the stage became healthy, and of their slices (0: none)."""
    proven_at: float | None = None
    """Since when just these clusters were healthy with just these slices at the release before, None where not."""


@dataclass(frozen=True, slots=True)
class RolloutState:
    """Everything that outlives a step of the engine, and a restart of the hub.

    `release` is where it goes, `base` the last release that completed (0: none; while the phase is COMPLETE that is
    `release` itself), `former` the one before it, `queue` what follows, `left_out` the last release that does not
    follow although it is newer. `reason` explains the phase, `who` caused it
    (empty: the engine). By cluster: `assigned` the release that each is to run (missing: nothing, or what it has),
    `stage_of` its stage, by name, where those of one stage come in its order, `healthy` the release that it last had
    healthy before this one.

    Of the clusters that are to run `release`: `admitted_at` is when each was given it, or since when it is waited for
    again (missing: it is not waited for), `slices` a checksum of the slice that this is about, `done` are those that
    have been healthy with it, `fallen` those of them that are not any more. `failed` are those that failed at this
    release, and why; `accepted` those of them in spite of which somebody went on, `retried` those whose failure is not
    held against them until they have done something else than fail.
    """

    release: int
    phase: Phase = Phase.PROGRESSING
    began_at: float = 0.0
    ended_at: float | None = None
    base: int = 0
    former: int = 0
    strategy: str = ""
    queue: tuple[int, ...] = ()
    left_out: int = 0
    stages: Mapping[str, StageState] = field(default_factory=dict)
    stage_of: Mapping[str, str] = field(default_factory=dict)
    assigned: Mapping[str, int] = field(default_factory=dict)
    admitted_at: Mapping[str, float] = field(default_factory=dict)
    slices: Mapping[str, int] = field(default_factory=dict)
    healthy: Mapping[str, int] = field(default_factory=dict)
    done: frozenset[str] = frozenset()
    fallen: frozenset[str] = frozenset()
    failed: Mapping[str, str] = field(default_factory=dict)
    accepted: frozenset[str] = frozenset()
    retried: frozenset[str] = frozenset()
    reason: str = ""
    who: str = ""

    @property
    def over(self) -> bool:
        """Tell whether it has come to an end, good or bad."""
        return self.phase not in (Phase.PROGRESSING, Phase.PAUSED)

    def approvers(self, cluster: str) -> tuple[str, ...]:
        """Return the people who opened the gates before a cluster's stage, nobody where it is not on the release."""
        stage = self.stages.get(self.stage_of.get(cluster, ""))
        if stage is None or self.assigned.get(cluster) != self.release:
            return ()
        passed = (result.who for result in stage.gates.values() if result.verdict is Verdict.PASSED)
        return tuple(sorted({who for who in passed if who}))

    @property
    def gives_way(self) -> bool:
        """Tell whether a release that waits may have its turn: it is over, or paused by nobody (over failures)."""
        return self.over or (self.phase is Phase.PAUSED and not self.who)


@dataclass(frozen=True, slots=True)
class Note:
    """Something that happened, for events and the audit log; `reason` is CamelCase as in Kubernetes' events."""

    reason: str
    message: str
    clusters: tuple[str, ...] = ()
    stage: str = ""
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """What the engine decides: the new state, and when to look again if nothing happens before (None: never).

    `waits` says of each cluster that is not on the release why not, in words; `ask` are the gates,
    by stage and name, whose answers are wanted; `shut` says until when windows or freezes let nothing move.
    """

    state: RolloutState
    wake_at: float | None = None
    waits: Mapping[str, str] = field(default_factory=dict)
    ask: tuple[tuple[str, str], ...] = ()
    notes: tuple[Note, ...] = ()
    shut: str = ""


@dataclass(frozen=True, slots=True)
class Release:
    """The content of every source at one time. `pins` are the commits, by source; `revision` is the fleet repository's.

    `urgent` is the reason that its commit gives for leaving out soaks (trailer ``Felloe-Urgent``), empty where it does
    not. `reverts`: ``git revert`` made its newest commit, and what that takes back is no revert itself;
    `alone`: no other commit came with that one.
    """

    number: int
    revision: str
    at: float
    pins: Mapping[str, str] = field(default_factory=dict)
    subject: str = ""
    author: str = ""
    urgent: str = ""
    reverts: bool = False
    alone: bool = False
