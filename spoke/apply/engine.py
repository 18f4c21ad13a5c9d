"""The bundle as a whole: one task per workload, the newest bundle wins, and objects change hands undeleted."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from felloe.bundle import Bundle, Workload
from felloe.digest import Digest
from felloe.errors import KubernetesError, StoreError
from felloe.identity import ObjectId, WorkloadId
from felloe.tracing import Tracer
from spoke.apply.context import Blobs, Context, Delivery, Report, owned_elsewhere
from spoke.apply.dependencies import waits_for
from spoke.apply.hold import Gate, Hold
from spoke.apply.inventories import Inventories
from spoke.apply.inventory import Inventory, Item, OwnerLabels
from spoke.apply.objects import Objects
from spoke.apply.outside import checked
from spoke.apply.plan import CRD, NAMESPACE, RIGHTS, claims
from spoke.apply.release import released
from spoke.apply.removal import removed
from spoke.apply.standing import Standing
from spoke.apply.step import State
from spoke.apply.untouched import FAILED, OUTDATED, outdated, tell
from spoke.apply.workload import WorkloadTask
from spoke.cluster.namespace import OwnNamespace
from spoke.cluster.recorder import Record
from spoke.drift.arrivals import Arrival, Arrivals, Lack
from spoke.drift.live import Live, LiveObjects
from spoke.drift.watches import Need, Watches
from spoke.health import HealthStatus
from spoke.health.cel import Cel
from spoke.health.expressions import Evaluations, Rule, rules
from spoke.health.inquiry import Inquiries
from spoke.kube.accounts import Account, Accounts
from spoke.kube.client import KubeClient
from spoke.kube.discovery import Discovery

_LONGEST_PAUSE_SECONDS: Final = 15.0
_AFTER_A_BUG_SECONDS: Final = 60.0
_log = logging.getLogger(__name__)


class Desired(Protocol):
    """A whole, verified bundle as it lies on disk."""

    @property
    def epoch(self) -> int:
        """Return the epoch of the hub that sent it."""
        ...

    @property
    def generation(self) -> int:
        """Return its generation."""
        ...

    @property
    def bundle(self) -> Bundle:
        """Return what it says."""
        ...

    @property
    def traceparent(self) -> str:
        """Return the trace of its delivery; may be empty."""
        ...

    @property
    def received_at(self) -> float:
        """Return when it was received, in seconds since 1970."""
        ...

    @property
    def hub(self) -> bytes:
        """Return what names the CA of the hub that sent it; empty where that is not known."""
        ...


class Desires(Blobs, Protocol):
    """The disk that bundles are on."""

    def doubt(self) -> None:
        """Take it that the newest bundle is older than what was applied."""
        ...


class Reporting(Report, Protocol):
    """Who is told how things stand, and which bundle that is about."""

    def bundle(self, epoch: int, generation: int, root: bytes, traceparent: str) -> None:
        """Take the bundle that is being applied from now on."""
        ...


@dataclass(slots=True)
class _Running:
    """A workload's task, and what it works on; `work` is None for one that is being removed."""

    task: asyncio.Task[None]
    work: WorkloadTask | None
    foreign: frozenset[ObjectId]
    hold: Hold | None


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
    ) -> None:
        """Workloads that name no service account are applied as `service_account`, if that is not empty."""
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
        self._states: dict[WorkloadId, State] = {}
        self._running: dict[WorkloadId, _Running] = {}
        self._claims: dict[ObjectId, WorkloadId] = {}
        self._ignored: dict[ObjectId, tuple[str, ...]] = {}
        self._approved: frozenset[str] = frozenset()
        self._rules: dict[tuple[WorkloadId, str, str], Rule] = {}
        self._cel = Cel()
        self._evaluations = Evaluations(self._cel)
        self._live = self._nothing_live()
        self._discovery = discovery
        self._inventories = Inventories(OwnNamespace(client))
        self._record = record
        self._prune_former_hub = prune_former_hub
        self._from_hub = False
        self._outdated: set[WorkloadId] = set()
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
        return claims(bundle.workloads, self._has)

    @property
    def inventoried(self) -> Mapping[WorkloadId, int]:
        """Return how many objects the inventory of each workload names; of those that have any."""
        return {
            identity: len(state.inventory.items) for identity, state in self._states.items() if state.inventory.items
        }

    async def inherit(self, workload: Workload, items: Mapping[ObjectId, Item], marks: Iterable[OwnerLabels]) -> None:
        """Take objects that somebody else applied into the inventory of a workload that is held.

        `marks` are the labels by which they are known to have been that one's, until ours are on them.
        """
        await self._loaded.wait()
        running = self._running.get(workload.id)
        if running is None or running.hold is None:
            return  # it applies its objects itself, and writes down what it does
        state = self._states.setdefault(workload.id, State(Inventory(workload.id), Standing(workload.id)))
        known = state.inventory
        draft = replace(
            known,
            items={**items, **known.items},
            prune=workload.options.prune,
            suspend=workload.options.suspend,
            inherited=tuple(sorted({*known.inherited, *marks})),
        )
        if draft != known:
            await self._inventories.write(draft)
            state.inventory = draft

    async def run(self) -> None:
        """Work until cancelled. Without a bundle nothing is done and nothing is asked of the API server.

        It may be run again: what is in the cluster is then looked at anew, as after a start.
        """
        self._states, self._running, self._claims = {}, {}, {}
        self._loaded.clear()
        self._live = self._nothing_live()
        self._inventories = Inventories(OwnNamespace(self._client))
        try:
            await self._run()
        finally:
            await self._cel.close()

    def _nothing_live(self) -> LiveObjects:
        return LiveObjects(self._expected, self._left_to_others, self._touched, self.rule_of, self._evaluations)

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            self._watches = Watches(self._live, tasks)
            context = Context(
                client=self._client,
                accounts=Accounts(self._client, self._rights_changed, tasks),
                discovery=self._discovery,
                objects=Objects(self._client, self._client, self._discovery, self._live),
                inventories=self._inventories,
                live=self._live,
                watches=self._watches,
                arrivals=Arrivals(self._client, self._arrives, tasks),
                blobs=self._blobs,
                report=self._report,
                tracer=self._tracer,
                fleet=self,
                cel=self._cel,
                evaluations=self._evaluations,
                record=self._record,
                prune_former_hub=self._prune_former_hub,
                service_account=self._service_account,
                inquiries=self._inquiries,
            )
            tasks.create_task(self._evaluations.run())
            tasks.create_task(self._inquiries.run())
            await self._arrived.wait()
            await self._load()
            self._loaded.set()
            while True:
                await self._arrived.wait()
                self._arrived.clear()
                if self._newest is not None:
                    await self._adopt(self._newest, context, tasks)

    # -- what the tasks ask (apply.context.Fleet)

    @property
    def claims(self) -> Mapping[ObjectId, WorkloadId]:
        """Return which workload wants which object."""
        return self._claims

    @property
    def approved_prunes(self) -> Collection[str]:
        """Return the names of the deletions that a person approved."""
        return self._approved

    def recorded(self, identity: ObjectId) -> bool:
        """Return whether the workload that wants an object has applied it, and has its labels on it and a record of it.

        The record alone does not do: should the object be wanted no more before it was applied, then its new workload
        would not delete what carries the labels of another one, and the other one would know of it no more.
        """
        claimant, live = self._claims.get(identity), self._live.get(identity)
        if claimant is None or not self._has(claimant, identity):
            return False
        if identity in self._live.doubtful:
            return False
        item = self._states[claimant].inventory.items[identity]
        return item.left_alone or item.once or (live is not None and live.owner == claimant)

    def _has(self, workload: WorkloadId, identity: ObjectId) -> bool:
        state = self._states.get(workload)
        item = state.inventory.items.get(identity) if state else None
        return item is not None and item.known

    def made(self, identity: ObjectId) -> bool:
        """Return whether an inventory says that we made an object."""
        items = (state.inventory.items.get(identity) for state in self._states.values())
        return any(item is not None and item.created for item in items)

    async def waits_for(self, workload: Workload) -> str:
        """Return which dependency is not ready and why; empty where all are."""
        if left_alone := next((each.id for each in workload.options.depends_on if each.id in self._outdated), None):
            return f"dependency {left_alone} is not ready"
        waiting = self._work(workload.id)
        return "" if waiting is None else await waits_for(self._cel, waiting, self._work)

    def rule_of(self, identity: ObjectId) -> Rule | None:
        """Return the expressions that an object of the bundle is judged by, None where it is judged by kstatus."""
        if not self._rules or identity not in self._claims:
            return None
        return self._rules.get((self._claims[identity], *identity[:2]))

    def told(self, identity: WorkloadId) -> None:
        """Wake those that wait for a workload by an expression."""
        for running in self._running.values():
            if running.work is not None and running.work.waits_by_expression_for(identity):
                running.work.wake()

    def _work(self, identity: WorkloadId) -> WorkloadTask | None:
        running = self._running.get(identity)
        return running.work if running else None

    def changed(self) -> None:
        """Wake every task."""
        for running in self._running.values():
            if running.work is not None:
                running.work.wake()

    # -- what the watches tell

    def _expected(self, identity: ObjectId) -> bytes | None:
        state = self._states.get(self._claims[identity]) if identity in self._claims else None
        item = state.inventory.items.get(identity) if state else None
        return item.fingerprint if item else None

    def _left_to_others(self, identity: ObjectId) -> Sequence[str]:
        return self._ignored.get(identity, ())

    def _touched(self, identity: ObjectId, before: Live | None, now: Live | None) -> None:
        if (claimant := self._claims.get(identity)) and (running := self._running.get(claimant)) and running.work:
            running.work.touched(identity, now)
        if identity[:2] in (CRD, NAMESPACE) and _usable(now) and not _usable(before):
            self._discovery.outdated()
            self._appeared()
        elif identity[:2] in RIGHTS and now is not None and (before is None or before.version != now.version):
            self._rights_changed()

    def _rights_changed(self) -> None:
        if self._watches is not None:
            self._watches.again()
        self._appeared()

    def _appeared(self) -> None:
        for running in self._running.values():
            if running.work is not None:
                running.work.appeared()

    def _explained(self, identity: ObjectId) -> None:
        for running in self._running.values():
            if running.work is not None:
                running.work.explained(identity)

    def _looked(self, identity: ObjectId, obj: Mapping[str, object]) -> None:
        if self._live.get(identity) is not None:
            self._live.seen(identity, obj)

    def _arrives(self, arrival: Arrival) -> None:
        if arrival.lack is Lack.KIND:
            self._discovery.outdated()
        for running in self._running.values():
            if running.work is not None:
                running.work.arrived(arrival)

    # -- bundles

    async def _load(self) -> None:
        """Read what the cluster itself says was applied; without that nothing may be applied or pruned."""
        failures = 0
        while True:
            try:
                for identity, inventory in (await self._inventories.load()).items():
                    self._states[identity] = State(inventory, Standing(identity))
            except (KubernetesError, StoreError) as error:
                failures += 1
                _log.warning("event=inventories-unreadable failures=%d error=%r", failures, str(error))
                self._unreadable(str(error))
                pause = min(_LONGEST_PAUSE_SECONDS, 0.25 * 2 ** min(failures, 8))
                await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311
            else:
                return

    def _unreadable(self, message: str) -> None:
        """Tell for every workload that the cluster's own record can't be read."""
        if self._newest is None:
            return
        self._announce(self._newest)
        everything = ((workload.id, workload.digest) for workload in self._newest.bundle.workloads)
        tell(self._report, everything, FAILED, message)

    def _announce(self, stored: Desired) -> None:
        self._report.bundle(stored.epoch, stored.generation, stored.bundle.root, stored.traceparent)

    async def _adopt(self, stored: Desired, context: Context, tasks: asyncio.TaskGroup) -> None:
        await self._gate.ready()
        wanted = claims(stored.bundle.workloads, self._has)
        holds = self._gate.holds(stored.bundle, wanted)
        stale = [
            identity
            for identity, running in self._running.items()
            if not self._still_right(running, stored.bundle.by_id.get(identity), wanted)
            or running.hold != holds.get(identity)
        ]
        for identity in stale:
            self._running[identity].task.cancel()
        await asyncio.gather(*(self._running.pop(identity).task for identity in stale), return_exceptions=True)
        self._announce(stored)
        self._claims = wanted
        entries = (entry for workload in stored.bundle.workloads for entry in workload.entries)
        self._ignored = {entry.id: entry.ignore for entry in entries if entry.ignore}
        self._approved = frozenset(stored.bundle.approved_prunes)
        self._rules = {
            (workload.id, rule.group, rule.kind): rule
            for workload in stored.bundle.workloads
            for rule in rules(workload.options.health_check_exprs)
        }
        named = {identity for workload in stored.bundle.workloads for identity in checked(workload.options)}
        self._inquiries.retain(wanted.keys() | named)
        delivery = Delivery(stored.received_at, stored.traceparent, stored.hub, stored.epoch, stored.generation)
        self._leave_outdated(stored, delivery)
        for workload in stored.bundle.workloads:
            if workload.id not in self._running and workload.id not in self._outdated:
                state = self._states.get(workload.id)
                if state is None:
                    state = self._states[workload.id] = State(Inventory(workload.id), Standing(workload.id))
                if not state.inventory.origin.foreign_to(stored.hub):
                    state.inventory.origin = delivery.origin(workload.digest)
                hold = holds.get(workload.id)
                acting = context.acting(workload.id, workload.options.service_account)
                work = WorkloadTask(acting, workload, state, delivery, hold)
                foreign = frozenset(owned_elsewhere(wanted, workload))
                # Started only after this loop, when every dependency can be found.
                self._running[workload.id] = _Running(tasks.create_task(_guarded(work)), work, foreign, hold)
        for identity in self._states.keys() - stored.bundle.by_id.keys() - self._running.keys() - self._outdated:
            hold = holds.get(identity)
            task = tasks.create_task(self._remove(context, identity, hold, stored.hub))
            self._running[identity] = _Running(task, None, frozenset(), hold)
        _log.info(
            "event=bundle epoch=%d generation=%d workloads=%d restarted=%d",
            stored.epoch,
            stored.generation,
            len(stored.bundle.workloads),
            len(stale),
        )
        self._forget(context, stored.bundle)
        self.changed()

    @staticmethod
    def _still_right(running: _Running, newest: Workload | None, wanted: Mapping[ObjectId, WorkloadId]) -> bool:
        """Return whether a task may go on under a newer bundle.

        One that has not come to its end yet may be about to delete what another workload wants now: it begins again.
        """
        return (
            newest is not None
            and running.work is not None
            and (running.work.settled or running.hold is not None)
            and running.work.workload.digest == newest.digest
            and running.foreign == frozenset(owned_elsewhere(wanted, newest))
        )

    def _leave_outdated(self, stored: Desired, delivery: Delivery) -> None:
        """Leave those workloads alone that were applied from a newer bundle, until the hub says what is right."""
        self._outdated.clear()
        if self._from_hub:
            return
        for identity, state in self._states.items():
            workload = stored.bundle.by_id.get(identity)
            digest = workload.digest if workload else None
            if state.inventory.origin.newer_than(delivery.origin(digest)):
                self._outdated.add(identity)
                message = outdated(state.inventory, stored.generation)
                _log.warning("event=%s workload=%s message=%r", OUTDATED, identity, message)
                tell(self._report, [(identity, digest or Digest(b""))], OUTDATED, message)
        if self._outdated:
            self._blobs.doubt()

    async def _remove(self, context: Context, identity: WorkloadId, hold: Hold | None, hub: bytes) -> None:
        state = self._states[identity]
        acting = context.acting(identity, state.inventory.service_account)
        if hold is None:
            await removed(acting, state, hub)
        else:
            await released(acting, state, hold)
            context.report.removed(identity)
        del self._states[identity]
        _log.info("event=Removed workload=%s", identity)
        if self._newest is not None:
            self._forget(context, self._newest.bundle)

    def _forget(self, context: Context, bundle: Bundle) -> None:
        """Stop the watches that no object of the bundle, and none that is still there, needs."""
        needs: set[Need] = set()
        accounts: set[Account] = set()
        for identity in bundle.by_id.keys() | self._states.keys():
            workload, state = bundle.by_id.get(identity), self._states.get(identity)
            named = workload.options.service_account if workload else state.inventory.service_account if state else ""
            name = named or context.service_account
            account = Account(identity.namespace, name)
            user = account.user if name else ""
            accounts |= {account} if name else set()
            needs |= {Need(user, *entry.id[:3]) for entry in workload.entries} if workload else set()
            needs |= {Need(user, *each[:3]) for each in state.inventory.items} if state else set()
        context.watches.retain(needs)
        context.accounts.retain(accounts)


async def _guarded(work: WorkloadTask) -> None:
    """Run a workload's task; a bug that one workload brings to light must not stop the others."""
    while True:
        try:
            await work.run()
        except Exception as error:  # noqa: BLE001
            _log.exception("event=bug workload=%s", work.workload.id)
            work.stumbled(error)
            await asyncio.sleep(_AFTER_A_BUG_SECONDS)


def _usable(live: Live | None) -> bool:
    return live is not None and live.health.status is HealthStatus.CURRENT
