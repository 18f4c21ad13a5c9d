"""Who leaves a selection, comes into one or changes its environment by a commit does so by a rollout, not past it."""

from __future__ import annotations

from collections.abc import Mapping

from hub.rollout.model import Act, Track
from tests.fleet.manifests import config_map, documents, environment, git_repository, kustomization, placement
from tests.unit.hub.composition import Inside, World
from tests.unit.hub.planning.rollouts.shop import SHOP, converge, fleet_of, rollout, value, version

GATED: list[Mapping[str, object]] = [
    {"name": "canary", "clusters": ["a"]},
    {"name": "rest", "gates": [{"name": "go", "approval": {}}]},
]


def labelled(**labels: dict[str, str]) -> dict[str, str]:
    kinds = ({"kind": "Cluster", "metadata": {"name": name, "labels": own}} for name, own in labels.items())
    return {"fleet/clusters.yaml": documents(*({"apiVersion": "fleet.felloe.io/v1alpha1", **each} for each in kinds))}


def selected(world: World, *more: Mapping[str, object], **spec: object) -> dict[str, str]:
    objects = (git_repository("config", world.repository.url), kustomization("shop", "./shop"), *more)
    return {"fleet/all.yaml": documents(*objects, placement("shop", "shop", **spec))} | version("1")


def having(hub: Inside, *names: str) -> list[str]:
    return [name for name in names if SHOP in hub.plans.clusters[name].bundle.by_id]


async def act(hub: Inside, what: Act, *, stage: str = "", gate: str = "") -> None:
    track = Track.named("shop")
    await hub.planner.steering.act(track, what, who="Ada", reason="", stage=stage, gate=gate, release=0)
    await hub.planner.settled()


async def test_labels_that_a_commit_takes_from_everybody_are_lost_stage_by_stage_and_undo_gives_them_back(
    world: World,
) -> None:
    shop = selected(
        world, rollout("careful", GATED), clusterSelector={"matchLabels": {"shop": "yes"}}, rollout="careful"
    )
    every = labelled(a={"shop": "yes"}, b={"shop": "yes"}, c={"shop": "yes"})
    world.repository.commit(shop | every)
    async with world.hub() as hub:
        await fleet_of(hub, a={}, b={}, c={})
        await act(hub, Act.APPROVE, stage="rest", gate="go")
        await converge(hub, "a", "b", "c")
        assert having(hub, "a", "b", "c") == ["a", "b", "c"]
        world.repository.commit(labelled(a={}, b={}, c={}))
        await hub.look()
        await converge(hub, "a", "b", "c")
        assert having(hub, "a", "b", "c") == ["b", "c"], "the others wait for the gate"
        await act(hub, Act.UNDO)
        assert having(hub, "a", "b", "c") == ["a", "b", "c"]
        world.repository.commit(every)
        await hub.look()
        await converge(hub, "a", "b", "c")
        assert having(hub, "a", "b", "c") == ["a", "b", "c"]


async def test_a_label_that_comes_with_new_content_brings_nothing_before_it_is_the_clusters_turn(world: World) -> None:
    shop = selected(
        world, rollout("careful", GATED), clusterSelector={"matchLabels": {"shop": "yes"}}, rollout="careful"
    )
    world.repository.commit(shop | labelled(a={"shop": "yes"}, b={}))
    async with world.hub() as hub:
        await fleet_of(hub, a={}, b={})
        await converge(hub, "a", "b")
        world.repository.commit(labelled(a={"shop": "yes"}, b={"shop": "yes"}) | version("2"))
        await hub.look()
        await converge(hub, "a", "b")
        assert value(hub, "a") == "2"
        assert having(hub, "b") == []
        await act(hub, Act.APPROVE, stage="rest", gate="go")
        assert value(hub, "b") == "2"


def promoted(world: World) -> dict[str, str]:
    dev, staging = environment("dev"), environment("staging")
    staging["spec"] |= {"promotesFrom": {"environment": "dev", "approval": True}}  # type: ignore[operator]
    return selected(world, dev, staging, environments=["dev", "staging"])


