"""Where the workloads of a cluster begin: its sync path, and the Placements that select it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from felloe.errors import Place, SubstitutionError
from felloe.identity import WorkloadId
from felloe.substitute import substitute_text
from hub.fleet.model import Kustomization, Placement, SourceRef
from hub.targeting.holding import Held
from hub.targeting.inputs import Inputs
from hub.targeting.overriding import Numbered, overrides_of
from hub.targeting.paths import folder_of, is_folder
from hub.targeting.plan import PLACEMENT_ORIGIN, READY, SYNC_ORIGIN, Condition
from hub.targeting.variables import ClusterView, means

SYNC_ROOT: Final = WorkloadId("Kustomization", "flux-system", "flux-system")
"""The workload of the sync path: the name that Flux' bootstrap gives it."""

_INTERVAL: Final = 600.0


@dataclass(frozen=True, slots=True)
class Definition:
    """One workload that this cluster has, as somebody defined it.

    `hold` says why nothing new may be made of it (then `kustomization` can be missing). `templated`: it comes from a
    Placement, so that its objects use the cluster's variables; `overrides` are those of that Placement that mean this
    cluster. `withheld` says why its rollout keeps the newest release from it, empty where nothing does.
    """

    id: WorkloadId
    origin: str
    kustomization: Kustomization | None = None
    parent: WorkloadId | None = None
    templated: bool = False
    hold: Condition | None = None
    overrides: tuple[Numbered, ...] = ()
    withheld: str = ""

    @property
    def is_sync_root(self) -> bool:
        """Tell whether it is the workload of the sync path."""
        return self.origin == SYNC_ORIGIN and self.parent is None


@dataclass(frozen=True, slots=True)
class Roots:
    """The workloads that no other defines, and the Placements that they come from."""

    definitions: tuple[Definition, ...] = ()
    placements: tuple[str, ...] = ()
    conditions: tuple[Condition, ...] = field(default_factory=tuple)


def find_roots(inputs: Inputs, view: ClusterView) -> Roots:
    """Return where the workloads of a cluster begin.

    Whatever the previous plan had and is missing now for no good reason (the sync path's folder vanished, the fleet
    folder did, the environment is ambiguous) is among them, on hold.
    """
    definitions = list(_sync_root(inputs, view))
    trouble = _placement_trouble(inputs, view)
    placements = [each for _, each in sorted(inputs.fleet.placements.items()) if means(each, view)]
    for placement in placements:
        definitions += [placed(inputs, view, placement, workload, trouble) for workload in placement.workloads]
    if trouble and inputs.previous:
        known = {definition.id for definition in definitions}
        definitions += [
            Definition(each.id, each.origin, hold=trouble)
            for each in inputs.previous.workloads
            if each.parent is None and each.origin.startswith(PLACEMENT_ORIGIN) and each.id not in known
        ]
    return Roots(
        tuple(_withheld(definitions, inputs.held)),
        tuple(each.name for each in placements),
        (trouble,) if trouble else (),
    )


def _withheld(definitions: Iterable[Definition], held: Mapping[str, Held]) -> Iterator[Definition]:
    """Yield the definitions with those of held units as they are to stay, and nothing that would take their place."""
    staying = {
        identity: Definition(identity, unit.unit, templated=unit.unit != SYNC_ORIGIN, withheld=unit.note)
        for unit in held.values()
        for identity, each in unit.workloads.items()
        if each.parent is None
    }
    for each in definitions:
        if each.id not in staying:
            yield replace(each, withheld=held[each.origin].note) if each.origin in held else each
    yield from staying.values()


def _sync_root(inputs: Inputs, view: ClusterView) -> Iterator[Definition]:
    own = view.declared.sync_path if view.declared else None
    template = own if own is not None else inputs.default_sync_path
    before = inputs.previous.by_id.get(SYNC_ROOT) if inputs.previous else None
    had = before is not None and before.origin == SYNC_ORIGIN
    if template is None:
        if had:
            message = "neither --sync-path nor a Cluster's spec.syncPath says where it is any more; nothing was removed"
            yield Definition(SYNC_ROOT, SYNC_ORIGIN, hold=Condition(READY, "False", "ArtifactFailed", message))
        return
    try:
        path = substitute_text(template, view.variables, f"cluster {view.name}: the sync path")
    except SubstitutionError as error:
        yield Definition(SYNC_ROOT, SYNC_ORIGIN, hold=Condition(READY, "False", "SubstitutionFailed", str(error)))
        return
    folder = folder_of(path)
    if own is None and not had and (folder is None or not is_folder(inputs.fleet_snapshot.tree, folder)):
        return
    yield Definition(SYNC_ROOT, SYNC_ORIGIN, _default_root(inputs, path))


def _default_root(inputs: Inputs, path: str) -> Kustomization:
    source = inputs.fleet_source
    return Kustomization(
        id=SYNC_ROOT,
        source=SourceRef("GitRepository", source.namespace, source.name),
        path=path,
        prune=True,
        interval=_INTERVAL,
        retry_interval=_INTERVAL,
        timeout=_INTERVAL - 30.0,
        place=Place(object=f"{SYNC_ROOT.kind} {SYNC_ROOT.namespace}/{SYNC_ROOT.name}"),
    )


def _placement_trouble(inputs: Inputs, view: ClusterView) -> Condition | None:
    """Return why no Placement can be followed now, if so."""
    if len(view.environments) > 1:
        message = (
            f"cluster {view.name} is selected by the Environments {' and '.join(view.environments)}, and a cluster has "
            "one; change the clusterSelector of one of them. What Placements gave it stays as it was"
        )
        return Condition(READY, "False", "AmbiguousEnvironment", message)
    if inputs.fleet.empty and _had_placements(inputs):
        message = (
            "the fleet folder is gone or holds no object any more, so what Placements gave stays as it was; to remove "
            "it on purpose, leave at least one object there (an Environment or a Cluster) and no Placement"
        )
        return Condition(READY, "False", "FleetEmpty", message)
    return None


def _had_placements(inputs: Inputs) -> bool:
    workloads = inputs.previous.workloads if inputs.previous else ()
    return any(workload.origin.startswith(PLACEMENT_ORIGIN) for workload in workloads)


def placed(
    inputs: Inputs, view: ClusterView, placement: Placement, workload: WorkloadId, trouble: Condition | None
) -> Definition:
    """Return a workload of a Placement that means a cluster. Of the cluster, it depends on the overrides that do."""
    hold = trouble
    kustomization = inputs.fleet.kustomizations.get(workload)
    where = Place(placement.place.file, placement.place.object)
    if kustomization is None:
        hold = Condition(READY, "False", "NotSupportedYet", f"{where}: {workload.kind} is not supported yet")
    overrides = overrides_of(placement, view)
    for _, override in overrides:
        for field_ in override.unsupported:
            message = f"{where}: {field_.field} is not supported yet, and without it something else would be applied"
            hold = Condition(READY, "False", "NotSupportedYet", message)
    return Definition(
        workload,
        PLACEMENT_ORIGIN + placement.name,
        kustomization,
        templated=True,
        hold=hold,
        overrides=overrides,
    )
