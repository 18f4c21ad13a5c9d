"""Promotion in Git through planning, with a real repository that the hub commits to."""

from __future__ import annotations

import json

from hub.audit import Action
from hub.rollout.model import Track
from hub.status.resource import Collection, Key, Resource
from hub.store import AuditQuery
from tests.fleet.manifests import config_map, documents, environment, git_repository, kustomization, placement
from tests.servers.git_repo import git
from tests.unit.hub.composition import Inside, World, eventually


def fleet(world: World, **promotes_from: object) -> dict[str, str]:
    """The files of a fleet in which each of two environments is what its folder says."""
    source = {"environment": "dev", "git": {"branch": "main", "from": "envs/dev", "to": "envs/staging"}}
    staging = environment("staging")
    spec = staging["spec"]
    assert isinstance(spec, dict)
    spec["promotesFrom"] = source | promotes_from
    objects = (
        git_repository("config", world.repository.url),
        kustomization("shop", "./envs/${cluster_env}"),
        environment("dev"),
        staging,
        placement("shop", "shop", clusterSelector={}),
    )
    return {"fleet/all.yaml": documents(*objects)} | version("dev", "1") | version("staging", "0")


def version(folder: str, number: str) -> dict[str, str]:
    return {f"envs/{folder}/map.yaml": documents(config_map("settings", "default", v=number))}


def file(world: World, path: str) -> str:
    return git("show", f"main:{path}", cwd=world.repository.path)


def head(world: World) -> str:
    return git("rev-parse", "main", cwd=world.repository.path)


def shown(hub: Inside, name: str) -> Resource:
    posted = hub.board.get(Collection.ROLLOUTS, Key("", "Rollout", "", name))
    assert posted is not None
    return posted.resource


def in_git(hub: Inside, key: str = "state") -> object:
    found = shown(hub, "shop@staging").status["inGit"]
    assert isinstance(found, dict)
    return found[key]


async def healthy(hub: Inside, *names: str) -> None:
    for name in names:
        hub.report(name)
    await hub.planner.settled()


async def join(hub: Inside) -> None:
    hub.join("d", env="dev")
    hub.join("s", env="staging")
    hub.connect("d", "s")
    await hub.look()


async def test_what_dev_verified_is_committed_for_staging(world: World) -> None:
    world.repository.commit(fleet(world))
    async with world.hub() as hub:
        await join(hub)
        assert in_git(hub) == "Waiting"
        assert "0" in file(world, "envs/staging/map.yaml")
        await healthy(hub, "d", "s")
        await eventually(lambda: in_git(hub) == "Done")
        assert file(world, "envs/staging/map.yaml") == file(world, "envs/dev/map.yaml")
        made = head(world)
        await hub.look()
        await healthy(hub, "d", "s")
        await eventually(lambda: in_git(hub) == "Done")
        assert head(world) == made, "its own commit promotes nothing"
        entries = [each for each in hub.store.audit(AuditQuery()) if each.action == Action.PROMOTION_PROPOSED]
        assert len(entries) == 1
        assert "dev to staging" in entries[0].entry


async def test_staging_gets_what_its_folder_says_without_waiting_for_dev(world: World) -> None:
    world.repository.commit(fleet(world))
    async with world.hub() as hub:
        await join(hub)
        world.repository.commit(version("staging", "7") | version("dev", "broken"))
        await hub.look()
        assert shown(hub, "shop@staging").status["release"] == shown(hub, "shop@dev").status["release"]
        assert "7" in file(world, "envs/staging/map.yaml")
        assert in_git(hub) == "Waiting", "dev never said that it is healthy"


async def test_with_approval_a_person_lets_it_through_and_the_commit_says_who(world: World) -> None:
    world.repository.commit(fleet(world, approval=True))
    async with world.hub() as hub:
        await join(hub)
        await healthy(hub, "d", "s")
        assert in_git(hub) == "Waiting"
        assert "waits for approval" in str(in_git(hub, "message"))
        track = Track("placement/shop", "staging")
        await hub.planner.steering.promote(track, "", who="ada", reason="tested by hand")
        await eventually(lambda: in_git(hub) == "Done")
        message = git("log", "-1", "--format=%B", "main", cwd=world.repository.path)
        assert "Felloe-Promoted-By: ada (tested by hand)" in message


async def test_a_person_need_not_wait_for_the_soak(world: World) -> None:
    world.repository.commit(fleet(world, soak="24h"))
    async with world.hub() as hub:
        await join(hub)
        await healthy(hub, "d", "s")
        track = Track("placement/shop", "staging")
        assert "soaks in dev until" in str(in_git(hub, "message"))
        await hub.planner.steering.promote(track, "", who="ada", reason="approved beforehand")
        await hub.planner.settled()
        assert "soaks in dev until" in str(in_git(hub, "message")), "an approval alone leaves no soak out"
        await hub.planner.steering.promote(track, "", who="ada", reason="an outage", skip_soak=True)
        await eventually(lambda: in_git(hub) == "Done")
        message = git("log", "-1", "--format=%B", "main", cwd=world.repository.path)
        assert "Felloe-Promoted-By: ada (an outage)" in message
        entries = [json.loads(each.entry) for each in hub.store.audit(AuditQuery()) if each.action == Action.PROMOTED]
        assert [each.get("detail", each).get("soakSkipped") for each in entries] == [None, True]
