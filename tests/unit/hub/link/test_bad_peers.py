"""What is wrong at the other end is refused in words, and never hurts the others."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from pathlib import Path

import pytest
from grpc import aio

from felloe.v1 import link_pb2 as pb
from felloe.v1 import status_pb2
from hub.link.server import LinkTimes
from tests.unit.hub.link.rig import Spoke, ending, eventually, hello, raw_stream, read, running_hub


def need(*wants: pb.Want) -> pb.SpokeMessage:
    return pb.SpokeMessage(need=pb.Need(generation=1, wants=wants))


def boastful() -> pb.SpokeMessage:
    message = hello()
    message.hello.facts["x"] = "y" * 100_000
    return message


async def test_an_old_protocol_is_told_both_versions(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub, raw_stream(hub.member("dev")) as call:
        await call.write(hello(protocol=7, spoke_version="9.9.9"))
        said = await ending(call)
        assert said.startswith("FAILED_PRECONDITION: the spoke 9.9.9 speaks protocol 7, this hub")
        assert "speaks protocol 1" in said


async def test_a_spoke_of_a_later_epoch_is_told_what_to_do(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub, raw_stream(hub.member("dev")) as call:
        await call.write(hello(epoch=41))
        said = await ending(call)
        assert "has followed a hub of epoch 41" in said
        assert "--epoch 42" in said


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        ([pb.SpokeMessage(credit=pb.Credit(bytes=1))], "INVALID_ARGUMENT: a stream begins with one Hello"),
        ([hello(), hello()], "INVALID_ARGUMENT: a stream begins with one Hello"),
        ([hello(), pb.SpokeMessage()], "INVALID_ARGUMENT: the message is of a kind"),
        ([hello(credit=10)], "INVALID_ARGUMENT: the first credit is below"),
        ([hello(), pb.SpokeMessage(credit=pb.Credit(bytes=2**63))], "INVALID_ARGUMENT: more than"),
        ([boastful()], "INVALID_ARGUMENT: more than 65536 characters of facts"),
        ([hello(spoke_version="9" * 600_000)], "INVALID_ARGUMENT: a Hello of more than 524288 bytes"),
        ([hello(), pb.SpokeMessage(ack=pb.Ack(root=bytes(32), generation=2**63))], "INVALID_ARGUMENT: there is no"),
        ([hello(root=b"short")], "INVALID_ARGUMENT: a root has 5 bytes"),
        ([hello(), pb.SpokeMessage(ack=pb.Ack(root=b"short"))], "INVALID_ARGUMENT: a root has 5 bytes"),
        ([hello(), need(pb.Want(digest=b"?"))], "PERMISSION_DENIED: dev asked for an object"),
    ],
)
async def test_absurd_messages_end_the_stream(tmp_path: Path, messages: list[pb.SpokeMessage], code: str) -> None:
    async with running_hub(tmp_path / "hub") as hub, raw_stream(hub.member("dev")) as call:
        hub.publish("dev", {"a": "1"})
        for message in messages:
            await call.write(message)
            await asyncio.sleep(0.02)
        assert (await ending(call)).startswith(code)


async def test_who_boasts_of_a_generation_that_none_can_follow_keeps_nobody_from_publishing(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub, raw_stream(hub.member("dev")) as call:
        hub.publish("dev", {"a": "1"})
        await call.write(hello(epoch=hub.store.epoch, generation=2**63 - 2))
        while not (await read(call)).HasField("offer"):
            pass
        hub.publish("dev", {"a": "2"})
        desired = hub.store.desired("dev")
        assert desired is not None
        assert desired.generation < 2**63 - 1


async def test_an_oversized_message_is_cut_off(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub, raw_stream(hub.member("dev")) as call:
        await call.write(hello())
        message = pb.SpokeMessage()
        message.status.facts["x"] = "y" * (9 * 1024 * 1024)
        await call.write(message)
        assert (await ending(call)).startswith("RESOURCE_EXHAUSTED")
        assert not hub.listener.statuses


async def test_garbage_on_the_port_does_not_hurt(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        host, _, port = hub.address.partition(":")
        for _ in range(20):
            _, writer = await asyncio.open_connection(host, int(port))
            writer.write(os.urandom(4096))
            writer.close()
        for _ in range(5):  # TLS, but no HTTP/2 behind it
            context = ssl.create_default_context(cadata=hub.authority.certificate)
            _, writer = await asyncio.open_connection(host, int(port), ssl=context)
            writer.write(os.urandom(4096))
            writer.transport.abort()
        async with raw_stream(hub.member("dev")) as call:
            await call.write(hello())
            assert (await read(call)).HasField("welcome")


async def test_a_second_stream_replaces_the_first(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        identity = hub.member("dev")
        async with raw_stream(identity) as first, raw_stream(identity) as second:
            await first.write(hello(instance="one"))
            assert (await read(first)).HasField("welcome")
            await second.write(hello(instance="two"))
            assert (await read(second)).HasField("welcome")
            assert (await ending(first)).startswith("ABORTED: a second stream of cluster dev")
            bundle = hub.publish("dev", {"a": "1"})
            assert (await read(second)).offer.root == bundle.root
        assert [reason for _, reason, _ in hub.listener.events] == ["StreamReplaced"]
        await eventually(lambda: hub.listener.gone == ["dev"])


async def test_a_reader_that_stalls_gets_no_more_than_one_frame_ahead(tmp_path: Path) -> None:
    """A spoke that grants credit but does not read; revoking it still counts at once."""
    async with running_hub(tmp_path / "hub") as hub:
        bundle = hub.publish("dev", {"big": os.urandom(3_000_000).hex()})
        async with raw_stream(hub.member("dev")) as call:
            await call.write(hello(credit=4 * 1024 * 1024))
            for _ in range(3):
                await read(call)
            await call.write(need(*(pb.Want(digest=name) for name in bundle.digests())))
            await asyncio.sleep(0.3)  # nothing reads
            hub.server.revoke("dev")
            assert not hub.server.sessions()
            received = 0
            with contextlib.suppress(aio.AioRpcError):
                while isinstance(message := await call.read(), pb.HubMessage):
                    received += len(message.piece.objects)
            assert await ending(call) == "PERMISSION_DENIED: cluster dev was revoked"
            assert received < 300 * 1024


async def test_a_nack_is_recorded_and_offered_again_whole_when_published_again(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub, raw_stream(hub.member("dev")) as call:
        first = hub.publish("dev", {"a": "1"})
        second = hub.publish("dev", {"a": "2"})
        await call.write(hello(root=first.root, generation=1))
        assert (await read(call)).HasField("welcome")
        assert (await read(call)).offer.base_root == first.root
        await read(call)
        nack = pb.Nack(generation=2, root=second.root, message="the manifest is damaged")
        await call.write(pb.SpokeMessage(nack=nack))
        await eventually(lambda: hub.listener.nacks)
        desired = hub.store.desired("dev")
        assert desired is not None
        assert desired.refusal == "the manifest is damaged"
        hub.publish("dev", {"a": "2"})
        assert (await read(call)).offer.base_root == b""


async def test_a_second_hub_can_not_have_the_port(tmp_path: Path) -> None:
    from felloe.errors import LinkError

    async with running_hub(tmp_path / "hub") as hub:
        with pytest.raises(LinkError, match="can't listen on"):
            async with running_hub(tmp_path / "other", port=int(hub.address.partition(":")[2])):
                pass


async def test_statuses_arrive_with_every_event(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub", times=LinkTimes(heartbeat=1.0)) as hub:
        spoke = Spoke(tmp_path / "spoke")
        await spoke.join(hub, "dev")
        spoke.feed.happen("Before")
        async with spoke.running():
            await eventually(lambda: hub.listener.statuses)
            spoke.feed.happen("After")
            await eventually(lambda: len(hub.listener.statuses) >= 2)
            await asyncio.sleep(1.3)  # heartbeats are no statuses
        reasons = [event.reason for _, status in hub.listener.statuses for event in status.events]
        assert reasons == ["Before", "After"]
        assert [status.full for _, status in hub.listener.statuses] == [True, False]
        assert not spoke.feed.pending
        member = hub.store.cluster("dev")
        assert member is not None
        assert member.facts == {"kubernetes_version": "v1.36.3"}


async def test_a_stream_that_was_opened_before_its_cluster_was_revoked_gets_nothing_after_that(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub, raw_stream(hub.member("dev")) as call:
        hub.publish("dev", {"a": "1"})
        await call.wait_for_connection()
        await asyncio.sleep(0.3)  # until the hub has looked at its certificate
        hub.server.revoke("dev")
        await call.write(hello())
        assert (await ending(call)).startswith("PERMISSION_DENIED: the certificate of cluster dev was revoked")
        assert not hub.listener.hellos


async def test_facts_do_not_pile_up(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub, raw_stream(hub.member("dev")) as call:
        await call.write(hello())
        for number in range(2):
            status = status_pb2.ClusterStatus(facts={f"x{number}": "y" * 40_000})
            await call.write(pb.SpokeMessage(status=status))
        assert (await ending(call)).startswith("INVALID_ARGUMENT: more than 65536 characters of facts")
