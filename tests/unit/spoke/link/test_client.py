"""The spoke keeps following its hub, whatever happens to the stream, the hub or its own disk."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from unittest.mock import AsyncMock, Mock

import grpc
import pytest
import zstandard
from grpc import aio

from felloe.bundle import workload_to_proto
from felloe.errors import EnrolmentError
from felloe.v1 import link_pb2 as pb
from felloe.v1 import link_pb2_grpc, status_pb2
from spoke.link.backoff import Backoff
from spoke.link.client import _Stream, split
from tests.unit.hub.link.rig import Feed, Hub, Spoke, eventually, running_hub
from tests.unit.hub.link.samples import make_bundle, sha


async def test_a_spoke_without_identity_says_so(tmp_path: Path) -> None:
    with pytest.raises(EnrolmentError, match="has not joined a hub yet"):
        await Spoke(tmp_path).client.run()


async def test_the_hub_goes_away_and_comes_back_with_a_change(tmp_path: Path) -> None:
    spoke = Spoke(tmp_path / "spoke")
    async with running_hub(tmp_path / "hub") as hub:
        await spoke.join(hub, "dev")
        port = int(hub.address.partition(":")[2])
        first = hub.publish("dev", {"a": "1"})
        running = spoke.running()
        await running.__aenter__()
        await eventually(lambda: spoke.root == first.root)
    await eventually(lambda: not spoke.client.connected and spoke.client.problem)
    assert spoke.root == first.root
    assert spoke.whole()
    async with running_hub(tmp_path / "hub", port=port) as hub:
        await eventually(lambda: spoke.client.connected)
        assert spoke.store.epoch == hub.store.epoch == 2
        assert hub.listener.hellos[-1][1].root == first.root
        second = hub.publish("dev", {"a": "2"})
        await eventually(lambda: spoke.root == second.root)
        await running.__aexit__(None, None, None)


async def test_a_large_object_goes_on_after_the_stream_broke(tmp_path: Path) -> None:
    spoke = Spoke(tmp_path / "spoke")
    async with running_hub(tmp_path / "hub") as hub:
        await spoke.join(hub, "dev")
        bundle = hub.publish("dev", {"big": os.urandom(1_500_000).hex()})
        (name,) = bundle.digests()
        async with spoke.running():
            await eventually(lambda: spoke.store.offset(name))
        broke_at = spoke.store.offset(name)
        assert 0 < broke_at < 3_000_000
        async with spoke.running():
            await eventually(lambda: spoke.store.offset(name) > broke_at or spoke.root == bundle.root)
            await eventually(lambda: spoke.root == bundle.root)
        assert spoke.whole()


async def test_a_damaged_object_is_fetched_again(tmp_path: Path) -> None:
    spoke = Spoke(tmp_path / "spoke")
    async with running_hub(tmp_path / "hub") as hub:
        await spoke.join(hub, "dev")
        bundle = hub.publish("dev", {"a": "1"}, {"b": "1"})
        async with spoke.running():
            await eventually(lambda: spoke.root == bundle.root)
        spoke.store.close()
        with sqlite3.connect(tmp_path / "spoke" / "bundles.db") as db:
            db.execute("UPDATE blobs SET data = x'00' WHERE digest = (SELECT MIN(digest) FROM blobs)")
        db.close()
        again = Spoke(tmp_path / "spoke")
        async with again.running():
            await eventually(lambda: again.client.connected)
            assert again.taken == []
            assert not again.whole()
            await eventually(lambda: again.taken)
            assert again.whole()


async def test_a_hub_of_an_older_epoch_is_not_followed(tmp_path: Path) -> None:
    spoke = Spoke(tmp_path / "spoke")
    async with running_hub(tmp_path / "hub") as hub:
        await spoke.join(hub, "dev")
        first = hub.publish("dev", {"a": "1"})
        async with spoke.running():
            await eventually(lambda: spoke.root == first.root)
        spoke.store.see_epoch(9)
        hub.publish("dev", {"a": "2"})
        async with spoke.running():
            await eventually(lambda: "epoch 9" in spoke.client.problem)
            assert not spoke.client.connected
        assert spoke.root == first.root


async def test_a_deposed_hub_that_does_not_know_it_is_not_followed(tmp_path: Path) -> None:
    spoke = Spoke(tmp_path / "spoke")
    async with running_hub(tmp_path / "hub") as hub:
        identity = await spoke.join(hub, "dev")
        spoke.store.trust(identity.trust)
        spoke.store.see_epoch(9)
        async with odd_hub(hub, spoke, []) as odd, spoke.running():
            await eventually(lambda: "the hub is at epoch 1, this spoke has followed epoch 9" in spoke.client.problem)
        assert odd.statuses == []


async def test_events_of_a_stream_that_broke_come_again(tmp_path: Path) -> None:
    """A hub that reads statuses but dies before it confirms them."""
    spoke = Spoke(tmp_path / "spoke")
    async with running_hub(tmp_path / "hub") as hub:
        await spoke.join(hub, "dev")
        spoke.feed.happen("Applied")
        async with odd_hub(hub, spoke, []) as odd, spoke.running():
            await eventually(lambda: len(odd.statuses) >= 2)
        assert [event.reason for event in odd.statuses[1].events] == ["Applied"]
        assert odd.statuses[1].full
        assert [event.reason for event in spoke.feed.pending] == ["Applied"]


async def test_a_corrupted_piece_is_refused_and_nothing_committed(tmp_path: Path) -> None:
    spoke = Spoke(tmp_path / "spoke")
    blobs: dict[bytes, bytes] = {}

    def put(data: bytes) -> bytes:
        blobs[sha(data)] = data
        return sha(data)

    bundle = make_bundle(put, {"a": "1"})  # type: ignore[arg-type]
    ((name, data),) = blobs.items()
    manifest = pb.ManifestDelta(changed=[workload_to_proto(bundle.workloads[0])]).SerializeToString()
    wrong = pb.ObjectBatch(parts=[pb.ObjectPart(digest=name, size=len(data), data=data[::-1])]).SerializeToString()
    script = [
        pb.HubMessage(offer=pb.Offer(epoch=1, generation=1, root=bundle.root, size=len(manifest))),
        pb.HubMessage(piece=pb.Piece(epoch=1, generation=1, manifest=zstandard.compress(manifest), last=True)),
        pb.HubMessage(piece=pb.Piece(epoch=1, generation=1, objects=zstandard.compress(wrong), last=True)),
    ]
    async with running_hub(tmp_path / "hub") as hub:
        await spoke.join(hub, "dev")
        async with odd_hub(hub, spoke, script) as odd, spoke.running():
            await eventually(lambda: odd.nacks)
        assert odd.nacks[0].digest == name
        assert "an object that should be" in odd.nacks[0].message
        assert spoke.root is None
        assert spoke.taken == []


class OddHub(link_pb2_grpc.LinkServicer):
    """Welcomes, says what it was told to, and closes the stream when it has read a status and a Nack was due."""

    def __init__(self, script: list[pb.HubMessage]) -> None:
        self.script = script
        self.statuses: list[status_pb2.ClusterStatus] = []
        self.nacks: list[pb.Nack] = []

    async def Connect(  # noqa: N802
        self, messages: AsyncIterator[pb.SpokeMessage], context: aio.ServicerContext[pb.SpokeMessage, pb.HubMessage]
    ) -> None:
        await context.write(pb.HubMessage(welcome=pb.Welcome(protocol=pb.PROTOCOL_1, epoch=1, heartbeat=60)))
        for message in self.script:
            await context.write(message)
        async for answer in messages:
            if answer.HasField("status"):
                self.statuses.append(answer.status)
            if answer.HasField("nack"):
                self.nacks.append(answer.nack)
            if self.nacks or (answer.HasField("status") and not self.script):
                await context.abort(grpc.StatusCode.UNAVAILABLE, "gone")


@asynccontextmanager
async def odd_hub(hub: Hub, spoke: Spoke, script: list[pb.HubMessage]) -> AsyncIterator[OddHub]:
    """Put another server in the place of the spoke's hub."""
    import dataclasses

    server = aio.server()
    odd = OddHub(script)
    link_pb2_grpc.add_LinkServicer_to_server(odd, server)  # type: ignore[no-untyped-call]
    credentials = grpc.ssl_server_credentials([hub.authority.server([])], hub.authority.certificate_pem, True)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    identity = spoke.identities.load()
    assert identity is not None
    spoke.identities.save(dataclasses.replace(identity, hub=f"127.0.0.1:{port}"))
    try:
        yield odd
    finally:
        await server.stop(0)


