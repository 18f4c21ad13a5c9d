"""Rollouts through planning, with real Git, kustomize and state; what spokes would say is said by the test."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from felloe.errors import ConfigError
from hub.rollout.model import Act, Phase, Track
from hub.store import AuditQuery
from tests.fleet.manifests import documents, environment, git_repository
from tests.unit.hub.composition import Inside, World, eventually
from tests.unit.hub.planning.rollouts.shop import (
    CANARY,
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

TRACK = Track("placement/shop")


async def act(hub: Inside, what: Act, track: Track = TRACK, **more: str) -> None:
    told = {"who": "ada", "reason": "a test", "stage": "", "gate": "", **more}
    await hub.planner.steering.act(track, what, release=0, **told)
    await hub.planner.settled()


async def test_the_canary_comes_first_and_then_the_rest_one_by_one(world: World) -> None:
    world.repository.commit(shop(world, rollout("careful")))
    async with world.hub() as hub:
        await fleet_of(hub, a={"canary": "yes"}, b={}, c={})
        assert values(hub, "a", "b", "c") == ["1", "1", "1"]
        world.repository.commit(version("2"))
        await hub.look()
        assert values(hub, "a", "b", "c") == ["2", "1", "1"]
        assert hub.desired("b").revision == hub.desired("c").revision != hub.desired("a").revision
        assert hub.plans.clusters["b"].by_id[SHOP].notes == ("as its rollout has it: felloe rollout status shop",)
        hub.report("b")
        hub.report("c")
        await hub.planner.settled()
        assert values(hub, "b", "c") == ["1", "1"], "health with the old release lets nobody through"
        hub.report("a")
        await hub.planner.settled()
        assert values(hub, "a", "b", "c") == ["2", "2", "1"]
        hub.report("b")
        await eventually(lambda: value(hub, "c") == "2")  # a status is enough, without a round of planning
        hub.report("c")
        await eventually(lambda: shown(hub).status["phase"] == Phase.COMPLETE.value)
        assert hub.desired("c").revision == hub.plans.revision


async def test_a_failing_canary_stops_everything_and_undo_restores_it(world: World) -> None:
    world.repository.commit(shop(world, rollout("careful")))
    async with world.hub() as hub:
        await fleet_of(hub, a={"canary": "yes"}, b={}, c={})
        world.repository.commit(version("2"))
        await hub.look()
        hub.report("a", healthy=False)
        await eventually(lambda: shown(hub).status["phase"] == Phase.PAUSED.value)
        assert "the pod crashes" in str(shown(hub).status["clusters"])
        assert values(hub, "a", "b", "c") == ["2", "1", "1"]
        await act(hub, Act.UNDO)
        assert values(hub, "a", "b", "c") == ["1", "1", "1"]
        await converge(hub, "a", "b", "c")
        assert values(hub, "a", "b", "c") == ["1", "1", "1"]
        assert shown(hub).status["phase"] == Phase.UNDONE.value
        world.repository.commit(version("3"))
        await hub.look()
        assert values(hub, "a", "b", "c") == ["3", "1", "1"]
        told = [entry.action for entry in hub.store.audit(AuditQuery())]
        assert {"RolloutPaused", "RolloutUndone"} <= set(told)


async def test_a_fix_in_the_queue_has_its_turn_when_what_it_fixes_fails(world: World) -> None:
    world.repository.commit(shop(world, rollout("careful", onNewRelease="Queue")))
    async with world.hub() as hub:
        await fleet_of(hub, a={"canary": "yes"}, b={})
        for number in ("2", "3"):
            world.repository.commit(version(number))
            await hub.look()
        assert values(hub, "a", "b") == ["2", "1"]
        hub.report("a", healthy=False)
        await eventually(lambda: value(hub, "a") == "3")
        await converge(hub, "a", "b")
        assert values(hub, "a", "b") == ["3", "3"]


async def test_what_an_undo_left_out_stays_so_under_a_commit_that_changes_nothing_here(world: World) -> None:
    world.repository.commit(shop(world, rollout("careful", onNewRelease="Queue")))
    async with world.hub() as hub:
        await fleet_of(hub, a={"canary": "yes"}, b={})
        for number in ("2", "3"):
            world.repository.commit(version(number))
            await hub.look()
        await act(hub, Act.UNDO)
        for words in ("some", "more"):
            world.repository.commit({"README.md": words})
            await hub.look()
            await converge(hub, "a", "b")
            assert values(hub, "a", "b") == ["1", "1"]
        world.repository.commit(version("4"))
        await hub.look()
        await converge(hub, "a", "b")
        assert values(hub, "a", "b") == ["4", "4"]


async def test_a_policy_rolls_the_stage_back_by_itself(world: World) -> None:
    stages = [{**CANARY[0], "onFailure": "RollBack"}, CANARY[1]]
    world.repository.commit(shop(world, rollout("careful", stages)))
    async with world.hub() as hub:
        await fleet_of(hub, a={"canary": "yes"}, b={})
        world.repository.commit(version("2"))
        await hub.look()
        hub.report("a", healthy=False)
        await eventually(lambda: value(hub, "a") == "1")
        assert shown(hub).status["phase"] == Phase.FAILED.value


async def test_a_hub_that_starts_again_goes_on_where_it_was(world: World) -> None:
    world.repository.commit(shop(world, rollout("careful")))
    async with world.hub() as hub:
        await fleet_of(hub, a={"canary": "yes"}, b={}, c={})
        world.repository.commit(version("2"))
        await hub.look()
        roots = {name: hub.desired(name).root for name in "abc"}
    async with world.hub() as hub:
        assert {name: hub.desired(name).root for name in "abc"} == roots
        assert values(hub, "a", "b", "c") == ["2", "1", "1"]
        hub.connect("a", "b", "c")
        for name in "abc":
            hub.report(name)
        await eventually(lambda: values(hub, "a", "b", "c") == ["2", "2", "1"])


async def test_a_newer_commit_in_the_middle_takes_its_place(world: World) -> None:
    world.repository.commit(shop(world, rollout("careful")))
    async with world.hub() as hub:
        await fleet_of(hub, a={"canary": "yes"}, b={}, c={})
        world.repository.commit(version("2"))
        await hub.look()
        hub.report("a")
        await eventually(lambda: value(hub, "b") == "2")
        world.repository.commit(version("3"))
        await hub.look()
        assert values(hub, "a", "b", "c") == ["3", "2", "1"]
        await converge(hub, "a", "b", "c")
        assert values(hub, "a", "b", "c") == ["3", "3", "3"]


async def test_a_newer_commit_waits_where_the_strategy_lets_the_first_one_finish(world: World) -> None:
    world.repository.commit(shop(world, rollout("careful", onNewRelease="Finish")))
    async with world.hub() as hub:
        await fleet_of(hub, a={"canary": "yes"}, b={})
        world.repository.commit(version("2"))
        await hub.look()
        world.repository.commit(version("3"))
        await hub.look()
        hub.report("a")
        await eventually(lambda: values(hub, "a", "b") == ["2", "2"])
        hub.report("b")
        await eventually(lambda: values(hub, "a", "b") == ["3", "2"])
        await converge(hub, "a", "b")
        assert values(hub, "a", "b") == ["3", "3"]


async def test_a_commit_that_changes_nothing_for_the_track_disturbs_no_rollout(world: World) -> None:
    world.repository.commit(shop(world, rollout("careful")))
    async with world.hub() as hub:
        await fleet_of(hub, a={"canary": "yes"}, b={})
        world.repository.commit(version("2"))
        await hub.look()
        began = shown(hub).status["beganAt"]
        world.repository.commit({"README.md": "words"})
        await hub.look()
        assert shown(hub).status["beganAt"] == began
        assert values(hub, "a", "b") == ["2", "1"]
        await converge(hub, "a", "b")
        assert hub.desired("b").revision == hub.plans.revision


async def test_a_cluster_that_joins_in_the_middle_gets_what_its_neighbours_have(world: World) -> None:
    world.repository.commit(shop(world, rollout("careful")))
    async with world.hub() as hub:
        await fleet_of(hub, a={"canary": "yes"}, b={})
        world.repository.commit(version("2"))
        await hub.look()
        hub.join("new")
        hub.connect("new")
        await hub.look()
        assert values(hub, "a", "b", "new") == ["2", "1", "1"]


async def test_a_label_that_changes_counts_at_once_for_a_cluster_that_is_held(world: World) -> None:
    stages: list[Mapping[str, object]] = [{"name": "canary", "clusters": ["a"]}, {"name": "rest"}]
    files = shop(world, rollout("careful", stages), environment("dev", color="blue"), environment("prod", color="red"))
    files |= version("1", color="${color}")
    world.repository.commit(files)
    async with world.hub() as hub:
        await fleet_of(hub, a={"env": "dev"}, b={"env": "dev"})
        world.repository.commit(version("2", color="${color}"))
        await hub.look()
        hub.join("b", env="prod")
        await hub.look()
        assert values(hub, "a", "b") == ["2", "1"]
        assert hub.workload("b", SHOP).variables == {"color": "red"}


async def test_a_stage_waits_for_the_approval_of_a_person(world: World) -> None:
    stages: list[Mapping[str, object]] = [*CANARY[:1], {"name": "rest", "gates": [{"name": "go", "approval": {}}]}]
    world.repository.commit(shop(world, rollout("careful", stages)))
    async with world.hub() as hub:
        await fleet_of(hub, a={"canary": "yes"})
        hub.join("b")
        hub.connect("b")
        await hub.look()
        world.repository.commit(version("2"))
        await hub.look()
        await converge(hub, "a")
        assert value(hub, "a") == "2"
        with pytest.raises(ConfigError):
            await act(hub, Act.APPROVE, stage="rest", gate="other")
        await act(hub, Act.APPROVE, stage="rest", gate="go")
        assert value(hub, "b") == "2"


async def test_what_is_taken_out_of_git_leaves_stage_by_stage(world: World) -> None:
    world.repository.commit(shop(world, rollout("careful")))
    async with world.hub() as hub:
        await fleet_of(hub, a={"canary": "yes"}, b={})
        objects = (git_repository("config", world.repository.url), rollout("careful"), environment("dev"))
        world.repository.commit({"fleet/all.yaml": documents(*objects)})
        await hub.look()
        assert SHOP not in hub.plans.clusters["a"].bundle.by_id
        assert value(hub, "b") == "1"
        await converge(hub, "a", "b")
        assert SHOP not in hub.plans.clusters["b"].bundle.by_id


async def test_a_release_goes_from_one_environment_to_the_next_when_it_was_healthy(world: World) -> None:
    dev, staging = environment("dev"), environment("staging")
    staging["spec"] |= {"promotesFrom": {"environment": "dev"}}  # type: ignore[operator]
    world.repository.commit(shop(world, dev, staging))
    async with world.hub() as hub:
        await fleet_of(hub, d={"env": "dev"}, s={"env": "staging"})
        await converge(hub, "d", "s")
        assert values(hub, "d", "s") == ["1", "1"]
        world.repository.commit(version("2"))
        await hub.look()
        assert values(hub, "d", "s") == ["2", "1"]
        hub.report("d")
        await eventually(lambda: value(hub, "s") == "2")
        world.repository.commit(version("3"))
        await hub.look()
        hub.report("d", healthy=False)
        await hub.planner.settled()
        assert values(hub, "d", "s") == ["3", "2"]


async def test_an_older_release_goes_on_although_a_newer_one_is_in_the_first_environment(world: World) -> None:
    dev, staging = environment("dev"), environment("staging")
    staging["spec"] |= {"promotesFrom": {"environment": "dev", "approval": True}}  # type: ignore[operator]
    world.repository.commit(shop(world, dev, staging))
    async with world.hub() as hub:
        await fleet_of(hub, d={"env": "dev"}, s={"env": "staging"})
        await hub.planner.steering.promote(Track("placement/shop", "staging"), "", who="ada", reason="first")
        await hub.planner.settled()
        await converge(hub, "d", "s")
        second = world.repository.commit(version("2"))
        await hub.look()
        await converge(hub, "d")
        assert [(one["name"], one["kind"]) for one in waits(hub) if one["stuck"]] == [("shop@staging", "Promotion")]
        world.repository.commit(version("3"))
        await hub.look()
        assert values(hub, "d", "s") == ["3", "1"]
        await hub.planner.steering.promote(Track("placement/shop", "staging"), second, who="ada", reason="good")
        await hub.planner.settled()
        assert values(hub, "d", "s") == ["3", "2"]


async def test_an_object_that_is_refused_stops_it_only_when_that_does_not_pass(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.planning.rollouts.membership._GRACE", 1.0)
    world.repository.commit(shop(world, rollout("careful")))
    async with world.hub() as hub:
        await fleet_of(hub, a={"canary": "yes"}, b={})
        world.repository.commit(version("2"))
        await hub.look()
        hub.report("a", refused="a webhook was not there yet")
        await eventually(lambda: "a webhook" in str(shown(hub).status["clusters"]))
        assert shown(hub).status["phase"] == Phase.PROGRESSING.value
        hub.report("a")
        await eventually(lambda: value(hub, "b") == "2")
        hub.report("b", refused="no such field")
        await eventually(lambda: shown(hub).status["phase"] == Phase.PAUSED.value)


async def test_after_a_start_a_cluster_has_time_to_come_back_before_it_is_passed_over(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.planning.rollouts.membership._RECONNECT", 3.0)
    world.repository.commit(shop(world, rollout("careful")))
    async with world.hub() as hub:
        await fleet_of(hub, a={"canary": "yes"}, b={}, c={})
        world.repository.commit(version("2"))
        await hub.look()
    async with world.hub() as hub:
        hub.connect("a")
        hub.report("a")
        await eventually(lambda: value(hub, "b") == "2")
        assert shown(hub).status["phase"] == Phase.PROGRESSING.value, "b and c are waited for"
        hub.connect("b")
        hub.report("b")
        await eventually(lambda: shown(hub).status["phase"] == Phase.COMPLETE.value)
        assert "'state': 'Offline'" in str(shown(hub).status["clusters"]), "c did not come back"
