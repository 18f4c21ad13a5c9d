"""The one gRPC port: enrolment and streams, both over mTLS.

Each stream has one reader (the handler itself) and one writer; a read is never cancelled, because grpc.aio leaks there.
Who is at the other end is decided by its certificate alone, at the beginning of each call.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import grpc
from grpc import aio

from felloe.bundle import Bundle
from felloe.digest import Digest, short
from felloe.errors import LinkError, StoreError
from felloe.v1 import enrolment_pb2_grpc, link_pb2_grpc
from felloe.v1 import link_pb2 as pb
from hub.link.enrolment import Enrolment, RefusalError
from hub.link.frames import BlobMissingError, Frames, pack_bundle, unpack_bundle
from hub.link.queries import AwayError, BusyError
from hub.link.services import EnrolmentService, peer_in
from hub.link.session import Listener, ProtocolError, Session
from hub.pki import Authority, Peer
from hub.store import Blobs, Publication, Store

log = logging.getLogger(__name__)

Context = aio.ServicerContext[pb.SpokeMessage, pb.HubMessage]

OPTIONS: Final = (
    ("grpc.so_reuseport", 0),  # a second hub on the port is an error, not half of the spokes
    ("grpc.http2.bdp_probe", 0),  # else one stalled reader holds megabytes
    ("grpc.max_concurrent_streams", 16),  # per connection; a spoke needs two
    ("grpc.max_receive_message_length", 8 * 1024 * 1024),
    ("grpc.max_send_message_length", 1024 * 1024),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 15_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),  # the spoke pings every 20 s
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.server_handshake_timeout_ms", 15_000),
)


STREAMS_PER_CLUSTER: Final = 4
"""One is in use; the others are replaced ones whose spoke has not read their end yet."""
_OPEN_QUESTIONS: Final = 64


@dataclass(frozen=True, slots=True)
class LinkTimes:
    """Seconds: between the statuses of a quiet spoke; until the first message of a stream."""

    heartbeat: float = 60.0
    hello: float = 15.0


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """A connected spoke. Times are seconds since 1970; `held` is the root that it says it has."""

    cluster: str
    connected_at: float
    heard_at: float
    address: str
    spoke_version: str
    held: Digest | None


@dataclass(slots=True, eq=False)
class _Stream:
    """A session with its two ends: how to wake its writer, and why it is to end."""

    peer: Peer
    address: str
    connected_at: float = field(default_factory=time.time)
    heard_at: float = field(default_factory=time.time)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    reason: tuple[grpc.StatusCode, str] | None = None

    def end(self, code: grpc.StatusCode, message: str) -> None:
        """End the stream with this status, unless it ends already.

        A spoke that does not read gets it once it reads again: gRPC can't overtake the one frame that is under way.
        """
        self.reason = self.reason or (code, message)
        self.changed.set()


class LinkServer:
    """Serves the link: brings every connected spoke to the newest published bundle of its cluster."""

    def __init__(
        self,
        store: Store,
        blobs: Blobs,
        authority: Authority,
        enrolment: Enrolment,
        listener: Listener,
        *,
        times: LinkTimes | None = None,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._authority = authority
        self._enrolment = enrolment
        self._listener = listener
        self._times = times or LinkTimes()
        self._frames = Frames(store, blobs)
        self._live: dict[str, tuple[_Stream, Session]] = {}
        self._open: Counter[str] = Counter()
        self._questions = 0
        self._server: aio.Server | None = None

    # -- life

    async def start(self, address: str, advertise: Iterable[str] = ()) -> int:
        """Listen on `address` (HOST:PORT, port 0 for any) and return the port.

        The server certificate is for the host of `address`, for `advertise` (names and addresses that spokes use), and
        for this machine itself. Raise LinkError where the address can't be had.
        """
        host = address.rpartition(":")[0].strip("[]")
        wildcard = {"", "0.0.0.0", "::", "*"}  # noqa: S104 -- compared, not bound
        names = [*advertise] if host in wildcard else [host, *advertise]
        credentials = grpc.ssl_server_credentials(
            [self._authority.server(names)], self._authority.certificate_pem, require_client_auth=True
        )
        server = aio.server(options=OPTIONS)
        link_pb2_grpc.add_LinkServicer_to_server(_LinkService(self), server)  # type: ignore[no-untyped-call]
        enrolment_pb2_grpc.add_EnrolmentServicer_to_server(EnrolmentService(self._enrolment, self._replaced), server)  # type: ignore[no-untyped-call]
        try:
            port = server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise LinkError(f"can't listen on {address} for spokes: {error}") from error
        await server.start()
        self._server = server
        return int(port)

    async def stop(self, grace: float = 2.0) -> None:
        """End every stream (the spokes come back by themselves) and the server, in at most about `grace` seconds."""
        for stream, _ in list(self._live.values()):
            stream.end(grpc.StatusCode.UNAVAILABLE, "the hub is stopping")
        if self._server is not None:
            await self._server.stop(grace)

    # -- what the rest of the hub asks for

    def publish(
        self, cluster: str, bundle: Bundle, *, revision: str = "", plan: str = "", traceparent: str = ""
    ) -> int:
        """Make `bundle` the newest desired state of `cluster`, deliver it, and return its generation.

        It is on disk when this returns. Publishing what is published already changes no generation, but lets a delivery
        that failed be tried again. Raise BlobMissingError where an object is not in the blobs.
        """
        for name in bundle.digests():
            if name not in self._blobs:
                raise BlobMissingError(f"can't publish for {cluster}: the object {short(name)} is not in the blobs")
        packed = self._store.bundle(bundle.root) or pack_bundle(bundle)
        if cluster in self._live:
            self._frames.remember(bundle)
        publication = Publication(cluster, bundle.root, packed, revision, plan, traceparent)
        generation = self._store.publish(publication, time.time()).generation
        if cluster in self._live:
            self._live[cluster][1].look()
        return generation

    def revoke(self, cluster: str) -> bool:
        """Make every certificate and unspent token of `cluster` worthless, end its stream; return if it was known."""
        known = self._store.revoke(cluster)
        self._expel(cluster, f"cluster {cluster} was revoked")
        return known

    def remove(self, cluster: str) -> None:
        """Forget `cluster` with all that the store has of it, and end its stream."""
        self._store.remove_cluster(cluster)
        self._expel(cluster, f"cluster {cluster} was removed")

    def _replaced(self, cluster: str) -> None:
        self._expel(cluster, f"the certificate of cluster {cluster} was replaced by a newer enrolment")

    def _expel(self, cluster: str, message: str) -> None:
        if cluster in self._live:
            stream = self._live[cluster][0]
            stream.end(grpc.StatusCode.PERMISSION_DENIED, message)
            self._leave(cluster, stream)

    @asynccontextmanager
    async def ask(
        self, cluster: str, name: str, question: bytes = b"", *, timeout: float = 60.0
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Ask the spoke of `cluster` and yield the messages of its answer, as they come; `timeout` is seconds.

        The spoke stops answering when the block is left. Raise AwayError where it is not connected, or disconnects,
        BusyError where too much is asked at once, QueryError where it can't answer, or not in time; LinkError where the
        question is too large.
        """
        self.check(cluster, name)
        if self._questions >= _OPEN_QUESTIONS:
            raise BusyError(f"the hub is asking {self._questions} questions of clusters already: try again in a moment")
        asked = self._live[cluster][1].ask(name, question, timeout)
        self._questions += 1
        try:
            yield asked
        finally:
            self._questions -= 1
            asked.close()

    def check(self, cluster: str, name: str) -> None:
        """Raise AwayError where the spoke of `cluster` is not connected, QueryError where it can't answer the query."""
        if cluster not in self._live:
            raise AwayError(f"cluster {cluster} is not connected ({self._last_seen(cluster)})")
        self._live[cluster][1].check(name)

    def _last_seen(self, cluster: str) -> str:
        known = self._store.cluster(cluster)
        if known is None:
            return "it has never joined this hub"
        if known.last_seen is None:
            return "it was never seen"
        return f"last seen {datetime.fromtimestamp(known.last_seen, UTC):%Y-%m-%dT%H:%M:%SZ}"

    def sessions(self) -> Mapping[str, SessionInfo]:
        """Return every connected spoke by its cluster."""
        return {
            cluster: SessionInfo(
                cluster,
                stream.connected_at,
                stream.heard_at,
                stream.address,
                session.hello.spoke_version if session.hello else "",
                session.held,
            )
            for cluster, (stream, session) in self._live.items()
        }

    def held(self, cluster: str) -> Digest | None:
        """Return the root that the spoke of a cluster says it has; None where it is not connected, or has none."""
        return self._live[cluster][1].held if cluster in self._live else None

    def needed(self, but: AbstractSet[Digest] = frozenset()) -> set[Digest]:
        """Return the objects that a spoke may still ask for: those of every cluster's newest published bundle.

        Bundles are read one by one: with thousands of different ones this takes seconds. Those whose roots are in
        `but` are left out: the caller knows them.
        """
        roots = {desired.root for desired in self._store.all_desired()} - but
        packed = (self._store.bundle(root) for root in roots)
        return set().union(*(unpack_bundle(bundle).digests() for bundle in packed if bundle))

    # -- one stream

    async def serve(self, messages: AsyncIterator[pb.SpokeMessage], context: Context) -> None:
        """Serve one stream to its end."""
        peer = await peer_in(context)
        try:
            cluster = self._enrolment.member(peer)
        except RefusalError as error:
            await context.abort(error.code, str(error))
        if self._open[cluster] >= STREAMS_PER_CLUSTER:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"cluster {cluster} has too many open streams")
        self._open[cluster] += 1
        stream = _Stream(peer, context.peer())
        session = Session(
            cluster,
            store=self._store,
            frames=self._frames,
            listener=self._listener,
            wake=stream.changed.set,
            heartbeat=self._times.heartbeat,
        )
        writer = asyncio.create_task(self._write(stream, session, context))
        try:
            await self._read(stream, session, messages)
        except asyncio.CancelledError:  # the spoke is gone
            writer.cancel()
            raise
        finally:
            stream.end(grpc.StatusCode.OK, "")
            session.close()
            self._leave(cluster, stream)
            with suppress(asyncio.CancelledError, aio.AbortError):
                await writer
            self._open[cluster] -= 1

    async def _read(self, stream: _Stream, session: Session, messages: AsyncIterator[pb.SpokeMessage]) -> None:
        async for message in messages:
            if stream.reason is not None:
                continue  # what comes after the end is not looked at
            stream.heard_at = time.time()
            try:
                first = session.hello is None
                if first:
                    self._enrolment.member(stream.peer)  # it may be no member any more since it opened the stream
                session.handle(message)
                if first:
                    self._enter(stream, session)
            except RefusalError as error:
                stream.end(error.code, str(error))
            except ProtocolError as error:
                log.warning("ending the stream of %s: %s", session.cluster, error)
                self._listener.event(session.cluster, "Warning", "StreamEnded", error.message)
                stream.end(error.code, error.message)
            except StoreError as error:
                log.warning("ending the stream of %s: %s", session.cluster, error)
                stream.end(grpc.StatusCode.UNAVAILABLE, "the hub can't write its state")

    async def _write(self, stream: _Stream, session: Session, context: Context) -> None:
        """Say what there is to say until the stream ends; the end is said here too."""
        while stream.reason is None:
            stream.changed.clear()
            message = session.next_message()
            if message is not None:
                await context.write(message)
                continue
            with suppress(TimeoutError):
                await asyncio.wait_for(stream.changed.wait(), self._patience(stream, session))
            self._check_time(stream, session)
        code, text = stream.reason
        if code is not grpc.StatusCode.OK:
            await context.abort(code, text)

    def _patience(self, stream: _Stream, session: Session) -> float:
        """Return the seconds until time alone changes something."""
        now = time.time()
        waits = [self._silence_limit(session) - (now - stream.heard_at), stream.peer.not_after - now]
        if session.retry_at:
            waits.append(session.retry_at - time.monotonic())
        return max(min(waits), 0.01)

    def _silence_limit(self, session: Session) -> float:
        return self._times.hello if session.hello is None else 3 * self._times.heartbeat

    def _check_time(self, stream: _Stream, session: Session) -> None:
        now = time.time()
        if now >= stream.peer.not_after:
            stream.end(grpc.StatusCode.UNAUTHENTICATED, f"the certificate of cluster {session.cluster} has expired")
        elif now - stream.heard_at >= self._silence_limit(session):
            stream.end(grpc.StatusCode.DEADLINE_EXCEEDED, "nothing was heard of the spoke for too long")
        elif session.retry_at and time.monotonic() >= session.retry_at:
            session.look()

    def _enter(self, stream: _Stream, session: Session) -> None:
        """Make this the cluster's stream; the older one of the same cluster, if any, ends."""
        old = self._live.get(session.cluster)
        self._live[session.cluster] = (stream, session)
        if old is not None:
            message = f"a second stream of cluster {session.cluster} from {stream.address} replaces the first"
            log.warning("%s, which came from %s", message, old[0].address)
            self._listener.event(session.cluster, "Warning", "StreamReplaced", message)
            old[0].end(grpc.StatusCode.ABORTED, f"{message}: is the spoke running twice?")
            old[1].close()
        self._store.seen(session.cluster, stream.heard_at)

    def _leave(self, cluster: str, stream: _Stream) -> None:
        live = self._live.get(cluster)
        if live is None or live[0] is not stream:
            return
        del self._live[cluster]
        live[1].close()
        try:
            self._store.seen(cluster, stream.heard_at)
        except StoreError as error:
            log.warning("can't record that %s left: %s", cluster, error)
        self._listener.disconnected(cluster)


class _LinkService(link_pb2_grpc.LinkServicer):
    def __init__(self, server: LinkServer) -> None:
        self._server = server

    async def Connect(self, request_iterator: AsyncIterator[pb.SpokeMessage], context: Context) -> None:  # noqa: N802
        await self._server.serve(request_iterator, context)


__all__: Sequence[str] = ("LinkServer", "LinkTimes", "Listener", "SessionInfo")
