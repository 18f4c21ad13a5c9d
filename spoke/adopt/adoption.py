"""Takes a cluster over from Flux and gives it back: shown first, in an order in which nothing can be deleted.

Taking over: Flux's Kustomizations are suspended, parents first, since a parent that runs could let its children go on
(a suspended one deletes nothing either, whatever becomes of it); once Flux is quiet, the workloads inherit its
inventories; then each Kustomization is marked as taken over, and the gate opens. Giving back is the same backwards: the
mark says so and the workload's task releases its objects; then Flux goes on as it was.

Every step is written on the Kustomizations before the next one begins. What was cut off goes on when it is asked again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Protocol

from felloe.bundle import Bundle, Workload
from felloe.errors import AdoptionError, KubernetesError
from felloe.identity import ObjectId, WorkloadId
from spoke.adopt.acts import Acts
from spoke.adopt.flux import ADOPTED, RELEASING, SUSPEND_BEFORE, TAKEN, FluxKustomization, Name, read
from spoke.adopt.gate import FluxGate
from spoke.adopt.plan import Fate, Found, Plan, Row, identity_of, plan, same_name, undo_plan, unwanted
from spoke.apply.concurrency import bounded
from spoke.apply.inventory import Item, OwnerLabels
from spoke.apply.plan import CRD, NAMESPACE
from spoke.kube.client import METADATA_ONLY, KubeClient
from spoke.kube.discovery import Discovery, NoSuchKindError, Resource
from spoke.kube.errors import CONFLICT, NOT_FOUND
from spoke.kube.shapes import mapping, metadata_of

_UNSEEN_SECONDS: Final = 10.0
"""How long a controller that runs may take to see that it is suspended; one that doesn't never says so."""
_QUIET_WITHIN_SECONDS: Final = 60.0
_RELEASED_WITHIN_SECONDS: Final = 120.0
_LOOK_SECONDS: Final = 0.1
_ATTEMPTS: Final = 8
_NAMED: Final = 5
_PAGE: Final = "50"
_log = logging.getLogger(__name__)

_BEFORE_WORDS: Final = {None: "unset", False: "false", True: "true"}


class Workloads(Protocol):
    """The engine, as far as taking over concerns it."""

    @property
    def bundle(self) -> Bundle | None:
        """Return the newest bundle."""
        ...

    def claims_of(self, bundle: Bundle) -> Mapping[ObjectId, WorkloadId]:
        """Return which workload of a bundle would have which object."""
        ...

    @property
    def inventoried(self) -> Mapping[WorkloadId, int]:
        """Return how many objects the inventory of each workload names; of those that have any."""
        ...

    async def inherit(self, workload: Workload, items: Mapping[ObjectId, Item], marks: Iterable[OwnerLabels]) -> None:
        """Take objects that somebody else applied into the inventory of a workload that is held."""
        ...


