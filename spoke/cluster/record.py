"""The record of a bundle: packs of objects, and a head that names them. Pure.

Objects go into packs by a hash of who they are, and a pack that is too large is divided by the next bit of that hash:
so a change of one object changes one pack, whichever it is, and nothing moves between the others. A pack is named by
what it holds (ids, options, digests), so that which packs have to be written follows from names alone, without reading
one object. It is compressed, and cut into pieces below the size limit of a Kubernetes object.
"""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, chain
from typing import Final, NamedTuple

import zstandard
from google.protobuf.message import DecodeError

from felloe.bundle import (
    Bundle,
    Entry,
    Workload,
    bundle_from_proto,
    bundle_to_proto,
    entry_to_proto,
    workload_from_proto,
    workload_id_to_proto,
    workload_to_proto,
)
from felloe.digest import Digest, short
from felloe.errors import BundleError, StoreError
from felloe.identity import WorkloadId
from felloe.v1 import bundle_pb2
from felloe.v1 import record_pb2 as pb

FORMAT: Final = 1
PACK_BYTES: Final = 128 * 1024
"""Bytes of canonical JSON in a pack, unless a single object has more."""
PIECE_BYTES: Final = 512 * 1024
"""Bytes of a piece. The data of a Secret may be 1 MiB."""
LARGEST_PACK: Final = 64 * 1024 * 1024
_KEY_BITS: Final = 64
_DIGEST_BYTES: Final = 32
_OF_A_WORKLOAD: Final = 512
_YIELD_EVERY: Final = 200
_NO_ENTRY: Final = (0, None)


class Member(NamedTuple):
    """What goes into a pack as a whole: a workload without its entries (`entry` None), or one entry with its object."""

    workload: Workload
    entry: Entry | None


@dataclass(frozen=True, slots=True)
class Pack:
    """A part of a bundle, named by what it holds; its objects are not read yet."""

    name: str
    members: Sequence[Member]


@dataclass(frozen=True, slots=True)
class Head:
    """What a record says of its bundle; `packs` gives the number of pieces of each pack. Times: seconds since 1970.

    `rest` is what a bundle says beside its workloads.
    """

    hub: bytes
    highest_epoch: int
    epoch: int
    generation: int
    root: Digest
    traceparent: str
    received_at: float
    packs: Mapping[str, int]
    rest: Bundle

    def names(self) -> set[str]:
        """Return the name of every piece."""
        return {f"{name}-{number}" for name, pieces in self.packs.items() for number in range(pieces)}

    def encode(self) -> bytes:
        """Return it as it is kept."""
        head = pb.RecordHead(
            format=FORMAT,
            hub=self.hub,
            highest_epoch=self.highest_epoch,
            epoch=self.epoch,
            generation=self.generation,
            root=self.root,
            traceparent=self.traceparent,
            received_at=self.received_at,
            packs=[pb.RecordPackName(name=name, pieces=pieces) for name, pieces in sorted(self.packs.items())],
            rest=bundle_to_proto(self.rest),
        )
        return zstandard.compress(head.SerializeToString())

    @classmethod
    def decode(cls, data: bytes) -> Head:
        """Return what `encode` wrote. Raise StoreError where it is damaged, or of a newer spoke."""
        try:
            head = pb.RecordHead.FromString(_unpack(data))
        except DecodeError as error:
            raise StoreError("the head of the cluster's record of the desired state is damaged") from error
        if head.format != FORMAT:
            raise StoreError(f"the cluster's record has format {head.format}, this spoke reads {FORMAT}")
        return cls(
            hub=head.hub,
            highest_epoch=head.highest_epoch,
            epoch=head.epoch,
            generation=head.generation,
            root=Digest(head.root),
            traceparent=head.traceparent,
            received_at=head.received_at,
            packs={pack.name: pack.pieces for pack in head.packs},
            rest=bundle_from_proto(head.rest),
        )


class _Words:
    """What is to be said of a workload, as the packs ask for it: of each member, itself first, its key and a digest.

    Forty bytes a member: this is kept from one bundle to the next, so that only what changed is put into words again.
    """

    def __init__(self, workload: Workload) -> None:
        self.workload = workload
        self.keys = array("Q")
        self.digests = bytearray()

    def add(self, key: int, digest: bytes) -> None:
        self.keys.append(key)
        self.digests += digest

    def digest(self, number: int) -> bytes:
        return bytes(self.digests[number * _DIGEST_BYTES : (number + 1) * _DIGEST_BYTES])


class Division:
    """Divides bundles into packs, one bundle after the other: `take` its workloads, then ask for its `packs`."""

    def __init__(self) -> None:
        self._words: dict[WorkloadId, _Words] = {}

    def take(self, bundle: Bundle) -> Iterator[None]:
        """Put a bundle into words; yields now and then, so that others get their turn where much of it is new."""
        before, self._words = self._words, {}
        for workload in bundle.workloads:
            known = before.pop(workload.id, None)
            if known is None or known.workload is not workload:
                known = yield from _put_into_words(workload, known)
            self._words[workload.id] = known

    def packs(self) -> list[Pack]:
        """Return the packs of the bundle that was taken last."""
        return _Layout(list(self._words.values())).packs()


