"""One workload from two units: neither moves, and the cluster says which two they are."""

from __future__ import annotations

from hub.targeting import ClusterPlan
from tests.unit.hub.targeting.world import World, config_map, kustomization, objects, why, workload


def placement(name: str, spec: str = "clusterNames: [dev]", workloads: str = "shop") -> str:
    listed = ", ".join(f"{{kind: Kustomization, name: {one}, namespace: flux-system}}" for one in workloads.split())
    return f"""
apiVersion: fleet.felloe.io/v1alpha1
kind: Placement
metadata: {{name: {name}}}
spec: {{workloads: [{listed}], {spec}}}
---
"""


def world(*placements: str) -> World:
    return World(
        {
            "fleet/shop.yaml": kustomization("shop") + kustomization("other") + "".join(placements),
            "apps/shop/map.yaml": config_map("shop"),
            "apps/other/map.yaml": config_map("other"),
        }
    )


def told(plan: ClusterPlan) -> list[tuple[str, str]]:
    return [(each.type, each.reason) for each in plan.conditions]


def test_what_two_placements_give_a_new_cluster_goes_nowhere_and_the_rest_does() -> None:
    plan = world(placement("a"), placement("b", workloads="shop other")).plan()
    assert objects(plan, "shop") == []
    assert objects(plan, "other") == ["other"]
    reason, message = why(plan, "shop")
    assert reason == "DefinedTwice"
    assert "Placement a and Placement b give cluster dev the same workload, Kustomization/flux-system/shop" in message
    assert told(plan) == [("Conflict", "DefinedTwice")]
    assert "Placement a and Placement b" in plan.conditions[0].message


def test_a_second_placement_changes_nothing_of_what_the_first_one_gave() -> None:
    here = world(placement("b"))
    before = here.plan()
    here.files["fleet/a.yaml"] = placement("a", "clusterSelector: {}")
    here.files["apps/shop/map.yaml"] = config_map("changed")
    after = here.plan(previous=before)
    assert after.bundle.root == before.bundle.root
    assert after.by_id[workload("shop")].origin == "placement/b"
    del here.files["fleet/a.yaml"]
    freed = here.plan(previous=after)
    assert objects(freed, "shop") == ["changed"]
    assert told(freed) == []


def test_placements_that_never_meet_on_a_cluster_may_share_a_workload() -> None:
    here = world(placement("a"), placement("b", "clusterNames: [prod]"))
    for cluster, origin in (("dev", "placement/a"), ("prod", "placement/b")):
        plan = here.plan(cluster)
        assert objects(plan, "shop") == ["shop"]
        assert plan.by_id[workload("shop")].origin == origin


def test_a_placement_and_a_sync_path_clash_as_well() -> None:
    here = world()
    here.files["clusters/dev/own.yaml"] = kustomization("shop")
    before = here.plan()
    here.files["fleet/a.yaml"] = placement("a")
    here.files["apps/shop/map.yaml"] = config_map("changed")
    after = here.plan(previous=before)
    assert objects(after, "shop") == ["shop"]
    assert after.by_id[workload("shop")].origin == "sync"
    assert "Placement a and the sync path give cluster dev" in after.conditions[0].message


def test_what_three_units_give_names_all_three() -> None:
    here = world(placement("a"), placement("b"))
    here.files["clusters/dev/own.yaml"] = kustomization("shop")
    (condition,) = here.plan().conditions
    assert "Placement a, Placement b and the sync path give cluster dev" in condition.message


def test_the_children_of_a_clashing_workload_stay_with_it() -> None:
    here = world(placement("a"))
    here.files["apps/shop/child.yaml"] = kustomization("child", "./apps/other")
    before = here.plan()
    assert objects(before, "child") == ["other"]
    here.files["fleet/b.yaml"] = placement("b")
    del here.files["apps/shop/child.yaml"]
    after = here.plan(previous=before)
    assert objects(after, "child") == ["other"]
    assert after.bundle.root == before.bundle.root
