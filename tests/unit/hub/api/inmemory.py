"""The other side of the API's own `Control` protocol, in memory, served over TLS on loopback."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from collections.abc import Collection as Names
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from prometheus_client import CollectorRegistry

from felloe.errors import ConfigError, FelloeError, SourceError
from felloe.identity import WorkloadId
from felloe.v1 import adopt_pb2, diff_pb2
from hub.api.app import ApiApp
from hub.api.control import IssuedToken, RenderedWorkload
from hub.api.credentials import ApiSecrets, open_secrets, publish_admin
from hub.api.people import People
from hub.api.serve import ApiServer, serve
from hub.audit import AuditLog
from hub.link.queries import AwayError
from hub.metrics import HubMetrics
from hub.planning.forecast import Forecast, Progress
from hub.rollout.model import Act, Track
from hub.status.board import Board
from hub.status.events import EventLog
from hub.status.facts import Condition, EventFacts, SourceFacts
from hub.status.members import build_source
from hub.status.resource import CLUSTER_LABEL, Collection, Resource
from hub.store import SqliteStore
from hub.targeting.explaining import Subject

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
COMMIT = "1234abcd" * 5
REVISION = f"main@sha1:{COMMIT}"
APPS = WorkloadId("Kustomization", "flux-system", "apps")


@dataclass
class InMemoryHub:
    board: Board = field(default_factory=Board)
    events: EventLog = field(default_factory=EventLog)
    calls: list[tuple[object, ...]] = field(default_factory=list)
    told: list[tuple[str, str]] = field(default_factory=list)
    """Who asked for each of the calls that change something, and why."""
    members: tuple[str, ...] = ("dev-1", "prod-1", "prod-2")
    reasons: list[str] = field(default_factory=list)
    source_error: str = ""
    adoption: list[adopt_pb2.FluxAnswer] = field(default_factory=list)
    differences: list[diff_pb2.Difference] = field(default_factory=list)
    diff_error: FelloeError | None = None
    refused: dict[str, str] = field(default_factory=dict)
    """Why a rollout can't be acted on, by its name."""
    forecasts: list[Progress | Forecast | Exception | asyncio.Event] = field(default_factory=list)
    subjects: dict[str, Subject] = field(default_factory=dict)

    def unready(self) -> Sequence[str]:
        return self.reasons

    async def create_token(self, cluster: str, labels: Mapping[str, str], ttl: timedelta, *, who: str) -> IssuedToken:
        self.calls.append(("token", cluster, dict(labels), ttl))
        self.told.append((who, ""))
        return IssuedToken("felloe1.secret", cluster, NOW + ttl)

    def subject(self, cluster: str) -> Subject:
        if cluster not in self.subjects:
            raise FelloeError("there is no fleet yet")
        return self.subjects[cluster]

    async def render(self, cluster: str, workload: WorkloadId | None) -> Sequence[RenderedWorkload]:
        manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": cluster}, "data": {"answer": "y"}}
        return [RenderedWorkload(workload or APPS, REVISION, [manifest])]

    @asynccontextmanager
    async def compare(
        self, cluster: str, workload: str, revision: str
    ) -> AsyncIterator[AsyncIterator[diff_pb2.Difference]]:
        self.calls.append(("diff", cluster, workload, revision))
        if isinstance(self.diff_error, AwayError):
            raise self.diff_error
        try:
            yield self._differences()
        finally:
            self.calls.append(("diff left",))

    async def _differences(self) -> AsyncIterator[diff_pb2.Difference]:
        for difference in self.differences:
            yield difference
        if self.diff_error:
            raise self.diff_error

    async def forecast(
        self, revision: str, packed: bytes, selects: Callable[[Mapping[str, str]], bool], cluster: str
    ) -> AsyncIterator[Progress | Forecast]:
        self.calls.append(("plan", revision, len(packed), cluster))
        for step in self.forecasts:
            if isinstance(step, Exception):
                raise step
            if isinstance(step, asyncio.Event):
                await step.wait()
            else:
                yield step

    async def adopt_flux(
        self, cluster: str, asked: adopt_pb2.FluxAdoption, *, who: str, reason: str = ""
    ) -> Sequence[adopt_pb2.FluxAnswer]:
        self.told.append((who, reason))
        self.calls.append(("adopt", cluster, asked.action, asked.leftovers, asked.frozen))
        if asked.action in (adopt_pb2.FluxAdoption.ACTION_ADOPT, adopt_pb2.FluxAdoption.ACTION_UNDO):
            return [adopt_pb2.FluxAnswer(done="taken over: flux-system/apps")]
        return self.adoption

    async def reconcile_source(self, kind: str, namespace: str, name: str, *, who: str) -> str:
        self.told.append((who, ""))
        self.calls.append(("fetch", kind, namespace, name))
        if self.source_error:
            raise SourceError(self.source_error)
        return REVISION

    async def reconcile_workload(
        self, workload: WorkloadId, clusters: Names[str], *, who: str, reason: str = ""
    ) -> None:
        self.told.append((who, reason))
        self.calls.append(("apply", workload, tuple(clusters)))

    async def suspend_workload(
        self, workload: WorkloadId, clusters: Names[str], *, suspended: bool, who: str, reason: str = ""
    ) -> None:
        self.told.append((who, reason))
        self.calls.append(("suspend" if suspended else "resume", workload, tuple(clusters)))

    async def approve_prune(
        self, workload: WorkloadId, cluster: str, prune: str, *, who: str, reason: str = ""
    ) -> None:
        self.told.append((who, reason))
        self.calls.append(("approve", workload, cluster, prune))

    async def revoke_cluster(self, cluster: str, *, who: str, reason: str = "") -> bool:
        self.told.append((who, reason))
        self.calls.append(("revoke", cluster))
        return cluster in self.members

    async def remove_cluster(self, cluster: str, *, who: str, reason: str = "") -> bool:
        self.told.append((who, reason))
        self.calls.append(("remove", cluster))
        return cluster in self.members

    async def act_on_rollout(
        self, track: Track, act: Act, *, who: str, reason: str, stage: str, gate: str, release: int
    ) -> None:
        if str(track) in self.refused:
            raise ConfigError(self.refused[str(track)])
        self.calls.append((act.value, str(track), who, reason, stage, gate, release))

    async def promote(self, track: Track, revision: str, *, who: str, reason: str, skip_soak: bool = False) -> None:
        self.calls.append(("promote", str(track), revision, who, reason, skip_soak))

    async def announce_urls(self, urls: Names[str], ref: str) -> Sequence[str]:
        self.calls.append(("announce", tuple(urls), ref))
        return ["GitRepository/flux-system/fleet"]


