"""What people ask of the hub is done, or the answer says why not."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from felloe.errors import ConfigError, FelloeError, SourceError
from felloe.identity import WorkloadId
from felloe.v1 import adopt_pb2
from hub.link.queries import AwayError
from hub.status.resource import Collection
from hub.store import AuditQuery
from tests.fleet.manifests import (
    cluster,
    config_map,
    documents,
    git_repository,
    kustomization,
    overlay,
    placement,
)
from tests.servers.git_repo import GitRepo
from tests.unit.hub.composition import SYNC, Inside, World

APPS = WorkloadId("Kustomization", "flux-system", "apps")


def synced(name: str, **data: str) -> dict[str, str]:
    return {f"clusters/{name}/settings.yaml": documents(config_map("settings", "default", **data))}


async def test_a_look_at_the_fleet_returns_its_revision_once_it_is_planned(world: World) -> None:
    world.repository.commit(synced("a", v="1"))
    async with world.hub() as hub:
        hub.join("a")
        sha = world.repository.commit(synced("a", v="2"))
        assert (
            await hub.steward.reconcile_source("GitRepository", "felloe-system", "fleet", who="anna")
            == f"main@sha1:{sha}"
        )
        assert hub.objects("a") == {"settings": {"v": "2"}}
        assert hub.shown("a").status["attemptedRevision"] == f"main@sha1:{sha}"


async def test_a_look_that_fails_says_why(world: World) -> None:
    world.repository.commit(synced("a", v="1"))
    async with world.hub() as hub:
        with pytest.raises(SourceError, match="nowhere is not followed"):
            await hub.steward.reconcile_source("GitRepository", "flux-system", "nowhere", who="anna")
        world.repository.commit({"fleet/broken.yaml": "kind: ["})
        with pytest.raises(ConfigError, match=r"fleet/broken\.yaml"):
            await hub.steward.reconcile_source("GitRepository", "felloe-system", "fleet", who="anna")
        world.repository.path.rename(world.folder / "away.git")
        with pytest.raises(SourceError, match="no Git repository is there"):
            await hub.steward.reconcile_source("GitRepository", "felloe-system", "fleet", who="anna")


async def test_a_look_at_another_source_does_not_answer_for_the_fleet(world: World) -> None:
    apps = GitRepo(world.folder / "apps.git")
    apps.commit({"apps/app.yaml": documents(config_map("app", "default", v="1"))})
    objects = (git_repository("apps", apps.url), kustomization("apps", "./apps", "apps"), placement("apps", "apps"))
    world.repository.commit({"fleet/apps.yaml": documents(*objects)})
    async with world.hub() as hub:
        hub.join("a")
        await hub.look()
        world.repository.commit({"fleet/broken.yaml": "kind: ["})
        await hub.look()
        sha = apps.commit({"apps/app.yaml": documents(config_map("app", "default", v="2"))})
        assert (
            await hub.steward.reconcile_source("GitRepository", "flux-system", "apps", who="anna") == f"main@sha1:{sha}"
        )
        assert hub.objects("a", APPS) == {"app": {"v": "2"}}
        assert await hub.steward.announce_urls([apps.url], "") == ["GitRepository/flux-system/apps"]
        assert await hub.steward.announce_urls(["https://git.example.com/other.git"], "") == []


async def test_what_is_asked_of_a_workload_is_in_its_bundle_and_survives_a_restart(world: World) -> None:
    world.repository.commit(synced("a", v="1") | synced("b", v="1"))
    async with world.hub() as hub:
        hub.join("a")
        hub.join("b")
        await hub.planner.settled()
        await hub.steward.suspend_workload(SYNC, ["a"], suspended=True, who="anna")
        await hub.steward.reconcile_workload(SYNC, ["a", "b"], who="anna")
        asked = hub.workload("b").options.requested_at
        assert asked
        assert hub.workload("a").options.requested_at == asked
        told = [(one.event.reason, one.event.cluster) for one in hub.events.since(0) if one.event.involved == SYNC]
        assert told == [("Suspended", "a"), ("ReconcileRequested", "a"), ("ReconcileRequested", "b")]
    async with world.hub() as hub:
        options = {name: hub.workload(name).options for name in "ab"}
        assert {name: one.suspend for name, one in options.items()} == {"a": True, "b": False}
        assert options["a"].requested_at == options["b"].requested_at == asked
        await hub.steward.suspend_workload(SYNC, ["a"], suspended=False, who="anna")
        assert not hub.workload("a").options.suspend
        assert hub.workload("a").options.requested_at == asked


async def test_what_can_not_come_into_force_yet_says_so_and_does_later(world: World) -> None:
    world.repository.commit({"fleet/broken.yaml": "kind: ["} | synced("a", v="1"))
    async with world.hub() as hub:
        hub.join("a")
        with pytest.raises(ConfigError, match=r"once the fleet repository loads.*fleet/broken\.yaml"):
            await hub.steward.suspend_workload(SYNC, ["a"], suspended=True, who="anna")
        world.repository.commit({"fleet/broken.yaml": None})
        await hub.look()
        assert SYNC in hub.plans.clusters["a"].by_id
        assert hub.plans.clusters["a"].bundle.workloads == (), "a workload that is suspended is not made"


async def test_what_a_cluster_gets_is_rendered_with_its_variables_in_the_order_of_applying(world: World) -> None:
    world.repository.commit(
        {
            "fleet/a.yaml": documents(
                cluster("a", "dev", variables={"greeting": "hello"}),
                git_repository("config", world.repository.url),
                kustomization("apps", "./apps"),
                placement("apps", "apps"),
            ),
            "apps/app.yaml": documents(
                config_map("app", "shop", v="${greeting}"),
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}},
            ),
        }
    )
    async with world.hub() as hub:
        (rendered,) = await hub.steward.render("a", APPS)
        assert rendered.revision == hub.plans.revision
        assert [one["kind"] for one in rendered.manifests] == ["Namespace", "ConfigMap"]
        assert rendered.manifests[1]["data"] == {"v": "hello"}
        assert hub.shown("a").spec["syncPath"] == ""
        with pytest.raises(FelloeError, match="nothing has been planned for cluster b"):
            await hub.steward.render("b", None)


async def test_a_workload_that_never_rendered_says_why(world: World) -> None:
    world.repository.commit(synced("a", v="1") | {"clusters/b/kustomization.yaml": overlay("nowhere.yaml")})
    async with world.hub() as hub:
        hub.join("b")
        await hub.planner.settled()
        assert await hub.steward.render("b", None) == []
        with pytest.raises(FelloeError, match=r"never been rendered for cluster b: .*nowhere\.yaml"):
            await hub.steward.render("b", SYNC)


async def test_a_token_is_told_of_without_itself(world: World) -> None:
    world.repository.commit(synced("a", v="1"))
    async with world.hub() as hub:
        issued = await hub.steward.create_token("a", {"env": "dev"}, timedelta(hours=1), who="anna")
        (event,) = (one.event for one in hub.events.since(0) if one.event.reason == "TokenCreated")
        assert issued.token not in event.message
        assert (event.cluster, event.message) == ("a", "a join token was made, good for 1h")
        assert hub.steward.unready()
        hub.steward.listening = True
        assert hub.steward.unready() == ()


async def test_an_approval_is_in_the_bundle_of_its_cluster_also_after_a_restart(world: World) -> None:
    world.repository.commit(synced("a", v="1") | synced("b", v="1"))
    async with world.hub() as hub:
        hub.join("a")
        hub.join("b")
        await hub.planner.settled()
        await hub.steward.approve_prune(APPS, "a", "abc", who="somebody")
        assert hub.plans.clusters["a"].bundle.approved_prunes == ("abc",)
        assert hub.plans.clusters["b"].bundle.approved_prunes == ()
        told = [one.event.message for one in hub.events.since(0) if one.event.reason == "PruneApproved"]
        assert told == ["somebody approved the deletion abc"]
    async with world.hub() as hub:
        assert hub.plans.clusters["a"].bundle.approved_prunes == ("abc",)


def entries(hub: Inside) -> list[dict[str, object]]:
    return [json.loads(record.entry) for record in hub.store.audit(AuditQuery())]


async def test_every_act_of_a_person_is_in_the_audit_log_whether_it_comes_into_force_or_not(world: World) -> None:
    world.repository.commit({"fleet/broken.yaml": "kind: ["} | synced("a", v="1"))
    async with world.hub() as hub:
        hub.join("a")
        await hub.steward.create_token("b", {"env": "dev"}, timedelta(hours=1), who="anna")
        with pytest.raises(ConfigError):
            await hub.steward.suspend_workload(SYNC, ["a"], suspended=True, who="ben", reason="it burns")
        with pytest.raises(ConfigError):
            await hub.steward.approve_prune(SYNC, "a", "abc", who="ben")
        with pytest.raises(AwayError):
            await hub.steward.adopt_flux(
                "a", adopt_pb2.FluxAdoption(action=adopt_pb2.FluxAdoption.ACTION_ADOPT), who="carl"
            )
        with pytest.raises(AwayError):
            await hub.steward.adopt_flux(
                "a", adopt_pb2.FluxAdoption(action=adopt_pb2.FluxAdoption.ACTION_PLAN), who="carl"
            )
        told = [(one["who"], one["action"], one.get("clusters"), one.get("reason", "")) for one in entries(hub)]
        assert told[:4] == [
            ("anna", "TokenCreated", ["b"], ""),
            ("ben", "WorkloadSuspended", ["a"], "it burns"),
            ("ben", "PruneApproved", ["a"], ""),
            ("carl", "FluxAdopted", ["a"], ""),
        ]
        assert [(who, action) for who, action, _, _ in told[4:]] == [("carl", "Failed")]
        assert entries(hub)[1]["workload"] == "flux-system/flux-system"
        assert entries(hub)[2]["detail"] == {"kind": "Kustomization", "prune": "abc"}


async def test_a_revoked_cluster_is_no_member_at_once_and_may_join_again(world: World) -> None:
    world.repository.commit(synced("a", v="1"))
    async with world.hub() as hub:
        hub.join("a")
        await hub.planner.settled()
        assert hub.shown("a").status["attemptedRevision"]
        await hub.steward.create_token("a", {}, timedelta(hours=1), who="anna")
        assert await hub.steward.revoke_cluster("a", who="anna", reason="stolen")
        await hub.planner.settled()
        assert not hub.board.list(Collection.CLUSTERS)
        assert not await hub.steward.revoke_cluster("unknown", who="anna")
        assert [one["action"] for one in entries(hub)] == ["TokenCreated", "ClusterRevoked", "ClusterRevoked"]
        hub.join("a")
        await hub.planner.settled()
        assert hub.desired("a").generation == 1


async def test_a_removed_cluster_is_forgotten_and_its_acts_are_not(world: World) -> None:
    world.repository.commit(synced("a", v="1"))
    async with world.hub() as hub:
        hub.join("a")
        await hub.planner.settled()
        assert not await hub.steward.remove_cluster("unknown", who="anna")
        assert await hub.steward.remove_cluster("a", who="anna")
        await hub.planner.settled()
        assert hub.store.cluster("a") is None
        assert hub.store.desired("a") is None
        assert not hub.board.list(Collection.CLUSTERS)
        assert [(one["action"], one["clusters"]) for one in entries(hub)] == [("ClusterRemoved", ["a"])]
