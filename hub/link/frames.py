"""What travels: manifests and objects as zstd, cut into pieces of at most 64 KiB.

A frame is made once for all the clusters that ask for the same objects (a commit that changes one overlay asks every
cluster of it for the same few), so frames and manifests are kept, the least lately used ones leaving first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import zstandard

from felloe.bundle import (
    Bundle,
    bundle_from_proto,
    bundle_to_proto,
    delta,
    workload_id_to_proto,
    workload_to_proto,
)
from felloe.digest import Digest, short
from felloe.errors import StoreError
from felloe.v1 import bundle_pb2, link_pb2
from hub.store import Blobs, Store

PIECE: Final = 60 * 1024
"""Bytes of plain data in one frame: with the bytes of zstd and protobuf it stays below 64 KiB even if nothing packs."""
_LEVEL: Final = 3
_BUNDLES: Final = 16
"""Bundles kept decoded: what a commit changes, most clusters of an environment share."""


class BlobMissingError(StoreError):
    """An object of a bundle is not in the blobs: it has to be rendered again."""


class Frames:
    """Makes and keeps frames. `capacity` is in bytes, for manifests and frames of objects together."""

    def __init__(self, store: Store, blobs: Blobs, *, capacity: int = 32 * 1024 * 1024) -> None:
        self._store = store
        self._blobs = blobs
        self._capacity = capacity
        self._kept: OrderedDict[object, bytes] = OrderedDict()
        self._size = 0
        self._bundles: OrderedDict[Digest, tuple[Bundle, frozenset[Digest]]] = OrderedDict()

    def remember(self, bundle: Bundle) -> None:
        """Keep a bundle at hand that is going to be sent."""
        self._bundles[bundle.root] = (bundle, frozenset(bundle.digests()))
        self._bundles.move_to_end(bundle.root)
        if len(self._bundles) > _BUNDLES:
            self._bundles.popitem(last=False)

    def bundle(self, root: Digest) -> Bundle | None:
        """Return the bundle of a root, None where it is not known any more."""
        if root not in self._bundles:
            packed = self._store.bundle(root)
            if packed is None:
                return None
            self.remember(unpack_bundle(packed))
        return self._bundles[root][0]

    def digests(self, root: Digest) -> frozenset[Digest]:
        """Return what a spoke that was offered `root` may ask for."""
        return frozenset() if self.bundle(root) is None else self._bundles[root][1]

    def manifest(self, root: Digest, base: Digest | None) -> bytes:
        """Return the compressed ManifestDelta from `base` to `root`. Raise StoreError where `root` is unknown."""
        return self._keep(("manifest", base, root), lambda: self._make_manifest(root, base))

    def _make_manifest(self, root: Digest, base: Digest | None) -> bytes:
        target = self.bundle(root)
        start = self.bundle(base) if base else None
        if target is None:
            raise StoreError(f"the bundle {short(root)} is not in the store")
        change = delta(start, target)
        message = link_pb2.ManifestDelta(
            changed=[workload_to_proto(workload) for workload in change.changed],
            removed=[workload_id_to_proto(workload) for workload in change.removed],
            approved_prunes=change.approved_prunes,
        )
        return zstandard.ZstdCompressor(level=_LEVEL).compress(message.SerializeToString(deterministic=True))

    def objects(self, wants: Sequence[tuple[Digest, int]]) -> Iterator[bytes]:
        """Yield frames with these objects, each from its offset; lazily, so that a slow reader costs one frame.

        Raise BlobMissingError where one is not here. An offset beyond the end yields nothing.
        """
        batch: list[link_pb2.ObjectPart] = []
        size = 0
        for name, offset in wants:
            data = self._blobs.get(name)
            if data is None:
                raise BlobMissingError(f"the object {short(name)} is not in the hub's blobs")
            for part in _parts(name, data, offset):
                if batch and size + len(part.data) > PIECE:
                    yield self._frame(batch)
                    batch, size = [], 0
                batch.append(part)
                size += len(part.data) + 80
        if batch:
            yield self._frame(batch)

    def _frame(self, parts: Sequence[link_pb2.ObjectPart]) -> bytes:
        key = tuple((part.digest, part.offset) for part in parts)
        message = link_pb2.ObjectBatch(parts=parts)
        return self._keep(key, lambda: zstandard.ZstdCompressor(level=_LEVEL).compress(message.SerializeToString()))

    def _keep(self, key: object, make: Callable[[], bytes]) -> bytes:
        made = self._kept.get(key)
        if made is not None:
            self._kept.move_to_end(key)
            return made
        made = make()
        if len(made) <= self._capacity // 4:
            self._kept[key] = made
            self._size += len(made)
        while self._size > self._capacity:
            self._size -= len(self._kept.popitem(last=False)[1])
        return made


def pack_bundle(bundle: Bundle) -> bytes:
    """Return a bundle as the store keeps it: serialized, zstd."""
    message = bundle_to_proto(bundle).SerializeToString(deterministic=True)
    return zstandard.ZstdCompressor(level=_LEVEL).compress(message)


def unpack_bundle(packed: bytes) -> Bundle:
    """Return what `pack_bundle` packed."""
    return bundle_from_proto(bundle_pb2.Bundle.FromString(zstandard.ZstdDecompressor().decompress(packed)))


def uncompressed_size(frame: bytes) -> int:
    """Return how many bytes a frame holds, as its header says."""
    return zstandard.frame_content_size(frame)


def cut(data: bytes) -> Iterator[bytes]:
    """Yield `data` in pieces."""
    for start in range(0, len(data), PIECE):
        yield data[start : start + PIECE]


def _parts(name: Digest, data: bytes, offset: int) -> Iterator[link_pb2.ObjectPart]:
    """Yield a blob from `offset`; what fits into one piece is one part. An empty blob is one empty part."""
    start = offset
    while start < len(data) or start == offset == 0 == len(data):
        piece = data[start : start + PIECE]
        yield link_pb2.ObjectPart(digest=name, offset=start, size=len(data), data=piece)
        start += max(len(piece), 1)