class Events(Protocol):
    """Who is told what was done."""

    def event(self, reason: str, message: str, workload: WorkloadId) -> None:
        """Take it."""
        ...


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person decided: `prune` what nobody wants (None: not decided), and take over what is `frozen` too."""

    prune: bool | None = None
    frozen: bool = False


class Adoption:
    """Plans, does and undoes it, the latter two in the task of `run`. Raises AdoptionError and KubernetesError."""

    def __init__(
        self, client: KubeClient, discovery: Discovery, gate: FluxGate, engine: Workloads, events: Events
    ) -> None:
        self._client = client
        self._discovery = discovery
        self._gate = gate
        self._engine = engine
        self._events = events
        self._acts = Acts()

    async def run(self) -> None:
        """Do what is asked for until cancelled."""
        await self._acts.run()

    async def plan(self, decision: Decision = Decision()) -> Plan:
        """Return what taking over would do; nothing changes."""
        return await self._plan(self._bundle(), decision)

    async def undo_plan(self) -> Plan:
        """Return what giving back would do; nothing changes."""
        bundle = self._bundle()
        found = [flux async for flux in self._kustomizations()]
        return undo_plan(found, bundle.by_id, self._engine.claims_of(bundle), self._engine.inventoried)

    async def adopt(self, decision: Decision) -> str:
        """Take over what Flux applies; return in a sentence what was done."""
        return await self._acts.do(lambda: self._adopt(decision))

    async def undo(self) -> str:
        """Give back to Flux what was taken over; return in a sentence what was done."""
        return await self._acts.do(self._undo)

    async def _adopt(self, decision: Decision) -> str:
        first = await self.plan(decision)
        _check(first, decision)
        rows = first.of(Fate.ADOPT)
        if not rows:
            return "nothing was taken over: " + _nothing(first)
        _log.info("event=Adopting kustomizations=%d", len(rows))
        for row in rows:
            await self._suspend(row.flux.name, {ADOPTED: None})  # what was to be given back is so no more
        await self._quiet([row.flux.name for row in rows])
        bundle = self._bundle()
        now = await self._plan(bundle, decision)
        _check(now, decision)
        await self._inherit(now, bundle, prune=decision.prune is True)
        for row in now.of(Fate.ADOPT):
            self._gate.learned(await self._write(row.flux.name, {ADOPTED: TAKEN}))
            self._tell("Adopted", row, "was taken over from Flux, which is suspended there")
        return f"taken over: {_named(now.of(Fate.ADOPT))}"

    async def _undo(self) -> str:
        rows = (await self.undo_plan()).of(Fate.RETURN)
        if not rows:
            return "nothing was given back: no Kustomization of Flux in this cluster was taken over"
        _log.info("event=Releasing kustomizations=%d", len(rows))
        for row in reversed(rows):
            await self._suspend(row.flux.name)
        for row in rows:
            self._gate.learned(await self._write(row.flux.name, {ADOPTED: RELEASING}))
        await self._released({workload for row in rows for workload in row.workloads})
        for row in rows:
            await self._resume(row.flux.name)
            self._tell("ReturnedToFlux", row, "was given back to Flux, which goes on with it")
        return f"given back to Flux: {_named(rows)}"

    # -- looking

    def _bundle(self) -> Bundle:
        bundle = self._engine.bundle
        if bundle is None:
            raise AdoptionError("no bundle has reached this cluster yet: see `felloe describe cluster`, then try again")
        return bundle

    async def _plan(self, bundle: Bundle, decision: Decision) -> Plan:
        found = [flux async for flux in self._kustomizations()]
        if not found:
            raise AdoptionError("there is nothing to take over: this cluster has no Kustomization of Flux")
        wanted = self._engine.claims_of(bundle)
        live = await self._live(unwanted(found, wanted), found)
        suspended = {workload.id: workload.options.suspend for workload in bundle.workloads}
        return plan(found, suspended, wanted, live, frozen_too=decision.frozen)

    async def _kustomizations(self) -> AsyncIterator[FluxKustomization]:
        resource = await self._gate.resource()
        if resource is None:
            return
        token = ""
        while True:
            params = {"limit": _PAGE} | ({"continue": token} if token else {})
            answer = await self._client.get(resource.collection(), params)
            items = answer.get("items")
            for item in items if isinstance(items, list) else []:
                yield read(item)
            token = str(metadata_of(answer).get("continue") or "")
            if not token:
                return

    async def _live(
        self, identities: Iterable[ObjectId], found: Iterable[FluxKustomization]
    ) -> dict[ObjectId, Found | None]:
        versions = {identity: version for flux in found for identity, version in flux.inventory.items()}
        live: dict[ObjectId, Found | None] = {}

        async def one(identity: ObjectId) -> None:
            try:
                kind = await self._discovery.find_any(identity.group, versions[identity], identity.kind)
                path = kind.path(identity.namespace, identity.name)
                metadata = metadata_of(await self._client.get(path, accept=METADATA_ONLY))
            except KubernetesError as error:
                if error.status != NOT_FOUND and not isinstance(error, NoSuchKindError):
                    raise
                live[identity] = None
            else:
                live[identity] = Found(_texts(metadata.get("labels")), _texts(metadata.get("annotations")))

        await bounded(one, sorted(identities))
        return live

    # -- acting

    async def _suspend(self, name: Name, annotations: Mapping[str, str | None] = MappingProxyType({})) -> None:
        self._gate.learned(await self._write(name, annotations, suspend=True))

    async def _resume(self, name: Name) -> None:
        self._gate.learned(await self._write(name, {ADOPTED: None, SUSPEND_BEFORE: None}, resume=True))

    async def _write(
        self, name: Name, annotations: Mapping[str, str | None], *, suspend: bool = False, resume: bool = False
    ) -> FluxKustomization:
        """Change a Kustomization and return it; with `suspend` or `resume` also whether Flux works on it.

        What `spec.suspend` was is written down with the first suspension, in one step with it.
        """
        path = (await self._resource()).path(name.namespace, name.name)
        for _ in range(_ATTEMPTS):
            obj = await self._client.get(path)
            known, metadata = read(obj), metadata_of(obj)
            wanted: dict[str, str | None] = dict(annotations)
            operations: list[dict[str, object]] = []
            if suspend:
                if not known.before:
                    wanted[SUSPEND_BEFORE] = _BEFORE_WORDS[known.suspend]
                if known.suspend is not True:
                    operations.append({"op": "add", "path": "/spec/suspend", "value": True})
            if resume and known.before == "unset" and known.suspend is not None:
                operations.append({"op": "remove", "path": "/spec/suspend"})
            elif resume and known.before == "false":
                operations.append({"op": "add", "path": "/spec/suspend", "value": False})
            before = _texts(metadata.get("annotations"))
            after = {key: value for key, value in {**before, **wanted}.items() if value is not None}
            if after != before:
                operations.append({"op": "add", "path": "/metadata/annotations", "value": after})
            if not operations:
                return known
            try:
                version = str(metadata.get("resourceVersion") or "")
                return read(await self._client.patch(path, version, operations, accept="application/json"))
            except KubernetesError as error:
                if error.status != CONFLICT:
                    raise
        raise KubernetesError(f"Flux's Kustomization {name} changes faster than it can be written", status=CONFLICT)

    async def _resource(self) -> Resource:
        resource = await self._gate.resource()
        if resource is None:
            raise AdoptionError("Flux's Kustomizations are gone from this cluster: nothing more was done")
        return resource

    async def _quiet(self, names: Iterable[Name]) -> None:
        """Wait until Flux applies nothing of these any more, suspending again what a parent let go on meanwhile.

        Flux works on a Kustomization once at a time: where it has seen that it is suspended, what it was at is over.
        """
        waiting = set(names)
        began = asyncio.get_running_loop().time()
        while True:
            waited = asyncio.get_running_loop().time() - began
            found = self._gate.known(waiting)
            running = [flux for flux in found if flux.suspend is not True]
            for flux in running:
                await self._suspend(flux.name)
            busy = [flux for flux in found if not flux.observed and (flux.busy or waited < _UNSEEN_SECONDS)]
            if not running and not busy:
                return
            if waited > _QUIET_WITHIN_SECONDS:
                what = busy[0].busy if busy else "something sets spec.suspend to false again"
                raise AdoptionError(
                    f"Flux does not come to rest: Kustomization {(busy or running)[0].name}: {what}. Nothing was taken "
                    "over; what is suspended stays so: try again later, or give it back with --undo"
                )
            await asyncio.sleep(_LOOK_SECONDS)

    async def _inherit(self, now: Plan, bundle: Bundle, *, prune: bool) -> None:
        """Write Flux's inventories into those of the workloads, before anything is applied."""
        items: dict[WorkloadId, dict[ObjectId, Item]] = {}
        marks: dict[WorkloadId, set[OwnerLabels]] = {}
        for row in now.of(Fate.ADOPT):
            heirs = dict(row.moving or {})
            if prune and row.heir is not None:
                heirs |= dict.fromkeys(row.left, row.heir)
            for identity, workload in heirs.items():
                wave = _wave(bundle.by_id[workload], identity)
                items.setdefault(workload, {})[identity] = Item(row.flux.inventory[identity], wave)
                marks.setdefault(workload, set()).add(tuple(sorted(row.flux.name.labels.items())))
        for workload, mine in sorted(items.items()):
            await self._engine.inherit(bundle.by_id[workload], mine, marks[workload])

    async def _released(self, workloads: set[WorkloadId]) -> None:
        """Wait until the tasks of these workloads have released everything."""
        deadline = asyncio.get_running_loop().time() + _RELEASED_WITHIN_SECONDS
        while left := {
            workload: count for workload, count in self._engine.inventoried.items() if workload in workloads
        }:
            if asyncio.get_running_loop().time() > deadline:
                workload, count = min(left.items())
                raise AdoptionError(
                    f"{count} objects of {workload} could not be given back yet, see `felloe events`; Flux stays "
                    "suspended until they are: try again"
                )
            await asyncio.sleep(_LOOK_SECONDS)

    def _tell(self, reason: str, row: Row, what: str) -> None:
        _log.info("event=%s kustomization=%s", reason, row.flux.name)
        for workload in row.workloads or (same_name(row.flux.name),):
            self._events.event(reason, f"{workload} {what} (its {identity_of(row.flux.name)})", workload)