def test_waits_double_are_spread_and_bounded() -> None:
    highest = Backoff(0.5, 30.0, lambda: 1.0)
    assert [highest.next() for _ in range(8)] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    highest.reset()
    assert highest.next(at_least=15.0) == 15.5
    assert Backoff(0.5, 30.0, lambda: 0.0).next() == 0.0


def test_a_status_that_is_too_large_goes_in_parts() -> None:
    workloads = [status_pb2.WorkloadStatus(digest=os.urandom(200)) for _ in range(50)]
    status = status_pb2.ClusterStatus(full=True, generation=3, workloads=workloads, facts={"a": "b"})
    parts = list(split(status, 1000))
    assert [part.full for part in parts] == [True] + [False] * (len(parts) - 1)
    assert {part.generation for part in parts} == {3}
    assert [workload for part in parts for workload in part.workloads] == workloads
    assert all(part.ByteSize() < 1300 for part in parts)
    assert list(split(status, 100_000)) == [status]


async def test_stopping_leaves_no_task_behind(tmp_path: Path) -> None:
    spoke = Spoke(tmp_path / "spoke")
    async with running_hub(tmp_path / "hub") as hub:
        await spoke.join(hub, "dev")
        before = {task for task in asyncio.all_tasks() if "_cython" not in repr(task.get_coro())}
        async with spoke.running():
            await eventually(lambda: spoke.client.connected)
        await eventually(lambda: not hub.server.sessions())
        after = {task for task in asyncio.all_tasks() if "_cython" not in repr(task.get_coro())}
        assert after <= before


