"""The task of one workload: brings it to its desired state and keeps it there until it is told otherwise.

Level-based: whatever wakes it (a watch, a dependency, a retry that is due), it compares again and acts on what differs.
A newer bundle cancels the task at any point and starts another one on the same state.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import replace
from typing import Final

from felloe.bundle import Workload
from felloe.errors import KubernetesError
from felloe.identity import ObjectId, WorkloadId
from spoke.apply import standing
from spoke.apply.context import Context, Delivery, owned_elsewhere
from spoke.apply.dependencies import as_flux_object
from spoke.apply.hold import Hold
from spoke.apply.inventory import Parting
from spoke.apply.judgement import Judgement
from spoke.apply.milestones import Milestones
from spoke.apply.plan import leftovers
from spoke.apply.pruning import Outcome, prune
from spoke.apply.schedule import FIRST_RETRY_SECONDS, Schedule
from spoke.apply.standing import Failure, Standing, Verdict
from spoke.apply.standstill import held, suspended
from spoke.apply.state import State
from spoke.apply.step import Step
from spoke.drift.arrivals import Arrival
from spoke.drift.contest import Contest
from spoke.drift.live import Live
from spoke.health.expressions import unreadable
from spoke.kube.jitter import spread

_LONGEST_OUTAGE_PAUSE_SECONDS: Final = 15.0
_UNREADABLE_PAUSE_SECONDS: Final = 60.0
_GATHER_SECONDS: Final = 0.003
_log = logging.getLogger(__name__)


class WorkloadTask:
    """Works on one desired state of one workload; `run` is its task."""

    def __init__(
        self, context: Context, workload: Workload, state: State, delivery: Delivery, hold: Hold | None = None
    ) -> None:
        self._context = context
        self._state = state
        self._delivery = delivery
        self._hold = hold
        self._foreign = owned_elsewhere(context.peers.claims, workload)
        self.workload = workload
        mine = tuple(entry for entry in workload.entries if entry.id not in self._foreign)
        self._wanted = {entry.id for entry in mine}
        self._step = Step(context, replace(workload, entries=mine), state)
        self._troubles = self._step.troubles
        if state.inventory.applied_digest == workload.digest and self._step.begun(self._wanted):
            # A change away from this state was begun and is taken back: what is in the cluster is not this state yet.
            state.inventory.applied_digest = None
        self._schedule = Schedule(workload.options.retry_interval)
        self._health = Judgement(context, workload, state, self._wanted)
        self._milestones = Milestones(context.tracer, delivery.traceparent, workload.id, len(self._wanted))
        self._pruned = Outcome()
        self._settled = False
        self._handing_over = False
        self._outage = ""
        self._failed_rounds = 0
        self._wake = asyncio.Event()
        self._last = b""
        self._waiting = False

    @property
    def ready(self) -> bool:
        """Return whether what depends on this may go on: its newest state is applied and, if asked for, healthy."""
        digest = self.workload.digest
        if self._state.inventory.applied_digest != digest or self.workload.options.suspend or self._hold:
            return False
        return not self._health.gates or self._state.standing.healthy_digest == digest

    def view(self) -> Mapping[str, object]:
        """Return the workload as the Flux object that its author knows; what was told before this task is not told."""
        known = self._state.standing if self._last else Standing(self.workload.id)
        return as_flux_object(self.workload, known, self._state.inventory, self._delivery.generation)

    def waits_by_expression_for(self, identity: WorkloadId) -> bool:
        """Return whether an expression over another workload is what this one waits for now."""
        return self._waiting and any(
            dependency.ready_expr and dependency.id == identity for dependency in self.workload.options.depends_on
        )

    @property
    def settled(self) -> bool:
        """Return whether all is applied, and all that is not wanted deleted or handed over."""
        return self._settled and not self._handing_over

    def stumbled(self, error: Exception) -> None:
        """Tell that the task ended by an error that should not be: a bug of ours."""
        self._settled = False
        message = f"the spoke stumbled over this workload ({type(error).__name__}): please report it, with its log"
        self._publish(Verdict(standing.FALSE, "ReconciliationFailed", message))

    def wake(self) -> None:
        """Look again: something that this workload may wait for happened."""
        self._wake.set()

    def appeared(self) -> None:
        """Try at once what failed because something was not there."""
        self._schedule.afresh(self._troubles.lacking)
        self._schedule.prune_now()
        self._wake.set()

    def arrived(self, arrival: Arrival) -> None:
        """Try at once what may have failed because just this was not there."""
        waited = [
            identity
            for identity, lack in self._troubles.lacking.items()
            if lack is arrival.lack and arrival.concerns(identity)
        ]
        self._schedule.afresh(waited)
        if waited:
            self._wake.set()

    def touched(self, identity: ObjectId, now: Live | None) -> None:
        """Take it that an object of this workload changed in the cluster."""
        if identity not in self._wanted:
            return
        self._judge(identity, now)
        if now is None and identity in self._troubles.failures:
            self._schedule.now([identity])  # what was in the way may be gone
        elif self._step.why(identity) is not None and identity not in self._troubles.failures:
            contest = self._state.contests.get(identity, Contest())
            self._schedule.at(identity, contest.not_before)
        self._wake.set()

    def explained(self, identity: ObjectId) -> None:
        """Take it that there is something new to say about why an object is unhealthy."""
        if identity in self._health.own:
            self._judge(identity, self._context.live.get(identity))
        if identity in self._health.unhealthy:
            self._wake.set()

    async def run(self) -> None:
        """Work until cancelled."""
        if self._hold is not None:
            await held(self._context, self._state, self._hold, self._publish)
        if self.workload.options.suspend:
            await suspended(self._context, self._state, self._publish)
        try:
            async with asyncio.TaskGroup() as watches:
                self._health.follow(watches, self.wake)
                await self._work()
        finally:
            self._context.arrivals.lacking(self.workload.id, ())
            self._milestones.missed()

    async def _work(self) -> None:
        self._publish(Verdict(standing.UNKNOWN, "Progressing", "reconciliation in progress"))
        await self._readable()
        await self._dependencies()
        if self._state.inventory.applied_digest != self.workload.digest:
            self._milestones.begin("apply")
        self._schedule.now(self._wanted)
        while True:
            try:
                await self._round()
                self._outage, self._failed_rounds = "", 0
            except KubernetesError as error:
                # Requests about no single object: the inventory, or an API server that is away.
                self._failed_rounds += 1
                self._outage = str(error)
                self._publish(self._ready_verdict())
                pause = min(_LONGEST_OUTAGE_PAUSE_SECONDS, FIRST_RETRY_SECONDS * 2 ** min(self._failed_rounds, 6))
                await asyncio.sleep(spread(pause))
                self._schedule.now(self._wanted)
                continue
            self._publish(self._ready_verdict())
            lacks = {lack for lack in self._troubles.lacking.values() if lack is not None}
            self._context.arrivals.lacking(self.workload.id, lacks)
            await self._pause()

    async def _round(self) -> None:
        requested = self._state.inventory.requested_at != self.workload.options.requested_at
        begun = time.monotonic()
        due = self._schedule.take(begun)
        first = not self._settled
        if not first:
            due = [identity for identity in due if self._step.why(identity) is not None]
        if first:
            await self._look_again()
        if due or (first and not self._wanted):
            await self._step.run(due, requested=requested and first)
            self._plan_retries(due, begun)
            if due:
                self._context.peers.changed()  # who hands one of these over waited while a request was under way
            for identity in due:
                self._judge(identity, self._context.live.get(identity))
        if self._step.held and not self._troubles.failures:
            self._schedule.now(self._step.held)
        elif self._settles and self._schedule.prunes(time.monotonic()):
            await self._settle()
        elif self._step.unsaved:
            await self._save()

    @property
    def _settles(self) -> bool:
        """Return whether what was left behind is looked at: nothing fails, and there is something left to do."""
        return not self._troubles.failures and (not self._settled or self._handing_over)

    def _plan_retries(self, tried: Iterable[ObjectId], begun: float) -> None:
        now = time.monotonic()
        for identity in tried:
            if identity in self._troubles.failures:
                self._schedule.failed(identity, now, may_pass=identity in self._troubles.lacking)
                continue
            self._schedule.done(identity)
            if identity in self._step.held:
                continue  # its turn comes when what it waits for is applied
            self._context.latecomers.looked_at(identity, begun)
            if (again := self._context.latecomers.next(identity)) is not None:
                self._schedule.at(identity, again)
            if identity in self._step.passed:
                self._schedule.at(identity, now + self.workload.options.interval)

    async def _settle(self) -> None:
        """Everything is applied: delete what is not wanted any more, and write down what is."""
        options, peers, parting = self.workload.options, self._context.peers, Parting.of(self.workload.options)
        left = leftovers(self._state.inventory, self._wanted, peers.claims, peers.recorded, prune=options.prune)
        hub = self._delivery.hub
        outcome = self._pruned = await prune(self._context, self._state, left, self._wanted, parting, hub)
        inventory = self._state.inventory
        items = {identity: item for identity, item in inventory.items.items() if identity not in outcome.dropped}
        self._handing_over = len(items) > len(self._wanted) + len(outcome.kept)
        draft = replace(
            inventory,
            items=items,
            prune=options.prune,
            suspend=False,
            service_account=self._context.service_account,
            parting=parting,
            requested_at=options.requested_at,
        )
        if outcome.done and not outcome.kept:
            draft.origin = self._delivery.origin(self.workload.digest)
        if outcome.done and draft.applied_digest != self.workload.digest and not self._foreign:
            draft.applied_digest, draft.applied_at = self.workload.digest, time.time()
            draft.applied_objects = len(self._wanted)
            items |= {i: replace(items[i], settled=True) for i in self._wanted if i in items and not items[i].settled}
        if draft != inventory or self._step.unsaved or self._context.inventories.unsure(inventory.id):
            await self._context.inventories.write(draft)
            self._state.inventory = draft
            self._step.unsaved = False
        self._schedule.pruned(outcome, time.monotonic())
        if outcome.done and not self._settled:
            self._applied()

    def _applied(self) -> None:
        self._settled = True
        for identity in self._wanted:
            self._judge(identity, self._context.live.get(identity))
        _log.info("event=Applied workload=%s objects=%d", self.workload.id, len(self._wanted))
        if self._milestones.reached("apply"):
            self._milestones.begin("healthy")
            self._context.report.event("Applied", standing.applied(len(self._wanted)), self.workload.id)
        self._context.peers.changed()

    async def _save(self) -> None:
        """Write down what was applied so far, without calling it the whole."""
        draft = replace(self._state.inventory)
        await self._context.inventories.write(draft)
        self._state.inventory = draft
        self._step.unsaved = False

    # -- waiting

    async def _pause(self) -> None:
        """Wait until something happens or is due."""
        now = time.monotonic()
        due = self._schedule.next(prunes=self._settles)
        moments = [moment for moment in (due, self._health.deadline(now)) if moment is not None]
        timeout = max(0.0, min(moments) - now) if moments else None
        # No wait_for: before Python 3.12 it loses a cancellation that comes together with the event.
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._wake.wait()
        # What one request or one rollout does arrives as many events: take them together.
        await asyncio.sleep(_GATHER_SECONDS)
        self._wake.clear()

    async def _dependencies(self) -> None:
        if self._state.inventory.applied_digest == self.workload.digest:
            return
        self._waiting = True
        by_expression = any(dependency.ready_expr for dependency in self.workload.options.depends_on)
        with self._context.cel.awake() if by_expression else nullcontext():
            while reason := await self._context.peers.waits_for(self.workload):
                self._publish(Verdict(standing.FALSE, "DependencyNotReady", reason))
                await self._wake.wait()
                self._wake.clear()
        self._waiting = False

    async def _readable(self) -> None:
        """Apply nothing of a workload that has an expression nobody can read, as in Flux."""
        options = self.workload.options
        ready = {index: each.ready_expr for index, each in enumerate(options.depends_on) if each.ready_expr}
        while problem := await unreadable(self._context.cel, options.health_check_exprs, ready):
            self._publish(Verdict(standing.FALSE, "InvalidCELExpression", problem))
            await asyncio.sleep(_UNREADABLE_PAUSE_SECONDS)

    async def _look_again(self) -> None:
        """Ask for those objects that were judged by other expressions than those of today; they are not kept."""
        peers, live = self._context.peers, self._context.live
        for entry in self.workload.entries:
            known = live.get(entry.id)
            if known is not None and entry.id in self._wanted and known.rule != peers.rule_of(entry.id):
                await self._context.objects.look(entry.id, entry.version)

    # -- health

    def _judge(self, identity: ObjectId, live: Live | None) -> None:
        self._step.notice(identity)
        self._health.judge(identity, live, applied=self._step.applied(identity))

    def _health_verdict(self) -> Verdict:
        if not self._settled and self._pruned.done:
            return Verdict(standing.UNKNOWN, "Progressing", "not applied yet")
        verdict = self._health.verdict()
        if (
            verdict.status == standing.TRUE
            and self._settled
            and self._state.standing.healthy_digest != self.workload.digest
        ):
            self._state.standing.healthy_digest = self.workload.digest
            self._state.standing.healthy_at = time.time()
            self._milestones.reached("healthy")
            self._context.peers.changed()
        return verdict

    def _ready_verdict(self) -> Verdict:
        if self._outage:
            return Verdict(standing.FALSE, "ReconciliationFailed", self._outage)
        if failures := self._failures:
            return standing.ready_while_failing(failures, len(self.workload.entries), len(self._step.held))
        if verdict := self._pruned.verdict():
            return verdict
        if not self._settled:
            return Verdict(standing.UNKNOWN, "Progressing", "reconciliation in progress")
        health = self._health_verdict()
        good = Verdict(standing.TRUE, "ReconciliationSucceeded", standing.applied(len(self._wanted)))
        if not self._health.gates or health.status == standing.TRUE:
            return good
        was_healthy = self._state.standing.healthy_digest == self.workload.digest
        return good if was_healthy and health.status == standing.UNKNOWN else health

    @property
    def _failures(self) -> Mapping[ObjectId, Failure]:
        """Return what could not be done, and why."""
        elsewhere = standing.claimed_elsewhere(self._foreign, self._context.peers.claims)
        return self._troubles.failures | self._pruned.failures | elsewhere

    # -- telling

    def _publish(self, ready: Verdict) -> None:
        now, known, inventory = time.time(), self._state.standing, self._state.inventory
        known.received_at = self._delivery.received_at
        before = known.conditions.get("Ready")
        known.set("Ready", ready, now)
        if not self.workload.options.suspend:
            known.set("Healthy", self._health_verdict(), now)
        message = standing.status(
            known,
            digest=self.workload.digest,
            applied_digest=inventory.applied_digest,
            applied_at=inventory.applied_at,
            objects=len(inventory.items),
            troubles=standing.problems(
                {**self._troubles.drifts, **self._failures, **self._pruned.kept}, self._health.unhealthy
            ),
            pending=self._pruned.pending,
        )
        if (data := message.SerializeToString(deterministic=True)) != self._last:
            self._last = data
            self._context.report.workload(message)
            self._context.peers.told(self.workload.id)
        if before is None or (before.status, before.reason) != (ready.status, ready.reason):
            _log.info("event=Ready workload=%s status=%s reason=%s", self.workload.id, ready.status, ready.reason)
