"""Overrides on one cluster: which variables win, which builds are asked for, and who is to blame for a broken one."""

from __future__ import annotations

from hub.fleet.model import Image
from hub.targeting import ClusterPlan, RenderWant, Resolution
from tests.unit.hub.targeting.world import World, config_map, kustomization, objects, why, workload

FLEET = """
apiVersion: fleet.felloe.io/v1alpha1
kind: Environment
metadata: {name: prod}
spec: {clusterSelector: {matchLabels: {env: prod}}, variables: {a: environment, b: environment, c: environment}}
---
apiVersion: fleet.felloe.io/v1alpha1
kind: Cluster
metadata: {name: p1}
spec: {variables: {b: cluster, c: cluster}}
---
apiVersion: fleet.felloe.io/v1alpha1
kind: Placement
metadata: {name: everywhere}
spec:
  environments: [prod]
  workloads: [{kind: Kustomization, name: shop, namespace: flux-system}]
  overrides:
"""
FIRST = "    - {clusterSelector: {matchLabels: {env: prod}}, variables: {c: first, d: first}}\n"
SECOND = "    - {clusterNames: [p1], variables: {d: second}}\n"


def shop(overrides: str, data: str = "{x: '${a} ${b} ${c} ${d:=none}'}") -> World:
    return World(
        {
            "fleet/fleet.yaml": FLEET + overrides,
            "fleet/shop.yaml": kustomization("shop", "./apps/${d:=shop}"),
            "apps/shop/map.yaml": config_map("shop", data),
            "apps/first/map.yaml": config_map("first", data),
            "apps/second/map.yaml": config_map("second", data),
        }
    )


def settle(world: World, cluster: str, previous: ClusterPlan | None = None) -> Resolution:
    return world.settle(world.inputs(cluster, labels={"env": "prod"}, previous=previous))


def plan(world: World, cluster: str, previous: ClusterPlan | None = None) -> ClusterPlan:
    return settle(world, cluster, previous).plan


def variables(plan: ClusterPlan) -> dict[str, str]:
    return dict(plan.bundle.by_id[workload("shop")].variables)


def test_environment_cluster_and_overrides_in_their_order_and_the_last_wins() -> None:
    world = shop(FIRST + SECOND)
    assert variables(plan(world, "p1")) == {"a": "environment", "b": "cluster", "c": "first", "d": "second"}
    assert variables(plan(world, "p2")) == {"a": "environment", "b": "environment", "c": "first", "d": "first"}
    swapped = shop(SECOND + FIRST)
    assert variables(plan(swapped, "p1"))["d"] == "first"


def test_variables_of_overrides_hold_in_the_path_too() -> None:
    world = shop(FIRST + SECOND)
    assert objects(plan(world, "p1"), "shop") == ["second"]
    assert plan(world, "p1").by_id[workload("shop")].path == "./apps/second"
    assert objects(plan(world, "p2"), "shop") == ["first"]


def test_variables_of_overrides_are_that_placements_alone() -> None:
    assert "d" not in plan(shop(FIRST), "p1").variables


def test_clusters_with_equal_overrides_share_one_build_whatever_their_variables() -> None:
    image = "images: [{name: nginx, newTag: '1'}]"
    world = shop(f"    - {{clusterNames: [p1, p2], {image}}}\n    - {{clusterNames: [p1], variables: {{c: x}}}}\n")
    one, two, three = (settle(world, cluster) for cluster in ("p1", "p2", "p3"))
    assert one.wanted_renders == two.wanted_renders != three.wanted_renders
    (want,) = one.wanted_renders
    assert want.changes.images == (Image("nginx", new_tag="1"),)
    entries = [each.plan.bundle.by_id[workload("shop")].entries for each in (one, two)]
    assert entries[0] is entries[1] or entries[0] == entries[1]


PATCH = "{target: {kind: ConfigMap}, patch: '{data: {%s: x}}'}"
GOOD, BROKEN = PATCH % "fine", PATCH % "BROKEN"


def test_a_patch_that_does_not_apply_keeps_the_last_good_state_and_names_the_override() -> None:
    world = shop(FIRST)
    before = plan(world, "p2")
    world.files["fleet/fleet.yaml"] = (
        FLEET
        + f"    - {{clusterNames: [p2], patches: [{GOOD}]}}\n"
        + "    - {clusterNames: [p2], variables: {c: first, d: first}}\n"
        + f"    - {{environments: [prod], clusterSelector: {{matchLabels: {{env: prod}}}}, patches: [{BROKEN}]}}\n"
        + f"    - {{clusterNames: [p2], patches: [{GOOD}]}}\n"
    )
    after = plan(world, "p2", before)
    assert after.bundle.root == before.bundle.root
    reason, message = why(after, "shop")
    assert reason == "BuildFailed"
    assert message.startswith("fleet/fleet.yaml: Placement everywhere: spec.overrides[2]: does not apply on cluster p2")
    assert "(it is for env=prod; environments prod): " in message
    assert "no matches for Id" in message


def test_a_build_that_fails_without_overrides_as_well_is_not_their_fault() -> None:
    world = shop(f"    - {{clusterNames: [p1], patches: [{GOOD}]}}\n")
    world.files["apps/shop/map.yaml"] = "BROKEN"
    reason, message = why(plan(world, "p1"), "shop")
    assert reason == "BuildFailed"
    assert "overrides" not in message


def test_overrides_that_mean_other_clusters_change_nothing() -> None:
    world = shop(f"    - {{clusterNames: [p9], patches: [{BROKEN}]}}\n")
    found = settle(world, "p1")
    assert objects(found.plan, "shop") == ["shop"]
    assert all(isinstance(want, RenderWant) and not want.changes for want in found.wanted_renders)
