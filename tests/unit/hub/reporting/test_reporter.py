"""The board follows what spokes say and what is planned; what is damaged, vanished or absurd hurts nobody else."""

from __future__ import annotations

import pytest

from felloe.v1 import link_pb2, status_pb2
from hub.reporting import reporter
from hub.reporting.reporter import merged
from hub.status.resource import Collection
from tests.fleet.manifests import cluster, config_map, documents, environment, overlay
from tests.unit.hub.composition import Inside, World, eventually


def synced(name: str, v: str) -> dict[str, str]:
    return {f"clusters/{name}/settings.yaml": documents(config_map("settings", "default", v=v))}


def ready(hub: Inside, name: str) -> tuple[str, str]:
    condition = hub.shown(name).condition("Ready")
    assert condition is not None
    return condition.status, condition.reason


def hello() -> link_pb2.Hello:
    return link_pb2.Hello(spoke_version="1.2.3")


async def test_a_cluster_is_shown_from_joining_to_applied(world: World) -> None:
    world.repository.commit(synced("a", "1") | {"fleet/env.yaml": documents(environment("dev"))})
    async with world.hub() as hub:
        hub.join("a", env="dev")
        hub.reporter.connected("a", hello())
        await eventually(lambda: hub.store.desired("a"))
        await hub.planner.settled()
        assert ready(hub, "a") == ("Unknown", "Progressing")
        hub.report("a")
        await eventually(lambda: ready(hub, "a") == ("True", "Applied"))
        assert hub.shown("a").status["revision"] == hub.plans.revision
        await eventually(
            lambda: [one.resource.status["readyClusters"] for one in hub.board.list(Collection.ENVIRONMENTS)] == [1]
        )
        assert hub.registry.get_sample_value("felloe_spokes_connected") == 1
        hub.reporter.disconnected("a")
        await eventually(lambda: ready(hub, "a") == ("Unknown", "Disconnected"))


async def test_what_is_fetched_or_fails_is_an_event_once(world: World) -> None:
    def told(hub: Inside) -> list[tuple[str, str, str]]:
        events = [one.event for one in hub.events.since(0) if one.event.involved]
        return [(event.reason, event.cluster, event.message) for event in events]

    world.repository.commit(synced("a", "1") | {"clusters/a/kustomization.yaml": overlay("settings.yaml")})
    async with world.hub() as hub:
        hub.join("a")
        await hub.look()
        assert hub.shown("a").spec["syncPath"] == "clusters/a"
        before = len(told(hub))
        sha = world.repository.commit({"clusters/a/kustomization.yaml": overlay("nowhere.yaml")})
        await hub.look()
        await hub.look()
        fetched, held = told(hub)[before:]
        assert fetched[:2] == ("Fetched", "")
        assert sha in fetched[2]
        assert held[:2] == ("BuildFailed", "a")
        assert "nowhere.yaml" in held[2]

        before = len(told(hub))
        sha = world.repository.commit({"fleet/broken.yaml": "kind: ["})
        await hub.look()
        await hub.look()
        (broken,) = told(hub)[before:]
        assert broken[:2] == ("FleetNotLoaded", "")
        assert f"{sha} is not in force: fleet/broken.yaml" in broken[2]


async def test_what_was_said_is_shown_again_after_a_restart(world: World) -> None:
    world.repository.commit(synced("a", "1"))
    async with world.hub() as hub:
        hub.join("a")
        await hub.look()
        hub.report("a")
        revision = hub.plans.revision
        await eventually(lambda: hub.shown("a").status["revision"] == revision)
    async with world.hub() as hub:
        assert ready(hub, "a") == ("Unknown", "Disconnected")
        assert hub.shown("a").status["revision"] == revision


async def test_what_was_known_is_shown_before_the_first_round_of_planning(world: World) -> None:
    world.repository.commit(synced("a", "1"))
    async with world.hub() as hub:
        hub.join("a")
        await hub.look()
    async with world.hub() as hub:
        hub.board.withdraw_cluster("a")
        hub.reporter.recall()  # as at a start, where planning may take long or never come to an end
        await eventually(lambda: hub.board.of_cluster("a"))


async def test_a_refusal_is_shown_until_the_bundle_is_taken_and_survives_a_restart(world: World) -> None:
    world.repository.commit(synced("a", "1"))
    async with world.hub() as hub:
        hub.join("a")
        await hub.look()
        root = hub.desired("a").root
        hub.store.refused("a", root, "an object is too large")
        hub.reporter.refused("a", link_pb2.Nack(root=root, message="an object is too large"))
        await eventually(lambda: ready(hub, "a") == ("False", "BundleRefused"))
    async with world.hub() as hub:
        assert ready(hub, "a") == ("False", "BundleRefused")
        hub.store.acked("a", 1, root, 0.0)
        hub.reporter.delivered("a", 1, root)
        await eventually(lambda: ready(hub, "a")[1] != "BundleRefused")


