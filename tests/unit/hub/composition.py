"""A hub in the test's own event loop, of its real parts: state, Git over file://, kustomize, planning and reporting.

The API is left out, and so are spokes: what these would say is given to the listener directly.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
from cryptography.hazmat.primitives.asymmetric import ec
from prometheus_client import CollectorRegistry

from felloe.bundle import Workload, workload_id_to_proto
from felloe.identity import WorkloadId
from felloe.jointoken import decode_token
from felloe.tracing import OFF, Tracer
from felloe.v1 import enrolment_pb2, link_pb2, status_pb2
from hub.audit import AuditLog
from hub.gates.asking import Gates
from hub.link.enrolment import Enrolment
from hub.link.server import LinkServer
from hub.metrics import HubMetrics
from hub.pki import Authority, Peer, Role
from hub.planning.commits import TimedGitSources
from hub.planning.comparing import Comparer
from hub.planning.deliveries import Deliveries
from hub.planning.planner import Planner
from hub.planning.plans import Plans, Settings
from hub.promoting.promoter import Promoter
from hub.render.render import Renderer, start_renderer
from hub.render.sandbox import Limits
from hub.reporting.chronicle import RolloutChronicle
from hub.reporting.reporter import Reporter
from hub.rollout.model import Track
from hub.sources.secrets import SecretFolder
from hub.sources.spec import GitRef, GitSpec, SourceKey
from hub.sources.url import UrlRewriter
from hub.status.board import Board
from hub.status.events import EventLog
from hub.status.resource import Collection, Key, Resource
from hub.steward import Steward
from hub.store import Desired, FolderBlobs, SqliteStore
from spoke.keys import make_csr
from tests.servers.git_repo import GitRepo

TRUE = status_pb2.CONDITION_STATUS_TRUE
SYNC = WorkloadId("Kustomization", "flux-system", "flux-system")


class Inside:
    """The parts of one hub; `folder` outlives it."""

    def __init__(self, folder: Path, repository: GitRepo, renderer: Renderer, tracing: Tracer = OFF) -> None:
        self.store = SqliteStore(folder / "hub.db")
        self.blobs = FolderBlobs(folder / "blobs")
        authority = Authority.open(folder / "pki")
        self.enrolment = Enrolment(self.store, authority)
        self.registry = CollectorRegistry()
        metrics = HubMetrics(self.registry)
        self.deliveries = Deliveries(tracing, metrics)
        rewriter = UrlRewriter()
        self.git = TimedGitSources(folder / "git", SecretFolder(), rewriter, metrics)
        self.board, self.events, self.plans = Board(), EventLog(), Plans()
        self.reporter = Reporter(self.plans, self.store, self.board, self.events, self.deliveries, metrics)
        self.link = LinkServer(self.store, self.blobs, authority, self.enrolment, self.reporter)
        self.source = GitSpec("felloe-system", "fleet", repository.url, GitRef(branch="main"), interval=3600.0)
        settings = Settings(self.source, "fleet/", "clusters/${cluster_name}", rewriter.rewrite)
        self.audit = AuditLog(self.store)
        self.promoter = Promoter(self.git, SecretFolder(), lambda _environment: self.planner.advance(), self._pushed)
        self.planner = Planner(
            settings,
            self.git,
            renderer,
            self.store,
            self.blobs,
            self.link,
            self.deliveries,
            tracing,
            metrics,
            self.plans,
            reports=self.reporter,
            gates=Gates(SecretFolder(), self._answered),
            promotions=self.promoter,
            chronicle=RolloutChronicle(self.reporter, self.audit),
            on_round=self.reporter.show,
        )
        self.reporter.on_lack = self.planner.publish_again
        self.reporter.on_membership = self.planner.noticed
        self.reporter.on_progress = self.planner.moved
        self.steward = Steward(
            self.planner,
            self.reporter,
            self.enrolment,
            self.store,
            self.blobs,
            self.board,
            self.events,
            self.source,
            Comparer(self.planner, self.link, self.blobs),
            self.link,
            self.audit,
        )

    def _answered(self, track: Track) -> None:
        self.planner.advance(track)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Inside]:
        try:
            self.planner.recall()
            self.reporter.recall()
            async with asyncio.timeout(60), asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self.planner.run()),
                    group.create_task(self.promoter.run()),
                    group.create_task(self.reporter.run(self.planner.sources.states)),
                ]
                yield self
                for task in tasks:
                    task.cancel()
        finally:
            self.deliveries.close()
            self.git.close()
            self.store.close()

    def join(self, cluster: str, **labels: str) -> None:
        """Make a cluster a member, without the network."""
        token = decode_token(self.enrolment.create_token(cluster, labels, 600.0))
        key = ec.generate_private_key(ec.SECP256R1())
        request = enrolment_pb2.EnrolRequest(token_id=token.id, token_secret=token.secret, csr=make_csr(key))
        self.enrolment.enrol(Peer(Role.BOOTSTRAP, token.id, "", 0.0), request)

    def _pushed(self, url: str) -> None:
        self.planner.sources.announce_url(url)

    async def look(self) -> None:
        """Look at every source now, also at those that this brings to light, and plan with what is there."""
        seen: set[SourceKey] = set()
        while new := {state.key for state in self.planner.sources.states()} - seen:
            for key in sorted(new):
                await self.planner.sources.refresh(key)
            await self.planner.settled()
            seen |= new

    def desired(self, cluster: str) -> Desired:
        found = self.store.desired(cluster)
        assert found is not None
        return found

    def workload(self, cluster: str, workload: WorkloadId = SYNC) -> Workload:
        return self.plans.clusters[cluster].bundle.by_id[workload]

    def objects(self, cluster: str, workload: WorkloadId = SYNC) -> dict[str, object]:
        """Return the data of a workload's ConfigMaps by name, as the blobs have them."""
        found = {}
        for entry in self.workload(cluster, workload).entries:
            blob = self.blobs.get(entry.digest)
            assert blob is not None, entry
            found[entry.id.name] = orjson.loads(blob).get("data")
        return found

    def shown(self, cluster: str) -> Resource:
        posted = self.board.get(Collection.CLUSTERS, Key("", "Cluster", "", cluster))
        assert posted is not None
        return posted.resource

    def connect(self, *clusters: str) -> None:
        """Say that the spokes of clusters have connected."""
        for cluster in clusters:
            self.reporter.connected(cluster, link_pb2.Hello(spoke_version="test"))

    def report(self, cluster: str, *, healthy: bool = True, refused: str = "") -> None:
        """Say what a spoke would that has applied all of the newest bundle, or whose API server `refused` it."""
        plan = self.plans.clusters[cluster]
        said = status_pb2.ClusterStatus(full=True, root=plan.bundle.root)
        for workload in plan.bundle.workloads:
            said.workloads.add(
                id=workload_id_to_proto(workload.id),
                digest=workload.digest,
                applied_digest=b"" if refused else workload.digest,
                healthy_digest=workload.digest if healthy and not refused else b"",
                problem_count=1 if refused else 0,
                conditions=[
                    status_pb2.Condition(
                        type="Ready",
                        status=status_pb2.CONDITION_STATUS_FALSE if refused else TRUE,
                        reason="ReconciliationFailed" if refused else "Succeeded",
                        message=refused,
                    ),
                    status_pb2.Condition(
                        type="Healthy",
                        status=TRUE if healthy else status_pb2.CONDITION_STATUS_FALSE,
                        reason="Healthy" if healthy else "HealthCheckFailed",
                        message="" if healthy else "the pod crashes",
                    ),
                ],
            )
        self.reporter.status(cluster, said)


class World:
    """A fleet repository, and the hubs that are started one after the other on one data folder."""

    def __init__(self, folder: Path, kustomize: Path) -> None:
        self.folder = folder
        self.kustomize = kustomize
        self.repository = GitRepo(folder / "fleet.git")

    @asynccontextmanager
    async def hub(self, *, limits: Limits | None = None, tracing: Tracer = OFF) -> AsyncIterator[Inside]:
        data = self.folder / "data"
        renderer = await start_renderer(data, binary=self.kustomize, limits=limits)
        async with Inside(data, self.repository, renderer, tracing).running() as inside:
            await inside.look()
            yield inside


async def eventually(condition: Callable[[], object], timeout: float = 20.0) -> None:
    async with asyncio.timeout(timeout):
        while not condition():  # noqa: ASYNC110 -- a test asks from outside
            await asyncio.sleep(0.01)
