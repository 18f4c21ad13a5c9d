"""What a commit would change in a fleet: with real Git and kustomize, published nowhere."""

from __future__ import annotations

import asyncio
import io
import tarfile
from collections.abc import Mapping

import pytest

from felloe.errors import ConfigError, SourceError
from hub.changes.grouping import Group
from hub.changes.model import Reason
from hub.fleet.selector import parse_selector
from hub.planning.forecast import Forecast, Progress
from tests.fleet.manifests import cluster, config_map, documents, environment, git_repository, kustomization, placement
from tests.servers.git_repo import GitRepo
from tests.unit.hub.composition import Inside, World

NAMES = {"dev": ["d1"], "production": ["p1", "p2", "p3"]}


def fleet(world: World, **values: str) -> dict[str, str]:
    """A fleet with an overlay an environment, in the fleet's own repository; `values` are what each of them says."""
    objects = (
        *(environment(env) for env in NAMES),
        *(cluster(name, env) for env, names in NAMES.items() for name in names),
        git_repository("fleet", world.repository.url),
        kustomization("app", "./${env}", "fleet"),
        placement("app", "app"),
    )
    overlays = {f"{env}/app.yaml": documents(config_map("app", "shop", v=values.get(env, "1"))) for env in NAMES}
    return {"fleet/fleet.yaml": documents(*objects), **overlays}


async def steps(
    hub: Inside, revision: str = "", packed: bytes = b"", *, selector: str = "", only: str = ""
) -> list[Progress | Forecast]:
    selects = parse_selector(selector)
    return [step async for step in hub.steward.forecast(revision, packed, selects, only)]


async def forecast(hub: Inside, revision: str = "", packed: bytes = b"", **which: str) -> Forecast:
    *_, last = await steps(hub, revision, packed, **which)
    assert isinstance(last, Forecast)
    return last


def told(group: Group) -> tuple[str, dict[str, list[str]]]:
    objects = [each for workload in group.workloads for each in workload.change.objects]
    return group.title, {each.id.name: [field.path for field in each.fields] for each in objects}


