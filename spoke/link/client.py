"""The stream to the hub, kept open for as long as the spoke lives.

One reader, one sender of statuses, one renewer of the certificate. Whatever goes wrong ends in another try after a
jittered wait: with the hub away nothing else of the spoke stops, and nothing that it has is taken from it.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Final

from grpc import aio

from felloe import __version__
from felloe.digest import Digest, short
from felloe.errors import EnrolmentError, FelloeError, LinkError, StoreError
from felloe.parts import cost
from felloe.v1 import link_pb2 as pb
from felloe.v1 import link_pb2_grpc, status_pb2
from spoke.link.answers import Answers, Handler
from spoke.link.backoff import Backoff
from spoke.link.channel import link_error, open_channel
from spoke.link.enrol import renew
from spoke.link.feed import StatusFeed
from spoke.link.receiver import Receiver, RefusedBundleError, Step
from spoke.state import BundleStore, Identity, IdentityStore, StoredBundle

CREDIT: Final = 256 * 1024
"""Bytes of pieces that the hub may have under way to us."""
_SETTLED: Final = 30.0
"""Seconds after which a stream counts as good, so that the next wait is a short one again."""
_REFUSED_WAIT: Final = 15.0
_MAX_STATUS: Final = 2 * 1024 * 1024
_MAX_UNCONFIRMED: Final = 256

log = logging.getLogger(__name__)

Call = aio.StreamStreamCall[pb.SpokeMessage, pb.HubMessage]


class LinkClient:
    """Follows the hub of the stored identity: brings bundles to `store` and statuses of `feed` to the hub."""

    def __init__(
        self,
        store: BundleStore,
        identities: IdentityStore,
        feed: StatusFeed,
        on_bundle: Callable[[StoredBundle], None],
        *,
        handlers: Mapping[str, Handler] | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        """`on_bundle` is called on the event loop for each bundle once it is on disk; it must not block.

        `handlers` answer the hub's queries, by their name.
        """
        self._store = store
        self._identities = identities
        self._feed = feed
        self._on_bundle = on_bundle
        self._handlers = dict(handlers or {})
        self._backoff = backoff or Backoff()
        self._instance = uuid.uuid4().hex
        self._channel: aio.Channel | None = None
        self._call: Call | None = None
        self._connected = False
        self._problem = ""

    @property
    def connected(self) -> bool:
        """Tell whether the hub has welcomed the stream that is open now."""
        return self._connected

    @property
    def problem(self) -> str:
        """Return why there is no stream, empty while there is one or before the first try."""
        return self._problem

    async def run(self) -> None:
        """Keep the stream open until cancelled. Raise EnrolmentError where there is no identity, StoreError."""
        identity = self._identities.load()
        if identity is None:
            raise EnrolmentError("this spoke has not joined a hub yet: start it with a join token")
        self._store.trust(identity.trust)
        self._store.on_damage = self._damaged
        self._store.on_doubt = self._restart
        try:
            while True:
                await self._once(identity)
                identity = self._identities.load() or identity
        finally:
            if self._channel is not None:
                await self._channel.close(None)

    async def _once(self, identity: Identity) -> None:
        """Open one stream and stay until it ends; then wait as long as is due."""
        channel = await self._reopen(identity)
        began = time.monotonic()
        at_least = 0.0
        try:
            await self._stream(channel, identity)
            self._problem = "the stream was opened anew"
        except StoreError:
            raise
        except FelloeError as error:
            self._problem = str(error)
            at_least = _REFUSED_WAIT if isinstance(error, EnrolmentError) else 0.0
        finally:
            self._connected = False
        if time.monotonic() - began > _SETTLED:
            self._backoff.reset()
        wait = self._backoff.next(at_least)
        log.warning("no stream to the hub %s, next try in %.1f s: %s", identity.hub, wait, self._problem)
        await asyncio.sleep(wait)

    async def _reopen(self, identity: Identity) -> aio.Channel:
        """Replace the channel; the old one goes last, since gRPC tears its engine down with a process' last channel."""
        old = self._channel
        new = self._channel = open_channel(
            identity.hub,
            ca=identity.ca.encode(),
            key=identity.key.encode(),
            certificate=identity.certificate.encode(),
        )
        if old is not None:
            await old.close(None)
        return new

    async def _stream(self, channel: aio.Channel, identity: Identity) -> None:
        """Run one stream. Return where we ended it ourselves; raise LinkError where the hub or the network did."""
        call: Call = link_pb2_grpc.LinkStub(channel).Connect()  # type: ignore[no-untyped-call]
        self._call = call
        stream = _Stream(call, self._store, self._feed, self._took, self._handlers)
        renewer = asyncio.create_task(self._renew(channel, identity))
        try:
            await stream.run(self._hello(), self._welcomed)
        except aio.AioRpcError as error:
            raise link_error(identity.hub, error) from None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
        finally:
            self._call = None
            call.cancel()
            stream.give_back()
            await _end(renewer)
        if not call.cancelled():
            raise LinkError(f"the hub {identity.hub} closed the stream")

    def _hello(self) -> pb.Hello:
        hello = pb.Hello(
            protocol=pb.PROTOCOL_1,
            spoke_version=__version__,
            epoch=self._store.epoch,
            credit=CREDIT,
            facts=dict(self._feed.facts()),
            instance=self._instance,
            queries=sorted(self._handlers),
        )
        current = self._store.current
        if current is not None:
            hello.generation = current.generation
            # Else without a root, so that the hub sends what lacks, or what is right.
            if not self._store.doubtful and not self._store.missing(current.bundle):
                hello.root = current.bundle.root
        return hello

    def _welcomed(self) -> None:
        self._connected, self._problem = True, ""

    def _took(self, stored: StoredBundle) -> None:
        log.info("took generation %d, root %s", stored.generation, short(stored.bundle.root))
        self._on_bundle(stored)

    def _damaged(self, name: Digest) -> None:
        log.warning("the object %s was damaged on disk and is fetched again", short(name))
        self._restart()

    def _restart(self) -> None:
        """End the stream, so that a new one says hello with what is so now."""
        if self._call is not None:
            self._backoff.reset()
            self._call.cancel()

    async def _renew(self, channel: aio.Channel, identity: Identity) -> None:
        """Ask for the next certificate when it is time, then have the stream opened with it."""
        backoff = Backoff(1.0, 300.0)
        while (left := identity.renew_at - time.time()) > 0:  # noqa: ASYNC110 -- it is the clock that is waited for
            await asyncio.sleep(min(left, 600.0))  # and looked at again: a machine may have slept
        while True:
            try:
                new = await renew(channel, identity)
                self._identities.save(new)
                break
            except FelloeError as error:
                wait = backoff.next(1.0)
                log.warning("can't renew the certificate yet, next try in %.0f s: %s", wait, error)
                await asyncio.sleep(wait)
        log.info("renewed the certificate of cluster %s", identity.cluster)
        self._restart()


