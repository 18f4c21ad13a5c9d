"""A real hub's link and real spokes on loopback, over real TLS: what the tests of both ends stand on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from grpc import aio

from felloe.bundle import Bundle
from felloe.digest import Digest
from felloe.jointoken import decode_token
from felloe.v1 import enrolment_pb2, link_pb2_grpc, status_pb2
from felloe.v1 import link_pb2 as pb
from hub.link.enrolment import Enrolment
from hub.link.server import LinkServer, LinkTimes
from hub.pki import Authority, Peer, Role
from hub.store import FolderBlobs, SqliteStore
from spoke.keys import key_pem, make_csr
from spoke.link import Handler, LinkClient, enrol
from spoke.link.backoff import Backoff
from spoke.link.channel import open_channel
from spoke.state import BundleStore, Identity, IdentityStore, StoredBundle
from spoke.state.identity import certificate_pem
from tests.unit.hub.link.samples import make_bundle

Call = aio.StreamStreamCall[pb.SpokeMessage, pb.HubMessage]


async def eventually(condition: Callable[[], object], timeout: float = 20.0) -> None:
    """Wait until `condition` holds."""
    async with asyncio.timeout(timeout):
        while not condition():  # noqa: ASYNC110 -- a test asks from outside
            await asyncio.sleep(0.01)


@dataclass
class Recorder:
    """A listener that remembers."""

    statuses: list[tuple[str, status_pb2.ClusterStatus]] = field(default_factory=list)
    events: list[tuple[str, str, str]] = field(default_factory=list)
    hellos: list[tuple[str, pb.Hello]] = field(default_factory=list)
    learnings: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    acks: list[tuple[str, int, Digest]] = field(default_factory=list)
    nacks: list[tuple[str, pb.Nack]] = field(default_factory=list)

    def connected(self, cluster: str, hello: pb.Hello) -> None:
        self.hellos.append((cluster, hello))

    def disconnected(self, cluster: str) -> None:
        self.gone.append(cluster)

    def status(self, cluster: str, status: status_pb2.ClusterStatus) -> None:
        self.statuses.append((cluster, status))

    def learned(self, cluster: str) -> None:
        self.learnings.append(cluster)

    def delivered(self, cluster: str, generation: int, root: Digest) -> None:
        self.acks.append((cluster, generation, root))

    def refused(self, cluster: str, nack: pb.Nack) -> None:
        self.nacks.append((cluster, nack))

    def event(self, cluster: str, type_: str, reason: str, message: str) -> None:
        self.events.append((cluster, reason, message))


class Feed:
    """A status feed whose changes a test makes."""

    def __init__(self) -> None:
        self.pending: list[status_pb2.Event] = []
        self._changed = asyncio.Event()

    def happen(self, reason: str) -> None:
        """Make an event."""
        self.pending.append(status_pb2.Event(reason=reason))
        self._changed.set()

    def full(self) -> status_pb2.ClusterStatus:
        events, self.pending = self.pending, []
        self._changed.clear()
        return status_pb2.ClusterStatus(full=True, facts=self.facts(), events=events)

    async def changes(self) -> status_pb2.ClusterStatus:
        await self._changed.wait()
        status = self.full()
        status.full = False
        return status

    def requeue(self, status: status_pb2.ClusterStatus) -> None:
        self.pending[:0] = status.events

    def facts(self) -> Mapping[str, str]:
        return {"kubernetes_version": "v1.36.3"}


class Hub:
    """A hub's link with its store, started on a free port."""

    def __init__(self, folder: Path, *, lifetime: float = 3600.0, times: LinkTimes | None = None) -> None:
        self.listener = Recorder()
        self.store = SqliteStore(folder / "hub.db")
        self.blobs = FolderBlobs(folder / "blobs")
        self.authority = Authority.open(folder / "pki")
        self.enrolment = Enrolment(self.store, self.authority, certificate_lifetime=lifetime)
        self.server = LinkServer(
            self.store, self.blobs, self.authority, self.enrolment, self.listener, times=times or LinkTimes()
        )
        self.address = ""

    async def start(self, port: int = 0) -> None:
        port = await self.server.start(f"127.0.0.1:{port}")
        self.address = f"127.0.0.1:{port}"

    def member(self, cluster: str) -> Identity:
        """Return the identity of a new member, made without the network."""
        token = decode_token(self.enrolment.create_token(cluster, {}, 600.0))
        key = ec.generate_private_key(ec.SECP256R1())
        request = enrolment_pb2.EnrolRequest(token_id=token.id, token_secret=token.secret, csr=make_csr(key))
        answer = self.enrolment.enrol(Peer(Role.BOOTSTRAP, token.id, "", 0.0), request)
        ca = self.authority.certificate_pem.decode()
        return Identity(self.address, cluster, key_pem(key), certificate_pem(answer.certificate), ca, 0.0, 2e10)

    async def stop(self) -> None:
        await self.server.stop(0.5)
        self.store.close()

    def bundle(self, *workloads: Mapping[str, str]) -> Bundle:
        """Return a bundle of ConfigMaps, one workload for each mapping of names to content, its blobs in place."""
        return make_bundle(self.blobs.put, *workloads)

    def publish(self, cluster: str, *workloads: Mapping[str, str], traceparent: str = "") -> Bundle:
        bundle = self.bundle(*workloads)
        self.server.publish(cluster, bundle, revision="main@sha1:abc", traceparent=traceparent)
        return bundle


