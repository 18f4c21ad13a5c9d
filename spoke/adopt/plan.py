"""What taking a cluster over from Flux, or giving it back, would do: pure, from what Flux has and what is desired."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from felloe.identity import ObjectId, WorkloadId
from spoke.adopt.flux import FLUX_GROUP, FLUX_KIND, PRUNE, RELEASING, FluxKustomization, Name, is_flux_itself

_DISABLED: Final = "disabled"


class Fate(Enum):
    """What becomes of one of Flux's Kustomizations."""

    ADOPT = "adopt"
    ADOPTED = "adopted"
    FROZEN = "frozen"
    STAYS = "stays"
    ELSEWHERE = "elsewhere"
    DELETING = "deleting"
    RETURN = "return"


@dataclass(frozen=True, slots=True)
class Found:
    """What is live of an object that Flux applied and Felloe does not want; None for an object that is gone."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Row:
    """One Kustomization of Flux, and what becomes of it and of its objects.

    `workloads` are Felloe's workloads that want its objects. `moving` are the objects that change hands, and who wants
    each. `left` are those that no workload wants and that Flux would prune; `flux` counts Flux's own objects and its
    configuration, which stay.
    """

    flux: FluxKustomization
    fate: Fate
    workloads: tuple[WorkloadId, ...] = ()
    moving: Mapping[ObjectId, WorkloadId] | None = None
    left: tuple[ObjectId, ...] = ()
    own: int = 0
    why: str = ""

    @property
    def heir(self) -> WorkloadId | None:
        """Return the workload that inherits what nobody wants: the one of the same name, else the first."""
        same = same_name(self.flux.name)
        return same if same in self.workloads else next(iter(self.workloads), None)


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be done, parents before children: a parent that still runs could let its children go on.

    `unmatched` are workloads of which Flux knows nothing.
    """

    rows: tuple[Row, ...] = ()
    unmatched: tuple[WorkloadId, ...] = ()

    def of(self, fate: Fate) -> tuple[Row, ...]:
        """Return the rows with a fate."""
        return tuple(row for row in self.rows if row.fate is fate)

    @property
    def left(self) -> tuple[ObjectId, ...]:
        """Return what Flux applied, of what is to be adopted, and Felloe does not want."""
        return tuple(sorted({identity for row in self.of(Fate.ADOPT) for identity in row.left}))


def same_name(name: Name) -> WorkloadId:
    """Return the workload that a Kustomization is, if Felloe reads the same repository."""
    return WorkloadId(FLUX_KIND, name.namespace, name.name)


def identity_of(name: Name) -> ObjectId:
    """Return a Kustomization as the object that it is."""
    return ObjectId(FLUX_GROUP, FLUX_KIND, name.namespace, name.name)


def rivals(
    found: Iterable[FluxKustomization], workloads: Iterable[WorkloadId], claims: Mapping[ObjectId, WorkloadId]
) -> dict[WorkloadId, FluxKustomization]:
    """Return which workloads Flux applies, and which Kustomization that is.

    It is the one of the same name; or, where that was renamed, one of which every object is wanted now. One that merely
    shares an object with a workload is somebody else's: that is a conflict to be shown, and no reason to wait. What is
    being given back goes with all its objects.
    """
    known = set(workloads)
    result: dict[WorkloadId, FluxKustomization] = {}
    for flux in sorted(found, key=lambda each: each.name):
        if flux.ours or flux.elsewhere:
            continue
        same = same_name(flux.name)
        if same in known:
            result[same] = flux
        elif flux.mark == RELEASING or all(identity in claims for identity in flux.plain):
            for identity in flux.plain.keys() & claims.keys():
                result.setdefault(claims[identity], flux)
    return result


def unwanted(found: Iterable[FluxKustomization], claims: Mapping[ObjectId, WorkloadId]) -> set[ObjectId]:
    """Return the objects of Flux's inventories that no workload wants: what is live of them decides what they are."""
    return {identity for flux in found if not flux.elsewhere for identity in flux.plain if identity not in claims}


def plan(
    found: Iterable[FluxKustomization],
    workloads: Mapping[WorkloadId, bool],
    claims: Mapping[ObjectId, WorkloadId],
    live: Mapping[ObjectId, Found | None],
    *,
    frozen_too: bool,
) -> Plan:
    """Return what taking over would do. `workloads` says of each workload of the bundle whether it is suspended.

    `live` has what `unwanted` named. With `frozen_too` what a person suspended is taken over as well, and goes on.
    """
    everything = {flux.name: flux for flux in found}
    rows = {flux.name: _row(flux, workloads, claims, live, frozen_too) for flux in everything.values()}
    parents = _parents(everything)
    for name in _ancestors([name for name, row in rows.items() if row.fate is Fate.ADOPT], parents):
        if rows[name].fate is Fate.STAYS:
            why = "it applies Kustomizations that are taken over, so it has to stop too"
            rows[name] = Row(rows[name].flux, Fate.ADOPT, left=rows[name].left, own=rows[name].own, why=why)
    taken = {workload for row in rows.values() for workload in row.workloads}
    return Plan(
        tuple(rows[name] for name in _parents_first(everything, parents)),
        tuple(sorted(workloads.keys() - taken)),
    )