def workload_summary(
    name: str = "apps", *, applied: bool = True, healthy: bool = True, why: str = ""
) -> dict[str, object]:
    return {
        "kind": "Kustomization",
        "namespace": "flux-system",
        "name": name,
        "ready": "True" if healthy else "False" if why else "Unknown",
        "message": why or "Applied revision: main",
        "suspended": False,
        "applied": applied,
        "healthy": healthy,
        "lastAppliedRevision": REVISION if applied else "",
        "lastAttemptedRevision": REVISION,
    }


def cluster(
    name: str,
    *workloads: Mapping[str, object],
    connected: bool = True,
    ready: Condition | None = None,
    revision: str = REVISION,
    **labels: str,
) -> Resource:
    done = all(one["applied"] for one in workloads)
    return Resource(
        Collection.CLUSTERS,
        "Cluster",
        name,
        labels=labels,
        spec={"environment": labels.get("env", ""), "variables": {"region": "eu"}},
        status={
            "connected": connected,
            "connectedSince": "2026-01-02T03:04:05Z",
            "revision": revision if done else "",
            "attemptedRevision": REVISION,
            "root": "aa" * 32 if done else "",
            "desiredRoot": "aa" * 32,
            "workloads": [*workloads],
        },
        conditions=(ready or Condition("Ready", "True", "Applied", f"{len(workloads)} workloads", NOW),),
    )


def workload(on: str, name: str = "apps", namespace: str = "flux-system", **status: object) -> Resource:
    return Resource(
        Collection.WORKLOADS,
        "Kustomization",
        name,
        namespace,
        on,
        labels={CLUSTER_LABEL: on},
        spec={"path": "./apps", "source": "GitRepository/flux-system/fleet"},
        status={
            "lastAppliedRevision": REVISION,
            "lastAttemptedRevision": REVISION,
            "objects": 3,
            "healed": 1,
            **status,
        },
        conditions=(
            Condition("Ready", "True", "ReconciliationSucceeded", "Applied revision", NOW),
            Condition("Healthy", "True", "Succeeded", "all healthy", NOW),
        ),
    )