async def test_who_reports_ends_also_when_it_is_told_to_in_the_moment_of_a_change() -> None:
    told: list[pb.SpokeMessage] = []

    class Changing(Feed):
        async def changes(self) -> status_pb2.ClusterStatus:
            asyncio.get_running_loop().call_soon(report.cancel)
            return status_pb2.ClusterStatus()

    async def write(message: pb.SpokeMessage) -> None:
        told.append(message)
        await asyncio.sleep(0)

    call = Mock()
    call.write = write
    stream = _Stream(call, Mock(), Changing(), Mock(), {})
    report = asyncio.create_task(stream._report(60.0))
    async with asyncio.timeout(5):
        while len(told) < 10 and not report.done():  # noqa: ASYNC110 -- a test asks from outside
            await asyncio.sleep(0)
    ended = report.done()
    report.cancel()
    assert ended


async def test_a_stream_that_just_ended_ends_its_client_all_the_same() -> None:
    waiting = asyncio.Event()

    class Ending(Feed):
        async def changes(self) -> status_pb2.ClusterStatus:
            waiting.set()
            try:
                await asyncio.Event().wait()
            finally:
                running.cancel()
                await asyncio.sleep(0.01)
            raise AssertionError("unreachable")

    async def read() -> pb.HubMessage | None:
        if not welcome:
            await waiting.wait()
        return welcome.pop() if welcome else None

    welcome = [pb.HubMessage(welcome=pb.Welcome(protocol=pb.PROTOCOL_1, epoch=1, heartbeat=60))]
    call, store = Mock(read=read, write=AsyncMock()), Mock(epoch=1)
    stream = _Stream(call, store, Ending(), Mock(), {})
    running = asyncio.create_task(stream.run(pb.Hello(), lambda: None))
    await asyncio.wait([running], timeout=20)
    assert running.cancelled()
