"""Planning with real Git, kustomize and state: what becomes of commits, mistakes, restarts, and who comes and goes."""

from __future__ import annotations

import shutil

import orjson
import pytest

from felloe.errors import StoreError
from felloe.identity import WorkloadId
from hub.render.sandbox import Limits
from hub.store import Mark, Publication
from tests.fleet.manifests import (
    cluster,
    config_map,
    documents,
    environment,
    git_repository,
    kustomization,
    overlay,
    placement,
)
from tests.servers.git_repo import GitRepo
from tests.unit.hub.composition import SYNC, World, eventually

APPS = WorkloadId("Kustomization", "flux-system", "apps")
BROKEN_FLEET = {"fleet/broken.yaml": "kind: ["}


def synced(name: str, **data: str) -> dict[str, str]:
    return {f"clusters/{name}/settings.yaml": documents(config_map("settings", "default", **data))}


def with_apps(world: World) -> GitRepo:
    """Have every cluster get the folder ``apps`` of a second repository."""
    apps = GitRepo(world.folder / "apps.git")
    apps.commit({"apps/app.yaml": documents(config_map("app", "default", v="1"))})
    objects = (git_repository("apps", apps.url), kustomization("apps", "./apps", "apps"))
    fleet = {"fleet/environments.yaml": documents(environment("dev"))}
    world.repository.commit(fleet | {"fleet/apps.yaml": documents(*objects, placement("apps", "apps"))})
    return apps


async def test_a_commit_moves_only_the_clusters_that_it_changes(world: World) -> None:
    world.repository.commit(synced("a", v="1") | synced("b", v="1"))
    async with world.hub() as hub:
        hub.join("a")
        hub.join("b")
        await hub.look()
        before = hub.desired("b")
        world.repository.commit(synced("a", v="2"))
        await hub.look()
        assert hub.objects("a") == {"settings": {"v": "2"}}
        assert (hub.desired("a").generation, hub.desired("b").generation) == (2, 1)
        assert hub.desired("b").root == before.root
        assert hub.desired("b").revision == hub.desired("a").revision == hub.plans.revision != before.revision


async def test_a_commit_that_is_about_others_moves_the_revision_of_a_cluster_for_good(world: World) -> None:
    world.repository.commit(synced("a", v="1") | synced("b", v="1"))
    async with world.hub() as hub:
        hub.join("b")
        await hub.look()
        before = hub.desired("b")
        world.repository.commit(synced("a", v="2"))
        await hub.look()
        plan, revision = hub.plans.clusters["b"], hub.desired("b").revision
        assert plan.by_id[SYNC].revision == revision != before.revision
        assert hub.desired("b").plan == before.plan, "the plan, which says nothing else, is not written again"
    shutil.rmtree(world.folder / "data" / "git")
    shutil.rmtree(world.repository.path)
    async with world.hub() as hub:
        assert hub.desired("b").revision == revision
        assert hub.plans.clusters["b"] == plan


async def test_a_hub_that_starts_again_has_the_same_roots_and_sends_nothing_anew(world: World) -> None:
    world.repository.commit(synced("a", v="1"))
    async with world.hub() as hub:
        hub.join("a")
        await hub.look()
        before, epoch = hub.desired("a"), hub.store.epoch
    async with world.hub() as hub:
        assert hub.store.epoch > epoch
        assert hub.desired("a") == before


async def test_a_hub_that_starts_without_git_and_mirror_goes_on_with_what_it_had(world: World) -> None:
    world.repository.commit(synced("a", v="1"))
    async with world.hub() as hub:
        hub.join("a")
        await hub.look()
        before = hub.desired("a")
    shutil.rmtree(world.folder / "data" / "git")
    shutil.rmtree(world.repository.path)
    async with world.hub() as hub:
        assert hub.plans.clusters["a"].bundle.root == before.root
        assert hub.desired("a") == before
        assert "no Git repository is there" in hub.plans.problem
        ready = hub.shown("a").condition("Ready")
        assert ready is not None
        assert "no Git repository is there" in ready.message


