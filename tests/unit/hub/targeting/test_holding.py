"""A unit that its rollout keeps from the newest release stays whole, and nothing that moves is deleted meanwhile."""

from __future__ import annotations

from hub.targeting import ClusterPlan
from hub.targeting.holding import Held, moving_away
from tests.unit.hub.targeting.world import ROOT, World, config_map, kustomization, objects, workload

SHOP, BLOG = "placement/shop", "placement/blog"
NOTE = "waits for its rollout"


def placement(name: str, *workloads: str) -> str:
    listed = ", ".join(f"{{kind: Kustomization, namespace: flux-system, name: {one}}}" for one in workloads)
    return f"""
apiVersion: fleet.felloe.io/v1alpha1
kind: Placement
metadata: {{name: {name}}}
spec: {{clusterSelector: {{}}, workloads: [{listed}]}}
---
"""


def world() -> World:
    fleet = kustomization("shop") + kustomization("blog") + placement("shop", "shop") + placement("blog", "blog")
    return World(
        {
            "fleet/all.yaml": fleet,
            "apps/shop/a.yaml": config_map("a", "{v: '1'}") + config_map("moves"),
            "apps/blog/b.yaml": config_map("b", "{v: '1'}"),
        }
    )


def plan(at: World, previous: ClusterPlan | None = None, *held: Held) -> ClusterPlan:
    return at.plan(previous=previous, held={each.unit: each for each in held})


def value(found: ClusterPlan, name: str) -> bytes:
    (entry,) = (one for one in found.bundle.by_id[workload(name)].entries if one.id.name != "moves")
    return found.blobs[entry.digest]


def test_only_the_unit_that_is_held_stays() -> None:
    git = world()
    before = plan(git)
    git.files |= {"apps/shop/a.yaml": config_map("a", "{v: '2'}"), "apps/blog/b.yaml": config_map("b", "{v: '2'}")}
    git.revision = "main@sha1:2"
    now = plan(git, before, Held(SHOP, before, NOTE))
    assert now.bundle.by_id[workload("shop")] == before.bundle.by_id[workload("shop")]
    assert now.bundle.by_id[workload("blog")] != before.bundle.by_id[workload("blog")]
    assert now.slices[SHOP] == before.slices[SHOP] != plan(git).slices[SHOP]
    kept = now.by_id[workload("shop")]
    assert (kept.revision, kept.notes) == ("main@sha1:1", (NOTE,))
    assert now.by_id[workload("blog")].revision == "main@sha1:2"
    assert plan(git, now) == plan(git, before)


def test_it_can_be_held_at_a_release_that_the_cluster_never_had() -> None:
    git = world()
    before = plan(git)
    git.files |= {"apps/shop/a.yaml": config_map("a", "{v: '2'}")}
    second = plan(git, before)
    git.files |= {"apps/shop/a.yaml": config_map("a", "{v: '3'}")}
    now = plan(git, before, Held(SHOP, second, NOTE))
    assert b'"2"' in value(now, "shop")
    assert now.slices == second.slices


def test_a_unit_that_git_no_longer_has_stays_while_it_is_held() -> None:
    git = world()
    before = plan(git)
    git.files["fleet/all.yaml"] = kustomization("blog") + placement("blog", "blog")
    now = plan(git, before, Held(SHOP, before, NOTE))
    assert objects(now, "shop") == ["a", "moves"]
    assert objects(plan(git, now), "shop") == []


def test_a_workload_that_is_new_in_a_held_unit_does_not_come_yet() -> None:
    git = world()
    before = plan(git)
    git.files["fleet/all.yaml"] += kustomization("more")
    git.files["fleet/all.yaml"] = git.files["fleet/all.yaml"].replace(
        "name: shop}]}", "name: shop}, {kind: Kustomization, namespace: flux-system, name: more}]}"
    )
    git.files["apps/more/m.yaml"] = config_map("m")
    now = plan(git, before, Held(SHOP, before, NOTE))
    assert workload("more") not in now.bundle.by_id
    assert now.by_id[workload("more")].notes == (NOTE,)
    assert objects(plan(git, now), "more") == ["m"]


def test_what_a_held_unit_defines_below_itself_stays_with_it() -> None:
    files = {"clusters/dev/apps.yaml": kustomization("apps"), "apps/apps/a.yaml": config_map("a", "{v: '1'}")}
    git = World(files)
    before = git.plan()
    git.files = {"clusters/dev/other.yaml": kustomization("other"), "apps/other/a.yaml": config_map("b")}
    now = git.plan(previous=before, held={"sync": Held("sync", before, NOTE)})
    assert now.bundle.root == before.bundle.root
    assert now.by_id[workload("apps")].notes == (NOTE,)
    after = git.plan(previous=now)
    assert (objects(after, "apps"), objects(after, "other"), objects(after, ROOT)) == ([], ["b"], [])


def test_an_object_on_its_way_to_a_held_unit_is_noticed() -> None:
    git = world()
    before = plan(git)
    git.files |= {"apps/shop/a.yaml": config_map("a", "{v: '1'}"), "apps/blog/b.yaml": config_map("moves")}
    newest = plan(git, before)
    now = plan(git, before, Held(BLOG, before, NOTE))
    assert objects(now, "shop") == ["a"]
    assert moving_away(before, now, newest) == {SHOP}
    safe = plan(git, before, Held(BLOG, before, NOTE), Held(SHOP, before, NOTE))
    assert moving_away(before, safe, newest) == frozenset()
    assert safe.bundle.root == before.bundle.root


def test_an_object_stays_with_the_held_unit_that_has_it() -> None:
    git = world()
    before = plan(git)
    git.files |= {"apps/shop/a.yaml": config_map("a", "{v: '1'}"), "apps/blog/b.yaml": config_map("moves")}
    now = plan(git, before, Held(SHOP, before, NOTE))
    assert "moves" in objects(now, "shop")
    assert objects(now, "blog") == ["b"]
    (waits,) = now.by_id[workload("blog")].conditions
    assert waits.reason == "ObjectConflict"


def test_what_people_ask_of_a_workload_is_no_part_of_its_slice() -> None:
    git = world()
    before = plan(git)
    asked = git.plan(previous=before, requested_at={workload("shop"): "now"})
    assert asked.bundle.root != before.bundle.root
    assert asked.slices == before.slices
    stopped = git.plan(previous=before, suspended=frozenset({workload("shop")}))
    assert stopped.slices == before.slices


def test_a_slice_says_what_keeps_it_from_what_its_release_wants() -> None:
    git = world()
    before = plan(git)
    git.files["apps/shop/a.yaml"] = "BROKEN"
    broken = plan(git, before).slices[SHOP]
    assert broken.digest == before.slices[SHOP].digest
    assert "does not build" in broken.unresolved
    assert not broken.pending