class _Stream:
    """One open stream: its reader, the sender of statuses, and what is not confirmed yet."""

    def __init__(
        self,
        call: Call,
        store: BundleStore,
        feed: StatusFeed,
        took: Callable[[StoredBundle], None],
        handlers: Mapping[str, Handler],
    ) -> None:
        self._call = call
        self._store = store
        self._feed = feed
        self._took = took
        self._receiver = Receiver(store)
        self._answers = Answers(handlers, self._send)
        self._sending = asyncio.Lock()
        self._offer = pb.Offer()
        self._consumed = 0
        self._sequence = 0
        self._unconfirmed: dict[int, status_pb2.ClusterStatus] = {}

    async def run(self, hello: pb.Hello, welcomed: Callable[[], None]) -> None:
        """Say hello and read to the end. Raise AioRpcError, LinkError or CancelledError for how it ended."""
        await self._send(pb.SpokeMessage(hello=hello))
        first = await self._read()
        if first is None:
            return
        if first.WhichOneof("message") != "welcome":
            raise LinkError("the hub did not begin with a welcome")
        self._check(first.welcome)
        welcomed()
        senders = [
            asyncio.create_task(self._report(first.welcome.heartbeat or 60.0)),
            asyncio.create_task(self._answer()),
        ]
        try:
            while (message := await self._read()) is not None:
                await self._take(message)
        finally:
            for sender in senders:
                with suppress(aio.AioRpcError, asyncio.InvalidStateError):
                    await _end(sender)

    async def _read(self) -> pb.HubMessage | None:
        """Return the next message, None after the last one; raise AioRpcError where the stream broke."""
        message = await self._call.read()
        return message if isinstance(message, pb.HubMessage) else None

    def _check(self, welcome: pb.Welcome) -> None:
        if welcome.protocol != pb.PROTOCOL_1:
            raise LinkError(
                f"the hub {welcome.hub_version} speaks protocol {welcome.protocol}, this spoke {__version__} speaks"
                f" protocol {pb.PROTOCOL_1}: bring both to the same version"
            )
        if welcome.epoch < self._store.epoch:
            raise LinkError(
                f"the hub is at epoch {welcome.epoch}, this spoke has followed epoch {self._store.epoch}: it is deposed"
                " or was restored from an older backup"
            )
        self._store.see_epoch(welcome.epoch)

    # -- from the hub

    async def _take(self, message: pb.HubMessage) -> None:
        match message.WhichOneof("message"):
            case "offer":
                self._offer = message.offer
                await self._follow(lambda: self._receiver.offer(message.offer, message.traceparent))
            case "piece":
                await self._follow(lambda: self._receiver.piece(message.piece))
                await self._grant(len(message.piece.manifest) + len(message.piece.objects), last=message.piece.last)
            case "question":
                self._answers.question(message.question)
                await self._grant(cost(message.question), last=message.question.whole)
            case "query":
                self._answers.query(message.query)
            case "answer_credit":
                self._answers.credit(message.answer_credit)
            case "query_cancel":
                self._answers.cancel(message.query_cancel.id)
            case "status_received":
                for sequence in [s for s in self._unconfirmed if s <= message.status_received.sequence]:
                    del self._unconfirmed[sequence]
            case _:
                pass  # of a newer hub of the same protocol: it may be left alone

    async def _follow(self, step: Callable[[], Step]) -> None:
        """Do a step of the receiver and answer; a refusal is told to the hub and changes nothing here."""
        try:
            result = step()
        except RefusedBundleError as error:
            log.warning("refused generation %d: %s", self._offer.generation, error)
            nack = pb.Nack(generation=self._offer.generation, root=self._offer.root, digest=error.digest)
            nack.message = str(error)
            await self._send(pb.SpokeMessage(nack=nack))
            return
        try:
            for answer in result.messages:
                await self._send(answer)
        finally:
            if result.committed is not None:
                self._took(result.committed)

    async def _grant(self, taken: int, *, last: bool) -> None:
        self._consumed += taken
        if last or self._consumed >= CREDIT // 4:
            credit, self._consumed = self._consumed, 0
            await self._send(pb.SpokeMessage(credit=pb.Credit(bytes=credit)))

    # -- to the hub

    async def _send(self, message: pb.SpokeMessage) -> None:
        async with self._sending:  # gRPC takes one write at a time
            await self._call.write(message)

    async def _report(self, heartbeat: float) -> None:
        """Tell the whole status, then what changes; an empty status now and then says that we live."""
        try:
            await self._send_status(self._feed.full())
            while True:
                try:  # no wait_for: before Python 3.12 it loses a cancellation that comes together with a change
                    async with asyncio.timeout(heartbeat):
                        status = await self._feed.changes()
                except TimeoutError:
                    status = status_pb2.ClusterStatus()
                await self._send_status(status)
        except (aio.AioRpcError, asyncio.InvalidStateError):
            return  # the reader says how the stream ended
        except BaseException:
            self._call.cancel()
            raise

    async def _answer(self) -> None:
        try:
            await self._answers.run()
        except (aio.AioRpcError, asyncio.InvalidStateError):
            return  # the reader says how the stream ended
        except BaseException:
            self._call.cancel()
            raise

    async def _send_status(self, status: status_pb2.ClusterStatus) -> None:
        for part in split(status, _MAX_STATUS):
            if part.events:
                self._sequence += 1
                part.sequence = self._sequence
                self._unconfirmed[self._sequence] = part
                if len(self._unconfirmed) > _MAX_UNCONFIRMED:
                    del self._unconfirmed[min(self._unconfirmed)]
            await self._send(pb.SpokeMessage(status=part))

    def give_back(self) -> None:
        """Return to the feed what the hub has not confirmed."""
        for status in self._unconfirmed.values():
            self._feed.requeue(status)
        self._unconfirmed.clear()


def split(status: status_pb2.ClusterStatus, limit: int) -> Iterator[status_pb2.ClusterStatus]:
    """Yield a status in parts of about `limit` bytes: the first keeps what it said (`full`), the others are changes."""
    if status.ByteSize() <= limit:
        yield status
        return
    part = status_pb2.ClusterStatus()
    part.CopyFrom(status)
    part.ClearField("workloads")
    size = part.ByteSize()
    for workload in status.workloads:
        if part.workloads and size + workload.ByteSize() > limit:
            yield part
            part = status_pb2.ClusterStatus(
                epoch=status.epoch, generation=status.generation, root=status.root, traceparent=status.traceparent
            )
            size = part.ByteSize()
        part.workloads.append(workload)
        size += workload.ByteSize()
    yield part


async def _end(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait until it has ended; raise its error where it ended by one.

    Who awaits a task that it has cancelled can't tell that one's cancellation from its own, and loses it.
    """
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()