async def test_git_that_is_away_for_a_while_is_no_problem_of_the_clusters(world: World) -> None:
    world.repository.commit(synced("a", v="1"))
    async with world.hub() as hub:
        hub.join("a")
        await hub.look()
        world.repository.path.rename(world.folder / "away.git")
        await hub.look()
        (state,) = hub.planner.sources.states()
        assert state.error
        assert hub.plans.problem == ""
        hub.join("b")
        await hub.planner.settled()
        assert hub.desired("b").revision == hub.desired("a").revision


async def test_a_fleet_that_does_not_load_stops_neither_other_sources_nor_people(world: World) -> None:
    apps = with_apps(world)
    async with world.hub() as hub:
        hub.join("a")
        await hub.look()
        good = hub.plans.revision
        world.repository.commit(BROKEN_FLEET)
        apps.commit({"apps/app.yaml": documents(config_map("app", "default", v="2"))})
        await hub.look()
        assert "fleet/broken.yaml" in hub.plans.problem
        assert (hub.plans.revision, hub.plans.attempted != good) == (good, True)
        assert hub.objects("a", APPS) == {"app": {"v": "2"}}
        await hub.steward.suspend_workload(APPS, ["a"], suspended=True, who="anna")
        assert hub.workload("a", APPS).options.suspend
        world.repository.commit({"fleet/broken.yaml": None})
        await hub.look()
        assert (hub.plans.problem, hub.plans.revision) == ("", hub.plans.attempted)


async def test_the_fleet_that_was_in_force_is_so_after_a_restart_too(world: World) -> None:
    apps = with_apps(world)
    async with world.hub() as hub:
        hub.join("a")
        await hub.look()
        good = hub.plans.revision
    world.repository.commit(BROKEN_FLEET)
    for value in ("2", "3"):  # the second hub finds the broken commit in the mirror
        apps.commit({"apps/app.yaml": documents(config_map("app", "default", v=value))})
        async with world.hub() as hub:
            await hub.look()
            assert "fleet/broken.yaml" in hub.plans.problem
            assert hub.plans.revision == good
            assert hub.objects("a", APPS) == {"app": {"v": value}}


async def test_a_first_fleet_that_does_not_load_is_told_and_changes_nothing(world: World) -> None:
    world.repository.commit(BROKEN_FLEET | synced("a", v="1"))
    async with world.hub() as hub:
        hub.join("a")
        await hub.planner.settled()
        assert hub.store.desired("a") is None
        ready = hub.shown("a").condition("Ready")
        assert ready is not None
        assert (ready.reason, "fleet/broken.yaml" in ready.message) == ("FleetNotLoaded", True)


async def test_a_paused_cluster_keeps_its_bundle_until_it_goes_on(world: World) -> None:
    def fleet(**spec: object) -> dict[str, str]:
        return {"fleet/a.yaml": documents(cluster("a", "dev", syncPath="clusters/a", **spec))}

    world.repository.commit(fleet() | synced("a", v="1"))
    async with world.hub() as hub:
        hub.join("a")
        await hub.look()
        before = hub.desired("a")
        world.repository.commit(fleet(paused=True) | synced("a", v="2"))
        await hub.look()
        assert hub.desired("a") == before
        assert hub.plans.clusters["a"].paused
    async with world.hub() as hub:
        assert hub.desired("a") == before
        world.repository.commit(fleet())
        await hub.look()
        assert hub.objects("a") == {"settings": {"v": "2"}}
        assert not hub.plans.clusters["a"].paused


async def test_a_cluster_that_is_paused_from_the_beginning_gets_nothing(world: World) -> None:
    fleet = {"fleet/a.yaml": documents(cluster("a", "dev", syncPath="clusters/a", paused=True))}
    world.repository.commit(fleet | synced("a", v="1"))
    async with world.hub() as hub:
        hub.join("a")
        await hub.look()
        assert hub.store.desired("a") is None
        assert hub.shown("a").condition("Paused") is not None


async def test_a_declared_cluster_is_planned_before_it_joins_and_gets_all_of_it_then(world: World) -> None:
    fleet = {"fleet/a.yaml": documents(cluster("a", "dev", syncPath="clusters/a"))}
    world.repository.commit(fleet | synced("a", v="1"))
    async with world.hub() as hub:
        assert hub.store.desired("a") is None
        assert hub.objects("a") == {"settings": {"v": "1"}}
        world.repository.commit({"clusters/a/settings.yaml": "kind: ["})  # what it joins with is the last good state
        await hub.look()
        hub.join("a")
        await hub.planner.settled()
        assert hub.objects("a") == {"settings": {"v": "1"}}
        assert hub.desired("a").root == hub.plans.clusters["a"].bundle.root


