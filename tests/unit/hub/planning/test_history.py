"""Which revision ran when on a cluster, and who let it through."""

from __future__ import annotations

from typing import Any

import orjson

from felloe.identity import WorkloadId
from hub.planning.history import ChangedWorkload, Passage, describe_move
from hub.rollout.model import Track
from hub.store import HistoryRecord
from tests.fleet.manifests import (
    cluster,
    config_map,
    documents,
    git_repository,
    kustomization,
    placement,
)
from tests.servers.git_repo import GitRepo
from tests.unit.hub.composition import Inside, World

APPS = WorkloadId("Kustomization", "flux-system", "apps")
SYNCED = WorkloadId("Kustomization", "flux-system", "flux-system")


def synced(name: str, **data: str) -> dict[str, str]:
    return {f"clusters/{name}/settings.yaml": documents(config_map("settings", "default", **data))}


def told(record: HistoryRecord) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(record.detail)
    return found


def moves(hub: Inside, **query: str) -> list[tuple[str, int]]:
    return [(record.cluster, record.generation) for record in hub.store.history(**query)]  # type: ignore[arg-type]


def described(
    *changed: ChangedWorkload, revision: str = "2", former: str = "1", passages: tuple[Passage, ...] = ()
) -> Any:
    authors = {"1": "anna", "2": "ben", "a2": "carl"}
    detail = describe_move(
        changed, revision=revision, former=former, author_of=lambda one: authors.get(one, ""), passages=passages
    )
    return orjson.loads(detail)


def test_the_authors_are_those_of_what_changed() -> None:
    apps = ChangedWorkload(APPS, "placement/apps", "changed", "a2", "a1")
    assert described(apps)["authors"] == ["carl"]
    assert described(ChangedWorkload(APPS, "placement/apps", "changed", "a2", "a2"))["authors"] == ["ben"], "options"
    assert described(ChangedWorkload(APPS, "placement/apps", "removed", "", "a2"))["authors"] == ["ben"]
    assert described(apps, ChangedWorkload(SYNCED, "sync", "removed", "", "1"))["authors"] == ["carl", "ben"]
    assert described(revision="2", former="2")["authors"] == [], "a person suspended something"


def test_who_let_it_through_is_told_for_the_units_that_moved_and_no_others() -> None:
    apps = ChangedWorkload(APPS, "placement/apps", "changed", "a0", "a2")
    through = Passage(Track("placement/apps", "production"), 12, "policy/careful", author="dora", approvers=("fred",))
    other = Passage(Track("sync"), 12, "policy/careful", author="emil")
    found = described(apps, passages=(other, through))
    assert found["via"] == [{"track": "apps@production", "release": 12, "who": "policy/careful", "approvers": ["fred"]}]
    assert found["authors"] == ["dora"], "an older release's commit is known to its rollout only"
    assert described(apps)["via"] == []


async def test_each_commit_that_moves_a_cluster_is_in_its_history(world: World) -> None:
    first = world.repository.commit(synced("a", v="1") | synced("b", v="1"))
    async with world.hub() as hub:
        hub.join("a")
        hub.join("b")
        await hub.planner.settled()
        second = world.repository.commit(synced("a", v="2"))
        await hub.look()
        world.repository.commit({"README.md": "nobody gets this"})
        await hub.look()
        assert moves(hub) == [("a", 1), ("b", 1), ("a", 2)]
        one, other, newer = hub.store.history()
        assert one.detail == other.detail
        assert told(one)["revision"] == f"main@sha1:{first}"
        assert told(one)["formerRevision"] == ""
        found = told(newer)
        assert (found["revision"], found["formerRevision"]) == (f"main@sha1:{second}", f"main@sha1:{first}")
        assert found["via"] == []
        assert found["authors"] == [one for one in found["authors"] if one]
        assert len(found["authors"]) == 1
        assert found["workloads"] == [
            {
                **SYNCED._asdict(),
                "change": "changed",
                "revision": f"main@sha1:{second}",
                "formerRevision": f"main@sha1:{first}",
            }
        ]
    async with world.hub() as hub:
        assert moves(hub, cluster="a") == [("a", 1), ("a", 2)], "a restart is no move"


async def test_a_workload_is_found_by_its_name_wherever_it_moved(world: World) -> None:
    apps = GitRepo(world.folder / "apps.git")
    apps.commit({"apps/app.yaml": documents(config_map("app", "default", v="1"))})
    objects = (git_repository("apps", apps.url), kustomization("apps", "./apps", "apps"), placement("apps", "apps"))
    world.repository.commit({"fleet/apps.yaml": documents(*objects, cluster("a", "dev"))} | synced("b", v="1"))
    async with world.hub() as hub:
        hub.join("a")
        hub.join("b")
        await hub.look()
        before = moves(hub, workload="apps")
        newer = apps.commit({"apps/app.yaml": documents(config_map("app", "default", v="2"))})
        await hub.look()
        assert [one for one in moves(hub, workload="apps", namespace="flux-system") if one not in before] == [
            ("a", 2),
            ("b", before[-1][1] + 1),
        ]
        assert moves(hub, workload="apps", namespace="other") == []
        (changed,) = told(hub.store.history(workload="apps")[-1])["workloads"]
        assert (changed["name"], changed["revision"]) == ("apps", f"main@sha1:{newer}")


async def test_when_it_was_applied_and_healthy_is_kept_also_over_a_restart(world: World) -> None:
    world.repository.commit(synced("a", v="1"))
    async with world.hub() as hub:
        hub.join("a")
        await hub.planner.settled()
        hub.report("a", healthy=False)
        (record,) = hub.store.history()
        assert record.applied_at is not None
        assert record.healthy_at is None
    async with world.hub() as hub:
        hub.report("a")
        (later,) = hub.store.history()
        assert later.applied_at == record.applied_at
        assert later.healthy_at is not None
        hub.report("a", healthy=False)
        hub.report("a")
        assert hub.store.history()[0].healthy_at == later.healthy_at, "the first time counts"
        world.repository.commit(synced("a", v="2"))
        await hub.look()
        world.repository.commit(synced("a", v="1"))
        await hub.look()
        assert [one.healthy_at is not None for one in hub.store.history()] == [True, False, False]
        hub.report("a")
        assert [one.healthy_at is not None for one in hub.store.history()] == [True, False, True], "of this root, again"


async def test_a_cluster_that_was_removed_and_joins_again_begins_anew(world: World) -> None:
    world.repository.commit(synced("a", v="1"))
    async with world.hub() as hub:
        hub.join("a")
        await hub.planner.settled()
        await hub.steward.remove_cluster("a", who="anna")
        assert moves(hub) == []
        hub.join("a")
        hub.planner.noticed("a")  # as its first connection does
        await hub.planner.settled()
        assert moves(hub) == [("a", 1)]
        assert told(hub.store.history()[0])["formerRevision"] == ""
