"""Why a cluster gets a placement and whence a variable's value: as targeting decides, condition by condition."""

from __future__ import annotations

import pytest

from hub.fleet import load_fleet
from hub.fleet.model import Placement
from hub.targeting.explaining import Subject, explain_placement, explain_variable, unmatched
from hub.targeting.facts import with_facts
from hub.targeting.variables import ClusterView
from tests.unit.hub.targeting.world import MemoryTree, World, config_map, kustomization, workload

FLEET = """
apiVersion: fleet.felloe.io/v1alpha1
kind: Environment
metadata: {name: prod}
spec: {clusterSelector: {matchLabels: {env: prod}}, variables: {size: environment, plain: "1"}}
---
apiVersion: fleet.felloe.io/v1alpha1
kind: Cluster
metadata: {name: p1, labels: {env: prod}}
spec: {variables: {size: cluster}}
---
apiVersion: fleet.felloe.io/v1alpha1
kind: Placement
metadata: {name: shop}
spec:
  environments: [prod]
  clusterSelector:
    matchLabels: {tier: web}
    matchExpressions: [{key: facts.felloe.io/kubernetes-version, operator: Gte, values: ["1.34"]}]
  workloads: [{kind: Kustomization, name: shop, namespace: flux-system}]
  overrides:
    - {clusterNames: [p1, p2], variables: {size: first}, images: [{name: nginx, newTag: "1"}]}
    - {clusterNames: [p2], variables: {size: never}}
    - {environments: [prod], variables: {size: last}}
---
"""
SHOP = workload("shop")


def world() -> World:
    files = {
        "fleet/a.yaml": FLEET + kustomization("shop"),
        "apps/shop/map.yaml": config_map("shop", "{size: '${size}'}"),
    }
    return World(files)


def subject(name: str = "p1", version: str = "v1.35.0", **joined: str) -> Subject:
    labels = with_facts(joined, {"kubernetes_version": version})
    here = world()
    fleet = load_fleet(MemoryTree(here.files), "fleet")
    return Subject(name, labels, fleet, here.plan(name, labels=labels))


def placement() -> Placement:
    return load_fleet(MemoryTree(world().files), "fleet").placements["shop"]


def test_each_condition_is_told_with_what_the_cluster_has_and_who_says_so() -> None:
    found = explain_placement(placement(), subject(tier="web", env="dev"))
    assert found.selected
    assert [(one.field, one.condition, one.holds, one.found) for one in found.checks] == [
        ("clusterSelector", "tier=web", True, "tier is 'web', by its join token"),
        (
            "clusterSelector",
            "facts.felloe.io/kubernetes-version >= 1.34",
            True,
            "facts.felloe.io/kubernetes-version is '1.35', as its spoke reports",
        ),
        ("environments", "prod", True, "it is in prod"),
    ]
    assert [(one.position, one.applies, one.changes) for one in found.overrides] == [
        (0, True, ("variable size", "image nginx")),
        (1, False, ("variable size",)),
        (2, True, ("variable size",)),
    ]
    assert (found.workloads, found.notes) == ((SHOP,), ())


def test_the_condition_that_keeps_a_placement_away_is_seen() -> None:
    found = explain_placement(placement(), subject("p2", "v1.33.1", env="dev"))
    assert not found.selected
    assert [(one.condition, one.holds, one.found) for one in found.checks] == [
        ("tier=web", False, "tier is not set"),
        (
            "facts.felloe.io/kubernetes-version >= 1.34",
            False,
            "facts.felloe.io/kubernetes-version is '1.33', as its spoke reports",
        ),
        ("prod", False, "no Environment selects it"),
    ]
    assert not any(one.applies for one in found.overrides)


def test_what_stands_in_the_way_of_a_selected_workload_is_told() -> None:
    here = world()
    here.files["apps/shop/map.yaml"] = "BROKEN"
    fleet = load_fleet(MemoryTree(here.files), "fleet")
    labels = with_facts({"tier": "web"}, {"kubernetes_version": "v1.34.0"})
    plan = here.plan("p1", labels=labels)
    (note,) = explain_placement(fleet.placements["shop"], Subject("p1", labels, fleet, plan)).notes
    assert "Kustomization/flux-system/shop: " in note
    assert "does not build" in note


def test_the_chain_of_a_variable_ends_with_who_wins() -> None:
    about = subject(tier="web", size="label")
    whole = explain_variable("size", about, SHOP)
    assert [(one.by, one.value, one.wins) for one in whole.chain] == [
        ("label size, by its join token", "label", False),
        ("Environment prod", "environment", False),
        ("Cluster p1", "cluster", False),
        ("Placement shop, spec.overrides[0]", "first", False),
        ("Placement shop, spec.overrides[2]", "last", True),
    ]
    assert about.plan is not None
    assert whole.value == about.plan.bundle.by_id[SHOP].variables["size"] == "last"


def test_without_a_workload_the_clusters_own_value_counts() -> None:
    about = subject(tier="web")
    found = explain_variable("size", about)
    assert about.plan is not None
    assert found.value == about.plan.variables["size"] == "cluster"
    assert [(one.value, one.wins, one.placement) for one in found.chain][-2:] == [
        ("first", False, "shop"),
        ("last", False, "shop"),
    ]


@pytest.mark.parametrize(
    "name",
    ["cluster_name", "cluster_env", "tier", "facts_felloe_io_kubernetes_version", "plain", "size", "a_b", "nothing"],
)
def test_what_is_explained_is_what_the_cluster_has(name: str) -> None:
    about = subject(tier="web", **{"a-b": "1", "a.b": "2", "a_b": "3"})
    assert about.plan is not None
    assert explain_variable(name, about).value == about.plan.variables.get(name)


def test_a_variable_that_nobody_sets_is_told_with_the_closest_one() -> None:
    found = explain_variable("siez", subject(tier="web"))
    assert (found.value, found.chain, found.notes) == (None, (), ("nothing sets it; did you mean size?",))


def test_a_workload_that_no_placement_gives_keeps_its_expressions() -> None:
    note = explain_variable("size", subject("p2"), SHOP).notes[0]
    assert note == "Kustomization/flux-system/shop is no workload of this cluster"


def test_a_placement_that_means_nobody_is_told_condition_by_condition() -> None:
    views = [
        ClusterView("a", {"tier": "web"}, environments=("prod",)),
        ClusterView("b", {"tier": "db"}, environments=("prod",)),
    ]
    says = unmatched(placement(), views)
    assert says == (
        "it selects none of 2 clusters; environments prod mean 2; tier=web means 1; "
        "facts.felloe.io/kubernetes-version >= 1.34 means 0"
    )
    named = Placement("x", (), cluster_names=("aa",), environments=("prod",))
    assert unmatched(named, views) == (
        "it selects none of 2 clusters; there is no cluster aa; did you mean a?; environments prod mean 2"
    )
    assert unmatched(Placement("x", (), cluster_names=("a",)), views) == ""
    assert unmatched(named, []).startswith("it selects no cluster: there is none yet")