async def test_a_cluster_that_nothing_is_meant_for_gets_an_empty_bundle(world: World) -> None:
    world.repository.commit({"README.md": "nothing yet"})
    async with world.hub() as hub:
        hub.join("a")
        await hub.planner.settled()
        assert hub.desired("a").generation == 1
        assert hub.plans.clusters["a"].bundle.workloads == ()


async def test_a_revoked_cluster_goes_and_comes_back_with_what_it_had(world: World) -> None:
    world.repository.commit(synced("a", v="1"))
    async with world.hub() as hub:
        hub.join("a")
        await hub.look()
        before = hub.desired("a")
        await hub.steward.suspend_workload(SYNC, ["a"], suspended=True, who="anna")
        hub.link.revoke("a")
        await hub.planner.settled()
        assert "a" not in hub.plans.clusters
        assert hub.planner._publisher._published == {}
        world.repository.commit({"clusters/a/settings.yaml": "kind: ["})
        await hub.look()
        hub.join("a")
        await hub.planner.settled()
        assert hub.objects("a") == {"settings": {"v": "1"}}
        assert hub.workload("a").options.suspend
        await hub.steward.suspend_workload(SYNC, ["a"], suspended=False, who="anna")
        assert hub.desired("a").root == before.root


async def test_a_cluster_that_joins_again_with_other_labels_is_planned_anew(world: World) -> None:
    environments = documents(environment("dev"), environment("production"))
    world.repository.commit({"fleet/environments.yaml": environments})
    async with world.hub() as hub:
        hub.join("a", env="dev")
        await hub.planner.settled()
        assert hub.plans.clusters["a"].environment == "dev"
        rounds = hub.planner._served
        hub.planner.noticed("a")
        assert hub.planner._asked == rounds, "a spoke that merely comes back causes no work"
        hub.join("a", env="production")
        hub.planner.noticed("a")
        await eventually(lambda: hub.plans.clusters["a"].environment == "production")


def placed(world: World, **spec: object) -> None:
    """Have the folder ``apps`` of a second repository placed as `spec` says."""
    apps = GitRepo(world.folder / "apps.git")
    apps.commit({"apps/app.yaml": documents(config_map("app", "default", v="1"))})
    objects = (git_repository("apps", apps.url), kustomization("apps", "./apps", "apps"))
    world.repository.commit({"fleet/apps.yaml": documents(*objects, placement("apps", "apps", **spec))})


async def test_what_a_spoke_reports_decides_what_it_gets_and_still_does_after_a_restart(world: World) -> None:
    newer = {"key": "facts.felloe.io/kubernetes-version", "operator": "Gte", "values": ["1.34"]}
    placed(world, clusterSelector={"matchExpressions": [newer]})
    async with world.hub() as hub:
        hub.join("a")
        hub.store.seen("a", 1.0, {"kubernetes_version": "v1.33.9"})
        await hub.look()
        await hub.planner.settled()
        assert APPS not in hub.plans.clusters["a"].bundle.by_id
        hub.store.seen("a", 2.0, {"kubernetes_version": "v1.34.0"})
        hub.reporter.learned("a")
        await eventually(lambda: APPS in hub.plans.clusters["a"].bundle.by_id)
        root = hub.desired("a").root
    async with world.hub() as hub:
        await hub.planner.settled()
        assert hub.desired("a").root == root


async def test_overrides_change_what_some_clusters_get_by_the_real_kustomize(world: World) -> None:
    patch = '[{"op": "replace", "path": "/data/v", "value": "${v}"}]'
    for_a = {"clusterNames": ["a"], "variables": {"v": "7"}, "patches": [{"patch": patch, "target": {"name": "app"}}]}
    for_b = {"clusterNames": ["b"], "patches": [{"patch": documents(config_map("nobody", v="1"))}]}
    placed(world, clusterSelector={}, overrides=[for_a, for_b])
    async with world.hub() as hub:
        for name in "abc":
            hub.join(name)
        await hub.look()
        await hub.planner.settled()
        assert (hub.objects("a", APPS), hub.objects("c", APPS)) == ({"app": {"v": "${v}"}}, {"app": {"v": "1"}})
        assert hub.plans.clusters["a"].bundle.by_id[APPS].variables == {"v": "7"}
        (condition,) = hub.plans.clusters["b"].by_id[APPS].conditions
        assert (
            "Placement apps: spec.overrides[1]: does not apply on cluster b (it is for clusters b): "
            in condition.message
        )
        assert "nobody" in condition.message


