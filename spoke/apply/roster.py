"""The workloads of the cluster: what is known of each, which has which object, and what they ask of each other."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from felloe.bundle import Bundle, Workload
from felloe.identity import ObjectId, WorkloadId
from spoke.apply.dependencies import waits_for
from spoke.apply.hold import Hold
from spoke.apply.plan import claims
from spoke.apply.state import State
from spoke.apply.workload import WorkloadTask
from spoke.drift.live import Changed, LiveObjects
from spoke.health.cel import Cel
from spoke.health.expressions import Evaluations, Rule, rules


@dataclass(slots=True)
class Running:
    """A workload's task, and what it works on; `work` is None for one that is being removed."""

    task: asyncio.Task[None]
    work: WorkloadTask | None
    foreign: frozenset[ObjectId]
    hold: Hold | None


class Roster:
    """What all workloads have and want (spoke.apply.context.Peers), and their objects as they are in the cluster.

    `states` has every workload of which there is an inventory or a task, `running` those with a task, `outdated` those
    that are left alone since they were applied from a newer bundle.
    """

    def __init__(self, touched: Changed, cel: Cel, evaluations: Evaluations) -> None:
        """`touched` is called when an object changed in the cluster."""
        self.states: dict[WorkloadId, State] = {}
        self.running: dict[WorkloadId, Running] = {}
        self.outdated: set[WorkloadId] = set()
        self.live = LiveObjects(
            self._expected, self._left_to_others, touched, self.rule_of, self.judged_whole, evaluations
        )
        self._cel = cel
        self._claims: Mapping[ObjectId, WorkloadId] = {}
        self._ignored: Mapping[ObjectId, tuple[str, ...]] = {}
        self._approved: frozenset[str] = frozenset()
        self._rules: Mapping[tuple[WorkloadId, str, str], Rule] = {}

    def take(self, bundle: Bundle, wanted: Mapping[ObjectId, WorkloadId]) -> None:
        """Go by what a bundle says from now on; `wanted` are its claims."""
        self._claims = wanted
        entries = (entry for workload in bundle.workloads for entry in workload.entries)
        self._ignored = {entry.id: entry.ignore for entry in entries if entry.ignore}
        self._approved = frozenset(bundle.approved_prunes)
        self._rules = {
            (workload.id, rule.group, rule.kind): rule
            for workload in bundle.workloads
            for rule in rules(workload.options.health_check_exprs)
        }

    def claims_of(self, bundle: Bundle) -> Mapping[ObjectId, WorkloadId]:
        """Return which workload of a bundle would have which object."""
        return claims(bundle.workloads, self._has)

    def state(self, identity: WorkloadId) -> State:
        """Return what is known of a workload, known from now on."""
        state = self.states.get(identity)
        if state is None:
            state = self.states[identity] = State.new(identity)
        return state

    def tasks(self) -> Iterator[WorkloadTask]:
        """Return the tasks of the workloads that are in the bundle."""
        return (running.work for running in self.running.values() if running.work is not None)

    def claimant(self, identity: ObjectId) -> WorkloadTask | None:
        """Return the task of the workload that wants an object."""
        claimant = self._claims.get(identity)
        return self._task(claimant) if claimant else None

    # -- what the tasks ask (spoke.apply.context.Peers)

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
        claimant, live = self._claims.get(identity), self.live.get(identity)
        if claimant is None or not self._has(claimant, identity):
            return False
        if identity in self.live.doubtful:
            return False
        item = self.states[claimant].inventory.items[identity]
        return item.left_alone or item.once or (live is not None and live.owner == claimant)

    def made(self, identity: ObjectId) -> bool:
        """Return whether an inventory says that we made an object."""
        items = (state.inventory.items.get(identity) for state in self.states.values())
        return any(item is not None and item.created for item in items)

    async def waits_for(self, workload: Workload) -> str:
        """Return which dependency is not ready and why; empty where all are."""
        if left_alone := next((each.id for each in workload.options.depends_on if each.id in self.outdated), None):
            return f"dependency {left_alone} is not ready"
        waiting = self._task(workload.id)
        return "" if waiting is None else await waits_for(self._cel, waiting, self._task)

    def rule_of(self, identity: ObjectId) -> Rule | None:
        """Return the expressions that an object of the bundle is judged by, None where it is judged by kstatus."""
        if not self._rules or identity not in self._claims:
            return None
        return self._rules.get((self._claims[identity], *identity[:2]))

    def judged_whole(self, group: str, kind: str) -> bool:
        """Return whether there are expressions for a kind, which may ask for anything of its objects."""
        return any((group, kind) == each[1:] for each in self._rules)

    def told(self, identity: WorkloadId) -> None:
        """Wake those that wait for a workload by an expression."""
        for task in self.tasks():
            if task.waits_by_expression_for(identity):
                task.wake()

    def changed(self) -> None:
        """Wake every task."""
        for task in self.tasks():
            task.wake()

    # -- what spoke.drift.live asks

    def _expected(self, identity: ObjectId) -> bytes | None:
        state = self.states.get(self._claims[identity]) if identity in self._claims else None
        item = state.inventory.items.get(identity) if state else None
        return item.fingerprint if item else None

    def _left_to_others(self, identity: ObjectId) -> Sequence[str]:
        return self._ignored.get(identity, ())

    def _has(self, workload: WorkloadId, identity: ObjectId) -> bool:
        state = self.states.get(workload)
        item = state.inventory.items.get(identity) if state else None
        return item is not None and item.known

    def _task(self, identity: WorkloadId) -> WorkloadTask | None:
        running = self.running.get(identity)
        return running.work if running else None
