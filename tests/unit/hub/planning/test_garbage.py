"""Collecting removes what is not needed, and nothing that a plan or a published bundle still holds."""

from __future__ import annotations

from hub.planning.garbage import collect
from tests.fleet.manifests import cluster, config_map, documents
from tests.unit.hub.composition import World


def synced(name: str, v: str) -> dict[str, str]:
    return {f"clusters/{name}/settings.yaml": documents(config_map("settings", "default", cluster=name, v=v))}


async def test_what_was_superseded_goes_and_all_else_stays(world: World) -> None:
    fleet = {"fleet/declared.yaml": documents(cluster("declared", "dev", syncPath="clusters/declared"))}
    names = ("member", "revoked", "declared")
    world.repository.commit(fleet | {key: value for name in names for key, value in synced(name, "1").items()})
    async with world.hub() as hub:
        hub.join("member")
        hub.join("revoked")
        await hub.look()
        assert await collect(hub.plans, hub.link, hub.blobs, older_than=-1.0) == 0
        world.repository.commit(synced("member", "2"))
        await hub.look()
        hub.link.revoke("revoked")
        await hub.planner.settled()
        assert await collect(hub.plans, hub.link, hub.blobs) == 0, "too young"
        assert await collect(hub.plans, hub.link, hub.blobs, older_than=-1.0) == 1
        hub.join("revoked")
        await hub.planner.settled()
        assert [hub.objects(name)["settings"] for name in names] == [
            {"cluster": "member", "v": "2"},
            {"cluster": "revoked", "v": "1"},
            {"cluster": "declared", "v": "1"},
        ]
