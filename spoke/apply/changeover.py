"""From one bundle to the next: which tasks end, which go on, and which begin."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from traceback import clear_frames
from typing import Final

from felloe.bundle import Bundle, Workload
from felloe.digest import Digest
from felloe.identity import ObjectId, WorkloadId
from spoke.apply.context import Context, Delivery, owned_elsewhere
from spoke.apply.given import Desired, Desires, Reporting
from spoke.apply.health_checks import checked
from spoke.apply.hold import Gate, Hold
from spoke.apply.release import released
from spoke.apply.removal import removed
from spoke.apply.roster import Roster, Running
from spoke.apply.untouched import OUTDATED, outdated, tell
from spoke.apply.workload import WorkloadTask
from spoke.drift.watches import Need
from spoke.kube.accounts import Account

_AFTER_A_BUG_SECONDS: Final = 60.0
_log = logging.getLogger(__name__)


class Changeover:
    """Starts and stops the tasks of the roster's workloads, in a group of tasks that it is given."""

    def __init__(
        self,
        context: Context,
        roster: Roster,
        gate: Gate,
        blobs: Desires,
        report: Reporting,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._context = context
        self._roster = roster
        self._gate = gate
        self._blobs = blobs
        self._report = report
        self._tasks = tasks
        self._bundle: Bundle | None = None

    async def to(self, stored: Desired, from_hub: Callable[[], bool]) -> None:
        """Work on a newer bundle from now on.

        `from_hub` tells whether the hub has sent one by now: before that, this may be older than what was applied.
        """
        await self._gate.ready()
        roster = self._roster
        wanted = roster.claims_of(stored.bundle)
        holds = self._gate.holds(stored.bundle, wanted)
        stale = await self._stop(stored.bundle, wanted, holds)
        announce(self._report, stored)
        self._bundle = stored.bundle
        roster.take(stored.bundle, wanted)
        named = {identity for workload in stored.bundle.workloads for identity in checked(workload.options)}
        self._context.inquiries.retain(wanted.keys() | named)
        delivery = Delivery(stored.received_at, stored.traceparent, stored.hub, stored.epoch, stored.generation)
        self._leave_outdated(stored, delivery, from_hub=from_hub())
        for workload in stored.bundle.workloads:
            if workload.id not in roster.running and workload.id not in roster.outdated:
                self._start(workload, delivery, holds.get(workload.id))
        for identity in roster.states.keys() - stored.bundle.by_id.keys() - roster.running.keys() - roster.outdated:
            hold = holds.get(identity)
            task = self._tasks.create_task(self._remove(identity, hold, stored.hub))
            roster.running[identity] = Running(task, None, frozenset(), hold)
        _log.info(
            "event=bundle epoch=%d generation=%d workloads=%d restarted=%d",
            stored.epoch,
            stored.generation,
            len(stored.bundle.workloads),
            stale,
        )
        self._forget(stored.bundle)
        roster.changed()

    async def _stop(
        self, bundle: Bundle, wanted: Mapping[ObjectId, WorkloadId], holds: Mapping[WorkloadId, Hold]
    ) -> int:
        """End the tasks that can't go on under a bundle, and return how many these were."""
        running = self._roster.running
        stale = [
            identity
            for identity, each in running.items()
            if not _still_right(each, bundle.by_id.get(identity), wanted) or each.hold != holds.get(identity)
        ]
        await end(running, stale)
        return len(stale)

    def _leave_outdated(self, stored: Desired, delivery: Delivery, *, from_hub: bool) -> None:
        """Leave those workloads alone that were applied from a newer bundle, until the hub says what is right."""
        left_alone = self._roster.outdated
        left_alone.clear()
        if from_hub:
            return
        for identity, state in self._roster.states.items():
            workload = stored.bundle.by_id.get(identity)
            digest = workload.digest if workload else None
            if state.inventory.origin.newer_than(delivery.origin(digest)):
                left_alone.add(identity)
                message = outdated(state.inventory, stored.generation)
                _log.warning("event=%s workload=%s message=%r", OUTDATED, identity, message)
                tell(self._report, [(identity, digest or Digest(b""))], OUTDATED, message)
        if left_alone:
            self._blobs.doubt()

    def _start(self, workload: Workload, delivery: Delivery, hold: Hold | None) -> None:
        """Begin with a workload; its task runs only when all have begun, so that every dependency can be found."""
        state = self._roster.state(workload.id)
        if not state.inventory.origin.foreign_to(delivery.hub):
            state.inventory.origin = delivery.origin(workload.digest)
        acting = self._context.acting(workload.id, workload.options.service_account)
        work = WorkloadTask(acting, workload, state, delivery, hold)
        foreign = frozenset(owned_elsewhere(self._roster.claims, workload))
        self._roster.running[workload.id] = Running(self._tasks.create_task(_guarded(work)), work, foreign, hold)

    async def _remove(self, identity: WorkloadId, hold: Hold | None, hub: bytes) -> None:
        """Take down what is left of a workload that is in the bundle no more, or give it back."""
        state = self._roster.states[identity]
        acting = self._context.acting(identity, state.inventory.service_account)
        if hold is None:
            await removed(acting, state, hub)
        else:
            await released(acting, state, hold)
            self._report.removed(identity)
        del self._roster.states[identity]
        _log.info("event=Removed workload=%s", identity)
        if self._bundle is not None:
            self._forget(self._bundle)

    def _forget(self, bundle: Bundle) -> None:
        """Stop the watches that no object of the bundle, and none that is still there, needs."""
        needs: set[Need] = set()
        accounts: set[Account] = set()
        states = self._roster.states
        for identity in bundle.by_id.keys() | states.keys():
            workload, state = bundle.by_id.get(identity), states.get(identity)
            named = workload.options.service_account if workload else state.inventory.service_account if state else ""
            name = named or self._context.service_account
            account = Account(identity.namespace, name)
            user = account.user if name else ""
            accounts |= {account} if name else set()
            needs |= {Need(user, *entry.id[:3]) for entry in workload.entries} if workload else set()
            needs |= {Need(user, *each[:3]) for each in state.inventory.items} if state else set()
        self._context.watches.retain(needs)
        self._context.accounts.retain(accounts)


async def end(running: dict[WorkloadId, Running], stale: Collection[WorkloadId]) -> None:
    """End the tasks of workloads, and wait until they have ended."""
    ended = [running[identity].task for identity in stale]
    for task in ended:
        task.cancel()
    await asyncio.gather(*ended, return_exceptions=True)
    for identity in stale:
        _let_go(running.pop(identity).task)


def announce(report: Reporting, stored: Desired) -> None:
    """Tell which bundle all that is told from now on is about."""
    report.bundle(stored.epoch, stored.generation, stored.bundle.root, stored.traceparent)


def _still_right(running: Running, newest: Workload | None, wanted: Mapping[ObjectId, WorkloadId]) -> bool:
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


def _let_go(task: asyncio.Task[None]) -> None:
    """Free what a task worked on, now that it has ended.

    A cancelled task keeps its CancelledError until that is asked for, with the traceback and every frame, and one of
    these, TaskGroup's, keeps the error: a whole former bundle would stay until the garbage collector looks through
    everything, which it rarely does.
    """
    if task.cancelled():
        try:
            task.result()
        except asyncio.CancelledError as error:
            clear_frames(error.__traceback__)


async def _guarded(work: WorkloadTask) -> None:
    """Run a workload's task; a bug that one workload brings to light must not stop the others."""
    while True:
        try:
            await work.run()
        except Exception as error:  # noqa: BLE001
            _log.exception("event=bug workload=%s", work.workload.id)
            work.stumbled(error)
            await asyncio.sleep(_AFTER_A_BUG_SECONDS)
