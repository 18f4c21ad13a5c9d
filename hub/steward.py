"""What people ask of the hub through its API: tokens, a look now, a suspension, what a cluster would get.

A wish about a workload is kept in the store and becomes part of the bundle (level-based): a spoke that is away hears of
it when it comes back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Final

import orjson
from google.protobuf.message import DecodeError

from felloe import queries
from felloe.bundle import Entry, Workload
from felloe.errors import ConfigError, FelloeError, LinkError, SourceError, StoreError
from felloe.identity import WorkloadId
from felloe.k8syaml import JsonValue
from felloe.substitute import substitute
from felloe.v1 import adopt_pb2, diff_pb2
from hub.api.control import IssuedToken, RenderedWorkload
from hub.audit import Action, AuditLog
from hub.fleet.durations import format_duration
from hub.link.enrolment import Enrolment
from hub.link.server import LinkServer
from hub.planning.comparing import Comparer
from hub.planning.forecast import Asked, Forecast, Progress
from hub.planning.planner import Planner
from hub.reporting.reporter import Reporter
from hub.rollout.model import Act, Track
from hub.sources.archive import read_archive
from hub.sources.spec import GitSpec, SourceKey
from hub.status.board import Board
from hub.status.events import EventLog
from hub.store import Approval, Blobs, Mark, Store
from hub.targeting.explaining import Subject
from hub.targeting.facts import with_facts

_ADOPTION_SECONDS: Final = 300.0
_ADOPTIONS: Final = {
    adopt_pb2.FluxAdoption.ACTION_ADOPT: Action.FLUX_ADOPTED,
    adopt_pb2.FluxAdoption.ACTION_UNDO: Action.FLUX_RETURNED,
}


class Steward:
    """The hub, as its API needs it (`hub.api.control.Control`)."""

    def __init__(
        self,
        planner: Planner,
        reporter: Reporter,
        enrolment: Enrolment,
        store: Store,
        blobs: Blobs,
        board: Board,
        events: EventLog,
        fleet_source: GitSpec,
        comparer: Comparer,
        link: LinkServer,
        audit: AuditLog,
    ) -> None:
        self._planner = planner
        self._reporter = reporter
        self._enrolment = enrolment
        self._store = store
        self._blobs = blobs
        self._board = board
        self._events = events
        self._fleet_source = fleet_source
        self._comparer = comparer
        self._link = link
        self._audit = audit
        self._rollouts = planner.steering
        self.listening = False
        """Set once spokes can connect."""

    @property
    def board(self) -> Board:
        """The resources as they are now."""
        return self._board

    @property
    def events(self) -> EventLog:
        """The newest events."""
        return self._events

    def unready(self) -> Sequence[str]:
        """Return what keeps the hub from serving."""
        return () if self.listening else ("the link does not listen yet",)

    async def create_token(self, cluster: str, labels: Mapping[str, str], ttl: timedelta, *, who: str) -> IssuedToken:
        """Make a one-time join token."""
        with self._store.batch():
            self._audit.record(
                who,
                Action.TOKEN_CREATED,
                clusters=[cluster],
                labels=dict(labels),
                ttl=round(ttl.total_seconds()),
            )
            token = self._enrolment.create_token(cluster, labels, ttl.total_seconds())
        good_for = format_duration(ttl.total_seconds())
        self._reporter.event(cluster, "Normal", "TokenCreated", f"a join token was made, good for {good_for}")
        return IssuedToken(token, cluster, datetime.now(UTC) + ttl)

    def subject(self, cluster: str) -> Subject:
        """Return a cluster as explanations need it."""
        plans = self._planner.plans
        if plans.fleet is None:
            raise FelloeError(f"there is no fleet yet: {plans.problem or 'the hub has just started'}")
        member = self._store.cluster(cluster)
        labels = with_facts(member.labels, member.facts) if member is not None and not member.revoked else {}
        return Subject(cluster, labels, plans.fleet, plans.clusters.get(cluster))

    async def render(self, cluster: str, workload: WorkloadId | None) -> Sequence[RenderedWorkload]:
        """Return what a cluster would get: its objects in the order of applying, variables filled in."""
        plan = self._planner.plans.clusters.get(cluster)
        if plan is None:
            raise FelloeError(f"nothing has been planned for cluster {cluster} yet")
        wanted = [each for each in plan.bundle.workloads if workload in (None, each.id)]
        if workload is not None and not wanted:
            known = plan.by_id.get(workload)
            why = "; ".join(each.message for each in known.conditions) if known else ""
            raise FelloeError(f"{workload} has never been rendered for cluster {cluster}{why and f': {why}'}")
        return [
            RenderedWorkload(
                each.id,
                plan.by_id[each.id].revision,
                [self._manifest(each, entry) for entry in sorted(each.entries, key=lambda e: (e.wave, e.id))],
            )
            for each in wanted
        ]

    def _manifest(self, workload: Workload, entry: Entry) -> Mapping[str, object]:
        blob = self._blobs.get(entry.digest)
        if blob is None:
            raise StoreError(f"the content of {entry.id} is not here; it comes back with the next fetch of its source")
        manifest: dict[str, JsonValue] = orjson.loads(blob)
        return substitute(manifest, workload.variables) if entry.template else manifest

    def compare(
        self, cluster: str, workload: str, revision: str
    ) -> AbstractAsyncContextManager[AsyncIterator[diff_pb2.Difference]]:
        """Compare a cluster with what it should be, or would be at a revision."""
        return self._comparer.compare(cluster, workload, revision)

    async def forecast(
        self, revision: str, packed: bytes, selects: Callable[[Mapping[str, str]], bool], cluster: str
    ) -> AsyncIterator[Progress | Forecast]:
        """Tell what a revision of the fleet repository, or a checkout in an archive, would change."""
        forecasts, content = self._planner.forecasts, None
        if not revision:
            content = await asyncio.to_thread(read_archive, packed, forecasts.base().tree)
        async for step in forecasts.make(Asked(selects, revision, content, cluster)):
            yield step

    async def adopt_flux(
        self, cluster: str, asked: adopt_pb2.FluxAdoption, *, who: str, reason: str = ""
    ) -> Sequence[adopt_pb2.FluxAnswer]:
        """Have a cluster's spoke take it over from Flux, or give it back, or say what that would do."""
        action = _ADOPTIONS.get(asked.action)
        if action is None:
            return await self._ask_adoption(cluster, asked)
        number = self._audit.record(who, action, clusters=[cluster], reason=reason, frozen=asked.frozen)
        with self._audit.failing(number, who, [cluster]):
            return await self._ask_adoption(cluster, asked)

    async def _ask_adoption(self, cluster: str, asked: adopt_pb2.FluxAdoption) -> Sequence[adopt_pb2.FluxAnswer]:
        question = asked.SerializeToString()
        try:
            async with self._link.ask(cluster, queries.ADOPT_FLUX, question, timeout=_ADOPTION_SECONDS) as answer:
                return [adopt_pb2.FluxAnswer.FromString(message) async for message in answer]
        except DecodeError as error:
            raise LinkError(
                f"what cluster {cluster} says about its adoption can't be read: update its spoke"
            ) from error

    async def reconcile_source(self, kind: str, namespace: str, name: str, *, who: str) -> str:
        """Look at a source now and plan with what is there; return its revision."""
        self._audit.record(who, Action.SOURCE_RECONCILED, source=f"{kind}/{namespace}/{name}")
        states = await self._planner.refresh(SourceKey(namespace, name))
        if not states:
            raise SourceError(f"{kind} {namespace}/{name} is not followed")
        for state in states:
            if state.error or state.fetched is None:
                raise SourceError(state.error or f"{kind} {namespace}/{name} is suspended and was never fetched")
        await self._planner.settled()
        plans = self._planner.plans
        if plans.problem and any(state.spec == self._fleet_source for state in states):
            raise ConfigError(plans.problem)
        return ", ".join(sorted({state.fetched.revision for state in states if state.fetched}))

    async def reconcile_workload(
        self, workload: WorkloadId, clusters: Collection[str], *, who: str, reason: str = ""
    ) -> None:
        """Have a workload applied again."""
        now = datetime.now(UTC).isoformat()
        with self._store.batch():
            self._acted(who, Action.WORKLOAD_RECONCILED, workload, clusters, reason)
            self._mark(workload, clusters, requested_at=now)
        await self._in_force(clusters)
        self._reporter.asked("ReconcileRequested", "asked to be applied again", workload, clusters)

    async def suspend_workload(
        self, workload: WorkloadId, clusters: Collection[str], *, suspended: bool, who: str, reason: str = ""
    ) -> None:
        """Suspend or resume a workload."""
        action = Action.WORKLOAD_SUSPENDED if suspended else Action.WORKLOAD_RESUMED
        with self._store.batch():
            self._acted(who, action, workload, clusters, reason)
            self._mark(workload, clusters, suspended=suspended)
        await self._in_force(clusters)
        reason, message = ("Suspended", "left as it is until resumed") if suspended else ("Resumed", "goes on")
        self._reporter.asked(reason, message, workload, clusters)

    async def approve_prune(
        self, workload: WorkloadId, cluster: str, prune: str, *, who: str, reason: str = ""
    ) -> None:
        """Let a spoke delete what it asks about."""
        with self._store.batch():
            self._acted(who, Action.PRUNE_APPROVED, workload, [cluster], reason, prune)
            self._store.approve(Approval(cluster, workload, prune, who, datetime.now(UTC).timestamp()))
        self._reporter.asked("PruneApproved", f"{who} approved the deletion {prune}", workload, [cluster])
        await self._in_force([cluster])

    async def act_on_rollout(
        self, track: Track, act: Act, *, who: str, reason: str, stage: str, gate: str, release: int
    ) -> None:
        """Do something to a rollout in the name of a person."""
        await self._rollouts.act(track, act, who=who, reason=reason, stage=stage, gate=gate, release=release)

    async def promote(self, track: Track, revision: str, *, who: str, reason: str, skip_soak: bool = False) -> None:
        """Let a release go on to an environment in the name of a person."""
        await self._rollouts.promote(track, revision, who=who, reason=reason, skip_soak=skip_soak)

    async def revoke_cluster(self, cluster: str, *, who: str, reason: str = "") -> bool:
        """Make every certificate and join token of a cluster worthless, and end its stream."""
        number = self._audit.record(who, Action.CLUSTER_REVOKED, clusters=[cluster], reason=reason)
        with self._audit.failing(number, who, [cluster]):
            member = self._link.revoke(cluster)
        self._reporter.event(cluster, "Warning", "ClusterRevoked", f"{who} revoked the cluster")
        self._planner.noticed(cluster)
        return member

    async def remove_cluster(self, cluster: str, *, who: str, reason: str = "") -> bool:
        """Revoke a cluster and forget it."""
        if self._store.cluster(cluster) is None:
            return False
        number = self._audit.record(who, Action.CLUSTER_REMOVED, clusters=[cluster], reason=reason)
        with self._audit.failing(number, who, [cluster]):
            self._link.remove(cluster)
        self._reporter.event(cluster, "Warning", "ClusterRemoved", f"{who} removed the cluster")
        self._planner.noticed(cluster)
        return True

    def _acted(
        self,
        who: str,
        action: Action,
        workload: WorkloadId,
        clusters: Collection[str],
        reason: str,
        prune: str | None = None,
    ) -> None:
        name = f"{workload.namespace}/{workload.name}"
        self._audit.record(
            who, action, clusters=clusters, reason=reason, workload=name, kind=workload.kind, prune=prune
        )

    def _mark(
        self,
        workload: WorkloadId,
        clusters: Collection[str],
        *,
        suspended: bool | None = None,
        requested_at: str | None = None,
    ) -> None:
        marks = self._store.marks()
        for cluster in clusters:
            before = marks.get((cluster, workload), Mark(workload, cluster))
            self._store.mark(
                Mark(
                    workload,
                    cluster,
                    before.suspended if suspended is None else suspended,
                    before.requested_at if requested_at is None else requested_at,
                )
            )

    async def _in_force(self, clusters: Collection[str]) -> None:
        await self._planner.settled(clusters)
        plans = self._planner.plans
        if plans.fleet is None:
            raise ConfigError(f"it is noted, and comes into force once the fleet repository loads: {plans.problem}")

    async def announce_urls(self, urls: Collection[str], ref: str) -> Sequence[str]:
        """Look at every source with one of these URLs; which ref was pushed is left to the look."""
        found = {key for url in urls for key in self._planner.sources.announce_url(url)}
        return [f"GitRepository/{key}" for key in sorted(found)]
