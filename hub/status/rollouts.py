"""One rollout as a resource: where it is, stage by stage and cluster by cluster, and why it is not further.

A cluster counts by what the engine goes by, never by anything that the spoke said of other content. A rollout may have
ten thousand clusters and is shown at each of its steps, so at most `MOST_CLUSTERS` are listed, those that are not done
first; the stages count all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from heapq import nsmallest
from operator import attrgetter
from typing import Final, NamedTuple

from hub.fleet.strategy import ApprovalGate, Gate, HttpGate, PrometheusGate, Promotion, Stage, Strategy
from hub.promoting.model import Outcome
from hub.rollout.model import GateResult, Member, Phase, Release, RolloutState, StageState, Track, Verdict
from hub.rollout.stages import stages_of
from hub.status.facts import Condition
from hub.status.resource import ENVIRONMENT_LABEL, Collection, Key, Resource, exact_timestamp, settle, timestamp

MOST_CLUSTERS: Final = 1000
NOT_BEGUN: Final = "Waiting"
"""The phase of a rollout to which no release has come yet: the environment before has none that may go on."""


class ClusterState(StrEnum):
    """How a cluster is in a rollout, the most telling first."""

    FAILED = "Failed"
    MOVING = "Moving"
    PAUSED = "Paused"
    """A person paused the cluster."""
    OFFLINE = "Offline"
    WAITING = "Waiting"
    DONE = "Done"


@dataclass(frozen=True, slots=True)
class RolloutFacts:
    """All about the rollout of one track.

    `strategy` is the one that it goes by now; `releases` has those that `state` names; `waits`, `wake_at` and `shut`
    are the newest step's. `promotion` is what the environment's promotesFrom says. `upcoming` is the newest release
    that has to wait (0: none), `upcoming_waits` for what, in words, and `upcoming_asks` whether now only for a person's
    word; `upcoming_unmade`: for nothing, what it is can't be made. `in_git` is what became of the promotion to the
    environment, where a commit makes that. `unplanned` says why some clusters can't be planned: until they can, the
    rollout stands still, and they are not among the `members`.
    """

    track: Track
    state: RolloutState
    strategy: Strategy
    releases: Mapping[int, Release] = field(default_factory=dict)
    members: Sequence[Member] = ()
    waits: Mapping[str, str] = field(default_factory=dict)
    wake_at: float | None = None
    shut: str = ""
    promotion: Promotion | None = None
    upcoming: int = 0
    upcoming_waits: str = ""
    upcoming_asks: bool = False
    upcoming_unmade: bool = False
    in_git: Outcome | None = None
    unplanned: Mapping[str, str] = field(default_factory=dict)


class _Placed(NamedTuple):
    """A cluster in its stage."""

    name: str
    stage: str
    release: int
    state: ClusterState
    message: str
    since: float | None
    """Since when it is waited for, where it moves."""


def build_rollout(facts: RolloutFacts, before: Resource | None, now: datetime) -> Resource:
    """Return a rollout as a resource of `Collection.ROLLOUTS`; `before` is the one that was shown last.

    That one carries the time of the last transition, and how long clusters took from when they were given the release
    until they were done with it (``meanSeconds``, of ``measuredClusters``).
    """
    state, track = facts.state, facts.track
    placed = [_placed(facts, member) for member in facts.members]
    placed += [_unplanned(facts, name, why) for name, why in sorted(facts.unplanned.items())]
    by_stage: dict[str, list[_Placed]] = {}
    for one in placed:
        by_stage.setdefault(one.stage, []).append(one)
    stages = [_stage(facts, stage, by_stage.get(stage.name, [])) for stage in _stages(facts, by_stage)]
    shut = _shut(facts, placed)
    conditions = settle((_ready(facts, placed, stages, shut), *_idle_stages(facts, by_stage)), before, now)
    spec: dict[str, object] = {"unit": track.unit, "environment": track.environment, "strategy": state.strategy}
    if facts.promotion is not None:
        promotion = facts.promotion
        git = promotion.git
        spec["promotesFrom"] = {
            "environment": promotion.environment,
            "soakSeconds": promotion.soak,
            "approval": promotion.approval,
            **({"git": {"branch": git.branch, "from": git.from_folder, "to": git.to_folder}} if git else {}),
        }
    order = {stage["name"]: place for place, stage in enumerate(stages)}
    shown = _most_telling(placed)
    shown.sort(key=lambda one: (order.get(one.stage, len(order)), one.name))
    status: dict[str, object] = {
        **_about(facts),
        **_pace(state, placed, before, now),
        "stages": stages,
        "clusters": [_cluster(one) for one in shown],
        "moreClusters": len(placed) - len(shown),
    }
    if facts.unplanned:
        status["unplanned"] = sorted(facts.unplanned)[:MOST_CLUSTERS]
    if shut:
        status["shut"] = shut
    if facts.in_git is not None:
        outcome = facts.in_git
        status["inGit"] = {"state": outcome.state.value, "message": outcome.message, "url": outcome.url}
    return Resource(
        Collection.ROLLOUTS,
        "Rollout",
        str(track),
        labels={ENVIRONMENT_LABEL: track.environment} if track.environment else {},
        spec=spec,
        status=status,
        conditions=conditions,
        members=frozenset(member.name for member in facts.members),
    )


def _shut(facts: RolloutFacts, placed: Sequence[_Placed]) -> str:
    """Return until when nothing moves, where a cluster of a rollout that goes on is still to."""
    waits = not facts.state.over and any(one.state is ClusterState.WAITING for one in placed)
    return facts.shut if waits else ""


def rollout_key(track: Track) -> Key:
    """Return the key on the board of the rollout of a track."""
    return Key("", "Rollout", "", str(track))


def _about(facts: RolloutFacts) -> dict[str, object]:
    """Return what concerns the whole rollout."""
    state = facts.state
    release = facts.releases.get(state.release)
    before = state.former if state.base == state.release else state.base
    base = facts.releases.get(before)
    about: dict[str, object] = {
        "phase": state.phase.value if state.release else NOT_BEGUN,
        "reason": state.reason,
        "who": state.who,
        "release": state.release,
        "revision": release.revision if release else "",
        "subject": release.subject if release else "",
        "author": release.author if release else "",
        "pins": dict(release.pins) if release else {},
        "baseRelease": before,
        "baseRevision": base.revision if base else "",
        "queue": list(state.queue),
    }
    if state.release:
        about["beganAt"] = _moment(state.began_at)
    if release is not None and release.urgent:
        about["urgent"] = release.urgent
    if state.ended_at is not None:
        about["endedAt"] = _moment(state.ended_at)
    if facts.wake_at is not None:
        about["nextLookAt"] = _moment(facts.wake_at)
    if facts.upcoming:
        upcoming = facts.releases.get(facts.upcoming)
        about["next"] = {
            "release": facts.upcoming,
            "revision": upcoming.revision if upcoming else "",
            "subject": upcoming.subject if upcoming else "",
            "message": facts.upcoming_waits,
            "needsApproval": facts.upcoming_asks,
            "cannotBeMade": facts.upcoming_unmade,
        }
    return about


# -- clusters


def _placed(facts: RolloutFacts, member: Member) -> _Placed:
    state, message = _state_of(facts, member)
    release = facts.state.assigned.get(member.name, member.release)
    since = facts.state.admitted_at.get(member.name) if state is ClusterState.MOVING else None
    return _Placed(member.name, facts.state.stage_of.get(member.name, ""), release, state, message, since)


def _unplanned(facts: RolloutFacts, name: str, why: str) -> _Placed:
    state = facts.state
    number, stage = state.assigned.get(name, 0), state.stage_of.get(name, "")
    return _Placed(name, stage, number, ClusterState.WAITING, f"it can't be planned: {why}", None)


def _state_of(facts: RolloutFacts, member: Member) -> tuple[ClusterState, str]:
    """Return how a cluster is, and why in words where it is not done."""
    rollout = facts.state
    waits = facts.waits.get(member.name, "")
    if member.done:
        return ClusterState.DONE, ""
    if member.name in rollout.failed:
        return ClusterState.FAILED, rollout.failed[member.name] or member.message
    if member.frozen:
        return ClusterState.PAUSED, waits or "the cluster is paused"
    if not member.online:
        return ClusterState.OFFLINE, waits or "the spoke is not connected"
    if rollout.assigned.get(member.name) == rollout.release and not member.unresolved and _goes_on(rollout):
        return ClusterState.MOVING, member.message or waits
    return ClusterState.WAITING, member.unresolved or waits


def _most_telling(placed: Sequence[_Placed]) -> list[_Placed]:
    """Return as many clusters as are listed: by state, then by name."""
    if len(placed) <= MOST_CLUSTERS:
        return list(placed)
    by_state: dict[ClusterState, list[_Placed]] = {state: [] for state in ClusterState}
    for one in placed:
        by_state[one.state].append(one)
    shown: list[_Placed] = []
    for some in by_state.values():
        shown += nsmallest(MOST_CLUSTERS - len(shown), some, key=attrgetter("name"))
    return shown


def _goes_on(state: RolloutState) -> bool:
    """Tell whether a cluster that has the release is still to become healthy with it."""
    return state.phase in {Phase.PROGRESSING, Phase.PAUSED, Phase.COMPLETE, Phase.ABORTED}


def _cluster(one: _Placed) -> dict[str, object]:
    shown: dict[str, object] = {
        "name": one.name,
        "stage": one.stage,
        "release": one.release,
        "state": one.state.value,
        "message": one.message,
    }
    if one.since is not None:
        shown["since"] = exact_timestamp(datetime.fromtimestamp(one.since, UTC))
    return shown


def _pace(state: RolloutState, placed: Sequence[_Placed], before: Resource | None, now: datetime) -> dict[str, object]:
    """Return how long clusters took to get done with this release, by those that were seen to get done."""
    mean, measured = 0.0, 0
    since: dict[object, object] = {}
    if before is not None and before.status.get("release") == state.release:
        mean, measured = _number(before, "meanSeconds"), int(_number(before, "measuredClusters"))
        listed = before.status.get("clusters")
        rows = listed if isinstance(listed, list) else []
        since = {row["name"]: row["since"] for row in rows if isinstance(row, dict) and "since" in row}
    total = mean * measured
    for one in placed if since else ():
        began = since.get(one.name) if one.state is ClusterState.DONE else None
        if isinstance(began, str):
            total += max(0.0, (now - datetime.fromisoformat(began)).total_seconds())
            measured += 1
    return {"meanSeconds": round(total / measured, 3) if measured else 0.0, "measuredClusters": measured}


def _number(resource: Resource, name: str) -> float:
    value = resource.status.get(name)
    return float(value) if isinstance(value, int | float) else 0.0


# -- stages


def _stages(facts: RolloutFacts, by_stage: Mapping[str, Sequence[_Placed]]) -> Sequence[Stage]:
    """Return the stages in order; the one of the clusters that none of the others means, only where there are some."""
    *named, rest = stages_of(facts.strategy)
    return [*named, rest] if by_stage.get(rest.name) or not named else named


def _stage(facts: RolloutFacts, stage: Stage, placed: Sequence[_Placed]) -> dict[str, object]:
    known = facts.state.stages.get(stage.name, StageState())
    count = Counter(one.state for one in placed)
    total = len(placed)
    shown: dict[str, object] = {
        "name": stage.name,
        "clusters": total,
        "done": count[ClusterState.DONE],
        "moving": count[ClusterState.MOVING],
        "failed": count[ClusterState.FAILED],
        "offline": count[ClusterState.OFFLINE],
        "waiting": count[ClusterState.WAITING] + count[ClusterState.PAUSED],
        "maxConcurrent": stage.max_concurrent.limit(total) if stage.max_concurrent and total else total,
        "soakSeconds": 0.0 if known.soak_skipped else stage.soak,
        "message": _commonest(placed),
    }
    went_back = facts.state.phase in _TAKEN_BACK and any(one.release != facts.state.release for one in placed)
    done_at = None if went_back else known.done_at
    for name, at in (("startedAt", known.started_at), ("healthyAt", known.healthy_at), ("doneAt", done_at)):
        if at is not None:
            shown[name] = _moment(at)
    soaks = known.healthy_at is not None and known.done_at is None and facts.state.phase is Phase.PROGRESSING
    if soaks and known.healthy_at is not None and stage.soak and not known.soak_skipped:
        shown["soakEndsAt"] = _moment(known.healthy_at + stage.soak)
    if known.soak_skipped:
        shown["soakSkipped"] = known.soak_skipped
    shown["gates"] = [_gate(gate, known.gates.get(gate.name)) for gate in stage.gates]
    return shown


def _commonest(placed: Sequence[_Placed]) -> str:
    """Return what most of those say that are not done; where clusters failed, what most of these say."""
    for states in ({ClusterState.FAILED}, set(ClusterState) - {ClusterState.DONE}):
        counted = Counter(one.message for one in placed if one.state in states and one.message)
        if counted:
            return counted.most_common(1)[0][0]
    return ""


_GATES: Final[Mapping[type[Gate], str]] = {
    ApprovalGate: "approval",
    HttpGate: "http",
    PrometheusGate: "prometheus",
}


def _gate(gate: Gate, result: GateResult | None) -> dict[str, object]:
    shown: dict[str, object] = {
        "name": gate.name,
        "type": _GATES[type(gate)],
        "verdict": result.verdict.value if result else "NotAsked",
        "message": result.message if result else "",
        "who": result.who if result else "",
    }
    if result is not None:
        shown["askedSince"] = _moment(result.asked_since)
    return shown


# -- the condition


_BEHIND: Final = tuple(state for state in ClusterState if state is not ClusterState.DONE)
_TAKEN_BACK: Final = frozenset({Phase.FAILED, Phase.UNDONE})
_ENDED: Final = frozenset({Phase.FAILED, Phase.ABORTED, Phase.UNDONE})


def _ready(
    facts: RolloutFacts, placed: Sequence[_Placed], stages: Sequence[Mapping[str, object]], shut: str
) -> Condition:
    state = facts.state
    if not state.release:
        return Condition("Ready", "Unknown", NOT_BEGUN, state.reason or "no release has come here yet")
    what = f"release {state.release}"
    if facts.unplanned:
        return Condition("Ready", "False", "ClustersNotPlanned", f"{what}: {_stands_still(facts.unplanned)}")
    if state.phase in _ENDED:
        return Condition("Ready", "False", state.phase.value, _said(state, f"{what}: {state.phase.value.lower()}"))
    if state.phase is Phase.PAUSED:
        return Condition("Ready", "False" if state.failed else "Unknown", "Paused", _said(state, f"{what}: paused"))
    if state.phase is Phase.COMPLETE:
        count = Counter(one.state for one in placed)
        others = "".join(f", {count[other]} {other.value.lower()}" for other in _BEHIND if count[other])
        message = f"{what} is on {count[ClusterState.DONE]} of {len(placed)} clusters{others}"
        if facts.upcoming_unmade:
            message += f"; release {facts.upcoming}: {facts.upcoming_waits}"
            return Condition("Ready", "False", "NextCannotBeMade", message)
        return Condition("Ready", "True", "Complete", message)
    where = _where(facts, stages) + (f"; {shut}" if shut else "")
    return Condition("Ready", "Unknown", "Progressing", _said(state, f"{what}: {where}"))


def _stands_still(unplanned: Mapping[str, str]) -> str:
    """Say which clusters keep a rollout from going on, why, and what helps."""
    first = min(unplanned)
    others = f" and {len(unplanned) - 1} more" if len(unplanned) > 1 else ""
    helps = f"until that is mended, or it is removed (felloe cluster remove {first})"
    return f"stands still: cluster {first}{others} can't be planned, {helps}: {unplanned[first]}"


def _idle_stages(facts: RolloutFacts, by_stage: Mapping[str, object]) -> tuple[Condition, ...]:
    """Return a warning where a stage of the strategy has no cluster once all have their stages."""
    idle = [stage.name for stage in facts.strategy.stages if stage.name not in by_stage]
    if not idle or not facts.members or "" in by_stage:
        return ()
    message = f"no cluster is in stage {', '.join(idle)}: its selection matches none that no earlier stage has"
    return (Condition("Selected", "False", "NoClusterMatches", message),)


def _said(state: RolloutState, message: str) -> str:
    by = f" by {state.who}" if state.who else ""
    said = f"{message}{by}{f': {state.reason}' if state.reason else ''}"
    if by or state.phase not in {Phase.PAUSED, Phase.FAILED}:
        return said
    first = next((name for name in sorted(state.failed) if _stopped_it(state, name)), "")
    return f"{said}; {first}: {state.failed[first]}" if first else said


def _stopped_it(state: RolloutState, failed: str) -> bool:
    """Tell whether a failure is not one that was gone past already."""
    stage = state.stages.get(state.stage_of.get(failed, ""), StageState())
    return failed not in state.accepted and (stage.done_at is None or failed in state.fallen)


def _where(facts: RolloutFacts, stages: Sequence[Mapping[str, object]]) -> str:
    """Return what the first stage that is not done is at."""
    for stage in stages:
        if "doneAt" in stage:
            continue
        name = f"stage {stage['name']}"
        known = facts.state.stages.get(str(stage["name"]), StageState())
        asked = [gate for gate, result in sorted(known.gates.items()) if result.verdict is not Verdict.PASSED]
        if asked:
            return f"{name} waits for gate {asked[0]}"
        if "soakEndsAt" in stage:
            return f"{name} soaks until {stage['soakEndsAt']}"
        return f"{name}, {stage['done']} of {stage['clusters']} done"
    return "all stages are done"


def _moment(at: float) -> str:
    return timestamp(datetime.fromtimestamp(at, UTC))
