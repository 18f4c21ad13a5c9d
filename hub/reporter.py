"""Reporting: what the link hears and planning decides, as resources on the board for the API to show.

One cluster's change rebuilds that cluster's resources, and at most once for all that came in together.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Literal

from felloe.bundle import Workload, workload_id_from_proto
from felloe.digest import Digest
from felloe.errors import StoreError
from felloe.identity import WorkloadId
from felloe.v1 import link_pb2, status_pb2
from hub.deliveries import Deliveries
from hub.members import environment_facts, placement_facts, shown_condition, source_facts
from hub.metrics import HubMetrics
from hub.planner import Plans
from hub.sources.follow import SourceState
from hub.status.board import Board
from hub.status.clusters import build_cluster
from hub.status.events import EventLog, event_from_proto
from hub.status.facts import ClusterFacts, Condition, Connection, EventFacts, WorkloadFacts
from hub.status.members import build_environment, build_placement, build_source
from hub.status.resource import Collection
from hub.status.revisions import Revisions
from hub.store import Cluster, Store
from hub.targeting import ClusterPlan, WorkloadPlan

log = logging.getLogger(__name__)


class Reporter:
    """Keeps the board. It is the link's listener; `show` is to be called after each round of planning."""

    def __init__(
        self,
        plans: Plans,
        store: Store,
        board: Board,
        events: EventLog,
        deliveries: Deliveries,
        metrics: HubMetrics,
    ) -> None:
        self._plans = plans
        self._store = store
        self._board = board
        self._events = events
        self._deliveries = deliveries
        self._metrics = metrics
        self.on_lack: Callable[[str], None] = lambda cluster: None
        """Called with a cluster that lacks what it should have: it is new, or what it was sent could not be read."""
        self._connections: dict[str, Connection] = {}
        self._reported: dict[str, status_pb2.ClusterStatus] = {}
        self._roots: Revisions[str] = Revisions()
        self._digests: Revisions[tuple[str, WorkloadId]] = Revisions()
        self._problems: dict[str, str] = {}
        self._stale: set[str] = set()
        self._due = asyncio.Event()

    def recall(self) -> None:
        """Take up what the spokes had said before this start."""
        for record in self._store.statuses():
            self._reported[record.cluster] = status_pb2.ClusterStatus.FromString(record.status)
            self._connections[record.cluster] = Connection(False, datetime.fromtimestamp(record.at, UTC))

    async def run(self, sources: Callable[[], Iterable[SourceState]]) -> None:
        """Show what changed, until cancelled; `sources` are the states of all sources as they are then."""
        while True:
            await self._due.wait()
            self._due.clear()
            stale, self._stale = self._stale, set()
            now = datetime.now(UTC)
            for name in sorted(stale):
                self._show_cluster(name, now)
            self._show_members(sources(), now)
            self._metrics.spokes_connected(sum(one.connected for one in self._connections.values()))
            self._metrics.workloads(posted.resource for posted in self._board.list(Collection.WORKLOADS))

    # -- the link's listener

    def connected(self, cluster: str, hello: link_pb2.Hello) -> None:
        """Take note of a spoke."""
        self._connections[cluster] = Connection(True, datetime.now(UTC), hello.spoke_version)
        self.event(cluster, "Normal", "Connected", f"the spoke is connected (version {hello.spoke_version})")
        if self._store.desired(cluster) is None:
            self.on_lack(cluster)
        self._show(cluster)

    def disconnected(self, cluster: str) -> None:
        """Take note that a spoke is gone."""
        before = self._connections.get(cluster, Connection())
        self._connections[cluster] = Connection(False, datetime.now(UTC), before.spoke_version)
        self.event(cluster, "Warning", "Disconnected", "the spoke is not connected any more")
        self._show(cluster)

    def status(self, cluster: str, status: status_pb2.ClusterStatus) -> None:
        """Take what a spoke says of its cluster."""
        for event in status.events:
            self._events.add(event_from_proto(cluster, event))
        whole = merged(self._reported.get(cluster), status)
        self._reported[cluster] = whole
        try:
            self._store.save_status(cluster, whole.SerializeToString(), time.time())
        except StoreError as error:
            log.warning("can't keep the status of %s: %s", cluster, error)
        self._progress(cluster, whole)
        self._show(cluster)

    def delivered(self, cluster: str, generation: int, root: Digest) -> None:
        """Take note that a spoke holds a bundle."""
        self._problems.pop(cluster, None)
        self._deliveries.reached(cluster, root, "acked")
        self._show(cluster)

    def refused(self, cluster: str, nack: link_pb2.Nack) -> None:
        """Take note that a spoke can't take a bundle."""
        self._problems[cluster] = nack.message
        self._deliveries.refused(cluster, nack.message)
        self.event(cluster, "Warning", "BundleRefused", nack.message)
        self._show(cluster)

    def event(self, cluster: str, type_: str, reason: str, message: str) -> None:
        """Take an event of the hub's own; `cluster` is empty where it concerns none."""
        if reason == "DeliveryFailed":
            self.on_lack(cluster)
        kind: Literal["Normal", "Warning"] = "Warning" if type_ == "Warning" else "Normal"
        self._events.add(EventFacts(datetime.now(UTC), kind, reason, message, cluster))

    # -- the board

    def show(self) -> None:
        """Show everything anew: a round of planning has ended."""
        self._stale |= self._plans.clusters.keys() | self._connections.keys()
        self._stale |= {posted.resource.name for posted in self._board.list(Collection.CLUSTERS)}
        self._stale |= {cluster.name for cluster in self._store.clusters()}
        self._due.set()

    def _show(self, cluster: str) -> None:
        self._stale.add(cluster)
        self._due.set()

    def _progress(self, cluster: str, status: status_pb2.ClusterStatus) -> None:
        """Tell the delivery how far the cluster has come, by what it says of the desired digests."""
        plan = self._plans.clusters.get(cluster)
        if plan is None or status.root != plan.bundle.root:
            return
        wanted = {workload.id: workload.digest for workload in plan.bundle.workloads if not workload.options.suspend}
        said = {workload_id_from_proto(one.id): one for one in status.workloads}
        if all(identity in said and said[identity].applied_digest == digest for identity, digest in wanted.items()):
            self._deliveries.reached(cluster, plan.bundle.root, "applied")
            if all(said[identity].healthy_digest == digest for identity, digest in wanted.items()):
                self._deliveries.reached(cluster, plan.bundle.root, "healthy")

    def _show_cluster(self, name: str, now: datetime) -> None:
        member = self._store.cluster(name)
        plan = self._plans.clusters.get(name)
        if plan is None and (member is None or member.revoked):
            self._board.withdraw_cluster(name)
            self._reported.pop(name, None)
            return
        facts = self._cluster_facts(name, plan, member)
        view = build_cluster(facts, self._board.of_cluster(name), now)
        self._board.replace_cluster(view.cluster, view.workloads)

    def _cluster_facts(self, name: str, plan: ClusterPlan | None, member: Cluster | None) -> ClusterFacts:
        plans = self._plans
        desired = self._store.desired(name)
        revision = desired.revision if desired else ""
        if plan is not None and revision:
            self._roots.note(name, plan.bundle.root, revision)
            for each in plan.workloads:
                if each.revision and each.id in plan.bundle.by_id:
                    self._digests.note((name, each.id), plan.bundle.by_id[each.id].digest, each.revision)
        declared = plans.fleet.clusters.get(name) if plans.fleet else None
        return ClusterFacts(
            name=name,
            labels=plan.labels if plan else (member.labels if member else {}),
            environment=plan.environment if plan else "",
            sync_path=declared.sync_path or "" if declared else "",
            variables=plan.variables if plan else {},
            paused=plan.paused if plan else False,
            declared=declared is not None,
            joined=member is not None and not member.revoked,
            root=plan.bundle.root if plan and desired else None,
            generation=desired.generation if desired else 0,
            revision=revision,
            attempted_revision=plans.attempted,
            workloads=tuple(self._workload_facts(name, plan, each) for each in plan.workloads) if plan else (),
            conditions=self._conditions(name, plan),
            connection=self._connections.get(name, Connection()),
            reported=self._reported.get(name),
            known_revisions=self._roots.known(name),
        )

    def _conditions(self, name: str, plan: ClusterPlan | None) -> tuple[Condition, ...]:
        own = [shown_condition(each) for each in plan.conditions] if plan else []
        if self._plans.problem:
            own.append(Condition("Ready", "False", "FleetNotLoaded", self._plans.problem))
        if name in self._problems:
            own.append(Condition("Ready", "False", "BundleRefused", self._problems[name]))
        if plan is not None and plan.paused:
            own.append(Condition("Paused", "True", "Paused", "spec.paused: it keeps the bundle that it has"))
        return tuple(own)

    def _workload_facts(self, cluster: str, plan: ClusterPlan, each: WorkloadPlan) -> WorkloadFacts:
        workload: Workload | None = plan.bundle.by_id.get(each.id)
        return WorkloadFacts(
            id=each.id,
            digest=workload.digest if workload else None,
            revision=each.revision,
            attempted_revision=each.attempted,
            source=each.source,
            path=each.path,
            origin=each.origin,
            parent=each.parent,
            suspended=workload.options.suspend if workload else each.suspend,
            kept_previous=each.kept_previous,
            depends_on=workload.options.depends_on if workload else (),
            conditions=tuple(shown_condition(own) for own in each.conditions),
            notes=each.notes,
            known_revisions=self._digests.known((cluster, each.id)),
        )

    def _show_members(self, states: Iterable[SourceState], now: datetime) -> None:
        """Show sources, environments and placements."""
        board, plans = self._board, self._plans
        clusters = {posted.resource.name: posted.resource for posted in board.list(Collection.CLUSTERS)}
        before = {kind: board.resources(kind) for kind in Collection}
        board.replace(
            Collection.SOURCES,
            [build_source(facts, before[Collection.SOURCES], now) for facts in source_facts(states, plans.sources)],
        )
        if plans.fleet is None:
            return
        board.replace(
            Collection.ENVIRONMENTS,
            [
                build_environment(facts, clusters, before[Collection.ENVIRONMENTS], now)
                for facts in environment_facts(plans.fleet, plans.clusters)
            ],
        )
        board.replace(
            Collection.PLACEMENTS,
            [
                build_placement(facts, clusters, before[Collection.PLACEMENTS], now)
                for facts in placement_facts(plans.fleet, plans.clusters)
            ],
        )


def merged(before: status_pb2.ClusterStatus | None, status: status_pb2.ClusterStatus) -> status_pb2.ClusterStatus:
    """Return the whole status that a delta makes of what was known; events are no part of it."""
    whole = status_pb2.ClusterStatus()
    whole.CopyFrom(status)
    whole.ClearField("events")
    whole.ClearField("removed")
    if not status.full and before is not None:
        said = {workload_id_from_proto(one.id) for one in status.workloads}
        gone = {workload_id_from_proto(one) for one in status.removed}
        whole.workloads.extend(one for one in before.workloads if workload_id_from_proto(one.id) not in said | gone)
        whole.facts.clear()
        whole.facts.update({**before.facts, **status.facts})
    whole.full = True
    return whole