@asynccontextmanager
async def running_hub(
    folder: Path, *, lifetime: float = 3600.0, times: LinkTimes | None = None, port: int = 0
) -> AsyncIterator[Hub]:
    hub = Hub(folder, lifetime=lifetime, times=times)
    await hub.start(port)
    try:
        yield hub
    finally:
        await hub.stop()


class Spoke:
    """A spoke's link, with its disk in a folder."""

    def __init__(self, folder: Path, handlers: Mapping[str, Handler] | None = None) -> None:
        self.identities = IdentityStore(folder / "identity")
        self.store = BundleStore(folder)
        self.feed = Feed()
        self.taken: list[StoredBundle] = []
        self.client = LinkClient(
            self.store,
            self.identities,
            self.feed,
            self.taken.append,
            handlers=handlers,
            backoff=Backoff(0.02, 0.2),
        )

    @property
    def root(self) -> Digest | None:
        current = self.store.current
        return current.bundle.root if current else None

    async def join(self, hub: Hub, cluster: str) -> Identity:
        token = hub.enrolment.create_token(cluster, {}, 600.0)
        return await enrol(token, hub.address, self.identities, patience=5.0, backoff=Backoff(0.02, 0.2))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Spoke]:
        task = asyncio.create_task(self.client.run())
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def whole(self) -> bool:
        """Tell whether every object of the current bundle can be read."""
        current = self.store.current
        return current is not None and all(self.store.get(name) is not None for name in current.bundle.digests())


@asynccontextmanager
async def raw_stream(identity: Identity) -> AsyncIterator[Call]:
    """A stream whose messages the test makes itself."""
    channel = open_channel(
        identity.hub,
        ca=identity.ca.encode(),
        key=identity.key.encode(),
        certificate=identity.certificate.encode(),
    )
    call: Call = link_pb2_grpc.LinkStub(channel).Connect()  # type: ignore[no-untyped-call]
    try:
        yield call
    finally:
        call.cancel()
        await channel.close(None)


def hello(**fields: object) -> pb.SpokeMessage:
    message = pb.Hello(protocol=pb.PROTOCOL_1, spoke_version="test", credit=256 * 1024)
    for name, value in fields.items():
        setattr(message, name, value)
    return pb.SpokeMessage(hello=message)


async def read(call: Call) -> pb.HubMessage:
    async with asyncio.timeout(10):
        message = await call.read()
    assert isinstance(message, pb.HubMessage)
    return message


async def ending(call: Call) -> str:
    """Read a stream to its end and return ``CODE: details``."""
    async with asyncio.timeout(15):
        try:
            while isinstance(await call.read(), pb.HubMessage):
                pass
        except aio.AioRpcError:
            pass
        return f"{(await call.code()).name}: {await call.details()}"
