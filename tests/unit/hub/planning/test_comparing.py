"""A diff asks the one spoke about what it has, or what another revision would make of it, and sends what lacks."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import orjson
import pytest

from felloe.bundle import workload_id_from_proto
from felloe.errors import ConfigError, FelloeError, SourceError
from felloe.identity import WorkloadId
from felloe.v1 import diff_pb2 as pb
from hub.link.queries import AwayError, QueryError
from hub.planning.comparing import Comparer
from spoke.link import enrol
from spoke.state import IdentityStore
from tests.fleet.manifests import config_map, documents, environment, git_repository, kustomization, overlay, placement
from tests.servers.git_repo import GitRepo
from tests.unit.hub.composition import Inside, World, eventually
from tests.unit.hub.link.rig import Spoke, hello, raw_stream

APPS = WorkloadId("Kustomization", "flux-system", "apps")


class Asked:
    """A cluster whose spoke keeps what it was asked and answers with one difference."""

    def __init__(self, hub: Inside) -> None:
        self.hub = hub
        self.questions: list[pb.DiffQuestion] = []

    async def answer(self, question: bytes) -> AsyncGenerator[bytes, None]:
        self.questions.append(pb.DiffQuestion.FromString(question))
        yield pb.Difference(workload=pb.WorkloadDifference(objects=1)).SerializeToString()

    async def diff(self, workload: str = "", revision: str = "") -> list[pb.Difference]:
        async with self.hub.steward.compare("dev-1", workload, revision) as differences:
            return [difference async for difference in differences]


@asynccontextmanager
async def connected(world: World) -> AsyncIterator[Asked]:
    async with world.hub() as hub:
        asked = Asked(hub)
        spoke = Spoke(world.folder / "spoke", {"diff": asked.answer})
        port = await hub.link.start("127.0.0.1:0")
        try:
            token = hub.enrolment.create_token("dev-1", {"env": "dev"}, 600.0)
            await enrol(token, f"127.0.0.1:{port}", spoke.identities)
            await hub.look()
            async with spoke.running():
                await eventually(lambda: spoke.root == hub.plans.clusters["dev-1"].bundle.root)
                yield asked
        finally:
            await hub.link.stop(0.5)


def fleet(world: World, source: str) -> None:
    """Have every cluster get the folder ``apps`` of a repository."""
    world.repository.commit(
        {
            "fleet/fleet.yaml": documents(
                environment("dev"), git_repository("apps", source), kustomization("apps", "./apps", "apps"),
                placement("apps", "apps"),
            )
        }
    )  # fmt: skip


def app(*values: str) -> dict[str, str]:
    files = {f"apps/{value}.yaml": documents(config_map(value, "default", v=value)) for value in values}
    return files | {"apps/kustomization.yaml": overlay(*(f"{value}.yaml" for value in values))}


def sent(question: pb.DiffQuestion) -> list[str]:
    """The names of the objects that came with a question."""
    return sorted(orjson.loads(blob)["metadata"]["name"] for blob in question.instead.blobs)


async def test_what_a_cluster_has_is_asked_without_sending_it(world: World) -> None:
    fleet(world, world.repository.url)
    world.repository.commit(app("a"))
    async with connected(world) as asked:
        assert [difference.workload.objects for difference in await asked.diff()] == [1]
        await asked.diff("apps")
        everything, one = asked.questions
        assert not everything.HasField("workload")
        assert workload_id_from_proto(one.workload) == APPS
        assert not one.HasField("instead")


async def test_a_branch_of_the_fleet_repository_stands_in_for_the_one_that_is_followed(world: World) -> None:
    fleet(world, world.repository.url)
    world.repository.commit(app("a", "b"))
    async with connected(world) as asked:
        before = asked.hub.desired("dev-1")
        world.repository.switch("feature")
        commit = world.repository.commit(app("b", "c"))
        for revision in ("feature", commit, f"feature@sha1:{commit}"):
            await asked.diff(revision=revision)
        for question in asked.questions:
            assert question.instead.base_root == before.root
            assert [workload_id_from_proto(each.id) for each in question.instead.changed] == [APPS]
            assert sent(question) == ["c"]
        after = asked.hub.desired("dev-1")
        assert (after.generation, after.root) == (before.generation, before.root)
        assert asked.hub.plans.revision.startswith("main@")


async def test_a_revision_of_the_workloads_own_source(world: World) -> None:
    apps = GitRepo(world.folder / "apps.git")
    apps.commit(app("a"))
    fleet(world, apps.url)
    async with connected(world) as asked:
        apps.switch("feature")
        apps.commit(app("a", "b"))
        apps.tag("v2")
        await asked.diff("apps", "v2")
        assert sent(asked.questions[0]) == ["b"]
        with pytest.raises(SourceError, match=r"there is no ref v2"):
            await asked.diff(revision="v2")


async def test_what_does_not_render_at_a_revision_is_told_beside_the_others(world: World) -> None:
    fleet(world, world.repository.url)
    world.repository.commit(app("a"))
    async with connected(world) as asked:
        world.repository.switch("broken")
        world.repository.commit({"apps/kustomization.yaml": overlay("nowhere.yaml")})
        failed, _ = await asked.diff(revision="broken")
        assert failed.object.change == pb.CHANGE_FAILED
        assert failed.object.message.startswith("it stays as it is at broken: ")
        assert "nowhere.yaml" in failed.object.message


async def test_what_can_not_be_asked(world: World) -> None:
    fleet(world, world.repository.url)
    world.repository.commit(app("a"))
    async with connected(world) as asked:
        with pytest.raises(ConfigError, match=r"no workload 'other'; there are: flux-system/apps"):
            await asked.diff("other")
        with pytest.raises(ConfigError, match="in full, all 40 digits"):
            await asked.diff(revision="main@sha1:1234abcd")
        world.repository.switch("fleetless")
        world.repository.commit({"fleet/fleet.yaml": "kind: ["})
        with pytest.raises(FelloeError, match=r"fleet\.yaml"):
            await asked.diff(revision="fleetless")
        with pytest.raises(AwayError, match=r"cluster dev-2 is not connected"):
            async with asked.hub.steward.compare("dev-2", "", ""):
                pass
        assert asked.questions == []


async def test_a_cluster_that_is_behind_is_not_compared_with_the_past(world: World) -> None:
    fleet(world, world.repository.url)
    world.repository.commit(app("a"))
    async with connected(world):
        pass
    async with world.hub() as hub:
        port = await hub.link.start("127.0.0.1:0")
        identity = IdentityStore(world.folder / "spoke" / "identity").load()
        assert identity is not None
        async with raw_stream(replace(identity, hub=f"127.0.0.1:{port}")) as call:  # a spoke that takes nothing
            first = hello(root=bytes(32), epoch=hub.store.epoch)
            first.hello.queries.append("diff")
            await call.write(first)
            await eventually(lambda: hub.link.held("dev-1") == bytes(32))
            comparer = Comparer(hub.planner, hub.link, hub.blobs, patience=0.1)
            with pytest.raises(QueryError, match="has not taken its newest desired state yet"):
                async with comparer.compare("dev-1"):
                    pass
        await hub.link.stop(0.5)