async def test_a_status_that_can_not_be_shown_is_left_out_and_stops_nobody(world: World) -> None:
    world.repository.commit(synced("a", "1") | synced("b", "1"))
    async with world.hub() as hub:
        hub.join("a")
        hub.join("b")
        hub.reporter.connected("b", hello())
        await hub.look()
        absurd = status_pb2.ClusterStatus(full=True, root=hub.plans.clusters["a"].bundle.root)
        workload = hub.plans.clusters["a"].bundle.workloads[0]
        said = absurd.workloads.add(digest=workload.digest, applied_digest=workload.digest)
        said.id.kind, said.id.namespace, said.id.name = workload.id
        said.applied_at.seconds = 2**62
        absurd.events.add(reason="Absurd").time.seconds = 2**62
        hub.reporter.status("a", absurd)
        hub.report("b")
        await eventually(lambda: ready(hub, "b") == ("True", "Applied"))
        assert hub.shown("a").status["root"] == ""


async def test_one_spoke_does_not_fill_the_memory_of_the_hub(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporter, "MAX_STATUS", 64 * 1024)
    world.repository.commit(synced("a", "1"))
    async with world.hub() as hub:
        hub.join("a")
        await hub.look()
        hub.report("a")
        for number in range(100):  # each is small, and adds workloads that nobody knows
            delta = status_pb2.ClusterStatus()
            said = delta.workloads.add()
            said.id.kind, said.id.namespace, said.id.name = "Kustomization", "made-up", f"w{number}"
            said.problems.add(message="x" * 8000)
            delta.events.add(reason="Loud", message="x" * 1_000_000)
            delta.events.add(reason=f"Usual{number}", message="x" * 1000)
            hub.reporter.status("a", delta)
        assert hub.reporter._reported["a"].ByteSize() <= 64 * 1024
        reasons = {numbered.event.reason for numbered in hub.events.since(0)}
        assert "Usual99" in reasons
        assert "Loud" not in reasons
        hub.report("a")  # a whole one that is of a size counts again
        await eventually(lambda: ready(hub, "a") == ("Unknown", "Disconnected"))
        assert len(hub.reporter._reported["a"].workloads) == 1


async def test_a_cluster_that_is_revoked_vanishes_with_all_that_was_known_of_it(world: World) -> None:
    world.repository.commit(synced("a", "1"))
    async with world.hub() as hub:
        hub.join("a")
        hub.reporter.connected("a", hello())
        await hub.look()
        hub.report("a")
        await eventually(lambda: hub.shown("a").status["root"])
        hub.link.revoke("a")
        hub.reporter.disconnected("a")  # as the link says then
        await eventually(lambda: not hub.board.of_cluster("a"))
        reporter = hub.reporter
        assert (reporter._reported, reporter._connections) == ({}, {})
        assert (reporter._roots._known, reporter._digests._known) == ({}, {})


async def test_a_workload_that_is_gone_is_forgotten(world: World) -> None:
    world.repository.commit({"fleet/a.yaml": documents(cluster("a", "dev", syncPath="clusters/a"))} | synced("a", "1"))
    async with world.hub() as hub:
        hub.join("a")
        await hub.look()
        assert len(hub.reporter._digests._known) == 1
        hub.link.remove("a")
        world.repository.commit({"fleet/a.yaml": None})
        await hub.look()
        assert hub.reporter._digests._known == {}
        assert hub.board.list(Collection.WORKLOADS) == []


async def test_a_connection_of_a_cluster_with_nothing_to_have_brings_it_its_bundle(world: World) -> None:
    world.repository.commit(synced("a", "1"))
    async with world.hub() as hub:
        hub.join("a")
        hub.reporter.connected("a", hello())
        await eventually(lambda: hub.store.desired("a"))


@pytest.mark.parametrize("full", [True, False])
def test_a_delta_is_merged_into_what_was_known(full: bool) -> None:
    def status(**workloads: bytes) -> status_pb2.ClusterStatus:
        said = status_pb2.ClusterStatus(full=full)
        for name, applied in workloads.items():
            said.workloads.add(id={"kind": "Kustomization", "name": name}, applied_digest=applied)
        return said

    before = status(a=b"1", b=b"1", c=b"1")
    before.facts["version"] = "1"
    change = status(b=b"2")
    change.removed.add(kind="Kustomization", name="c")
    change.events.add(reason="Happened")
    whole = merged(before, change)
    assert whole.full
    assert not whole.events
    found = {one.id.name: one.applied_digest for one in whole.workloads}
    assert found == ({"b": b"2"} if full else {"a": b"1", "b": b"2"})
    assert dict(whole.facts) == ({} if full else {"version": "1"})