def _check(what: Plan, decision: Decision) -> None:
    """Raise AdoptionError where a plan must not be carried out."""
    deleting = [row for row in what.of(Fate.DELETING) if row.workloads]
    if deleting:
        raise AdoptionError(f"Flux's Kustomization {deleting[0].flux.name}: {deleting[0].why}")
    if what.left and decision.prune is None:
        shown = ", ".join(map(str, what.left[:_NAMED]))
        more = f" and {len(what.left) - _NAMED} more" if len(what.left) > _NAMED else ""
        raise AdoptionError(
            f"Flux applied {len(what.left)} objects that no workload of this cluster wants: {shown}{more}. Say what "
            "becomes of them: --leftovers keep (they stay, and nobody manages them) or --leftovers prune"
        )


def _nothing(what: Plan) -> str:
    if frozen := what.of(Fate.FROZEN):
        return f"{_named(frozen)} suspended by hand in Flux (with --frozen it goes on in Felloe)"
    if adopted := what.of(Fate.ADOPTED):
        return f"{_named(adopted)} taken over already"
    return "no Kustomization of Flux in this cluster is a workload of Felloe's here"


def _named(rows: Iterable[Row]) -> str:
    names = [str(row.flux.name) for row in rows]
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def _wave(workload: Workload, identity: ObjectId) -> int:
    """Return the wave of an object: of one that is not wanted, one that has it deleted in the right order."""
    for entry in workload.entries:
        if entry.id == identity:
            return entry.wave
    if identity[:2] in (NAMESPACE, CRD):
        return 0
    return max((entry.wave for entry in workload.entries), default=1)


def _texts(value: object) -> dict[str, str]:
    return {str(key): str(text) for key, text in mapping(value).items()}
