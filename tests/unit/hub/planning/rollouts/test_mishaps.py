"""What goes wrong, or comes at a bad moment, lets no release through to a cluster past its rollout."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from felloe.errors import SandboxError, SourceError, StoreError
from felloe.identity import WorkloadId
from hub.planning.releases import Releases
from hub.rollout.model import Act, Phase, Track
from tests.fleet.manifests import config_map, documents, environment, git_repository, kustomization, placement
from tests.servers.git_repo import GitRepo
from tests.unit.hub.composition import Inside, World, eventually
from tests.unit.hub.planning.rollouts.shop import (
    SHOP,
    converge,
    fleet_of,
    rollout,
    shop,
    shown,
    value,
    values,
    version,
    waits,
)

REVERT = "Revert words\n\nThis reverts commit 0123456789abcdef."
CART = WorkloadId("Kustomization", "flux-system", "cart")
STAGING = Track("placement/shop", "staging")


def failing(
    monkeypatch: pytest.MonkeyPatch, owner: object, name: str, error: Exception, when: Callable[..., bool]
) -> None:
    """Have a function raise an error where `when` says so of its arguments."""
    real = getattr(owner, name)

    def call(*arguments: Any, **named: Any) -> Any:
        if when(*arguments):
            raise error
        return real(*arguments, **named)

    monkeypatch.setattr(owner, name, call)


def objects(value: object) -> list[dict[str, object]]:
    assert isinstance(value, list)
    return value


def chain(world: World, *more: Mapping[str, object], **promotion: object) -> dict[str, str]:
    dev, staging = environment("dev"), environment("staging")
    staging["spec"] |= {"promotesFrom": {"environment": "dev", **promotion}}  # type: ignore[operator]
    return shop(world, dev, staging, *more)


async def test_a_revert_of_something_else_makes_no_rollout_faster(world: World) -> None:
    fast = rollout("fast", [{"name": "all"}])
    world.repository.commit(shop(world, rollout("careful", onRevert="fast"), fast))
    async with world.hub() as hub:
        await fleet_of(hub, a={"canary": "yes"}, b={})
        world.repository.commit(version("2"))
        await hub.look()
        world.repository.commit({"README.md": "words"}, REVERT)
        await hub.look()
        assert values(hub, "a", "b") == ["2", "1"]
        world.repository.commit(version("1"), REVERT)
        await hub.look()
        assert values(hub, "a", "b") == ["1", "1"]
        await converge(hub, "a", "b")
        world.repository.commit(version("3"), REVERT)
        await hub.look()
        assert values(hub, "a", "b") == ["3", "3"], "it is the strategy of what it reverts itself"


async def test_only_the_way_back_is_faster_and_nothing_else_that_is_new(world: World) -> None:
    fast = rollout("fast", [{"name": "all"}])
    world.repository.commit(shop(world, rollout("careful", onRevert="fast"), fast))
    async with world.hub() as hub:
        await fleet_of(hub, a={"canary": "yes"}, b={})
        world.repository.commit(version("2"))
        await hub.look()
        world.repository.revert()
        await hub.look()
        assert values(hub, "a", "b") == ["1", "1"], "back at once"
        await converge(hub, "a", "b")
        world.repository.revert()
        await hub.look()
        assert values(hub, "a", "b") == ["2", "1"], "a revert of a revert brings the change anew"
        world.repository.commit(version("3"), REVERT)
        await hub.look()
        assert values(hub, "a", "b") == ["3", "1"], "the change was under way, and is under what is reverted now"
        await converge(hub, "a", "b")
        world.repository.commit(version("4"))
        world.repository.commit(version("5"), REVERT)
        await hub.look()
        assert values(hub, "a", "b") == ["5", "3"], "a change came in the same push"
        await converge(hub, "a", "b")
        world.repository.commit(version("6"), 'Reapply "words"\n\nThis reverts commit 0123456789abcdef.')
        await hub.look()
        assert values(hub, "a", "b") == ["6", "5"]


async def test_a_commit_that_changes_nothing_here_makes_no_revert_slower(world: World) -> None:
    fast = rollout("fast", [{"name": "all", "maxConcurrent": 1}])
    gated = [{"name": "all", "gates": [{"name": "go", "approval": {}}]}]
    world.repository.commit(shop(world, rollout("careful", onRevert="fast"), fast))
    async with world.hub() as hub:
        await fleet_of(hub, a={}, b={})
        world.repository.commit(version("2"))
        await hub.look()
        await converge(hub, "a", "b")
        world.repository.commit(shop(world, rollout("careful", gated, onRevert="fast"), fast) | version("2"))
        await hub.look()
        world.repository.commit(version("1"), REVERT)
        await hub.look()
        assert values(hub, "a", "b") == ["1", "2"]
        world.repository.commit({"README.md": "words"})
        await hub.look()
        await converge(hub, "a", "b")
        assert values(hub, "a", "b") == ["1", "1"], "it waits for no gate of the usual strategy"
        assert shown(hub).status["phase"] == Phase.COMPLETE.value


async def test_a_release_on_its_way_downstream_is_not_made_faster_by_a_revert_upstream(world: World) -> None:
    fast = rollout("fast", [{"name": "all"}])
    world.repository.commit(chain(world, rollout("careful", onRevert="fast"), fast))
    async with world.hub() as hub:
        await fleet_of(hub, d={"env": "dev"}, s={"env": "staging", "canary": "yes"}, t={"env": "staging"})
        await converge(hub, "d", "s", "t")
        world.repository.commit(version("2"))
        await hub.look()
        hub.report("d")
        await eventually(lambda: value(hub, "s") == "2")
        world.repository.commit(version("3"), REVERT)
        await hub.look()
        assert values(hub, "d", "s", "t") == ["3", "2", "1"]


async def test_an_environment_whose_clusters_can_not_be_planned_opens_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.repository.commit(chain(world))
    async with world.hub() as hub:
        await fleet_of(hub, d={"env": "dev"}, s={"env": "staging"})
        await converge(hub, "d", "s")
        with monkeypatch.context() as patch:
            error = SourceError("the mirror is damaged")
            failing(patch, hub.planner._resolver._memo, "resolve", error, lambda inputs: inputs.cluster == "d")
            world.repository.commit(version("2"))
            await hub.look()
            await hub.planner.settled()
            hub.report("d")
            hub.report("s")
            await hub.planner.settled(["s"])
            assert values(hub, "d", "s") == ["1", "1"]
            assert shown(hub, "shop@dev").status["phase"] == Phase.COMPLETE.value
        await hub.planner.settled()
        assert values(hub, "d", "s") == ["2", "1"]
        hub.report("d")
        await eventually(lambda: value(hub, "s") == "2")


async def test_a_rollout_that_stands_still_says_which_cluster_can_not_be_planned_and_why(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.repository.commit(shop(world, rollout("careful")))
    async with world.hub() as hub:
        await fleet_of(hub, a={"canary": "yes"}, b={})
        await converge(hub, "a", "b")
        with monkeypatch.context() as patch:
            error = SourceError("the mirror is damaged")
            failing(patch, hub.planner._resolver._memo, "resolve", error, lambda inputs: inputs.cluster == "b")
            world.repository.commit(version("2"))
            await hub.look()
            status = shown(hub).status
            assert [(one["name"], one["clusters"], one["done"]) for one in objects(status["stages"])] == [
                ("canary", 1, 1),
                ("rest", 1, 0),
            ]
            (held,) = (one for one in objects(status["clusters"]) if one["state"] != "Done")
            assert (held["name"], held["message"]) == ("b", "it can't be planned: the mirror is damaged")
            ready = shown(hub).condition("Ready")
            assert ready is not None
            assert ready.message.startswith("release 1: stands still: cluster b can't be planned")
            (wait,) = (one for one in waits(hub) if one["name"] == "shop")
            assert (wait["stuck"], wait["command"]) == (True, "felloe describe cluster b")
        await hub.planner.settled()
        await converge(hub, "a", "b")
        assert values(hub, "a", "b") == ["2", "2"]
        assert not waits(hub)


async def test_a_release_that_can_be_made_for_nobody_is_said_to_be_so(world: World) -> None:
    world.repository.commit(shop(world, rollout("careful")))
    async with world.hub() as hub:
        await fleet_of(hub, a={"canary": "yes"}, b={})
        await converge(hub, "a", "b")
        world.repository.commit(version("2", k="${nobody_has_it}"))
        await hub.look()
        upcoming = shown(hub).status["next"]
        assert isinstance(upcoming, dict)
        assert (upcoming["release"], upcoming["cannotBeMade"]) == (2, True)
        assert "'nobody_has_it' has no value" in upcoming["message"]
        ready = shown(hub).condition("Ready")
        assert ready is not None
        assert "release 2: it can't be made for a, b: a: " in ready.message
        assert [one["stuck"] for one in waits(hub) if one["name"] == "shop"] == [True]
        world.repository.commit(version("3"))
        await hub.look()
        assert "next" not in shown(hub).status


async def test_what_could_not_be_kept_lets_nothing_through_later(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    files = shop(world, rollout("careful"))
    more = [kustomization("cart", "./cart"), placement("cart", "cart", clusterSelector={}, rollout="careful")]
    files["fleet/cart.yaml"] = documents(*more)

    def cart(number: str) -> dict[str, str]:
        return {"cart/map.yaml": documents(config_map("cart", "default", v=number))}

    def in_cart(hub: Inside, cluster: str) -> object:
        return hub.objects(cluster, CART)["cart"]

    world.repository.commit(files | cart("1"))
    async with world.hub() as hub:
        await fleet_of(hub, a={"canary": "yes"}, b={})
        world.repository.commit(version("2"))
        await hub.look()
        assert values(hub, "a", "b") == ["2", "1"]
        with monkeypatch.context() as patch:
            failing(patch, hub.store, "save_rollout", StoreError("the disk is full"), lambda *_: True)
            world.repository.commit(cart("2"))
            await hub.look()
            assert "disk is full" in hub.plans.problem
        hub.report("a")
        await eventually(lambda: value(hub, "b") == "2")
        assert in_cart(hub, "b") == {"v": "1"}, "its canary has not had it yet"


async def test_what_could_not_be_rendered_for_a_while_begins_with_the_canary(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.repository.commit(shop(world, rollout("careful")))
    async with world.hub() as hub:
        await fleet_of(hub, a={"canary": "yes"}, b={})
        overlays = hub.planner._overlays
        with monkeypatch.context() as patch:
            failing(patch, overlays._renderer, "render", SandboxError("it took too long"), lambda *_: True)
            world.repository.commit(version("2"))
            await hub.look()
            assert values(hub, "a", "b") == ["1", "1"]
        overlays.results.clear()  # as when the time of the failure has come
        await hub.planner.settled()
        assert values(hub, "a", "b") == ["2", "1"]


async def test_a_release_that_can_not_be_planned_is_not_taken_to_be_there(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.repository.commit(chain(world, rollout("careful"), approval=True))
    async with world.hub() as hub:
        await fleet_of(hub, d={"env": "dev"}, s={"env": "staging", "canary": "yes"}, t={"env": "staging"})
        await hub.planner.steering.promote(STAGING, "", who="ada", reason="first")
        await hub.planner.settled()
        await converge(hub, "d", "s", "t")
        second = world.repository.commit(version("2"))
        await hub.look()
        await converge(hub, "d")
        world.repository.commit(version("3"))
        await hub.look()
        with monkeypatch.context() as patch:
            failing(patch, hub.planner._releases, "world", SourceError("the mirror is damaged"), lambda *_: True)
            await hub.planner.steering.promote(STAGING, second, who="ada", reason="good")
            await hub.planner.settled()
            await converge(hub, "s", "t")
        await hub.planner.settled()
        assert values(hub, "d", "s", "t") == ["3", "2", "1"]


async def test_what_is_taken_out_of_git_waits_for_its_approval_too(world: World) -> None:
    files = chain(world, approval=True)
    world.repository.commit(files)
    async with world.hub() as hub:
        await fleet_of(hub, d={"env": "dev"}, s={"env": "staging"})
        await hub.planner.steering.promote(STAGING, "", who="ada", reason="first")
        await hub.planner.settled()
        await converge(hub, "d", "s")
        assert value(hub, "s") == "1"
        without, _, last = files["fleet/all.yaml"].rpartition("---")
        assert "Placement" in last
        world.repository.commit({"fleet/all.yaml": without})
        await hub.look()
        await converge(hub, "d")
        for _ in range(2):
            await hub.planner.settled()
        assert SHOP not in hub.plans.clusters["d"].bundle.by_id
        assert value(hub, "s") == "1"
        await hub.planner.steering.promote(STAGING, "", who="ada", reason="it may go")
        await hub.planner.settled()
        assert SHOP not in hub.plans.clusters["s"].bundle.by_id


async def test_an_environment_that_lost_its_clusters_lets_nothing_new_through(world: World) -> None:
    world.repository.commit(chain(world))
    async with world.hub() as hub:
        await fleet_of(hub, d={"env": "dev"}, s={"env": "staging"})
        await converge(hub, "d", "s")
        hub.join("d", env="other")
        world.repository.commit(version("2"))
        await hub.look()
        await hub.planner.settled()
        assert value(hub, "s") == "1"


async def test_a_cluster_that_changes_its_environment_waits_for_the_release_there(world: World) -> None:
    world.repository.commit(chain(world, rollout("careful")))
    async with world.hub() as hub:
        await fleet_of(hub, d={"env": "dev", "canary": "yes"}, s={"env": "staging", "canary": "yes"})
        await converge(hub, "d", "s")
        hub.join("n", env="dev")
        hub.connect("n")
        await hub.look()
        await converge(hub, "d", "n", "s")
        world.repository.commit(version("2"))
        await hub.look()
        assert values(hub, "d", "n", "s") == ["2", "1", "1"]
        hub.join("n", env="staging")
        await hub.look()
        assert values(hub, "d", "n", "s") == ["2", "1", "1"]


async def test_a_placement_that_gets_another_name_takes_nothing_away(world: World) -> None:
    files = shop(world, rollout("careful"))
    world.repository.commit(files)
    async with world.hub() as hub:
        await fleet_of(hub, a={"canary": "yes"}, b={}, c={})
        without, _, _ = files["fleet/all.yaml"].rpartition("---")
        renamed = documents(placement("store", "shop", clusterSelector={}, rollout="careful"))
        world.repository.commit({"fleet/all.yaml": without + "---\n" + renamed, **version("2")})
        await hub.look()
        assert values(hub, "a", "b", "c") == ["2", "1", "1"]
        for _ in range(6):
            assert all(SHOP in hub.plans.clusters[name].bundle.by_id for name in "abc")
            for name in "abc":
                hub.report(name)
            await hub.planner.settled()
        assert values(hub, "a", "b", "c") == ["2", "2", "2"]
        assert shown(hub, "store").status["phase"] == Phase.COMPLETE.value


async def test_an_environment_that_comes_into_a_promotion_in_the_middle_waits_there(world: World) -> None:
    world.repository.commit(shop(world, rollout("careful"), environment("dev"), environment("staging")))
    async with world.hub() as hub:
        await fleet_of(hub, d={"env": "dev", "canary": "yes"}, s={"env": "staging"})
        world.repository.commit(version("2"))
        await hub.look()
        assert values(hub, "d", "s") == ["2", "1"]
        world.repository.commit(chain(world, rollout("careful")) | version("2"))
        await hub.look()
        await hub.planner.settled()
        assert values(hub, "d", "s") == ["2", "1"]
        hub.report("d")
        await eventually(lambda: value(hub, "s") == "2")


async def test_a_release_that_was_taken_back_upstream_does_not_wait_in_a_queue(world: World) -> None:
    world.repository.commit(chain(world, rollout("careful", onNewRelease="Queue")))
    async with world.hub() as hub:
        await fleet_of(hub, d={"env": "dev"}, s={"env": "staging", "canary": "yes"}, t={"env": "staging"})
        await converge(hub, "d", "s", "t")
        world.repository.commit(version("2"))
        await hub.look()
        hub.report("d")
        await eventually(lambda: value(hub, "s") == "2")
        world.repository.commit(version("3"))
        await hub.look()
        hub.report("d")
        await eventually(lambda: shown(hub, "shop@staging").status["queue"])
        await hub.planner.steering.act(
            Track("placement/shop", "dev"), Act.UNDO, who="ada", reason="bad", stage="", gate="", release=0
        )
        await hub.planner.settled()
        for _ in range(4):
            await converge(hub, "s", "t")
        assert values(hub, "d", "s", "t") == ["2", "2", "2"]


async def test_what_was_well_in_another_environment_is_not_promoted_from_the_one_that_takes_its_place(
    world: World,
) -> None:
    def files(upstream: str, *, approval: bool) -> dict[str, str]:
        last = environment("production")
        last["spec"] |= {"promotesFrom": {"environment": upstream, "approval": approval}}  # type: ignore[operator]
        return shop(world, environment("dev"), environment("staging"), last)

    world.repository.commit(files("dev", approval=True))
    async with world.hub() as hub:
        await fleet_of(hub, d={"env": "dev"}, s={"env": "staging"}, p={"env": "production"})
        await hub.planner.steering.promote(Track("placement/shop", "production"), "", who="ada", reason="first")
        await hub.planner.settled()
        await converge(hub, "d", "s", "p")
        world.repository.commit(version("2"))
        await hub.look()
        await converge(hub, "d")
        world.repository.commit(files("staging", approval=False) | version("3"))
        await hub.look()
        await hub.planner.settled()
        assert value(hub, "p") == "1"
        await converge(hub, "s")
        await eventually(lambda: value(hub, "p") == "3")


async def test_a_release_whose_source_was_away_for_a_while_can_be_gone_back_to(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.planning.pinned._AGAIN", 0.0)
    config = GitRepo(world.folder / "config.git")
    config.commit(version("1"))
    placed = placement("shop", "shop", clusterSelector={}, rollout="careful")
    objects = (git_repository("config", config.url), kustomization("shop", "./shop"), rollout("careful"), placed)
    world.repository.commit({"fleet/all.yaml": documents(*objects)})
    async with world.hub() as hub:
        await fleet_of(hub, a={"canary": "yes"}, b={})
        config.commit(version("2"))
        await hub.look()
    with monkeypatch.context() as patch:
        patch.setattr(Releases, "content", lambda *_: "its mirror is being fetched anew")
        async with world.hub() as hub:
            assert values(hub, "a", "b") == ["2", "1"]
            patch.undo()
            act = {"who": "ada", "reason": "bad", "stage": "", "gate": ""}
            await hub.planner.steering.act(Track("placement/shop"), Act.UNDO, release=0, **act)
            await hub.planner.settled()
            assert values(hub, "a", "b") == ["1", "1"]


async def test_a_canary_whose_workload_a_person_suspended_shows_nothing_and_lets_nobody_through(world: World) -> None:
    world.repository.commit(shop(world, rollout("careful")))
    async with world.hub() as hub:
        await fleet_of(hub, a={"canary": "yes"}, b={})
        await hub.steward.suspend_workload(SHOP, ["a"], suspended=True, who="ada")
        world.repository.commit(version("2"))
        await hub.look()
        await converge(hub, "a", "b")
        assert values(hub, "a", "b") == ["1", "1"]
        await hub.steward.suspend_workload(SHOP, ["a"], suspended=False, who="ada")
        await converge(hub, "a", "b")
        assert values(hub, "a", "b") == ["2", "2"]
