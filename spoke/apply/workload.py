"""The task of one workload: brings it to its desired state and keeps it there until it is told otherwise.

Level-based: whatever wakes it (a watch, a dependency, a retry that is due), it compares again and acts on what differs.
A newer bundle cancels the task at any point and starts another one on the same state.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Iterable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import replace
from typing import Final

from felloe.bundle import Workload
from felloe.errors import KubernetesError
from felloe.identity import ObjectId, WorkloadId
from felloe.tracing import Span
from spoke.apply import standing
from spoke.apply.context import Context, Delivery, owned_elsewhere
from spoke.apply.dependencies import as_flux_object
from spoke.apply.health_checks import HealthChecks, checked
from spoke.apply.hold import Hold
from spoke.apply.inventory import Parting
from spoke.apply.plan import leftovers
from spoke.apply.pruning import Outcome, next_look, prune
from spoke.apply.release import released
from spoke.apply.standing import Failure, Standing, Verdict
from spoke.apply.state import State
from spoke.apply.step import Step
from spoke.drift.arrivals import Arrival
from spoke.drift.contest import Contest
from spoke.drift.live import Live
from spoke.health import Health, HealthStatus
from spoke.health.expressions import unreadable

_FIRST_RETRY_SECONDS: Final = 0.5
_LONGEST_OUTAGE_PAUSE_SECONDS: Final = 15.0
_UNREADABLE_PAUSE_SECONDS: Final = 60.0
_GATHER_SECONDS: Final = 0.003
_NOT_FOUND: Final = Health(HealthStatus.NOT_FOUND, "NotFound", "not found in the cluster")
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
        self._foreign = owned_elsewhere(context.fleet.claims, workload)
        self.workload = workload
        mine = tuple(entry for entry in workload.entries if entry.id not in self._foreign)
        self._wanted = {entry.id for entry in mine}
        self._step = Step(context, replace(workload, entries=mine), state)
        if state.inventory.applied_digest == workload.digest and self._step.begun(self._wanted):
            # A change away from this state was begun and is taken back: what is in the cluster is not this state yet.
            state.inventory.applied_digest = None
        self._due: dict[ObjectId, float] = {}
        self._attempts: dict[ObjectId, int] = {}
        self._pruned = Outcome()
        self._prune_attempts = 0
        self._prune_at = 0.0
        self._unhealthy: dict[ObjectId, Health] = {}
        self._unhealthy_since: float | None = None
        self._outside = HealthChecks(context, workload, self._wanted, self.wake)
        self._settled = False
        self._handing_over = False
        self._trouble = ""
        self._outages = 0
        self._wake = asyncio.Event()
        self._spans: dict[str, Span] = {}
        self._last = b""
        self._waiting = False

    @property
    def ready(self) -> bool:
        """Return whether what depends on this may go on: its newest state is applied and, if asked for, healthy."""
        digest = self.workload.digest
        if self._state.inventory.applied_digest != digest or self.workload.options.suspend or self._hold:
            return False
        return not self._gated or self._state.standing.healthy_digest == digest

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
        for identity in self._step.lacking:
            self._due[identity] = 0.0
            self._attempts.pop(identity, None)
        self._prune_at = 0.0
        self._wake.set()

    def arrived(self, arrival: Arrival) -> None:
        """Try at once what may have failed because just this was not there."""
        waited = [
            identity
            for identity, lack in self._step.lacking.items()
            if lack is arrival.lack and arrival.concerns(identity)
        ]
        for identity in waited:
            self._due[identity] = 0.0
            self._attempts.pop(identity, None)
        if waited:
            self._wake.set()

    def touched(self, identity: ObjectId, now: Live | None) -> None:
        """Take it that an object of this workload changed in the cluster."""
        if identity not in self._wanted:
            return
        self._judge(identity, now)
        if now is None and identity in self._step.failures:
            self._due[identity] = 0.0  # what was in the way may be gone
        elif self._step.why(identity) is not None and identity not in self._step.failures:
            contest = self._state.contests.get(identity, Contest())
            self._due[identity] = contest.not_before
        self._wake.set()

    def explained(self, identity: ObjectId) -> None:
        """Take it that there is something new to say about why an object is unhealthy."""
        if identity in self._unhealthy:
            self._judge(identity, self._context.live.get(identity))
        if identity in self._unhealthy or identity in self._outside.unhealthy():
            self._wake.set()

    async def run(self) -> None:
        """Work until cancelled."""
        if self._hold is not None:
            await self._held(self._hold)
        if self.workload.options.suspend:
            await self._suspended()
        try:
            async with asyncio.TaskGroup() as watches:
                self._outside.follow(watches)
                await self._work()
        finally:
            self._context.arrivals.lacking(self.workload.id, ())
            for span in self._spans.values():
                span.fail("it did not come to that before a newer bundle, or the end of the spoke")
                span.end()
            self._spans.clear()

    async def _work(self) -> None:
        self._publish(Verdict(standing.UNKNOWN, "Progressing", "reconciliation in progress"))
        await self._readable()
        await self._dependencies()
        if self._state.inventory.applied_digest != self.workload.digest:
            self._begin("apply")
        self._due = dict.fromkeys(self._wanted, 0.0)
        while True:
            try:
                await self._round()
                self._trouble, self._outages = "", 0
            except KubernetesError as error:
                # Requests about no single object: the inventory, or an API server that is away.
                self._outages += 1
                self._trouble = str(error)
                self._publish(self._ready_verdict())
                pause = min(_LONGEST_OUTAGE_PAUSE_SECONDS, _FIRST_RETRY_SECONDS * 2 ** min(self._outages, 6))
                await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311
                self._due |= dict.fromkeys(self._wanted, 0.0)
                continue
            self._publish(self._ready_verdict())
            lacks = {lack for lack in self._step.lacking.values() if lack is not None}
            self._context.arrivals.lacking(self.workload.id, lacks)
            await self._pause()

    async def _round(self) -> None:
        now = time.monotonic()
        requested = self._state.inventory.requested_at != self.workload.options.requested_at
        due = [identity for identity, at in self._due.items() if at <= now]
        for identity in due:
            del self._due[identity]
        first = not self._settled
        if not first:
            due = [identity for identity in due if self._step.why(identity) is not None]
        if first:
            await self._look_again()
        if due or (first and not self._wanted):
            await self._step.run(due, requested=requested and first)
            self._retry_failures(due)
            for identity in due:
                self._judge(identity, self._context.live.get(identity))
        if self._step.held and not self._step.failures:
            self._due |= dict.fromkeys(self._step.held, 0.0)
        elif not self._step.failures and (first or self._handing_over) and time.monotonic() >= self._prune_at:
            await self._settle()
        elif self._step.unsaved:
            await self._save()

    def _retry_failures(self, tried: Iterable[ObjectId]) -> None:
        longest = max(self.workload.options.retry_interval, _FIRST_RETRY_SECONDS)
        for identity in tried:
            if identity not in self._step.failures:
                self._attempts.pop(identity, None)
                if identity in self._step.passed:
                    self._due[identity] = time.monotonic() + self.workload.options.interval
                continue
            attempts = self._attempts[identity] = self._attempts.get(identity, 0) + 1
            pause = (
                min(longest, _FIRST_RETRY_SECONDS * 2 ** min(attempts, 20))
                if identity in self._step.lacking
                else longest
            )
            self._due[identity] = time.monotonic() + random.uniform(pause / 2, pause)  # noqa: S311

    async def _settle(self) -> None:
        """Everything is applied: delete what is not wanted any more, and write down what is."""
        options, fleet, parting = self.workload.options, self._context.fleet, Parting.of(self.workload.options)
        left = leftovers(self._state.inventory, self._wanted, fleet.claims, fleet.recorded, prune=options.prune)
        hub = self._delivery.hub
        outcome = self._pruned = await prune(self._context, self._state, left, self._wanted, parting, hub)
        inventory = self._state.inventory
        items = {identity: item for identity, item in inventory.items.items() if identity not in outcome.dropped}
        self._handing_over = len(items) > len(self._wanted) + len(outcome.kept) and outcome.asked
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
        if draft != inventory or self._step.unsaved:
            await self._context.inventories.write(draft)
            self._state.inventory = draft
            self._step.unsaved = False
        self._plan_next_look(outcome)
        if outcome.done and not self._settled:
            self._applied()

    def _plan_next_look(self, outcome: Outcome) -> None:
        """See to it that what is not gone yet is looked at again; an approval or a new owner wakes by itself."""
        if not outcome.failures and not outcome.leaving:
            self._prune_attempts, self._prune_at = 0, 0.0
            return
        self._prune_attempts = 0 if outcome.dropped else self._prune_attempts + 1
        longest = self.workload.options.retry_interval
        self._prune_at = time.monotonic() + next_look(outcome.failures, self._prune_attempts, longest)

    def _applied(self) -> None:
        self._settled = True
        for identity in self._wanted:
            self._judge(identity, self._context.live.get(identity))
        _log.info("event=Applied workload=%s objects=%d", self.workload.id, len(self._wanted))
        if span := self._spans.pop("apply", None):
            span.end()
            self._begin("healthy")
            message = _applied(len(self._wanted))
            self._context.report.event("Applied", message, self.workload.id)
        self._context.fleet.changed()

    async def _save(self) -> None:
        """Write down what was applied so far, without calling it the whole."""
        draft = replace(self._state.inventory)
        await self._context.inventories.write(draft)
        self._state.inventory = draft
        self._step.unsaved = False

    # -- waiting

    async def _pause(self) -> None:
        """Wait until something happens or is due."""
        deadlines = list(self._due.values())
        if self._prune_at:
            deadlines.append(self._prune_at)
        if self._unhealthy_since is not None:
            deadline = self._unhealthy_since + self.workload.options.timeout
            if deadline > time.monotonic():
                deadlines.append(deadline)
        timeout = max(0.0, min(deadlines) - time.monotonic()) if deadlines else None
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
            while reason := await self._context.fleet.waits_for(self.workload):
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
        fleet, live = self._context.fleet, self._context.live
        for entry in self.workload.entries:
            known = live.get(entry.id)
            if known is not None and entry.id in self._wanted and known.rule != fleet.rule_of(entry.id):
                await self._context.objects.look(entry.id, entry.version)

    async def _held(self, hold: Hold) -> None:
        """Leave it to the one who applies it, having given back what there is of it if that is asked for."""
        self._publish(Verdict(standing.FALSE, "AppliedByFlux", hold.reason))
        if hold.release:
            await released(self._context, self._state, hold)
            self._publish(Verdict(standing.FALSE, "AppliedByFlux", hold.reason))
            self._context.fleet.changed()
        await asyncio.Event().wait()

    async def _suspended(self) -> None:
        """Do nothing, and see to it that this is remembered should the workload leave the bundle."""
        self._context.fleet.changed()
        while self._state.inventory.items and not self._state.inventory.suspend:
            draft = replace(self._state.inventory, suspend=True)
            try:
                await self._context.inventories.write(draft)
                self._state.inventory = draft
            except KubernetesError as error:
                _log.warning("event=suspend-not-recorded workload=%s error=%r", self.workload.id, str(error))
                await asyncio.sleep(_LONGEST_OUTAGE_PAUSE_SECONDS)
        known = self._state.standing.conditions.get("Ready")
        verdict = Verdict(standing.UNKNOWN, "Suspended", "reconciliation is suspended")
        self._publish(Verdict(known.status, known.reason, known.message) if known else verdict)
        await asyncio.Event().wait()

    # -- health

    @property
    def _gated(self) -> bool:
        """Return whether Ready asks for health."""
        return self.workload.options.wait or bool(self.workload.options.health_checks)

    def _judge(self, identity: ObjectId, live: Live | None) -> None:
        if identity in self._state.expired or (live is not None and live.left_alone):
            health = None
        elif live is None:
            health = _NOT_FOUND if self._step.applied(identity) else None
        else:
            health = live.health if live.health.status is not HealthStatus.CURRENT else None
        self._step.notice(identity)
        self._context.inquiries.noted(identity, health, self._context.client)
        if health is None:
            self._unhealthy.pop(identity, None)
        else:
            self._unhealthy[identity] = self._context.inquiries.explained(identity, health)

    def _in_question(self) -> dict[ObjectId, Health]:
        """Return the unhealthy ones of those objects whose health counts: all, or those that healthChecks names."""
        outside = self._outside.unhealthy()
        if self.workload.options.wait or not self.workload.options.health_checks:
            return {**self._unhealthy, **outside}
        named = checked(self.workload.options)
        return {**{i: health for i, health in self._unhealthy.items() if i in named}, **outside}

    def _health_verdict(self) -> Verdict:
        if not self._settled and self._pruned.done:
            return Verdict(standing.UNKNOWN, "Progressing", "not applied yet")
        bad = self._in_question()
        options, now = self.workload.options, time.monotonic()
        if not bad:
            self._unhealthy_since = None
        elif self._unhealthy_since is None:
            self._unhealthy_since = now
        overdue = self._unhealthy_since is not None and now >= self._unhealthy_since + options.timeout
        counted = len(options.health_checks) if options.health_checks and not options.wait else len(self._wanted)
        verdict = standing.healthy(bad.items(), counted, overdue=overdue, timeout=options.timeout)
        if (
            verdict.status == standing.TRUE
            and self._settled
            and self._state.standing.healthy_digest != self.workload.digest
        ):
            self._state.standing.healthy_digest = self.workload.digest
            self._state.standing.healthy_at = time.time()
            if span := self._spans.pop("healthy", None):
                span.end()
            self._context.fleet.changed()
        return verdict

    def _ready_verdict(self) -> Verdict:
        failures = self._step.failures | self._pruned.failures | self._claimed_elsewhere()
        if self._trouble:
            return Verdict(standing.FALSE, "ReconciliationFailed", self._trouble)
        if failures:
            return standing.ready_while_failing(failures, len(self.workload.entries), len(self._step.held))
        if verdict := self._pruned.verdict():
            return verdict
        if not self._settled:
            return Verdict(standing.UNKNOWN, "Progressing", "reconciliation in progress")
        health = self._health_verdict()
        good = Verdict(standing.TRUE, "ReconciliationSucceeded", _applied(len(self._wanted)))
        if not self._gated or health.status == standing.TRUE:
            return good
        was_healthy = self._state.standing.healthy_digest == self.workload.digest
        return good if was_healthy and health.status == standing.UNKNOWN else health

    def _claimed_elsewhere(self) -> dict[ObjectId, Failure]:
        claims = self._context.fleet.claims
        return {
            identity: Failure(
                "ApplyFailed", f"{claims[identity]} wants this object too, and comes first: remove it from one"
            )
            for identity in self._foreign
            if identity in claims
        }

    # -- telling

    def _begin(self, step: str) -> None:
        self._spans[step] = self._context.tracer.start(
            step,
            parent=self._delivery.traceparent,
            attributes={"felloe.workload": str(self.workload.id), "felloe.objects": len(self._wanted)},
        )

    def _publish(self, ready: Verdict) -> None:
        now, known, inventory = time.time(), self._state.standing, self._state.inventory
        known.received_at = self._delivery.received_at
        before = known.conditions.get("Ready")
        known.set("Ready", ready, now)
        if not self.workload.options.suspend:
            known.set("Healthy", self._health_verdict(), now)
        failures = self._step.failures | self._pruned.failures | self._claimed_elsewhere()
        message = standing.status(
            known,
            digest=self.workload.digest,
            applied_digest=inventory.applied_digest,
            applied_at=inventory.applied_at,
            objects=len(inventory.items),
            troubles=standing.problems(
                self._step.drifts | failures | self._pruned.kept, {**self._unhealthy, **self._outside.unhealthy()}
            ),
            pending=self._pruned.pending,
        )
        if (data := message.SerializeToString(deterministic=True)) != self._last:
            self._last = data
            self._context.report.workload(message)
            self._context.fleet.told(self.workload.id)
        if before is None or (before.status, before.reason) != (ready.status, ready.reason):
            _log.info("event=Ready workload=%s status=%s reason=%s", self.workload.id, ready.status, ready.reason)


def _applied(objects: int) -> str:
    return f"applied {objects} object{'' if objects == 1 else 's'}"
