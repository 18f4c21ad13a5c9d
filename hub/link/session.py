"""One stream of one spoke: what to tell it next, given what it has, what it should have, and the credit it granted.

Nothing is queued. Each time the stream can take a message, the session looks at the newest desired state and decides
anew, so that a newer generation replaces an unsent older one, and a spoke that reads slowly costs the hub one frame.
The session does no I/O: `handle` takes what the spoke said, `next_message` gives what to say.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import grpc

from felloe import __version__
from felloe.digest import Digest, short
from felloe.errors import LinkError, StoreError
from felloe.parts import cost
from felloe.v1 import link_pb2 as pb
from felloe.v1 import status_pb2
from hub.link.frames import Frames, cut, uncompressed_size
from hub.link.queries import Asked, Queries, QueryError
from hub.store import Desired, Store

MAX_CREDIT: Final = 4 * 1024 * 1024
MIN_CREDIT: Final = 64 * 1024
"""Bytes: less than this could never take the largest piece."""
_MAX_FACTS: Final = 64 * 1024
_MAX_HELLO: Final = 512 * 1024
_FURTHEST: Final = 2**62
"""The generation up to which a spoke is believed: beyond are enough, which the store can keep, to be published."""
_MAX_REASON: Final = 4096
_FIRST_RETRY: Final = 5.0
_LAST_RETRY: Final = 300.0

log = logging.getLogger(__name__)


class Listener(Protocol):
    """Who is told what happens on the link. Called on the event loop: short, never blocking; it may not raise."""

    def connected(self, cluster: str, hello: pb.Hello) -> None:
        """Take note that a spoke said hello (also when it replaces an older stream of its own)."""
        ...

    def disconnected(self, cluster: str) -> None:
        """Take note that a cluster has no stream any more."""
        ...

    def status(self, cluster: str, status: status_pb2.ClusterStatus) -> None:
        """Take what a spoke reported; `full` replaces all that was known. Events may arrive twice."""
        ...

    def learned(self, cluster: str) -> None:
        """Take note that a cluster says something else of itself than before; the store has it."""
        ...

    def delivered(self, cluster: str, generation: int, root: Digest) -> None:
        """Take note that a spoke holds a bundle; it may be an older one than the newest, or told twice."""
        ...

    def refused(self, cluster: str, nack: pb.Nack) -> None:
        """Take note that a spoke can't take a bundle."""
        ...

    def event(self, cluster: str, type_: str, reason: str, message: str) -> None:
        """Take an event of the link itself; `type_` is Normal or Warning."""
        ...


