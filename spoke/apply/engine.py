"""The bundle as a whole: takes the newest one, and tells the task of each workload what happens in the cluster."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from felloe.bundle import Bundle, Workload
from felloe.errors import AdoptionError, KubernetesError, StoreError
from felloe.identity import ObjectId, WorkloadId
from felloe.tracing import Tracer
from spoke.apply.changeover import Changeover, announce, end
from spoke.apply.context import Context
from spoke.apply.given import Desired, Desires, Reporting
from spoke.apply.hold import Gate
from spoke.apply.inventories import Inventories
from spoke.apply.inventory import Item, OwnerLabels
from spoke.apply.latecomers import LATE_SECONDS, Latecomers
from spoke.apply.objects import Objects
from spoke.apply.plan import CRD, NAMESPACE, RIGHTS
from spoke.apply.roster import Roster
from spoke.apply.standing import Standing
from spoke.apply.state import State
from spoke.apply.untouched import FAILED, tell
from spoke.cluster.namespace import OwnNamespace
from spoke.cluster.recorder import Record
from spoke.drift.arrivals import Arrival, Arrivals, Lack
from spoke.drift.live import Live
from spoke.drift.watches import Watches
from spoke.health import HealthStatus
from spoke.health.cel import Cel
from spoke.health.expressions import Evaluations
from spoke.health.inquiry import Inquiries
from spoke.kube.accounts import Accounts
from spoke.kube.client import KubeClient
from spoke.kube.discovery import Discovery
from spoke.kube.jitter import spread

_LONGEST_PAUSE_SECONDS: Final = 15.0
_log = logging.getLogger(__name__)


class Engine:
    """Makes a cluster what its newest bundle says. `run` does the work, `set_bundle` may be called at any time."""

    def __init__(
        self,
        client: KubeClient,
        discovery: Discovery,
        gate: Gate,
        blobs: Desires,
        report: Reporting,
        tracer: Tracer,
        record: Record,
        *,
        service_account: str = "",
        prune_former_hub: bool = False,
        late_seconds: float = LATE_SECONDS,
    ) -> None:
        """Workloads that name no service account are applied as `service_account`, if that is not empty.

        `late_seconds` is how long the API server may take to do what was asked of it.
        """
        self._client = client
        self._service_account = service_account
        self._watches: Watches | None = None
        self._gate = gate
        self._blobs = blobs
        self._report = report
        self._tracer = tracer
        self._newest: Desired | None = None
        self._arrived = asyncio.Event()
        self._loaded = asyncio.Event()
        self._cel = Cel()
        self._evaluations = Evaluations(self._cel)
        self._roster = Roster(self._touched, self._cel, self._evaluations)
        self._discovery = discovery
        self._inventories = Inventories(OwnNamespace(client))
        self._record = record
        self._prune_former_hub = prune_former_hub
        self._from_hub = False
        self._changing = asyncio.Lock()
        """Held while workloads begin and end, or while one that is held inherits: only one of both writes for it."""
        self._late_seconds = late_seconds
        self._latecomers = Latecomers(late_seconds)
        self._inquiries = Inquiries(self._discovery, self._explained, self._looked)

    def set_bundle(self, stored: Desired, *, from_hub: bool = True) -> None:
        """Take a newer bundle; what is being applied of an older one stops.

        One that is not from the hub, but from the disk or the cluster, may be older than what was applied.
        """
        self._newest = stored
        self._from_hub = self._from_hub or from_hub
        self._arrived.set()

    def look_again(self) -> None:
        """Take it that the gate has changed: another one may apply a workload now."""
        if self._newest is not None:
            self._arrived.set()

    @property
    def bundle(self) -> Bundle | None:
        """Return the newest bundle, None before the first."""
        return self._newest.bundle if self._newest else None

    def claims_of(self, bundle: Bundle) -> Mapping[ObjectId, WorkloadId]:
        """Return which workload of a bundle would have which object."""
        return self._roster.claims_of(bundle)

    @property
    def inventoried(self) -> Mapping[WorkloadId, int]:
        """Return how many objects the inventory of each workload names; of those that have any."""
        states = self._roster.states
        return {identity: len(state.inventory.items) for identity, state in states.items() if state.inventory.items}

    async def inherit(self, workload: Workload, items: Mapping[ObjectId, Item], marks: Iterable[OwnerLabels]) -> None:
        """Take objects that somebody else applied into the inventory of a workload that is held.

        `marks` are the labels by which they are known to have been that one's, until ours are on them. What is being
        given back is given back no further. Raise AdoptionError where the workload is not worked on any more.
        """
        await self._loaded.wait()
        async with self._changing:
            running = self._roster.running.get(workload.id)
            if running is None or running.work is None:
                raise AdoptionError(
                    f"{workload.id} has left this cluster's bundle meanwhile, or waits for word from the hub:"
                    " nothing more was taken over; ask again, or give back with --undo what is suspended"
                )
            if running.hold is None:
                return  # it applies its objects itself, and writes down what it does
            if running.hold.release:
                await end(self._roster.running, [workload.id])
                self.look_again()  # which begins it again
            await self._inherit(workload, items, marks)

    async def _inherit(self, workload: Workload, items: Mapping[ObjectId, Item], marks: Iterable[OwnerLabels]) -> None:
        state = self._roster.state(workload.id)
        known = state.inventory
        draft = replace(
            known,
            items={**items, **known.items},
            prune=workload.options.prune,
            suspend=workload.options.suspend,
            inherited=tuple(sorted({*known.inherited, *marks})),
        )
        if draft != known or self._inventories.unsure(workload.id):
            await self._inventories.write(draft)
            state.inventory = draft

    async def run(self) -> None:
        """Work until cancelled. Without a bundle nothing is done and nothing is asked of the API server.

        It may be run again: what is in the cluster is then looked at anew, as after a start.
        """
        self._loaded.clear()
        self._roster = Roster(self._touched, self._cel, self._evaluations)
        self._inventories = Inventories(OwnNamespace(self._client))
        self._latecomers = Latecomers(self._late_seconds)
        try:
            await self._run()
        finally:
            await self._cel.close()

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            context = self._context(tasks)
            changeover = Changeover(context, self._roster, self._gate, self._blobs, self._report, tasks)
            tasks.create_task(self._evaluations.run())
            tasks.create_task(self._inquiries.run())
            await self._arrived.wait()
            await self._load()
            self._loaded.set()
            while True:
                await self._arrived.wait()
                self._arrived.clear()
                if self._newest is not None:
                    async with self._changing:
                        await changeover.to(self._newest, lambda: self._from_hub)

    def _context(self, tasks: asyncio.TaskGroup) -> Context:
        live = self._roster.live
        self._watches = Watches(live, self._discovery, tasks)
        return Context(
            client=self._client,
            accounts=Accounts(self._client, self._rights_changed, tasks),
            discovery=self._discovery,
            objects=Objects(self._client, self._client, self._discovery, live),
            inventories=self._inventories,
            live=live,
            watches=self._watches,
            arrivals=Arrivals(self._client, self._arrives, tasks),
            blobs=self._blobs,
            report=self._report,
            tracer=self._tracer,
            peers=self._roster,
            cel=self._cel,
            evaluations=self._evaluations,
            record=self._record,
            latecomers=self._latecomers,
            prune_former_hub=self._prune_former_hub,
            service_account=self._service_account,
            inquiries=self._inquiries,
        )

    async def _load(self) -> None:
        """Read what the cluster itself says was applied; without that nothing may be applied or pruned."""
        failures = 0
        while True:
            try:
                for identity, inventory in (await self._inventories.load()).items():
                    self._roster.states[identity] = State(inventory, Standing(identity))
                    self._latecomers.inventoried(inventory.items)
                    self._latecomers.from_before(each for each, item in inventory.items.items() if not item.known)
            except (KubernetesError, StoreError) as error:
                failures += 1
                _log.warning("event=inventories-unreadable failures=%d error=%r", failures, str(error))
                self._unreadable(str(error))
                await asyncio.sleep(spread(min(_LONGEST_PAUSE_SECONDS, 0.25 * 2 ** min(failures, 8))))
            else:
                return

    def _unreadable(self, message: str) -> None:
        """Tell for every workload that the cluster's own record can't be read."""
        if self._newest is None:
            return
        announce(self._report, self._newest)
        everything = ((workload.id, workload.digest) for workload in self._newest.bundle.workloads)
        tell(self._report, everything, FAILED, message)

    # -- what happens in the cluster

    def _touched(self, identity: ObjectId, before: Live | None, now: Live | None) -> None:
        if task := self._roster.claimant(identity):
            task.touched(identity, now)
        if identity[:2] in (CRD, NAMESPACE) and _usable(now) and not _usable(before):
            self._kinds_changed()
            self._appeared()
        elif identity[:2] in RIGHTS and now is not None and (before is None or before.version != now.version):
            self._rights_changed()

    def _rights_changed(self) -> None:
        if self._watches is not None:
            self._watches.again()
        self._appeared()

    def _kinds_changed(self) -> None:
        self._discovery.outdated()
        if self._watches is not None:
            self._watches.again()

    def _appeared(self) -> None:
        for task in self._roster.tasks():
            task.appeared()

    def _arrives(self, arrival: Arrival) -> None:
        if arrival.lack is Lack.KIND:
            self._kinds_changed()
        for task in self._roster.tasks():
            task.arrived(arrival)

    def _explained(self, identity: ObjectId) -> None:
        for task in self._roster.tasks():
            task.explained(identity)

    def _looked(self, identity: ObjectId, obj: Mapping[str, object]) -> None:
        if self._roster.live.get(identity) is not None:
            self._roster.live.seen(identity, obj)


def _usable(live: Live | None) -> bool:
    return live is not None and live.health.status is HealthStatus.CURRENT
