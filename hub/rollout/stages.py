"""Which cluster is in which stage of a rollout.

Every cluster is in exactly one: the first stage that means it and still has room in its share, which is one of all
clusters that the stage means, so that no other stage changes how many it takes. It stays there while the rollout lasts,
whatever becomes of its labels, so that a label can't move it past a stage; so does its place in the stage's order, so
that nobody lines up thousands of clusters again at every step. A cluster that comes later goes where it matches, at the
end, but never into a share, which was filled when the rollout began. Who is in none comes last, in a stage of its own.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Final

from hub.fleet.labels import LabelSelector
from hub.fleet.strategy import Order, OrderBy, Stage, Strategy
from hub.rollout.model import Member
from hub.targeting.select import matches

REST: Final = "the rest"
"""The stage of the clusters that no stage means."""

_SHOWN: Final = 5
_LAST: Final = "\U0010ffff"
"""Comes after every value that a label may have."""
_NAME: Final[Callable[[Member], str]] = attrgetter("name")


@dataclass(frozen=True, slots=True)
class Placing:
    """The stage of each cluster, by name, and what people should know about how that came out.

    Clusters of one stage come in its order.
    """

    stage_of: Mapping[str, str]
    warnings: tuple[str, ...] = ()


def stages_of(strategy: Strategy) -> tuple[Stage, ...]:
    """Return the stages in order, the one for the rest too. A name that comes twice gets a number."""
    named: list[Stage] = []
    names: set[str] = set()
    for stage in (*strategy.stages, Stage(REST)):
        name, number = stage.name, 2
        while name in names:
            name, number = f"{stage.name} {number}", number + 1
        names.add(name)
        named.append(stage if name == stage.name else replace(stage, name=name))
    return tuple(named)


def place(stages: Sequence[Stage], members: Mapping[str, Member], pinned: Mapping[str, str]) -> Placing:
    """Return the stage of every member, by name; `pinned` are those of this rollout that are placed (none: it begins).

    `stages` are those that `stages_of` returns. A pinned cluster whose stage is none of them any more is placed anew.
    """
    names = {stage.name for stage in stages}
    if pinned.keys() == members.keys() and names.issuperset(pinned.values()):
        return Placing(pinned)
    kept = {name: stage for name, stage in pinned.items() if stage in names and name in members}
    newcomers = sorted([each for name, each in members.items() if name not in kept], key=_NAME)
    if not newcomers:
        return Placing(kept)
    if kept:
        return Placing(kept | _join(stages, newcomers))
    return _place_all(stages, newcomers)


def in_order(order: Order, members: Iterable[Member]) -> list[Member]:
    """Return members as they are lined up; at random means by a number of seed and name, so always the same."""
    return _lined_up(order, sorted(members, key=_NAME))


def _lined_up(order: Order, by_name: Sequence[Member]) -> list[Member]:
    match order.by:
        case OrderBy.LABEL:
            label = order.label
            return sorted(by_name, key=lambda each: each.labels.get(label, _LAST))
        case OrderBy.RANDOM:
            seed = zlib.crc32(order.seed.encode())
            return sorted(by_name, key=lambda each: _scattered(zlib.crc32(each.name.encode(), seed)))
        case _:
            return list(by_name)


def _scattered(number: int) -> int:
    """Return 32 bits in which each bit of a checksum counts (Fibonacci hashing): names that are alike lie apart."""
    return number * 0x9E3779B97F4A7C15 >> 24 & 0xFFFFFFFF


def _choosy(stage: Stage) -> bool:
    return stage.selector is not None or bool(stage.environments) or bool(stage.clusters)


def _meant(stage: Stage, members: Sequence[Member]) -> Sequence[Member]:
    """Return those whom a stage means."""
    if stage.clusters:
        names = frozenset(stage.clusters)
        members = [each for each in members if each.name in names]
    if stage.environments:
        members = [each for each in members if each.environment in stage.environments]
    if stage.selector is not None:
        for key, value in stage.selector.match_labels:
            members = [each for each in members if each.labels.get(key) == value]
        if stage.selector.match_expressions:
            rest = LabelSelector((), stage.selector.match_expressions)
            members = [each for each in members if matches(rest, each.labels)]
    return members


def _join(stages: Sequence[Stage], newcomers: Sequence[Member]) -> dict[str, str]:
    """Place those that come later; `newcomers` are by name."""
    stage_of: dict[str, str] = {}
    for stage in stages:
        if stage.share is None:
            for each in _lined_up(stage.order, _meant(stage, newcomers)):
                stage_of.setdefault(each.name, stage.name)
    return stage_of


def _place_all(stages: Sequence[Stage], members: Sequence[Member]) -> Placing:
    """Place everybody; `members` are by name."""
    stage_of: dict[str, str] = {}
    warnings: list[str] = []
    left = members
    for stage in stages:
        taken = _lined_up(stage.order, _meant(stage, left))
        if stage.share is not None and taken:
            total = len(taken) if stage.share.percent is None else len(_meant(stage, members))
            warnings += _rounded(stage, total)
            del taken[stage.share.part(total) :]
        stage_of |= dict.fromkeys([each.name for each in taken], stage.name)
        if not taken and stage is not stages[-1]:
            warnings.append(_empty(stage, members))
        left = [each for each in left if each.name not in stage_of] if len(taken) < len(left) else ()
    warnings += _overlaps(stages, members, stage_of)
    return Placing(stage_of, tuple(warnings))


def _rounded(stage: Stage, total: int) -> list[str]:
    share = stage.share
    wanted = 0.0 if share is None else share.count if share.percent is None else total * share.percent / 100.0
    if wanted >= 1:
        return []
    said = f"{share.percent:g}%" if share is not None and share.percent is not None else "0"
    return [f"stage {stage.name!r}: {said} of {total} clusters is less than one cluster: it takes one"]


def _empty(stage: Stage, members: Sequence[Member]) -> str:
    if _meant(stage, members):
        return f"stage {stage.name!r} has no clusters: those that it means are all in earlier stages"
    return f"stage {stage.name!r} has no clusters: none of the {len(members)} of this rollout is meant by it"


def _overlaps(stages: Sequence[Stage], members: Sequence[Member], stage_of: Mapping[str, str]) -> list[str]:
    """Return what to say of stages of which both say whom they mean, and mean the same clusters.

    A stage that takes a share leaves others on purpose, and one that means everybody takes what is left.
    """
    choosy = [stage for stage in stages if _choosy(stage)]
    found: dict[tuple[str, str], list[str]] = {}
    taking = {stage.name for stage in choosy if stage.share is None}
    for at, stage in enumerate(choosy):
        earlier = {each.name for each in choosy[:at]} & taking
        if earlier:
            for member in _meant(stage, members):
                if stage_of.get(member.name) in earlier:
                    found.setdefault((stage_of[member.name], stage.name), []).append(member.name)
    return [
        f"stages {first!r} and {second!r} overlap: {listed(names)} match both and go with {first!r}"
        for (first, second), names in found.items()
    ]


def how_many(clusters: int) -> str:
    """Return a number of clusters for a message."""
    return "1 cluster" if clusters == 1 else f"{clusters} clusters"


def listed(names: Sequence[str]) -> str:
    """Return names for a message, the first few where there are many."""
    if len(names) <= _SHOWN:
        return ", ".join(names)
    return f"{', '.join(names[:_SHOWN])} and {len(names) - _SHOWN} more"