class ProtocolError(Exception):
    """The spoke said what the protocol forbids: the stream ends with this code and message."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class _Next:
    content: bytes
    manifest: bool
    last: bool


class Session:
    """The hub's view of one stream. `wake` is called whenever there may be something to say."""

    def __init__(
        self,
        cluster: str,
        *,
        store: Store,
        frames: Frames,
        listener: Listener,
        wake: Callable[[], None],
        heartbeat: float,
    ) -> None:
        self.cluster = cluster
        self.hello: pb.Hello | None = None
        self.held: Digest | None = None
        """The root of the bundle that the spoke says it has."""
        self._ahead = 0
        """The generation that it has of this epoch: more than ours, where its cluster was removed and joined again."""
        self._store = store
        self._frames = frames
        self._listener = listener
        self._wake = wake
        self._heartbeat = heartbeat
        self._welcome = False
        self._confirm = 0
        self._credit = 0
        self._look = True
        self._offered: Desired | None = None
        self._pieces: Iterator[_Next] = iter(())
        self._piece: _Next | None = None
        self._refused: Digest | None = None
        self._retry = _FIRST_RETRY
        self._retry_at = 0.0
        self._queries = Queries(cluster, wake)
        self._part_next = False
        """Whether it is the turn of a question's part: those and the bundle's pieces take turns."""

    # -- what is asked

    def check(self, name: str) -> None:
        """Raise QueryError where the spoke does not know a question."""
        if self.hello is None or name not in self.hello.queries:
            version = (self.hello.spoke_version if self.hello else "") or "unknown"
            raise QueryError(
                f"the spoke of cluster {self.cluster} (version {version}) can't answer {name!r}, which this hub"
                f" ({__version__}) asks for: bring both to the same version"
            )

    def ask(self, name: str, question: bytes, timeout: float) -> Asked:
        """Open a question that the spoke knows. Raise BusyError, or LinkError where it is too large."""
        return self._queries.ask(name, question, timeout)

    def close(self) -> None:
        """End what is asked: the spoke is gone."""
        self._queries.close(f"cluster {self.cluster} disconnected before its answer was whole: try again")

    # -- what the spoke says

    def handle(self, message: pb.SpokeMessage) -> None:
        """Take one message. Raise ProtocolError where the stream has to end."""
        kind = message.WhichOneof("message")
        if (kind == "hello") is not (self.hello is None):
            raise ProtocolError(grpc.StatusCode.INVALID_ARGUMENT, "a stream begins with one Hello")
        match kind:
            case "hello":
                self._on_hello(message.hello)
            case "need":
                self._on_need(message.need)
            case "credit":
                self._on_credit(message.credit.bytes)
            case "ack":
                self._on_ack(message.ack)
            case "nack":
                self._on_nack(message.nack)
            case "status":
                self._on_status(message.status)
            case "answer" | "answer_end":
                self._on_answer(message)
            case _:
                raise ProtocolError(grpc.StatusCode.INVALID_ARGUMENT, "the message is of a kind this hub does not know")
        self._wake()

    def _on_hello(self, hello: pb.Hello) -> None:
        if hello.protocol != pb.PROTOCOL_1:
            raise ProtocolError(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"the spoke {hello.spoke_version or 'of an unknown version'} speaks protocol {hello.protocol}, this"
                f" hub {__version__} speaks protocol {pb.PROTOCOL_1}: bring both to the same version",
            )
        epoch = self._store.epoch
        if hello.epoch > epoch:
            raise ProtocolError(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"the spoke has followed a hub of epoch {hello.epoch}, this one is at {epoch}: it is deposed, or was"
                f" restored from an older backup (then start it with --epoch {hello.epoch + 1})",
            )
        if hello.credit < MIN_CREDIT:
            raise ProtocolError(grpc.StatusCode.INVALID_ARGUMENT, f"the first credit is below {MIN_CREDIT} bytes")
        if hello.ByteSize() > _MAX_HELLO:  # it is kept for as long as the stream lasts
            raise ProtocolError(grpc.StatusCode.INVALID_ARGUMENT, f"a Hello of more than {_MAX_HELLO} bytes")
        self.hello = hello
        self._welcome = True
        self._ahead = hello.generation if hello.epoch == epoch and hello.generation <= _FURTHEST else 0
        self._on_credit(hello.credit)
        self.held = _root(hello.root) if hello.root else None
        self._learn(hello.facts)
        self._listener.connected(self.cluster, hello)

    def _on_credit(self, more: int) -> None:
        self._credit += more
        if self._credit > MAX_CREDIT:
            raise ProtocolError(grpc.StatusCode.INVALID_ARGUMENT, f"more than {MAX_CREDIT} bytes of credit")

    def _on_need(self, need: pb.Need) -> None:
        if self._offered is None or need.generation != self._offered.generation:
            return  # of an offer that a newer one has replaced
        allowed = self._frames.digests(self._offered.root)
        wants = [(Digest(want.digest), want.offset) for want in need.wants]
        if any(name not in allowed for name, _ in wants) or len(wants) > len(allowed):
            raise ProtocolError(
                grpc.StatusCode.PERMISSION_DENIED, f"{self.cluster} asked for an object that is not part of its bundle"
            )
        self._send(_with_last(self._frames.objects(wants), manifest=False))

    def _on_ack(self, ack: pb.Ack) -> None:
        root = _root(ack.root)
        if ack.generation > _FURTHEST:
            raise ProtocolError(grpc.StatusCode.INVALID_ARGUMENT, f"there is no generation {ack.generation}")
        self.held = root
        self._look = True
        if self._offered is not None:  # another root than the offered: it is offered again, against what is there
            self._stop()
        if root == self._refused:
            self._refused, self._retry = None, _FIRST_RETRY
        self._store.acked(self.cluster, ack.generation, root, time.time())
        self._listener.delivered(self.cluster, ack.generation, root)

    def _on_nack(self, nack: pb.Nack) -> None:
        root = _root(nack.root)
        nack.message = nack.message[:_MAX_REASON]
        self._store.refused(self.cluster, root, nack.message)
        self._listener.refused(self.cluster, nack)
        if self._offered is not None and self._offered.root == root:
            self._give_up(root)

    def _on_status(self, status: status_pb2.ClusterStatus) -> None:
        self._confirm = max(self._confirm, status.sequence)
        if status.ByteSize():  # an empty one is a heartbeat
            learned = self._learn(status.facts)
            self._listener.status(self.cluster, status)
            if learned:
                self._listener.learned(self.cluster)

    def _learn(self, facts: Mapping[str, str]) -> bool:
        """Keep what the cluster says of itself; return whether that is new.

        What it does not mention stays as it was: a spoke that has just started knows nothing yet, and what the cluster
        gets may depend on it.
        """
        known = self._store.cluster(self.cluster)
        together = {**(known.facts if known else {}), **facts}
        if sum(len(name) + len(value) for name, value in together.items()) > _MAX_FACTS:
            raise ProtocolError(grpc.StatusCode.INVALID_ARGUMENT, f"more than {_MAX_FACTS} characters of facts")
        if known is None or together == known.facts:
            return False
        self._store.seen(self.cluster, time.time(), together)
        return True

    def _on_answer(self, message: pb.SpokeMessage) -> None:
        try:
            if message.HasField("answer"):
                self._queries.on_part(message.answer)
            else:
                self._queries.on_end(message.answer_end)
        except LinkError as error:
            raise ProtocolError(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from None

    # -- what to say

    def look(self) -> None:
        """Look at the desired state again: it may be newer, or can be sent now."""
        self._look = True
        self._retry_at = 0.0
        self._wake()

    @property
    def retry_at(self) -> float:
        """Return when (monotonic) a refused root is to be offered again; 0 for none."""
        return self._retry_at if self._refused else 0.0

    def next_message(self) -> pb.HubMessage | None:
        """Return what to say now, None where there is nothing or no credit."""
        if self._welcome:
            self._welcome = False
            welcome = pb.Welcome(protocol=pb.PROTOCOL_1, hub_version=__version__, epoch=self._store.epoch)
            welcome.cluster, welcome.heartbeat = self.cluster, self._heartbeat
            return pb.HubMessage(welcome=welcome)
        if self._confirm:
            confirmed, self._confirm = self._confirm, 0
            return pb.HubMessage(status_received=pb.StatusReceived(sequence=confirmed))
        if self.hello is None:
            return None
        try:
            return self._queries.next_message() or self._next_offer() or self._next_content()
        except StoreError as error:
            root = self._offered.root if self._offered else None
            log.warning("can't deliver %s to %s: %s", short(root or b""), self.cluster, error)
            self._listener.event(self.cluster, "Warning", "DeliveryFailed", str(error))
            self._give_up(root)
            return None

    def _next_offer(self) -> pb.HubMessage | None:
        if not self._look:
            return None
        self._look = False
        newest = self._store.desired(self.cluster)
        if newest is None or (newest.root == self._refused and time.monotonic() < self._retry_at):
            return None
        if self._offered is not None and self._offered.generation == newest.generation:
            return None
        if self._offered is None and newest.root == self.held:
            return None
        self._stop()
        if newest.generation <= self._ahead:  # the spoke would refuse it
            newest = self._store.outrun(self.cluster, self._ahead)
        return self._offer(newest) if newest is not None else None

    def _offer(self, newest: Desired) -> pb.HubMessage:
        self._offered = newest
        offer = pb.Offer(epoch=self._store.epoch, generation=newest.generation, root=newest.root)
        if newest.root != self.held:  # else the spoke has all of it, and only learns the newer generation
            whole = self.held is None or newest.root == self._refused or self._store.bundle(self.held) is None
            base = None if whole else self.held
            manifest = self._frames.manifest(newest.root, base)
            offer.base_root, offer.size = base or b"", uncompressed_size(manifest)
            self._send(_with_last(cut(manifest), manifest=True))
        return pb.HubMessage(offer=offer, traceparent=newest.traceparent)

    def _next_content(self) -> pb.HubMessage | None:
        """Return what costs credit; neither a bundle nor a question waits for the end of the other."""
        turns = (self._next_part, self._next_piece) if self._part_next else (self._next_piece, self._next_part)
        self._part_next = not self._part_next
        return turns[0]() or turns[1]()

    def _next_part(self) -> pb.HubMessage | None:
        part = self._queries.next_part(self._credit)
        if part is None:
            return None
        self._credit -= cost(part)
        return pb.HubMessage(question=part)

    def _next_piece(self) -> pb.HubMessage | None:
        if self._offered is None:
            return None
        if self._piece is None:
            self._piece = next(self._pieces, None)
        piece = self._piece
        if piece is None or len(piece.content) > self._credit:
            return None
        self._piece = None
        self._credit -= len(piece.content)
        message = pb.Piece(epoch=self._store.epoch, generation=self._offered.generation, last=piece.last)
        if piece.manifest:
            message.manifest = piece.content
        else:
            message.objects = piece.content
        return pb.HubMessage(piece=message, traceparent=self._offered.traceparent)

    def _send(self, pieces: Iterator[_Next]) -> None:
        self._pieces, self._piece = pieces, None

    def _stop(self) -> None:
        self._offered = None
        self._send(iter(()))

    def _give_up(self, root: Digest | None) -> None:
        """Stop this delivery, and offer the root again later, whole, unless a newer one comes first."""
        self._stop()
        self._look = True
        self._retry = min(self._retry * 2, _LAST_RETRY) if root == self._refused else _FIRST_RETRY
        self._refused = root
        self._retry_at = time.monotonic() + self._retry


def _root(value: bytes) -> Digest:
    if len(value) != 32:
        raise ProtocolError(grpc.StatusCode.INVALID_ARGUMENT, f"a root has {len(value)} bytes instead of 32")
    return Digest(value)


def _with_last(contents: Iterator[bytes], *, manifest: bool) -> Iterator[_Next]:
    """Yield each piece with whether it is the last one."""
    before = next(contents, None)
    for content in contents:
        if before is not None:
            yield _Next(before, manifest, last=False)
        before = content
    if before is not None:
        yield _Next(before, manifest, last=True)