def archive(files: Mapping[str, str]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    return made.getvalue()


async def test_a_branch_changes_just_the_clusters_of_an_environment(world: World) -> None:
    world.repository.commit(fleet(world))
    async with world.hub() as hub:
        for names in NAMES.values():
            for name in names:
                hub.join(name)
        await hub.look()
        before = {name: hub.desired(name) for names in NAMES.values() for name in names}
        world.repository.switch("feature")
        commit = world.repository.commit(fleet(world, production="2"), "more")
        for revision in ("feature", "refs/heads/feature", commit):
            found = await forecast(hub, revision)
            (group,) = found.groups.groups()
            assert told(group) == ("3 clusters: environment production", {"app": ["data.v"]})
            assert group.clusters == ("p1", "p2", "p3")
            assert (found.subject, found.base) == ("more", hub.plans.revision)
            assert found.revision == f"main@sha1:{commit}"
        assert {name: hub.desired(name) for name in before} == before
        assert (await forecast(hub, "main")).groups.groups() == []


async def test_a_checkout_is_planned_and_builds_only_what_it_changes(world: World) -> None:
    world.repository.commit(fleet(world))
    async with world.hub() as hub:
        await hub.look()
        builds = hub.planner.forecasts._renderer.builds
        found = await forecast(hub, packed=archive(fleet(world, dev="2")))
        assert [told(group) for group in found.groups.groups()] == [("cluster d1", {"app": ["data.v"]})]
        assert hub.planner.forecasts._renderer.builds == builds + 1
        assert "@local:" in found.revision
        same = await forecast(hub, packed=archive(fleet(world)))
        assert (same.groups.groups(), len(same.groups.clusters)) == ([], 4)
        assert hub.planner.forecasts._renderer.builds == builds + 1


async def test_clusters_are_chosen_by_label_and_name(world: World) -> None:
    world.repository.commit(fleet(world))
    async with world.hub() as hub:
        await hub.look()
        both = archive(fleet(world, dev="2", production="2"))
        found = await forecast(hub, packed=both, selector="env=production")
        assert sorted(found.groups.clusters) == ["p1", "p2", "p3"]
        found = await forecast(hub, packed=both, selector="fleet.felloe.io/environment=dev")
        assert sorted(found.groups.clusters) == ["d1"]
        assert sorted((await forecast(hub, packed=both, only="p2")).groups.clusters) == ["p2"]
        with pytest.raises(ConfigError, match="no cluster 'p9'"):
            await forecast(hub, packed=both, only="p9")
        with pytest.raises(ConfigError, match="matches no cluster"):
            await forecast(hub, packed=both, selector="env=nowhere")


async def test_a_cluster_whose_label_changes_loses_one_overlay_and_gets_another(world: World) -> None:
    world.repository.commit(fleet(world, production="other"))
    async with world.hub() as hub:
        await hub.look()
        moved = fleet(world, production="other")
        moved["fleet/fleet.yaml"] = moved["fleet/fleet.yaml"].replace(
            documents(cluster("p3", "production")).strip(), documents(cluster("p3", "dev")).strip()
        )
        for selector in ("env=production", "env=dev"):  # it counts by what it is, and by what it becomes
            found = await forecast(hub, packed=archive(moved), selector=selector)
            assert [told(group) for group in found.groups.groups()] == [("cluster p3", {"app": ["data.v"]})]


async def test_what_does_not_build_is_told_and_the_rest_is_planned(world: World) -> None:
    world.repository.commit(fleet(world))
    async with world.hub() as hub:
        await hub.look()
        broken = {**fleet(world, dev="2"), "production/app.yaml": "kind: ["}
        found = await forecast(hub, packed=archive(broken))
        errors = [
            (group.title, finding.reason)
            for group in found.groups.groups()
            for workload in group.workloads
            for finding in workload.change.findings
        ]
        assert errors == [("3 clusters: environment production", Reason.NOT_BUILT)]
        assert found.groups.changed == {"d1"}
        assert hub.plans.problem == ""


async def test_a_source_that_is_new_is_fetched(world: World) -> None:
    apps = GitRepo(world.folder / "apps.git")
    apps.commit({"apps/app.yaml": documents(config_map("more", "default", v="1"))})
    world.repository.commit(fleet(world))
    async with world.hub() as hub:
        await hub.look()
        objects = (git_repository("apps", apps.url), kustomization("apps", "./apps", "apps"), placement("apps", "apps"))
        found = await forecast(hub, packed=archive({**fleet(world), "fleet/apps.yaml": documents(*objects)}))
        assert [told(group) for group in found.groups.groups()] == [("all 4 clusters", {"more": []})]
        assert [state.spec.name for state in hub.planner.sources.states()] == ["fleet"]


async def test_what_can_not_be_planned_says_why(world: World) -> None:
    world.repository.commit(fleet(world))
    async with world.hub() as hub:
        await hub.look()
        with pytest.raises(SourceError, match="nothing-like-it"):
            await forecast(hub, "nothing-like-it")
        with pytest.raises(ConfigError, match=r"fleet/bad\.yaml"):
            await forecast(hub, packed=archive({**fleet(world), "fleet/bad.yaml": "kind: ["}))
        with pytest.raises(ConfigError, match="no tar archive"):
            await forecast(hub, packed=b"nonsense")


async def test_the_event_loop_goes_on_meanwhile(world: World) -> None:
    more = [documents(cluster(f"x{number}", "dev")) for number in range(60)]
    world.repository.commit({**fleet(world), "fleet/more.yaml": "---\n".join(more)})
    async with world.hub() as hub:
        await hub.look()
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.create_task(count())
        found = await steps(hub, packed=archive({**fleet(world, dev="2"), "fleet/more.yaml": "---\n".join(more)}))
        counting.cancel()
        assert turns >= 20
        assert found[-2] == Progress("comparing", 64, 64)
