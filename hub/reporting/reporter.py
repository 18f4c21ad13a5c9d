"""Reporting: what the link hears and planning decides, as resources on the board for the API to show.

One cluster's change rebuilds that cluster's resources, and at most once for all that came in together. What sums up
all clusters (environments, placements, metrics) follows a moment later.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final, Literal

from google.protobuf.message import DecodeError

from felloe.bundle import Workload, workload_id_from_proto
from felloe.digest import Digest
from felloe.errors import StoreError
from felloe.identity import WorkloadId
from felloe.v1 import link_pb2, status_pb2
from hub.metrics import HubMetrics
from hub.planning.deliveries import Deliveries
from hub.planning.plans import Plans
from hub.reporting.approvals import spent
from hub.reporting.happenings import held_events, source_events
from hub.reporting.members import environment_facts, placement_facts, shown_condition, source_facts
from hub.rollout.model import Track
from hub.sources.follow import SourceState
from hub.status.board import Board
from hub.status.clusters import build_cluster
from hub.status.events import EventLog, event_from_proto
from hub.status.facts import ClusterFacts, Condition, Connection, EventFacts, WorkloadFacts
from hub.status.members import build_environment, build_placement, build_source
from hub.status.resource import Collection
from hub.status.revisions import Revisions
from hub.status.rollouts import RolloutFacts, build_rollout, rollout_key
from hub.store import Cluster, Store
from hub.targeting import ClusterPlan, WorkloadPlan
from hub.targeting.facts import with_facts
from hub.targeting.plan import SYNC_ORIGIN
from hub.targeting.roots import SYNC_ROOT

log = logging.getLogger(__name__)

_SUMMARY_SECONDS: Final = 60.0
"""How often sources, environments, placements and metrics are shown anew though no cluster changed."""
_LEAST_PAUSE: Final = 0.05
_PAUSE_SHARE: Final = 9
MAX_STATUS: Final = 32 * 1024 * 1024
"""Bytes that are kept of one cluster's status: many times what ten thousand workloads need."""


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
        self.on_membership: Callable[[str], None] = lambda cluster: None
        """Called with a cluster that connected, left or says something new of itself: it may be new, have other labels,
        or be no member any more."""
        self.on_lack: Callable[[str], None] = lambda cluster: None
        """Called with a cluster that could not be sent what it should have."""
        self.on_progress: Callable[[str], None] = lambda cluster: None
        """Called with a cluster that came or went, or said something of what it has."""
        self._connections: dict[str, Connection] = {}
        self._refusals: dict[str, tuple[Digest, str]] = {}
        self._reported: dict[str, status_pb2.ClusterStatus] = {}
        self._roots: Revisions[str] = Revisions()
        self._digests: Revisions[tuple[str, WorkloadId]] = Revisions()
        self._settled: dict[str, Digest] = {}
        """The root with which each cluster was last seen healthy, as far as this hub has told the history."""
        self._stale: set[str] = set()
        self._due = asyncio.Event()
        self._summary_due = asyncio.Event()

    def recall(self) -> None:
        """Take up what the spokes had said before this start. Raise StoreError where that can't be read."""
        for member in self._store.clusters():
            if member.last_seen is not None and not member.revoked:
                self._connections[member.name] = Connection(False, datetime.fromtimestamp(member.last_seen, UTC))
            self._show(member.name)
        for desired in self._store.all_desired():
            if desired.refusal:
                self._refusals[desired.cluster] = (desired.root, desired.refusal)
        for record in self._store.statuses():
            with suppress(DecodeError):  # the spoke says all of it again
                self._reported[record.cluster] = status_pb2.ClusterStatus.FromString(record.status)

    async def run(self, sources: Callable[[], Sequence[SourceState]]) -> None:
        """Show what changed, until cancelled; `sources` are the states of all sources as they are then."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_summary(sources), name="summary")
            while True:
                await self._due.wait()
                self._due.clear()
                await self._show_stale()

    async def _keep_summary(self, sources: Callable[[], Sequence[SourceState]]) -> None:
        """Show what sums up all clusters, for a small share of the time however many there are."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_SUMMARY_SECONDS):
                    await self._summary_due.wait()
            self._summary_due.clear()
            began = time.monotonic()
            self._show_members(sources(), datetime.now(UTC))
            self._metrics.spokes_connected(sum(one.connected for one in self._connections.values()))
            self._metrics.workloads(posted.resource for posted in self._board.list(Collection.WORKLOADS))
            await asyncio.sleep(max(_LEAST_PAUSE, _PAUSE_SHARE * (time.monotonic() - began)))

    # -- what rollouts go by

    def reported(self, cluster: str) -> status_pb2.ClusterStatus | None:
        """Return the whole last status of a cluster, None where it never said anything."""
        return self._reported.get(cluster)

    def online(self, cluster: str) -> bool:
        """Tell whether a cluster's spoke is connected."""
        connection = self._connections.get(cluster)
        return connection is not None and connection.connected

    def refusal(self, cluster: str) -> str:
        """Return why a cluster's spoke can't take what was published last, empty where it can."""
        plan, (root, message) = self._plans.clusters.get(cluster), self._refusals.get(cluster, (None, ""))
        return message if plan is not None and plan.bundle.root == root else ""

    def rollout_event(self, reason: str, message: str, *, warning: bool) -> None:
        """Take an event of a rollout."""
        self._events.add(EventFacts(datetime.now(UTC), "Warning" if warning else "Normal", reason, message))

    def show_rollouts(self, changed: Iterable[RolloutFacts], tracks: Iterable[Track]) -> None:
        """Show the rollouts that changed; there are no others than those of `tracks`."""
        before, now = self._board.resources(Collection.ROLLOUTS), datetime.now(UTC)
        for facts in changed:
            self._board.post(build_rollout(facts, before.get(rollout_key(facts.track)), now))
        for gone in before.keys() - {rollout_key(track) for track in tracks}:
            self._board.withdraw(Collection.ROLLOUTS, gone)

    # -- the link's listener

    def connected(self, cluster: str, hello: link_pb2.Hello) -> None:
        """Take note of a spoke."""
        self._connections[cluster] = Connection(True, datetime.now(UTC), hello.spoke_version)
        self.event(cluster, "Normal", "Connected", f"the spoke is connected (version {hello.spoke_version})")
        self.on_membership(cluster)
        self.on_progress(cluster)
        self._show(cluster)

    def disconnected(self, cluster: str) -> None:
        """Take note that a spoke is gone."""
        before = self._connections.get(cluster, Connection())
        self._connections[cluster] = Connection(False, datetime.now(UTC), before.spoke_version)
        self.event(cluster, "Warning", "Disconnected", "the spoke is not connected any more")
        self.on_membership(cluster)
        self.on_progress(cluster)
        self._show(cluster)

    def status(self, cluster: str, status: status_pb2.ClusterStatus) -> None:
        """Take what a spoke says of its cluster."""
        for event in status.events:
            try:
                self._events.add(event_from_proto(cluster, event))
            except (ValueError, OverflowError) as error:
                log.warning("an event of %s can't be read: %s", cluster, error)
        whole = merged(self._reported.get(cluster), status)
        if (size := whole.ByteSize()) > MAX_STATUS:  # one spoke must not fill the hub's memory, delta by delta
            log.warning("the status of %s has %d bytes, more than %d: it is left out", cluster, size, MAX_STATUS)
            return
        self._reported[cluster] = whole
        try:
            self._store.save_status(cluster, whole.SerializeToString(), time.time())
        except StoreError as error:
            log.warning("can't keep the status of %s: %s", cluster, error)
        self._forget_approvals(cluster, whole)
        self._progress(cluster, whole)
        self.on_progress(cluster)
        self._show(cluster)

    def _forget_approvals(self, cluster: str, status: status_pb2.ClusterStatus) -> None:
        """Drop the approvals that have done their work; the bundle loses them with its next change."""
        plan = self._plans.clusters.get(cluster)
        if plan is None or not plan.bundle.approved_prunes or status.root != plan.bundle.root:
            return
        try:
            own = [one for one in self._store.approvals() if one.cluster == cluster]
            for approval in spent(own, status, plan.bundle):
                self._store.withdraw(approval)
        except StoreError as error:
            log.warning("can't forget what was approved on %s: %s", cluster, error)

    def learned(self, cluster: str) -> None:
        """Take note that a cluster says something else of itself than before."""
        self.on_membership(cluster)

    def delivered(self, cluster: str, generation: int, root: Digest) -> None:
        """Take note that a spoke holds a bundle."""
        self._deliveries.reached(cluster, root, "acked")
        if self._refusals.pop(cluster, None):
            self.on_progress(cluster)
        self._show(cluster)

    def refused(self, cluster: str, nack: link_pb2.Nack) -> None:
        """Take note that a spoke can't take a bundle; the store keeps why."""
        self._deliveries.refused(cluster, Digest(nack.root), nack.message)
        self._refusals[cluster] = (Digest(nack.root), nack.message)
        self.event(cluster, "Warning", "BundleRefused", nack.message)
        self.on_progress(cluster)
        self._show(cluster)

    def event(self, cluster: str, type_: str, reason: str, message: str) -> None:
        """Take an event of the hub's own; `cluster` is empty where it concerns none."""
        if reason == "DeliveryFailed":
            self.on_lack(cluster)
        kind: Literal["Normal", "Warning"] = "Warning" if type_ == "Warning" else "Normal"
        self._events.add(EventFacts(datetime.now(UTC), kind, reason, message, cluster))

    def asked(self, reason: str, message: str, workload: WorkloadId, clusters: Iterable[str]) -> None:
        """Take an event that people caused on a workload of some clusters."""
        now = datetime.now(UTC)
        self._tell(EventFacts(now, "Normal", reason, message, cluster, workload) for cluster in sorted(clusters))

    def _tell(self, events: Iterable[EventFacts]) -> None:
        for event in events:
            self._events.add(event)

    # -- the board

    async def show(self, sources: Iterable[SourceState], clusters: Iterable[str] | None = None) -> None:
        """Show everything anew, or only some clusters: a round of planning that was about them has ended."""
        if clusters is not None:
            self._stale.update(clusters)
            self._show_sources(sources, datetime.now(UTC))
            await self._show_stale()
            return
        self._stale |= self._plans.clusters.keys() | self._connections.keys() | self._reported.keys()
        self._stale |= {posted.resource.name for posted in self._board.list(Collection.CLUSTERS)}
        try:
            self._stale |= {cluster.name for cluster in self._store.clusters()}
        except StoreError as error:
            log.warning("can't show clusters that are new: %s", error)
        self._show_sources(sources, datetime.now(UTC))
        await self._show_stale()

    def _show(self, cluster: str) -> None:
        self._stale.add(cluster)
        self._due.set()

    def _progress(self, cluster: str, status: status_pb2.ClusterStatus) -> None:
        """Tell the delivery and the history how far the cluster has come, by what it says of the desired digests."""
        plan = self._plans.clusters.get(cluster)
        if plan is None or status.root != plan.bundle.root:
            return
        if self._settled.get(cluster) == plan.bundle.root and not self._deliveries.awaits(cluster, plan.bundle.root):
            return
        wanted = {workload.id: workload.digest for workload in plan.bundle.workloads if not workload.options.suspend}
        said = {workload_id_from_proto(one.id): one for one in status.workloads}
        if all(identity in said and said[identity].applied_digest == digest for identity, digest in wanted.items()):
            self._reached(cluster, plan.bundle.root, "applied")
            if all(said[identity].healthy_digest == digest for identity, digest in wanted.items()):
                self._reached(cluster, plan.bundle.root, "healthy")
                self._settled[cluster] = plan.bundle.root

    def _reached(self, cluster: str, root: Digest, stage: Literal["applied", "healthy"]) -> None:
        self._deliveries.reached(cluster, root, stage)
        try:
            self._store.reached(cluster, root, time.time(), healthy=stage == "healthy")
        except StoreError as error:
            log.warning("can't keep that %s is %s: %s", cluster, stage, error)

    async def _show_stale(self) -> None:
        stale, self._stale = self._stale, set()
        for name in sorted(stale):
            try:
                self._show_cluster(name, datetime.now(UTC))
            except StoreError as error:
                log.warning("can't show cluster %s: %s", name, error)
            except Exception:  # what one spoke says must not stop the others
                log.exception("can't show cluster %s; what its spoke says is left out", name)
                if self._reported.pop(name, None) is not None:
                    self._show(name)
            await asyncio.sleep(0)  # thousands of clusters must not hold up the link
        self._summary_due.set()

    def _show_cluster(self, name: str, now: datetime) -> None:
        member = self._store.cluster(name)
        plan = self._plans.clusters.get(name)
        before = self._board.of_cluster(name)
        joined = member is not None and not member.revoked
        if not joined:
            self._reported.pop(name, None)
            self._connections.pop(name, None)
            self._settled.pop(name, None)
        if plan is None and not joined:
            self._board.withdraw_cluster(name)
            self._roots.forget(name)
            shown: set[WorkloadId] = set()
        else:
            facts = self._cluster_facts(name, plan, member)
            view = build_cluster(facts, before, now)
            self._board.replace_cluster(view.cluster, view.workloads)
            held = {one.id for one in facts.workloads if any(_is_failure(own) for own in one.conditions)}
            self._tell(held_events(before, view.workloads, held, now))
            shown = {WorkloadId(one.kind, one.namespace, one.name) for one in view.workloads}
        for key in before:
            if key.cluster and WorkloadId(*key[1:]) not in shown:
                self._digests.forget((name, WorkloadId(*key[1:])))

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
            labels=plan.labels if plan else (with_facts(member.labels, member.facts) if member else {}),
            environment=plan.environment if plan else "",
            sync_path=_sync_path(plan),
            variables=plan.variables if plan else {},
            paused=plan.paused if plan else False,
            declared=declared is not None,
            joined=member is not None and not member.revoked,
            root=plan.bundle.root if plan and desired else None,
            generation=desired.generation if desired else 0,
            revision=revision,
            attempted_revision=plans.attempted,
            workloads=tuple(self._workload_facts(name, plan, each) for each in plan.workloads) if plan else (),
            conditions=self._conditions(name, plan, desired.refusal if desired else ""),
            connection=self._connections.get(name, Connection()),
            reported=self._reported.get(name),
            known_revisions=self._roots.known(name),
        )

    def _conditions(self, name: str, plan: ClusterPlan | None, refusal: str) -> tuple[Condition, ...]:
        own = [shown_condition(each) for each in plan.conditions] if plan else []
        if self._plans.problem:
            own.append(Condition("Ready", "False", "FleetNotLoaded", self._plans.problem))
        if name in self._plans.troubles:
            own.append(Condition("Ready", "False", "NotPublished", self._plans.troubles[name]))
        if refusal:
            own.append(Condition("Ready", "False", "BundleRefused", refusal))
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
            depends_on=tuple(each.id for each in workload.options.depends_on) if workload else (),
            conditions=tuple(shown_condition(own) for own in each.conditions),
            notes=each.notes,
            known_revisions=self._digests.known((cluster, each.id)),
        )

    def _show_sources(self, states: Iterable[SourceState], now: datetime) -> None:
        before = self._board.resources(Collection.SOURCES)
        facts = source_facts(states, self._plans.sources, self._plans.problem)
        shown = [build_source(each, before, now) for each in facts]
        self._board.replace(Collection.SOURCES, shown)
        self._tell(source_events(before, shown, now))

    def _show_members(self, states: Iterable[SourceState], now: datetime) -> None:
        """Show sources, environments and placements."""
        self._show_sources(states, now)
        board, plans = self._board, self._plans
        if plans.fleet is None:
            return
        clusters = {posted.resource.name: posted.resource for posted in board.list(Collection.CLUSTERS)}
        before = {kind: board.resources(kind) for kind in (Collection.ENVIRONMENTS, Collection.PLACEMENTS)}
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


def _is_failure(condition: Condition) -> bool:
    return condition.type == "Ready" and condition.status == "False"


def _sync_path(plan: ClusterPlan | None) -> str:
    """Return the folder that configures a cluster, whether its Cluster object or ``--sync-path`` names it."""
    root = plan.by_id.get(SYNC_ROOT) if plan else None
    return root.path if root and root.origin == SYNC_ORIGIN else ""


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