async def test_who_loses_its_environment_keeps_what_it_has_until_that_is_promoted(world: World) -> None:
    world.repository.commit(promoted(world) | labelled(d={"env": "dev"}, s={"env": "staging"}))
    async with world.hub() as hub:
        await fleet_of(hub, d={}, s={})
        await converge(hub, "d", "s")
        await hub.planner.steering.promote(Track.named("shop@staging"), "", who="Ada", reason="")
        await hub.planner.settled()
        await converge(hub, "d", "s")
        assert having(hub, "d", "s") == ["d", "s"]
        world.repository.commit(labelled(d={"env": "dev"}, s={}))
        await hub.look()
        await converge(hub, "d", "s")
        assert having(hub, "d", "s") == ["d", "s"]
        await hub.planner.steering.promote(Track.named("shop@staging"), "", who="Ada", reason="")
        await hub.planner.settled()
        assert having(hub, "d", "s") == ["d"]


async def test_who_left_its_environment_goes_by_it_no_more_once_that_has_come_there(world: World) -> None:
    dev, staging = environment("dev"), environment("staging")
    staging["spec"] |= {"promotesFrom": {"environment": "dev", "approval": True}}  # type: ignore[operator]
    theirs = labelled(d={"env": "dev"}, m={"env": "staging"}, s={"env": "staging"})
    world.repository.commit(selected(world, dev, staging, clusterSelector={}) | theirs)
    async with world.hub() as hub:

        async def promote() -> None:
            await hub.planner.steering.promote(Track.named("shop@staging"), "", who="Ada", reason="")
            await hub.planner.settled()
            await converge(hub, "d", "m", "s")

        await fleet_of(hub, d={}, m={}, s={})
        await promote()
        world.repository.commit(labelled(d={"env": "dev"}, m={}, s={"env": "staging"}) | version("2"))
        await hub.look()
        await converge(hub, "d", "m", "s")
        assert [value(hub, name) for name in ("d", "m", "s")] == ["2", "1", "1"]
        await promote()
        assert [value(hub, name) for name in ("d", "m", "s")] == ["2", "2", "2"]
        world.repository.commit(version("3"))
        await hub.look()
        assert [value(hub, name) for name in ("d", "m", "s")] == ["3", "3", "2"]


async def test_an_environment_that_is_deleted_with_what_it_has_goes_by_the_rollout_that_it_named(world: World) -> None:
    production, careful = environment("production"), rollout("careful", GATED)
    production["spec"] |= {"rollout": "careful"}  # type: ignore[operator]
    members = labelled(a={"env": "production"}, b={"env": "production"})
    nobody = {"matchLabels": {"no": "body"}}
    track = Track.named("shop@production")
    world.repository.commit(selected(world, production, careful, environments=["production"]) | members)
    async with world.hub() as hub:

        async def go() -> None:
            told = {"who": "Ada", "reason": "", "stage": "rest", "gate": "go"}
            await hub.planner.steering.act(track, Act.APPROVE, release=0, **told)
            await hub.planner.settled()
            await converge(hub, "a", "b")

        await fleet_of(hub, a={}, b={})
        await go()
        assert having(hub, "a", "b") == ["a", "b"]
        world.repository.commit(selected(world, careful, clusterSelector=nobody))
        await hub.look()
        await converge(hub, "a", "b")
        assert having(hub, "a", "b") == ["b"], "the others wait for the gate"
        await go()
        assert having(hub, "a", "b") == []
        world.repository.commit(selected(world, careful, clusterSelector={}))
        await hub.look()
        assert having(hub, "a", "b") == ["a", "b"], "nothing is left of the environment"


async def test_who_comes_into_an_environment_gets_the_release_that_is_there(world: World) -> None:
    files = promoted(world) | {"shop/map.yaml": documents(config_map("settings", "default", v="1", e="${cluster_env}"))}
    world.repository.commit(files | labelled(d={"env": "dev"}, m={"env": "dev"}, s={"env": "staging"}))
    async with world.hub() as hub:
        await fleet_of(hub, d={}, m={}, s={})
        await converge(hub, "d", "m", "s")
        await hub.planner.steering.promote(Track.named("shop@staging"), "", who="Ada", reason="")
        await hub.planner.settled()
        await converge(hub, "d", "m", "s")
        world.repository.commit(version("2"))
        await hub.look()
        await converge(hub, "d", "m", "s")
        assert [value(hub, name) for name in ("d", "m", "s")] == ["2", "2", "1"]
        world.repository.commit(labelled(d={"env": "dev"}, m={"env": "staging"}, s={"env": "staging"}))
        await hub.look()
        await converge(hub, "d", "m", "s")
        assert [value(hub, name) for name in ("d", "m", "s")] == ["2", "1", "1"]
        assert hub.workload("m", SHOP).variables == {"cluster_env": "staging"}