async def test_an_overlay_that_does_not_build_stops_no_other_cluster(world: World) -> None:
    world.repository.commit(synced("a", v="1") | synced("b", v="1"))
    async with world.hub() as hub:
        hub.join("a")
        hub.join("b")
        await hub.look()
        world.repository.commit({"clusters/a/kustomization.yaml": overlay("nowhere.yaml")} | synced("b", v="2"))
        await hub.look()
        assert (hub.objects("a"), hub.objects("b")) == ({"settings": {"v": "1"}}, {"settings": {"v": "2"}})
        assert "nowhere.yaml" in hub.plans.clusters["a"].by_id[SYNC].conditions[0].message


async def test_an_overlay_that_runs_into_a_limit_is_not_built_again_by_every_round(world: World) -> None:
    large = documents(config_map("large", "default", v="x" * 4096))
    world.repository.commit({"clusters/a/large.yaml": large})
    async with world.hub(limits=Limits(output=1024)) as hub:
        hub.join("a")
        await hub.look()
        assert "output" in hub.plans.clusters["a"].by_id[SYNC].conditions[0].message
        builds = hub.registry.get_sample_value("felloe_renders_total", {"result": "failed"})
        for _ in range(3):
            await hub.planner.settled()
        assert hub.registry.get_sample_value("felloe_renders_total", {"result": "failed"}) == builds == 1
        assert hub.planner._retry_at is not None


async def test_a_disk_that_refuses_is_told_and_what_could_not_be_written_comes_later(world: World) -> None:
    world.repository.commit(synced("a", v="1"))
    async with world.hub() as hub:
        hub.join("a")
        await hub.look()
        before = hub.desired("a")
        blobs = world.folder / "data" / "blobs"
        blobs.rename(blobs.with_name("elsewhere"))
        blobs.write_text("in the way")
        world.repository.commit(synced("a", v="2"))
        await hub.look()
        assert hub.desired("a") == before
        assert hub.plans.clusters["a"].bundle.root == before.root
        ready = hub.shown("a").condition("Ready")
        assert ready is not None
        assert (ready.reason, "can't write a blob" in ready.message) == ("NotPublished", True)
        assert hub.planner._retry_at is not None
        blobs.unlink()
        blobs.with_name("elsewhere").rename(blobs)
        await hub.planner.settled()
        assert hub.objects("a") == {"settings": {"v": "2"}}
        assert hub.plans.troubles == {}


async def test_objects_that_were_lost_come_back_when_a_delivery_fails(world: World) -> None:
    world.repository.commit(synced("a", v="1"))
    async with world.hub() as hub:
        hub.join("a")
        await hub.look()
        before = hub.desired("a")
        assert hub.blobs.collect(frozenset(), older_than=-1.0) == 1
        hub.reporter.event("a", "Warning", "DeliveryFailed", "an object is not in the blobs")
        await hub.planner.settled()
        assert hub.objects("a") == {"settings": {"v": "1"}}
        assert hub.desired("a") == before


async def test_objects_that_can_not_come_back_now_stop_their_own_cluster_only(world: World) -> None:
    world.repository.commit(synced("a", v="1") | synced("b", v="1"))
    async with world.hub() as hub:
        hub.join("a")
        hub.join("b")
        await hub.look()
        before = hub.desired("a").root
        world.repository.commit(synced("b", v="2"))
        world.repository.commit({"clusters/a/settings.yaml": "kind: ["})
        await hub.look()
        hub.blobs.collect(frozenset(), older_than=-1.0)
        hub.planner.publish_again("b")
        hub.planner.publish_again("a")
        await hub.planner.settled()
        assert hub.objects("b") == {"settings": {"v": "2"}}
        assert "is not in the blobs" in hub.plans.troubles["a"]
        assert hub.desired("a").root == before
        world.repository.revert()
        await hub.look()
        assert hub.objects("a") == {"settings": {"v": "1"}}
        assert hub.plans.troubles == {}


