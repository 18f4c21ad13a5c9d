"""Taking a bundle: manifest first, objects second, and nothing counts before every digest and the root are right.

Pure of I/O but for the spoke's disk: each message of the hub gives the messages to answer with, and the bundle where
one became whole. What is wrong raises `RefusedBundleError`; then nothing was committed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import zstandard
from google.protobuf.message import DecodeError

from felloe.bundle import Bundle, Delta, patch, workload_from_proto, workload_id_from_proto
from felloe.digest import Digest, short
from felloe.errors import BundleError, LinkError
from felloe.v1 import link_pb2 as pb
from spoke.state import BundleStore, Part, StoredBundle, WrongObjectError

MAX_MANIFEST: Final = 64 * 1024 * 1024
MAX_FRAME: Final = 256 * 1024
"""Bytes that one frame of objects may hold."""


class RefusedBundleError(BundleError):
    """The bundle on offer can't be taken; `digest` is of the object that is wrong, where it is one."""

    def __init__(self, message: str, digest: bytes = b"") -> None:
        self.digest = digest
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Step:
    """What follows from a message: what to tell the hub, and the bundle that is now on disk."""

    messages: Sequence[pb.SpokeMessage] = ()
    committed: StoredBundle | None = None


@dataclass(slots=True)
class _Transfer:
    offer: pb.Offer
    traceparent: str
    base: Bundle | None
    manifest: bytearray = field(default_factory=bytearray)
    target: Bundle | None = None
    sizes: dict[Digest, int] = field(default_factory=dict)
    """Bytes of each object that was asked for."""


class Receiver:
    """The transfer of one stream. A newer offer replaces the one before it at any point."""

    def __init__(self, store: BundleStore) -> None:
        self._store = store
        self._transfer: _Transfer | None = None

    def offer(self, offer: pb.Offer, traceparent: str) -> Step:
        """Take the newest root. Raise LinkError for a hub of the past, RefusedBundleError for an older generation."""
        self._transfer = None
        if offer.epoch < self._store.epoch:
            raise LinkError(
                f"the hub is at epoch {offer.epoch}, this spoke has followed epoch {self._store.epoch}: it is deposed"
                " or was restored from an older backup"
            )
        current = self._store.current
        if current and (offer.epoch, offer.generation) < (current.epoch, current.generation):
            raise RefusedBundleError(
                f"generation {offer.generation} is older than {current.generation}, which is here already"
            )
        if len(offer.root) != 32 or offer.size > MAX_MANIFEST:
            raise RefusedBundleError("the offer has no proper root, or its manifest is too large")
        if current and offer.root == current.bundle.root and not self._store.missing(current.bundle):
            return self._commit(offer, traceparent, current.bundle)
        if offer.base_root and (current is None or offer.base_root != current.bundle.root):
            if current is None:
                raise RefusedBundleError("the manifest is a delta, but there is no bundle here")
            return Step([_ack(current)])  # crossed with an older Ack: the hub offers again, against what is here
        self._transfer = _Transfer(offer, traceparent, current.bundle if current and offer.base_root else None)
        return Step()

    def piece(self, piece: pb.Piece) -> Step:
        """Take a piece; one of an older offer is ignored. Raise RefusedBundleError where something is wrong."""
        transfer = self._transfer
        if transfer is None or (piece.epoch, piece.generation) != (transfer.offer.epoch, transfer.offer.generation):
            return Step()
        try:
            if piece.WhichOneof("content") == "manifest":
                return self._manifest(transfer, piece)
            return self._objects(transfer, piece)
        except BundleError as error:
            self._transfer = None
            raise error if isinstance(error, RefusedBundleError) else RefusedBundleError(str(error)) from None

    def _manifest(self, transfer: _Transfer, piece: pb.Piece) -> Step:
        if transfer.target is not None:
            raise RefusedBundleError("the manifest goes on after its end")
        transfer.manifest += piece.manifest
        if len(transfer.manifest) > transfer.offer.size + MAX_FRAME:
            raise RefusedBundleError("the manifest is longer than the offer said")
        if not piece.last:
            return Step()
        bundle = _target(transfer, self._store.current)
        transfer.target, transfer.manifest = bundle, bytearray()
        missing = self._store.missing(bundle)
        if not missing:
            return self._commit(transfer.offer, transfer.traceparent, bundle)
        asked = set(missing)
        entries = (entry for workload in bundle.workloads for entry in workload.entries)
        transfer.sizes = {entry.digest: entry.size for entry in entries if entry.digest in asked}
        wants = [pb.Want(digest=name, offset=self._store.offset(name)) for name in missing]
        return Step([pb.SpokeMessage(need=pb.Need(generation=transfer.offer.generation, wants=wants))])

    def _objects(self, transfer: _Transfer, piece: pb.Piece) -> Step:
        if transfer.target is None:
            raise RefusedBundleError("objects came before the manifest was whole")
        try:
            parts = pb.ObjectBatch.FromString(_unpack(piece.objects, MAX_FRAME)).parts
        except DecodeError:
            raise RefusedBundleError("a frame of objects is damaged") from None
        for part in parts:
            expected = transfer.sizes.get(Digest(part.digest))
            if expected is None or part.size != expected:
                raise RefusedBundleError(f"the object {short(part.digest)} was not asked for so", part.digest)
        try:
            self._store.add(Part(Digest(part.digest), part.offset, part.size, part.data) for part in parts)
        except WrongObjectError as error:
            raise RefusedBundleError(str(error), error.digest) from None
        return self._commit(transfer.offer, transfer.traceparent, transfer.target) if piece.last else Step()

    def _commit(self, offer: pb.Offer, traceparent: str, bundle: Bundle) -> Step:
        self._transfer = None
        stored = StoredBundle(offer.epoch, offer.generation, bundle, traceparent, time.time(), self._store.trusted)
        self._store.commit(stored)
        return Step([_ack(stored)], stored)


def _target(transfer: _Transfer, current: StoredBundle | None) -> Bundle:
    """Return the bundle that a whole manifest makes; it shares with the current one what is the same in both.

    Raise RefusedBundleError where its root is not the offered one.
    """
    known = current.bundle.by_id if current else {}
    try:
        delta = pb.ManifestDelta.FromString(_unpack(bytes(transfer.manifest), MAX_MANIFEST))
        changed = tuple(
            workload_from_proto(workload, known.get(workload_id_from_proto(workload.id))) for workload in delta.changed
        )
        removed = tuple(workload_id_from_proto(workload) for workload in delta.removed)
        bundle = patch(transfer.base, Delta(changed, removed, tuple(delta.approved_prunes)))
    except DecodeError:
        raise RefusedBundleError("the manifest is damaged") from None
    except BundleError as error:
        raise RefusedBundleError(str(error)) from None
    if bundle.root != transfer.offer.root:
        raise RefusedBundleError(f"the manifest makes the root {short(bundle.root)}, not {short(transfer.offer.root)}")
    return bundle


def _unpack(frame: bytes, limit: int) -> bytes:
    try:
        if not 0 <= zstandard.frame_content_size(frame) <= limit:
            raise RefusedBundleError(f"a frame holds more than {limit} bytes, or does not say how many")
        return zstandard.ZstdDecompressor().decompress(frame, max_output_size=limit)
    except zstandard.ZstdError:
        raise RefusedBundleError("a frame is damaged") from None


def _ack(stored: StoredBundle) -> pb.SpokeMessage:
    return pb.SpokeMessage(ack=pb.Ack(epoch=stored.epoch, generation=stored.generation, root=stored.bundle.root))