def _put_into_words(workload: Workload, before: _Words | None) -> Generator[None, None, _Words]:
    """Return the words of a workload; those of entries that were there `before` are taken over."""
    owner = "\0".join(workload.id)
    words = _Words(workload)
    words.add(_key(owner), _digest(owner, workload_to_proto(replace(workload, entries=()))))
    there = enumerate(before.workload.entries, 1) if before else iter(())
    at, known = next(there, _NO_ENTRY)
    new = 0
    for entry in workload.entries:
        while known is not None and known.id < entry.id:
            at, known = next(there, _NO_ENTRY)
        if before is not None and (known is entry or known == entry):
            words.add(before.keys[at], before.digest(at))
            continue
        words.add(_key("\0".join((owner, *entry.id))), _digest(owner, entry_to_proto(entry)))
        new += 1
        if new % _YIELD_EVERY == 0:
            yield
    return words


def _digest(owner: str, message: bundle_pb2.Workload | bundle_pb2.Entry) -> bytes:
    return hashlib.sha256(owner.encode() + b"\0" + message.SerializeToString(deterministic=True)).digest()


def _key(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=_KEY_BITS // 8).digest(), "big")


class _Layout:
    """A bundle's members in the order of their keys."""

    def __init__(self, words: Sequence[_Words]) -> None:
        self._members = [member for each in words for member in _members(each.workload)]
        self._keys = array("Q", chain.from_iterable(each.keys for each in words))
        self._digests = memoryview(b"".join(each.digests for each in words))
        self._order = sorted(range(len(self._keys)), key=self._keys.__getitem__)
        self._sums = array("Q", accumulate((_size(self._members[each]) for each in self._order), initial=0))

    def packs(self) -> list[Pack]:
        return [self._pack(start, end) for start, end in self._divided(0, len(self._order), _KEY_BITS - 1)]

    def _divided(self, start: int, end: int, bit: int) -> Iterator[tuple[int, int]]:
        if start == end:
            return
        if bit < 0 or end - start == 1 or self._sums[end] - self._sums[start] <= PACK_BYTES:
            yield start, end
            return
        middle = bisect_left(self._order, 1, start, end, key=lambda each: self._keys[each] >> bit & 1)
        yield from self._divided(start, middle, bit - 1)
        yield from self._divided(middle, end, bit - 1)

    def _pack(self, start: int, end: int) -> Pack:
        content = hashlib.sha256()
        for each in self._order[start:end]:
            content.update(self._digests[each * _DIGEST_BYTES : (each + 1) * _DIGEST_BYTES])
        members = tuple([self._members[each] for each in self._order[start:end]])
        return Pack(f"desired-{content.hexdigest()[:24]}", members)


def _members(workload: Workload) -> Iterator[Member]:
    yield Member(workload, None)
    for entry in workload.entries:
        yield Member(workload, entry)


def _size(member: Member) -> int:
    if member.entry is not None:
        return member.entry.size
    return workload_to_proto(replace(member.workload, entries=())).ByteSize() + _OF_A_WORKLOAD


def pieces(pack: Pack, blob: Callable[[Digest], bytes | None]) -> list[bytes]:
    """Return a pack as it is kept. Raise BundleError where `blob` does not have one of its objects."""
    message = pb.RecordPack()
    for member in pack.members:
        if member.entry is None:
            message.workloads.append(workload_to_proto(replace(member.workload, entries=())))
            continue
        data = blob(member.entry.digest)
        if data is None:
            raise BundleError(f"the spoke's disk has lost {member.entry.id}: it is asked for again")
        owner = workload_id_to_proto(member.workload.id)
        message.objects.add(workload=owner, entry=entry_to_proto(member.entry), data=data)
    packed = zstandard.compress(message.SerializeToString())
    return [packed[start : start + PIECE_BYTES] for start in range(0, len(packed), PIECE_BYTES)]


class Assembly:
    """A bundle that is put together pack by pack."""

    def __init__(self) -> None:
        self._workloads: dict[WorkloadId, Workload] = {}
        self._entries: dict[WorkloadId, list[Entry]] = {}

    def add(self, data: bytes) -> list[tuple[Digest, bytes]]:
        """Take a pack and return its objects, unverified. Raise StoreError or BundleError where it is damaged."""
        try:
            pack = pb.RecordPack.FromString(_unpack(data))
        except DecodeError as error:
            raise StoreError("a pack of the cluster's record of the desired state is damaged") from error
        for message in pack.workloads:
            workload = workload_from_proto(message)
            self._workloads[workload.id] = workload
        objects = []
        for said in pack.objects:
            owner = workload_from_proto(_alone(said))
            self._entries.setdefault(owner.id, []).extend(owner.entries)
            objects.append((owner.entries[0].digest, said.data))
        return objects

    def bundle(self, root: Digest, rest: Bundle) -> Bundle:
        """Return the whole, `rest` with its workloads. Raise BundleError where it does not have this root."""
        if lost := self._entries.keys() - self._workloads.keys():
            raise BundleError(f"the cluster's record has objects of {min(lost)}, and not what it is")
        workloads = tuple(
            replace(workload, entries=tuple(self._entries.get(identity, ())))
            for identity, workload in self._workloads.items()
        )
        whole = replace(rest, workloads=workloads)
        if whole.root != root:
            raise BundleError(f"the cluster's record makes the root {short(whole.root)}, not {short(root)}")
        return whole


def _alone(said: pb.RecordedObject) -> bundle_pb2.Workload:
    return bundle_pb2.Workload(id=said.workload, entries=[said.entry])


def _unpack(data: bytes) -> bytes:
    try:
        if not 0 <= zstandard.frame_content_size(data) <= LARGEST_PACK:
            raise StoreError("a part of the cluster's record says no size, or too large a one")
        return zstandard.ZstdDecompressor().decompress(data, max_output_size=LARGEST_PACK)
    except zstandard.ZstdError as error:
        raise StoreError("a part of the cluster's record of the desired state is damaged") from error
