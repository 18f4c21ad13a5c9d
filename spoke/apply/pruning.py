"""Deletes what a workload left behind, stage by stage, and only what still carries its labels.

A stage begins when all of the one before is gone: a custom resource goes before the controller that its finalizer waits
for, what is in a namespace before the namespace. Nothing here waits: `prune` makes one pass and is called again.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

from felloe.errors import KubernetesError
from felloe.identity import ObjectId
from spoke.apply.concurrency import bounded
from spoke.apply.context import Context
from spoke.apply.deletion import Leaving, Pruned, Refused
from spoke.apply.guard import Pending, pending
from spoke.apply.inventory import Parting
from spoke.apply.plan import Leftovers
from spoke.apply.standing import FALSE, UNKNOWN, Failure, Verdict
from spoke.apply.state import State
from spoke.kube.errors import FORBIDDEN, UnreachableError, no_request_succeeds

_NAMED_AT_MOST: Final = 20
_NAMED_LEAVING: Final = 3
_NAMED_WHEN_KEPT: Final = 5
_OF_ANOTHER_HUB: Final = Failure(
    "InventoryOfAnotherHub",
    "left by the hub that had this cluster before, and not wanted by this one: to delete all such objects, restart the"
    " spoke with --prune-former-hub (chart: pruneFormerHub); to keep it, put it into Git",
)
_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_LOOK_SECONDS: Final = 5.0
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Outcome:
    """What one pass came to.

    `dropped` need not be in the inventory any more; `failures` says what could not be deleted, and why, or is on its
    way for longer than it may be; `leaving` is being deleted. `pending` waits for a person, and nothing was deleted.
    `lingering` is gone, or somebody else's, and may be ours again by a request of before (spoke.apply.latecomers), or
    is wanted under another name, which nothing has written down yet: it is looked for.
    `asked`: the deletion of everything has been asked for; what is left is for the cluster to finish.
    `kept` is what an earlier hub applied, and what nobody has allowed to be deleted.
    """

    dropped: set[ObjectId] = field(default_factory=set)
    failures: dict[ObjectId, Failure] = field(default_factory=dict)
    kept: dict[ObjectId, Failure] = field(default_factory=dict)
    leaving: dict[ObjectId, Leaving] = field(default_factory=dict)
    lingering: set[ObjectId] = field(default_factory=set)
    pending: Pending | None = None
    asked: bool = True

    @property
    def done(self) -> bool:
        """Return whether there is nothing more to do."""
        return self.asked and not self.failures and self.pending is None

    def verdict(self) -> Verdict | None:
        """Return what Ready has to say of it, None where nothing is in the way; failures apart."""
        if self.pending:
            return Verdict(FALSE, "PruneNeedsApproval", self.pending.message)
        if self.asked or not self.leaving:
            return None
        named = [f"{identity} {self.leaving[identity]}" for identity in sorted(self.leaving)[:_NAMED_LEAVING]]
        more = len(self.leaving) - _NAMED_LEAVING
        message = "; ".join(named) + (f"; and {more} more" if more > 0 else "")
        return Verdict(UNKNOWN, "Progressing", f"the rest is deleted when these are gone: {message}")


async def prune(
    context: Context, state: State, left: Leftovers, wanted: Collection[ObjectId], parting: Parting, hub: bytes
) -> Outcome:
    """Do once what was decided about a workload's leftovers under the bundle of `hub`.

    Raise UnreachableError where the API server is away.
    """
    outcome = Outcome(lingering={identity for identity in left.released if context.latecomers.let_go(identity)})
    outcome.dropped = {*left.released} - outcome.lingering
    if state.inventory.origin.foreign_to(hub) and not context.prune_former_hub:
        outcome.kept = {identity: _OF_ANOTHER_HUB for stage in left.prune for identity in stage}
        _tell_kept(context, state, outcome.kept)
        return outcome
    outcome.pending = await _approval(context, state, left, wanted, parting)
    if outcome.pending:
        outcome.asked = False
        return outcome
    if left.prune:
        await _doom(context, state, left)
        await context.record.recorded()
    told: list[tuple[ObjectId, Pruned]] = []
    try:
        for number, stage in enumerate(left.prune):
            await _stage(context, state, stage, parting, outcome, told)
            if (outcome.failures or outcome.leaving) and number < len(left.prune) - 1:
                outcome.asked = False
                break  # what is of an earlier wave may be what these need to go away
    finally:
        _tell(context, state, told)
    _tell_overdue(context, state, outcome, parting)
    return outcome


async def _approval(
    context: Context, state: State, left: Leftovers, wanted: Collection[ObjectId], parting: Parting
) -> Pending | None:
    """Return the deletion that a person has yet to approve; one that was approved is written down before it begins."""
    doomed = {identity for stage in left.prune for identity in stage}
    found = pending(state.inventory, doomed, wanted, parting.prune_limit)
    if found is None:
        return None
    if found.name not in context.peers.approved_prunes:
        if state.asked_about != found.name:
            state.asked_about = found.name
            _log.warning("event=PruneNeedsApproval workload=%s objects=%d", state.inventory.id, len(found.objects))
            context.report.event("PruneNeedsApproval", found.message, state.inventory.id, warning=True)
        return found
    items = dict(state.inventory.items)
    items.update((identity, replace(items[identity], settled=False)) for identity in found.objects)
    draft = replace(state.inventory, items=items)
    await context.inventories.write(draft)
    state.inventory = draft
    _log.info("event=PruneApproved workload=%s objects=%d", state.inventory.id, len(found.objects))
    return None


async def _doom(context: Context, state: State, left: Leftovers) -> None:
    """Write down what is about to be deleted, so that a spoke that wants it again knows that this may be under way."""
    known = state.inventory.items
    doomed = [i for stage in left.prune for i in stage if known[i].applied and known[i].fingerprint]
    if doomed:
        draft = replace(state.inventory, items=known | {i: replace(known[i], applied=b"") for i in doomed})
        await context.inventories.write(draft)
        state.inventory = draft


async def _stage(
    context: Context,
    state: State,
    stage: Collection[ObjectId],
    parting: Parting,
    outcome: Outcome,
    told: list[tuple[ObjectId, Pruned]],
) -> None:
    items, workload, inherited = state.inventory.items, state.inventory.id, state.inventory.inherited
    twins = _twins(stage, context.peers.claims)

    async def one(identity: ObjectId) -> None:
        twin = twins.get(identity)
        try:
            kept = await context.objects.uid(twin) if twin else ""
            became = await context.objects.prune(
                identity, items[identity].version, workload, inherited, kept, force=parting.force_prune
            )
        except KubernetesError as error:
            if no_request_succeeds(error):
                raise UnreachableError(str(error)) from error
            if error.status == FORBIDDEN and not (items[identity].known or await _is_there(context, state, identity)):
                # It was refused when it was to be applied, and is refused now: it never got into the cluster.
                (outcome.lingering if context.latecomers.expected(identity) else outcome.dropped).add(identity)
            else:
                outcome.failures[identity] = Failure("PruneFailed", str(error))
            return
        if isinstance(became, Leaving):
            outcome.leaving[identity] = became
        elif isinstance(became, Refused):
            outcome.failures[identity] = Failure("PruneFailed", became.why)
        elif became is Pruned.WANTED and twin and not context.peers.recorded(twin):
            outcome.lingering.add(identity)  # until that one is written down
        else:
            if became is Pruned.GONE and identity not in state.leaving:
                context.latecomers.from_before([identity])
            ended = became in (Pruned.GONE, Pruned.DELETED, Pruned.NOT_OURS)
            late = ended and context.latecomers.let_go(identity)
            (outcome.lingering if late else outcome.dropped).add(identity)
            _log.debug("event=Pruned workload=%s object=%r became=%r", workload, str(identity), became.value)
            if became is Pruned.NOT_OURS and late:
                return  # it is told when that is for good
            if became is not Pruned.GONE or identity in state.leaving:
                told.append((identity, Pruned.DELETED if became is Pruned.GONE else became))

    await bounded(one, stage)


async def _is_there(context: Context, state: State, identity: ObjectId) -> bool:
    """Return whether an object that may not be deleted was made all the same, while we may have been cut short."""
    inventory = state.inventory
    return await context.objects.is_ours(identity, inventory.items[identity].version, inventory.id)


def _twins(stage: Collection[ObjectId], claims: Collection[ObjectId]) -> Mapping[ObjectId, ObjectId]:
    """Return what is wanted under the same name in another API group: where both are served, it may be the same object.

    So an Ingress moved from extensions to networking.k8s.io, and OpenShift serves every role in two groups.
    """
    doomed = {identity[1:]: identity for identity in stage}
    return {doomed[wanted[1:]]: wanted for wanted in claims if wanted[1:] in doomed}


def _tell_kept(context: Context, state: State, kept: Mapping[ObjectId, Failure]) -> None:
    """Tell once that objects of an earlier hub were not deleted."""
    if kept.keys() == state.kept:
        return
    state.kept = frozenset(kept)
    if kept:
        named = ", ".join(str(identity) for identity in sorted(kept)[:_NAMED_WHEN_KEPT])
        more = f" and {len(kept) - _NAMED_WHEN_KEPT} more" if len(kept) > _NAMED_WHEN_KEPT else ""
        message = f"{named}{more}: {_OF_ANOTHER_HUB.message}"
        _log.warning("event=%s workload=%s objects=%d", _OF_ANOTHER_HUB.reason, state.inventory.id, len(kept))
        context.report.event(_OF_ANOTHER_HUB.reason, message, state.inventory.id, warning=True)


def _tell(context: Context, state: State, told: list[tuple[ObjectId, Pruned]]) -> None:
    """Tell what became of each object; of many that were deleted, how many, so that they crowd out no other event."""
    workload = state.inventory.id
    deleted = sum(became is Pruned.DELETED for _, became in told)
    if deleted:
        _log.info("event=Pruned workload=%s objects=%d", workload, deleted)
    for identity, became in told:
        if became is not Pruned.DELETED or deleted <= _NAMED_AT_MOST:
            context.report.event("Pruned", f"{identity} {became.value}", workload, identity)
    if deleted > _NAMED_AT_MOST:
        context.report.event("Pruned", f"{deleted} objects deleted", workload)


def _tell_overdue(context: Context, state: State, outcome: Outcome, parting: Parting) -> None:
    """Make failures of what is on its way for longer than the workload's timeout, and tell each of them once."""
    now, workload = datetime.now(UTC), state.inventory.id
    known, state.leaving = state.leaving, dict.fromkeys(outcome.leaving, False)
    for identity, leaving in sorted(outcome.leaving.items()):
        if (now - leaving.since).total_seconds() < parting.timeout:
            continue
        message = f"{leaving}; {_way_out(identity, leaving)}"
        outcome.failures[identity] = Failure("Terminating", message)
        state.leaving[identity] = True
        if not known.get(identity):
            _log.warning("event=Terminating workload=%s object=%r what=%r", workload, str(identity), message)
            context.report.event("Terminating", f"{identity} {message}", workload, identity, warning=True)


def _way_out(identity: ObjectId, leaving: Leaving) -> str:
    if not leaving.finalizers:
        return "see what is left in it" if identity.kind == "Namespace" else "see why with kubectl describe"
    kind = f"{identity.kind}.{identity.group}" if identity.group else identity.kind
    where = f" -n {identity.namespace}" if identity.namespace else ""
    cut = (
        f'kubectl patch {kind.lower()} {identity.name}{where} --type=merge -p \'{{"metadata":{{"finalizers":null}}}}\''
    )
    return (
        "their controllers have to remove them: see that these run and may reach the object; where one is gone for "
        f"good: {cut}"
    )


def next_look(failures: Mapping[ObjectId, Failure], attempt: int, longest: float) -> float:
    """Return in how many seconds to look again: soon at what is on its way, more and more seldom at what is refused."""
    refused = any(failure.reason != "Terminating" for failure in failures.values())
    return float(min(longest if refused else _LONGEST_LOOK_SECONDS, _FIRST_PAUSE_SECONDS * 2 ** min(attempt, 16)))