def fill(hub: InMemoryHub) -> None:
    """Two clusters that are well, and one whose spoke is gone."""
    hub.board.replace_cluster(cluster("dev-1", workload_summary(), env="dev"), [workload("dev-1")])
    hub.board.replace_cluster(cluster("prod-1", workload_summary(), env="prod"), [workload("prod-1")])
    away = Condition("Ready", "Unknown", "Disconnected", "the spoke is not connected", NOW)
    hub.board.replace_cluster(cluster("prod-2", connected=False, ready=away, env="prod"), [])
    source = SourceFacts(
        "GitRepository", "flux-system", "fleet", "https://git.example.com/fleet.git", "main", 60, revision=REVISION
    )
    hub.board.replace(Collection.SOURCES, [build_source(source, {}, NOW)])
    hub.events.add(EventFacts(NOW, "Normal", "Applied", "3 objects applied", "dev-1", APPS))
    hub.events.add(EventFacts(NOW, "Warning", "FetchFailed", "no such ref"))


def make_certificates(folder: Path) -> Path:
    """Make a CA and a certificate for 127.0.0.1 in a folder: ca.pem, cert.pem, key.pem."""
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test ca")])
    now = datetime.now(UTC)

    def builder(subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(ca_name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
        )

    ca = (
        builder(ca_name, ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    leaf = (
        builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hub")]), key.public_key())
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ca.pem").write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    (folder / "cert.pem").write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(pem)
    return folder


@dataclass(frozen=True)
class Served:
    hub: InMemoryHub
    app: ApiApp
    server: ApiServer
    store: SqliteStore
    people: People
    secrets: ApiSecrets
    credential: Path
    url: str
    ca: str


@asynccontextmanager
async def served(
    hub: InMemoryHub, folder: Path, *, heartbeat: float = 15.0, patience: float = 15.0
) -> AsyncIterator[Served]:
    """Serve a hub over TLS for as long as the block lasts; its data folder is `folder`, with certificates in it."""
    secrets = open_secrets(folder)
    registry = CollectorRegistry()
    HubMetrics(registry).spokes_connected(2)
    store = SqliteStore(folder / "hub.db")
    people = People(store, AuditLog(store), secrets.admin_token_sha256)
    app = ApiApp(
        hub,
        registry,
        people=people,
        store=store,
        webhook_secret=secrets.webhook_secret,
        heartbeat=heartbeat,
    )
    server = await serve(app, "127.0.0.1", 0, folder / "cert.pem", folder / "key.pem", patience=patience)
    url, ca = f"https://127.0.0.1:{server.port}", (folder / "ca.pem").read_text()
    credential = publish_admin(folder, secrets, server=url, ca=ca)
    assert credential is not None
    try:
        yield Served(hub, app, server, store, people, secrets, credential, url, ca)
    finally:
        await asyncio.wait_for(server.stop(), 10)
        store.close()


class Threaded:
    """A served hub in a thread of its own, for what talks to it from outside of any event loop."""

    def __init__(self, served: Served, loop: asyncio.AbstractEventLoop) -> None:
        self.served = served
        self._loop = loop

    @property
    def hub(self) -> InMemoryHub:
        return self.served.hub

    def do(self, act: Callable[[InMemoryHub], object]) -> None:
        """Do something with the hub, in its thread."""
        done = threading.Event()

        def run() -> None:
            act(self.hub)
            done.set()

        self._loop.call_soon_threadsafe(run)
        assert done.wait(10)


@contextmanager
def threaded(folder: Path) -> Iterator[Threaded]:
    """Serve a hub in a thread for as long as the block lasts."""
    started: list[Threaded] = []
    ready, stop = threading.Event(), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def run() -> None:
        loops.append(asyncio.get_running_loop())
        async with served(InMemoryHub(), folder) as one:
            started.append(Threaded(one, loops[0]))
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    assert ready.wait(20), "the hub did not start"
    try:
        yield started[0]
    finally:
        loops[0].call_soon_threadsafe(stop.set)
        thread.join(20)
