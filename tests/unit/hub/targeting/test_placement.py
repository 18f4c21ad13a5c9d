"""One Kustomization for many clusters: who is selected, and what each cluster's variables make of it."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest

from felloe.substitute import substitute
from hub.targeting import ClusterPlan, resolve
from tests.unit.hub.targeting.world import World, condition, config_map, kustomization, objects, why, workload

FLEET = """
apiVersion: fleet.felloe.io/v1alpha1
kind: Environment
metadata: {name: %(env)s}
spec: {clusterSelector: {matchLabels: {env: %(env)s}}, variables: {replicas: "%(replicas)s", color: blue}}
---
"""
PLACEMENT = """
apiVersion: fleet.felloe.io/v1alpha1
kind: Placement
metadata: {name: %s}
spec: {workloads: [{kind: Kustomization, name: shop, namespace: flux-system}], %s}
---
"""


def shop() -> World:
    return World(
        {
            "fleet/environments.yaml": FLEET % {"env": "dev", "replicas": 1} + FLEET % {"env": "prod", "replicas": 5},
            "fleet/shop.yaml": kustomization("shop", "./environments/${cluster_env}", "targetNamespace: '${tenant:=t}'")
            + PLACEMENT % ("everywhere", "environments: [dev, prod]"),
            "environments/dev/map.yaml": config_map("shop", "{replicas: '${replicas}', who: '${cluster_name}'}"),
            "environments/prod/map.yaml": config_map("shop", "{replicas: '${replicas}', plain: yes-it-is}"),
        }
    )


def plan(world: World, cluster: str, previous: ClusterPlan | None = None, **labels: str) -> ClusterPlan:
    return world.plan(cluster, previous, labels=labels)


def test_a_workload_that_is_not_made_still_shows_the_path_it_has_on_this_cluster() -> None:
    suspended = shop().plan("d1", labels={"env": "dev"}, suspended=frozenset({workload("shop")}))
    assert suspended.by_id[workload("shop")].path == "./environments/dev"


def test_each_cluster_gets_its_own_overlay_and_variables() -> None:
    world = shop()
    dev, prod = plan(world, "d1", env="dev"), plan(world, "p1", env="prod")
    assert dev.bundle.by_id[workload("shop")].variables == {"cluster_name": "d1", "replicas": "1"}
    assert prod.bundle.by_id[workload("shop")].variables == {"replicas": "5"}
    assert (dev.environment, dev.placements) == ("dev", ("everywhere",))
    assert dev.by_id[workload("shop")].origin == "placement/everywhere"


def test_clusters_of_one_environment_share_one_template_and_differ_in_variables_only() -> None:
    world = shop()
    one, other = plan(world, "d1", env="dev"), plan(world, "d2", env="dev")
    (template,) = one.bundle.by_id[workload("shop")].entries
    assert template.template
    assert one.bundle.by_id[workload("shop")].entries == other.bundle.by_id[workload("shop")].entries
    assert one.bundle.root != other.bundle.root
    filled = substitute(orjson.loads(one.blobs[template.digest]), one.bundle.by_id[workload("shop")].variables)
    assert filled["data"] == {"replicas": "1", "who": "d1"}


def test_two_clusters_with_equal_variables_have_equal_workloads() -> None:
    world = shop()
    assert plan(world, "p1", env="prod").bundle.root == plan(world, "p2", env="prod").bundle.root


def test_a_label_that_changes_moves_a_cluster_to_another_environment() -> None:
    world = shop()
    before = plan(world, "c", env="dev")
    after = plan(world, "c", before, env="prod")
    assert after.by_id[workload("shop")].path == "./environments/prod"
    assert condition(after, "shop") is None
    gone = plan(world, "c", after, env="none")
    assert gone.bundle.workloads == (), "a cluster that is selected no more loses it on purpose"


def test_labels_in_git_win_over_those_of_the_token() -> None:
    world = shop()
    world.files["fleet/c.yaml"] = (
        "apiVersion: fleet.felloe.io/v1alpha1\nkind: Cluster\nmetadata: {name: c, labels: {env: prod}}\n"
        "spec: {variables: {replicas: '9'}}\n"
    )
    got = plan(world, "c", env="dev")
    assert got.environment == "prod"
    assert got.variables["replicas"] == "9", "the Cluster's variables win over the Environment's"


@pytest.mark.parametrize(
    ("condition_", "cluster", "labels", "selected"),
    [
        ("clusterSelector: {}", "any", {}, True),
        ("clusterSelector: {matchLabels: {a: '1'}}", "any", {"a": "1"}, True),
        ("clusterSelector: {matchLabels: {a: '1'}}", "any", {"a": "2"}, False),
        ("clusterSelector: {matchExpressions: [{key: a, operator: In, values: ['1', '2']}]}", "x", {"a": "2"}, True),
        ("clusterSelector: {matchExpressions: [{key: a, operator: NotIn, values: ['1']}]}", "x", {}, True),
        ("clusterSelector: {matchExpressions: [{key: a, operator: Exists}]}", "x", {}, False),
        ("clusterSelector: {matchExpressions: [{key: a, operator: DoesNotExist}]}", "x", {}, True),
        ("clusterNames: [c]", "c", {}, True),
        ("clusterNames: [c], clusterSelector: {matchLabels: {a: '1'}}", "c", {}, False),
        ("environments: [dev], clusterNames: [c]", "c", {"env": "dev"}, True),
        ("environments: [dev], clusterNames: [c]", "c", {"env": "prod"}, False),
    ],
)
def test_all_that_a_placement_gives_must_match(
    condition_: str, cluster: str, labels: dict[str, str], selected: bool
) -> None:
    world = shop()
    world.files["fleet/shop.yaml"] = kustomization("shop", "./environments/dev") + PLACEMENT % ("p", condition_)
    assert (workload("shop") in world.plan(cluster, labels=labels).by_id) is selected


def test_an_object_whose_name_holds_a_variable_is_filled_in_by_the_hub() -> None:
    world = shop()
    world.files["environments/dev/map.yaml"] = config_map("shop-${cluster_name}", "{a: '${color}'}")
    got = plan(world, "d1", env="dev")
    (entry,) = got.bundle.by_id[workload("shop")].entries
    assert (entry.id.name, entry.template) == ("shop-d1", False)
    assert orjson.loads(got.blobs[entry.digest])["data"] == {"a": "blue"}


def test_flux_objects_of_a_placement_are_filled_in_and_taken_up() -> None:
    world = shop()
    world.files["environments/dev/more.yaml"] = kustomization("more", "./more/${cluster_name}")
    world.files["more/d1/map.yaml"] = config_map("more", "{text: '${HOME}'}")
    got = plan(world, "d1", env="dev")
    assert objects(got, "more") == ["more"]
    assert not got.bundle.by_id[workload("more")].entries[0].template, (
        "its own objects are Flux' business: no postBuild"
    )


class TestWhatIsWrongKeepsThePreviousVersion:
    def test_a_variable_without_a_value(self) -> None:
        world = shop()
        before = plan(world, "d1", env="dev")
        world.files["environments/dev/map.yaml"] = config_map("shop", "{a: '${nobody_set_this}'}")
        after = plan(world, "d1", before, env="dev")
        assert after.bundle.root == before.bundle.root
        reason, message = why(after, "shop")
        assert reason == "SubstitutionFailed"
        for part in ("fleet/shop.yaml", "cluster d1", "ConfigMap shop/shop", "data.a", "'nobody_set_this'", ":="):
            assert part in message

    def test_two_environments_that_select_one_cluster(self) -> None:
        world = shop()
        before = plan(world, "d1", env="dev")
        world.files["fleet/x.yaml"] = FLEET.replace("matchLabels: {env: %(env)s}", "") % {"env": "x", "replicas": 1}
        after = plan(world, "d1", before, env="dev")
        assert after.bundle.root == before.bundle.root
        assert why(after, "shop")[0] == "AmbiguousEnvironment"
        assert after.conditions[0].reason == "AmbiguousEnvironment"

    def test_a_fleet_folder_that_vanished(self) -> None:
        world = shop()
        before = plan(world, "d1", env="dev")
        world.files = {path: text for path, text in world.files.items() if not path.startswith("fleet/")}
        for _ in range(2):
            after = plan(world, "d1", before, env="dev")
            assert after.bundle.root == before.bundle.root
            assert why(after, "shop")[0] == "FleetEmpty"
            before = after

    def test_an_override_that_is_not_supported_yet(self) -> None:
        world = shop()
        before = plan(world, "d1", env="dev")
        world.files["fleet/shop.yaml"] = kustomization("shop", "./environments/prod") + PLACEMENT % (
            "everywhere",
            "environments: [dev], overrides: [{clusterNames: [d1], values: {a: b}}, {clusterNames: [d2], values: {}}]",
        )
        after = plan(world, "d1", before, env="dev")
        assert after.bundle.root == before.bundle.root
        assert "spec.overrides[0].values is" in why(after, "shop")[1]


def test_a_wide_render_is_prepared_once_for_all_clusters() -> None:
    world = shop()
    world.files["environments/dev/map.yaml"] = "".join(config_map(f"m{n}") for n in range(50))
    one, other = plan(world, "d1", env="dev"), plan(world, "d2", env="dev")
    assert one.bundle.by_id[workload("shop")] is other.bundle.by_id[workload("shop")]


def test_sync_path_and_placement_meet_in_one_bundle() -> None:
    world = shop()
    world.files["clusters/d1/own.yaml"] = kustomization("own")
    world.files["apps/own/map.yaml"] = config_map("own")
    got = plan(world, "d1", env="dev")
    assert objects(got, "own") == ["own"]
    assert objects(got, "shop") == ["shop"]


def test_what_is_wanted_is_told_before_it_is_there() -> None:
    world = shop()
    inputs = replace(world.inputs("d1"), labels={"env": "dev"})
    first = resolve(inputs)
    assert first.missing(inputs)
    assert [want.path for want in first.wanted_renders] == ["environments/dev"]
    assert first.wanted_renders[0].target_namespace == "t"
    assert why(first.plan, "shop")[0] == "Progressing"