def undo_plan(
    found: Iterable[FluxKustomization],
    workloads: Iterable[WorkloadId],
    claims: Mapping[ObjectId, WorkloadId],
    recorded: Mapping[WorkloadId, int],
) -> Plan:
    """Return what giving back would do, children before parents. `recorded` counts the objects of each inventory.

    Given back is what was taken over, half or whole, and a Kustomization that came later of a workload that we apply.
    """
    everything = {flux.name: flux for flux in found}
    returned = {
        name: flux
        for name, flux in everything.items()
        if flux.mark or flux.before or (recorded.get(same_name(name)) and not flux.elsewhere)
    }
    as_released = [replace(flux, mark=RELEASING) for flux in returned.values()]
    owners: dict[Name, set[WorkloadId]] = {name: {same_name(name)} & recorded.keys() for name in returned}
    for workload, flux in rivals(as_released, workloads, claims).items():
        owners[flux.name].add(workload)
    rows = {
        name: Row(flux, Fate.RETURN, tuple(sorted(owners[name]))) if name in returned else Row(flux, Fate.STAYS)
        for name, flux in everything.items()
    }
    return Plan(tuple(rows[name] for name in reversed(_parents_first(everything, _parents(everything)))))


def _row(
    flux: FluxKustomization,
    workloads: Mapping[WorkloadId, bool],
    claims: Mapping[ObjectId, WorkloadId],
    live: Mapping[ObjectId, Found | None],
    frozen_too: bool,
) -> Row:
    if flux.elsewhere:
        return Row(flux, Fate.ELSEWHERE, why="spec.kubeConfig: what it applies is in another cluster")
    moving = {identity: claims[identity] for identity in flux.plain if identity in claims}
    rest = [identity for identity in flux.plain if identity not in claims]
    left = tuple(sorted(identity for identity in rest if _prunable(flux, live.get(identity))))
    own = len(flux.inventory) - len(flux.plain) + sum(_flux_itself(live.get(identity)) for identity in rest)
    same = same_name(flux.name)
    owners = {same, *moving.values()} if same in workloads else set(moving.values())
    row = Row(flux, Fate.STAYS, tuple(sorted(owners)), moving, left, own)
    if same not in workloads and (left or not moving):
        shared = f"; {len(moving)} of its objects are wanted by Felloe too" if moving else ""
        return Row(flux, Fate.STAYS, left=left, own=own, why=f"Felloe has no workload {flux.name} here{shared}")
    return _with_fate(row, frozen_too or (same in workloads and workloads[same]))


def _with_fate(row: Row, frozen_too: bool) -> Row:
    flux, why = row.flux, ""
    if flux.ours:
        fate = Fate.ADOPTED
    elif flux.deleting:
        fate, why = Fate.DELETING, "it is being deleted, and Flux deletes its objects: wait, or take its finalizer away"
    elif flux.frozen and not frozen_too:
        fate, why = Fate.FROZEN, "it was suspended by hand in Flux, and Felloe would go on with it"
    else:
        fate = Fate.ADOPT
    return Row(flux, fate, row.workloads, row.moving, row.left, row.own, why)


def _prunable(flux: FluxKustomization, found: Found | None) -> bool:
    """Return whether Flux would delete an object that it does not want any more."""
    return (
        found is not None
        and not _flux_itself(found)
        and flux.name.labels.items() <= found.labels.items()
        and found.annotations.get(PRUNE) != _DISABLED
    )


def _flux_itself(found: Found | None) -> bool:
    return found is not None and is_flux_itself(found.labels)


def _parents(everything: Mapping[Name, FluxKustomization]) -> dict[Name, set[Name]]:
    """Return which Kustomizations apply which; one that applies itself, as bootstrap's, is no parent of its own."""
    parents: dict[Name, set[Name]] = {name: set() for name in everything}
    for flux in everything.values():
        for identity in flux.inventory:
            if identity[:2] == (FLUX_GROUP, FLUX_KIND):
                child = Name(identity.namespace, identity.name)
                if child in parents and child != flux.name:
                    parents[child].add(flux.name)
    return parents


def _ancestors(names: Iterable[Name], parents: Mapping[Name, set[Name]]) -> set[Name]:
    found: set[Name] = set()
    todo = list(names)
    while todo:
        for parent in parents[todo.pop()] - found:
            found.add(parent)
            todo.append(parent)
    return found


def _parents_first(everything: Mapping[Name, FluxKustomization], parents: Mapping[Name, set[Name]]) -> list[Name]:
    """Return all, each after those that apply it; those that apply each other in a circle, by name."""
    depth = {name: len(_ancestors([name], parents)) for name in everything}
    return sorted(everything, key=lambda name: (depth[name], name))
