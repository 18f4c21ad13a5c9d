"""A spoke takes a bundle whole and verified, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from felloe.bundle import Bundle, delta, workload_id_to_proto, workload_to_proto
from felloe.digest import Digest
from felloe.errors import LinkError
from felloe.v1 import link_pb2 as pb
from spoke.link.receiver import Receiver, RefusedBundleError, Step
from spoke.state import BundleStore, StoredBundle
from tests.unit.hub.link.samples import make_bundle, sha


class Sender:
    """A hub that can be made to err."""

    def __init__(self, folder: Path) -> None:
        self.store = BundleStore(folder)
        self.receiver = Receiver(self.store)
        self.blobs: dict[Digest, bytes] = {}

    def put(self, data: bytes) -> Digest:
        self.blobs[sha(data)] = data
        return sha(data)

    def offer(self, bundle: Bundle, generation: int, *, base: Bundle | None = None, epoch: int = 1) -> Step:
        change = delta(base, bundle)
        message = pb.ManifestDelta(
            changed=[workload_to_proto(workload) for workload in change.changed],
            removed=[workload_id_to_proto(gone) for gone in change.removed],
            approved_prunes=change.approved_prunes,
        ).SerializeToString()
        self.at = (epoch, generation)
        offer = pb.Offer(epoch=epoch, generation=generation, root=bundle.root, size=len(message))
        offer.base_root = base.root if base else b""
        step = self.receiver.offer(offer, "")
        if step.messages:
            return step
        return self.manifest(zstandard.compress(message))

    def manifest(self, data: bytes) -> Step:
        return self.receiver.piece(pb.Piece(epoch=self.at[0], generation=self.at[1], manifest=data, last=True))

    def objects(self, *parts: pb.ObjectPart, last: bool = True) -> Step:
        frame = zstandard.compress(pb.ObjectBatch(parts=parts).SerializeToString())
        return self.receiver.piece(pb.Piece(epoch=self.at[0], generation=self.at[1], objects=frame, last=last))

    def part(self, name: Digest, start: int = 0, end: int | None = None) -> pb.ObjectPart:
        data = self.blobs[name]
        return pb.ObjectPart(digest=name, offset=start, size=len(data), data=data[start:end])

    def deliver(self, bundle: Bundle, generation: int) -> StoredBundle:
        step = self.offer(bundle, generation)
        if not step.committed:
            step = self.objects(*(self.part(Digest(want.digest)) for want in step.messages[0].need.wants))
        assert step.committed is not None
        assert step.messages[0].ack.root == bundle.root
        return step.committed


@pytest.fixture
def sender(tmp_path: Path) -> Sender:
    return Sender(tmp_path)


def test_a_bundle_is_taken_and_a_delta_asks_only_for_what_lacks(sender: Sender) -> None:
    first = make_bundle(sender.put, {"a": "1", "b": "1"}, {"c": "1"})
    sender.deliver(first, 1)
    second = make_bundle(sender.put, {"a": "1", "b": "2"}, {"c": "1"})
    step = sender.offer(second, 2, base=first)
    assert [want.digest for want in step.messages[0].need.wants] == sorted(second.digests() - first.digests())
    assert sender.store.current is not None
    assert sender.store.current.bundle == first
    step = sender.objects(*(sender.part(Digest(want.digest)) for want in step.messages[0].need.wants))
    assert step.committed is not None
    assert sender.store.current.bundle == second


def test_a_bundle_without_objects_is_a_bundle(sender: Sender) -> None:
    sender.deliver(make_bundle(sender.put, {"a": "1"}), 1)
    assert sender.deliver(Bundle(), 2).bundle == Bundle()


def test_a_large_object_goes_on_where_it_broke_off(sender: Sender) -> None:
    bundle = make_bundle(sender.put, {"big": "x" * 100_000})
    (name,) = bundle.digests()
    sender.offer(bundle, 1)
    sender.objects(sender.part(name, 0, 60_000), last=False)
    sender.receiver = Receiver(sender.store)  # the stream broke
    step = sender.offer(bundle, 1)
    assert step.messages[0].need.wants[0].offset == 60_000
    assert sender.objects(sender.part(name, 60_000)).committed is not None
    assert sender.store.get(name) == sender.blobs[name]


def _wrong_object(sender: Sender, name: Digest) -> None:
    sender.objects(pb.ObjectPart(digest=name, size=len(sender.blobs[name]), data=b"?" * len(sender.blobs[name])))


def _wrong_size(sender: Sender, name: Digest) -> None:
    sender.objects(pb.ObjectPart(digest=name, size=1, data=b"?"))


def _unasked(sender: Sender, name: Digest) -> None:
    sender.objects(pb.ObjectPart(digest=sha(b"?"), size=1, data=b"?"))


def _too_few(sender: Sender, name: Digest) -> None:
    sender.objects()


def _no_frame(sender: Sender, name: Digest) -> None:
    sender.receiver.piece(pb.Piece(epoch=1, generation=2, objects=b"garbage", last=True))


def _no_batch(sender: Sender, name: Digest) -> None:
    sender.receiver.piece(pb.Piece(epoch=1, generation=2, objects=zstandard.compress(b"\xff"), last=True))


def _bomb(sender: Sender, name: Digest) -> None:
    frame = zstandard.compress(b"\0" * 50_000_000)
    sender.receiver.piece(pb.Piece(epoch=1, generation=2, objects=frame, last=True))


def _gap(sender: Sender, name: Digest) -> None:
    sender.objects(sender.part(name, 5))


def _second_manifest(sender: Sender, name: Digest) -> None:
    sender.manifest(zstandard.compress(b""))


@pytest.mark.parametrize(
    "wrong",
    [_wrong_object, _wrong_size, _unasked, _too_few, _no_frame, _no_batch, _bomb, _gap, _second_manifest],
)
def test_what_is_wrong_commits_nothing(sender: Sender, wrong: Callable[[Sender, Digest], None]) -> None:
    good = make_bundle(sender.put, {"a": "1"})
    sender.deliver(good, 1)
    bad = make_bundle(sender.put, {"a": "2"})
    sender.offer(bad, 2)
    (name,) = bad.digests()
    with pytest.raises(RefusedBundleError):
        wrong(sender, name)
    assert sender.store.current is not None
    assert sender.store.current.bundle == good
    assert sender.deliver(bad, 2).bundle == bad  # and the next try is not hurt by it


def test_a_manifest_that_makes_another_root_is_refused(sender: Sender) -> None:
    first, second = make_bundle(sender.put, {"a": "1"}), make_bundle(sender.put, {"a": "2"})
    message = pb.ManifestDelta(changed=[workload_to_proto(first.workloads[0])]).SerializeToString()
    sender.at = (1, 1)
    sender.receiver.offer(pb.Offer(epoch=1, generation=1, root=second.root, size=len(message)), "")
    with pytest.raises(RefusedBundleError, match="the manifest makes the root"):
        sender.manifest(zstandard.compress(message))
    assert sender.store.current is None


def test_older_epochs_and_generations_are_refused(sender: Sender) -> None:
    first, second = make_bundle(sender.put, {"a": "1"}), make_bundle(sender.put, {"a": "2"})
    sender.deliver(first, 5)
    with pytest.raises(RefusedBundleError, match="generation 4 is older than 5"):
        sender.offer(second, 4)
    sender.store.see_epoch(3)
    with pytest.raises(LinkError, match="the hub is at epoch 2, this spoke has followed epoch 3"):
        sender.offer(second, 6, epoch=2)
    assert sender.store.current is not None
    assert sender.store.current.bundle == first
    assert sender.offer(second, 4, epoch=3).messages[0].HasField("need")  # a newer run of the hub counts for itself


def test_a_newer_offer_replaces_what_is_half_there(sender: Sender) -> None:
    old, new = make_bundle(sender.put, {"a": "1"}), make_bundle(sender.put, {"a": "2"})
    sender.offer(old, 1)
    (name,) = old.digests()
    frame = zstandard.compress(pb.ObjectBatch(parts=[sender.part(name)]).SerializeToString())
    sender.offer(new, 2)
    late = sender.receiver.piece(pb.Piece(epoch=1, generation=1, objects=frame, last=True))
    assert late == Step()
    assert sender.store.current is None


def test_a_delta_against_what_is_not_here_is_answered_with_what_is(sender: Sender) -> None:
    first, second, third = (make_bundle(sender.put, {"a": str(number)}) for number in range(3))
    sender.deliver(first, 1)
    step = sender.offer(third, 3, base=second)
    assert (step.messages[0].ack.generation, step.messages[0].ack.root) == (1, first.root)


def test_an_equal_root_of_a_newer_generation_is_taken_without_pieces(sender: Sender) -> None:
    bundle = make_bundle(sender.put, {"a": "1"})
    sender.deliver(bundle, 1)
    step = sender.offer(bundle, 3, base=None)
    assert step.committed is not None
    assert (step.committed.generation, step.messages[0].ack.generation) == (3, 3)
