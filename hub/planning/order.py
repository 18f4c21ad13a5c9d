"""In which order a commit would go through the fleet, by the Rollouts and Environments that it holds itself. Pure.

It is told as if the rollout began now: who is in which stage, and what has to happen before. What holds it up then
(clusters that are away, gates, windows) is not known yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from hub.fleet import Fleet
from hub.fleet.strategy import ApprovalGate, HttpGate, Stage
from hub.planning.rollouts.tracks import Course, course, stands_alone, upstream_first
from hub.rollout.model import Member, Track
from hub.rollout.stages import place, stages_of
from hub.targeting.plan import PLACEMENT_ORIGIN


@dataclass(frozen=True, slots=True)
class Traveller:
    """A cluster, and the units that it has or would have; `former` is the environment that it is in now."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    environment: str = ""
    former: str = ""
    units: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class StageOrder:
    """A stage with the clusters in it that would change, of `members`; gates as ``name (type)``, `soak` in seconds."""

    name: str
    clusters: tuple[str, ...]
    members: int
    gates: tuple[str, ...] = ()
    soak: float = 0.0


@dataclass(frozen=True, slots=True)
class TrackOrder:
    """How a unit would go through its clusters: stage by stage, where there is a Rollout, else all at once.

    `after` is the environment that it has to be healthy in before, for `soak` seconds, and with an approval where
    `approval` says so.
    """

    track: Track
    stages: tuple[StageOrder, ...]
    rollout: str = ""
    after: str = ""
    soak: float = 0.0
    approval: bool = False


def order(
    fleet: Fleet, now: Fleet, travellers: Mapping[str, Traveller], moving: Iterable[tuple[str, str]]
) -> tuple[TrackOrder, ...]:
    """Return the order of what changes, first what others wait for.

    `fleet` is the one that would be in force, `now` the one that is; `moving` are (unit, cluster) that change.
    """
    alone = {name for name in fleet.environments if stands_alone(fleet, name)}
    changing: dict[Track, set[str]] = {}
    for unit, cluster in moving:
        if cluster in travellers:
            changing.setdefault(_track(unit, travellers[cluster], alone), set()).add(cluster)
    members: dict[Track, list[Traveller]] = {track: [] for track in changing}
    for each in travellers.values():
        for unit in each.units:
            if (track := _track(unit, each, alone)) in members:
                members[track].append(each)
    found = []
    for track in upstream_first(changing, fleet):
        before = now.placements.get(track.unit.removeprefix(PLACEMENT_ORIGIN))
        how = course(fleet, track, remembered=before.rollout if before else "")
        found.append(_track_order(track, how, members[track], changing[track]))
    return tuple(found)


def _track(unit: str, cluster: Traveller, alone: set[str]) -> Track:
    environment = next((each for each in (cluster.environment, cluster.former) if each in alone), "")
    return Track(unit, environment)


def _track_order(track: Track, how: Course | None, members: Iterable[Traveller], changing: set[str]) -> TrackOrder:
    everybody = {each.name: Member(each.name, each.labels, each.environment) for each in members}
    if how is None:
        return TrackOrder(track, (StageOrder("", tuple(sorted(changing)), len(everybody)),))
    stages = stages_of(how.strategy)
    stage_of = place(stages, everybody, {}).stage_of
    told = (_stage(stage, stage_of, changing) for stage in stages)
    return TrackOrder(
        track,
        tuple(stage for stage in told if stage.clusters),
        rollout=how.strategy.name,
        after=how.promotion.environment if how.promotion else "",
        soak=how.promotion.soak if how.promotion else 0.0,
        approval=how.promotion.approval if how.promotion else False,
    )


def _stage(stage: Stage, stage_of: Mapping[str, str], changing: set[str]) -> StageOrder:
    inside = [name for name, where in stage_of.items() if where == stage.name]
    gates = tuple(f"{gate.name} ({_kind(gate)})" for gate in stage.gates)
    return StageOrder(stage.name, tuple(sorted(changing & set(inside))), len(inside), gates, stage.soak)


def _kind(gate: object) -> str:
    if isinstance(gate, ApprovalGate):
        return "approval"
    return "http" if isinstance(gate, HttpGate) else "prometheus"