async def test_a_suspension_goes_with_its_workload_and_not_for_a_passing_failure(world: World) -> None:
    apps = with_apps(world)
    async with world.hub() as hub:
        hub.join("a")
        await hub.look()
        await hub.steward.suspend_workload(APPS, ["a"], suspended=True, who="anna")
        await hub.steward.reconcile_workload(APPS, ["a"], who="anna")
        assert hub.workload("a", APPS).options.suspend
        apps.commit({"apps/app.yaml": "kind: ["})
        await hub.look()
        assert hub.store.marks()["a", APPS].suspended
        world.repository.commit({"fleet/apps.yaml": None})
        await hub.look()
        assert hub.store.marks() == {}
        apps.commit({"apps/app.yaml": documents(config_map("app", "default", v="2"))})
        world.repository.revert()
        await hub.look()
        assert not hub.workload("a", APPS).options.suspend


async def test_what_people_ask_of_every_cluster_stays(world: World) -> None:
    world.repository.commit(synced("a", v="1"))
    async with world.hub() as hub:
        hub.store.mark(Mark(SYNC, "", suspended=True))
        hub.join("a")
        await hub.look()
        assert ("", SYNC) in hub.store.marks()


async def test_a_plan_that_can_not_be_read_ends_the_start_for_it_is_all_that_some_workloads_are_known_by(
    world: World,
) -> None:
    world.repository.commit(synced("a", v="1"))
    async with world.hub() as hub:
        hub.join("a")
        await hub.look()
        before = hub.desired("a")
        plan = orjson.dumps({"cluster": "a"}).decode()
        hub.store.publish(Publication("a", before.root, b"", before.revision, plan), 0.0)
    with pytest.raises(StoreError, match="cluster a can't be read"):
        async with world.hub():
            pass


async def test_a_mirror_that_was_damaged_is_fetched_anew(world: World) -> None:
    world.repository.commit(synced("a", v="1") | {f"more/{n}.txt": f"{n}" for n in range(3)})
    async with world.hub() as hub:
        hub.join("a")
        await hub.look()
        world.repository.commit(synced("b", v="1"))
        await hub.look()
    for pack in (world.folder / "data" / "git").glob("*/*/objects/pack/*.pack"):
        pack.chmod(0o600)
        pack.write_bytes(pack.read_bytes()[:40])
    async with world.hub() as hub:
        hub.join("b")
        await hub.look()
        await hub.look()
        assert hub.plans.problem == ""
        assert hub.objects("b") == {"settings": {"v": "1"}}


async def test_a_cluster_that_comes_back_and_whose_plan_can_not_be_read_stops_no_other(world: World) -> None:
    world.repository.commit(synced("a", v="1") | synced("b", v="1"))
    async with world.hub() as hub:
        hub.join("a")
        hub.join("b")
        await hub.look()
        hub.link.revoke("a")
        await hub.planner.settled()
        before = hub.desired("a")
        hub.store.publish(Publication("a", before.root, b"", before.revision, "{}"), 0.0)
        hub.join("a")
        world.repository.commit(synced("a", v="2") | synced("b", v="2"))
        await hub.look()
        assert hub.objects("b") == {"settings": {"v": "2"}}
        assert hub.desired("a").root == before.root, "what only that plan knows may not be pruned"
        ready = hub.shown("a").condition("Ready")
        assert ready is not None
        assert (ready.reason, "cluster a can't be read" in ready.message) == ("NotPublished", True)


async def test_a_commit_outside_of_the_fleet_folder_leaves_the_fleet_as_it_is(world: World) -> None:
    world.repository.commit(synced("a", v="1") | {"fleet/environments.yaml": documents(environment("dev"))})
    async with world.hub() as hub:
        hub.join("a")
        await hub.look()
        before = hub.plans.fleet
        world.repository.commit(synced("a", v="2"))
        await hub.look()
        assert hub.objects("a") == {"settings": {"v": "2"}}
        assert hub.plans.fleet is before
        world.repository.commit({"fleet/more.yaml": documents(environment("production"))})
        await hub.look()
        assert hub.plans.fleet is not None
        assert sorted(hub.plans.fleet.environments) == ["dev", "production"]
