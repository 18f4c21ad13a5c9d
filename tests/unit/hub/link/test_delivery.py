"""A published bundle reaches its spoke whole, changes travel alone, and the newest one wins."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

import pytest
import zstandard

from felloe.v1 import link_pb2 as pb
from felloe.v1 import status_pb2
from hub.link.frames import BlobMissingError
from hub.link.server import LinkTimes
from tests.unit.hub.link.rig import Call, Spoke, ending, eventually, hello, raw_stream, read, running_hub
from tests.unit.hub.link.samples import make_bundle, sha

TRACE = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"


async def quiet(call: Call) -> bool:
    """Tell whether the hub has nothing to say but to confirm statuses: what it has comes between two of them."""
    answers = []
    for sequence in (1, 2):
        await call.write(pb.SpokeMessage(status=status_pb2.ClusterStatus(sequence=sequence)))
        answers.append(await read(call))
    return all(answer.HasField("status_received") for answer in answers)


async def test_first_sync_then_a_delta(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        spoke = Spoke(tmp_path / "spoke")
        await spoke.join(hub, "dev")
        first = hub.publish("dev", {f"c{n}": "x" * 900 for n in range(300)}, {"a": "1"}, traceparent=TRACE)
        async with spoke.running():
            await eventually(lambda: spoke.root == first.root)
            assert spoke.whole()
            await eventually(lambda: spoke.taken)
            assert spoke.taken[-1].traceparent == TRACE
            second = hub.publish("dev", {f"c{n}": "x" * 900 for n in range(300)}, {"a": "2", "b": "1"})
            await eventually(lambda: spoke.root == second.root)
            assert spoke.whole()
            empty = hub.publish("dev")
            await eventually(lambda: spoke.root == empty.root)
            await eventually(lambda: hub.listener.acks == [
                ("dev", 1, first.root), ("dev", 2, second.root), ("dev", 3, empty.root)
            ])  # fmt: skip
        desired = hub.store.desired("dev")
        assert desired is not None
        assert (desired.acked_generation, desired.acked_root) == (3, empty.root)


async def test_a_cluster_that_was_removed_and_joins_again_takes_what_it_is_given(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        spoke = Spoke(tmp_path / "spoke")
        await spoke.join(hub, "dev")
        for value in ("1", "2", "3"):
            last = hub.publish("dev", {"a": value})
        async with spoke.running():
            await eventually(lambda: spoke.root == last.root)
            await eventually(lambda: hub.listener.acks)
        hub.server.remove("dev")
        await spoke.join(hub, "dev")
        again = hub.publish("dev", {"a": "4"})
        async with spoke.running():
            await eventually(lambda: spoke.root == again.root)
            newer = hub.publish("dev", {"a": "5"})
            await eventually(lambda: spoke.root == newer.root)
            await eventually(lambda: [generation for _, generation, _ in hub.listener.acks] == [3, 4, 5])


async def test_a_delta_names_only_what_changed(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        spoke = Spoke(tmp_path / "spoke")
        identity = await spoke.join(hub, "dev")
        first = hub.publish("dev", {"a": "1"}, {"b": "1"})
        second = hub.publish("dev", {"a": "1"}, {"b": "2"})
        async with raw_stream(identity) as call:
            await call.write(hello(root=first.root, generation=1))
            assert (await read(call)).welcome.cluster == "dev"
            offer = (await read(call)).offer
            assert (offer.generation, offer.root, offer.base_root) == (2, second.root, first.root)
            piece = (await read(call)).piece
            assert piece.last
            assert len(piece.manifest) < 400


async def test_an_equal_root_sends_nothing(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        spoke = Spoke(tmp_path / "spoke")
        identity = await spoke.join(hub, "dev")
        bundle = hub.publish("dev", {"a": "1"})
        async with raw_stream(identity) as call:
            await call.write(hello(root=bundle.root, generation=1))
            assert (await read(call)).HasField("welcome")
            hub.publish("dev", {"a": "1"})
            assert await quiet(call)
        desired = hub.store.desired("dev")
        assert desired is not None
        assert desired.generation == 1


async def test_an_unknown_root_gets_the_whole_manifest(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        spoke = Spoke(tmp_path / "spoke")
        identity = await spoke.join(hub, "dev")
        hub.publish("dev", {"a": "1"})
        async with raw_stream(identity) as call:
            await call.write(hello(root=sha(b"of another hub"), generation=9))
            await read(call)
            assert (await read(call)).offer.base_root == b""


async def test_pieces_wait_for_credit(tmp_path: Path) -> None:
    content = os.urandom(700_000).hex()
    async with running_hub(tmp_path / "hub") as hub:
        spoke = Spoke(tmp_path / "spoke")
        identity = await spoke.join(hub, "dev")
        bundle = hub.publish("dev", {"big": content})
        (name,) = bundle.digests()
        async with raw_stream(identity) as call:
            await call.write(hello(credit=100 * 1024))
            await read(call)
            await read(call)
            used = len((await read(call)).piece.manifest)
            await call.write(pb.SpokeMessage(need=pb.Need(generation=1, wants=[pb.Want(digest=name)])))
            await asyncio.sleep(0.2)  # it sends all it may
            await call.write(pb.SpokeMessage(status=status_pb2.ClusterStatus(sequence=1)))
            while (message := await read(call)).HasField("piece"):
                assert len(message.piece.objects) <= 64 * 1024
                used += len(message.piece.objects)
            assert message.HasField("status_received")
            assert 36 * 1024 < used <= 100 * 1024
            assert await quiet(call)
            await call.write(pb.SpokeMessage(credit=pb.Credit(bytes=64 * 1024)))
            assert (await read(call)).HasField("piece")


async def test_a_large_object_goes_on_at_the_offset_that_is_asked_for(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub, raw_stream(hub.member("dev")) as call:
        (name,) = hub.publish("dev", {"big": os.urandom(100_000).hex()}).digests()
        await call.write(hello())
        for _ in range(3):
            await read(call)
        await call.write(pb.SpokeMessage(need=pb.Need(generation=1, wants=[pb.Want(digest=name, offset=123_456)])))
        data, start, last = b"", 123_456, False
        while not last:
            piece = (await read(call)).piece
            (part,) = pb.ObjectBatch.FromString(zstandard.decompress(piece.objects)).parts
            assert part.offset == start + len(data)
            data, last = data + part.data, piece.last
        assert hub.blobs.get(name)[start:] == data  # type: ignore[index]


async def test_the_newest_generation_replaces_what_is_under_way(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        spoke = Spoke(tmp_path / "spoke")
        identity = await spoke.join(hub, "dev")
        old = hub.publish("dev", {"big": os.urandom(300_000).hex()})
        async with raw_stream(identity) as call:
            await call.write(hello(credit=64 * 1024))
            for _ in range(3):
                await read(call)
            wants = [pb.Want(digest=name) for name in old.digests()]
            await call.write(pb.SpokeMessage(need=pb.Need(generation=1, wants=wants)))
            assert (await read(call)).piece.generation == 1
            new = hub.publish("dev", {"small": "1"})
            await call.write(pb.SpokeMessage(credit=pb.Credit(bytes=1024 * 1024)))
            message = await read(call)
            while message.HasField("piece") and message.piece.generation == 1:
                message = await read(call)
            assert message.offer.root == new.root
            assert (await read(call)).piece.generation == 2


async def test_going_back_to_what_the_spoke_has_stops_what_is_under_way(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub, raw_stream(hub.member("dev")) as call:
        old = hub.publish("dev", {"a": "1"})
        hub.publish("dev", {f"c{n}": os.urandom(100).hex() for n in range(3000)})  # its manifest is in several pieces
        await call.write(hello(root=old.root, generation=1, credit=64 * 1024))
        await read(call)
        assert (await read(call)).offer.generation == 2
        assert (await read(call)).piece.generation == 2
        hub.publish("dev", {"a": "1"})
        offer = (await read(call)).offer
        assert (offer.generation, offer.root) == (3, old.root)
        await call.write(pb.SpokeMessage(credit=pb.Credit(bytes=1024 * 1024)))
        assert await quiet(call)


async def test_a_spoke_that_crossed_with_a_newer_offer_gets_there(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        spoke = Spoke(tmp_path / "spoke")
        await spoke.join(hub, "dev")
        async with spoke.running():
            for number in range(40):
                last = hub.publish("dev", {"a": str(number % 3), "b": "x" * 5000}, {"c": str(number % 7)})
                await asyncio.sleep(0.002 * (number % 4))
            await eventually(lambda: spoke.root == last.root)
            assert spoke.whole()
            await eventually(lambda: hub.server.sessions()["dev"].held == last.root)


async def test_objects_of_other_clusters_are_out_of_reach(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        spoke = Spoke(tmp_path / "spoke")
        identity = await spoke.join(hub, "dev")
        hub.publish("dev", {"a": "1"})
        (other,) = hub.publish("production", {"secret": "1"}).digests()
        async with raw_stream(identity) as call:
            await call.write(hello())
            for _ in range(3):
                await read(call)
            await call.write(pb.SpokeMessage(need=pb.Need(generation=1, wants=[pb.Want(digest=other)])))
            assert (await ending(call)).startswith("PERMISSION_DENIED: dev asked for an object that is not part")


async def test_a_missing_blob_refuses_to_publish_and_a_lost_one_is_sent_once_it_is_back(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        with pytest.raises(BlobMissingError, match="not in the blobs"):
            hub.server.publish("dev", make_bundle(sha, {"a": "1"}))
        spoke = Spoke(tmp_path / "spoke")
        await spoke.join(hub, "dev")
        bundle = hub.publish("dev", {"a": "1"})
        (name,) = bundle.digests()
        text = name.hex()
        (tmp_path / "hub" / "blobs" / text[:2] / text[2:]).write_bytes(b"damaged by a power cut")
        async with spoke.running():
            await eventually(lambda: any(reason == "DeliveryFailed" for _, reason, _ in hub.listener.events))
            assert spoke.root is None
            hub.publish("dev", {"a": "1"})
            await eventually(lambda: spoke.root == bundle.root)


async def test_needed_are_the_objects_of_every_newest_bundle(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        hub.publish("dev", {"a": "1"})
        newest = [hub.publish("dev", {"a": "2"}), hub.publish("staging", {"a": "2", "b": "1"})]
        assert hub.server.needed() == newest[0].digests() | newest[1].digests()


async def test_two_hundred_streams(tmp_path: Path) -> None:
    """Every one of many spokes gets the offer; the memory of hub and spokes together is printed, not judged."""
    async with running_hub(tmp_path / "hub") as hub, contextlib.AsyncExitStack() as stack:
        bundle = hub.bundle({f"c{n}": "x" * 200 for n in range(20)})
        identities = [hub.member(f"c{number}") for number in range(200)]
        before = _rss()
        calls = [await stack.enter_async_context(raw_stream(identity)) for identity in identities]
        for call in calls:
            await call.write(hello())
            assert (await read(call)).HasField("welcome")
        for number in range(200):
            hub.server.publish(f"c{number}", bundle)
        for call in calls:
            assert (await read(call)).offer.root == bundle.root
        print(f"200 streams, both ends in one process: {(_rss() - before) / 1024 / 200:.0f} KiB each")


def _rss() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


async def test_a_silent_stream_is_ended(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub", times=LinkTimes(heartbeat=0.1, hello=0.2)) as hub:
        identity = await Spoke(tmp_path / "spoke").join(hub, "dev")
        async with raw_stream(identity) as call:
            assert (await ending(call)).startswith("DEADLINE_EXCEEDED")
        async with raw_stream(identity) as call:
            await call.write(hello())
            assert (await ending(call)).startswith("DEADLINE_EXCEEDED")
        assert hub.listener.gone == ["dev"]
