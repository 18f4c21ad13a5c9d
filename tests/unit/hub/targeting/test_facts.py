"""What a spoke reports as labels: which ones, under their own prefix, and what a placement makes of them."""

from __future__ import annotations

import pytest

from hub.targeting.facts import with_facts
from tests.unit.hub.targeting.world import World, config_map, kustomization, objects

PLACEMENT = """
apiVersion: fleet.felloe.io/v1alpha1
kind: Placement
metadata: {name: new}
spec:
  clusterSelector:
    matchExpressions: [{key: facts.felloe.io/kubernetes-version, operator: Gte, values: ["1.34"]}]
  workloads: [{kind: Kustomization, name: shop, namespace: flux-system}]
"""


def test_what_is_known_of_a_cluster_becomes_labels() -> None:
    facts = {
        "kubernetes_version": "v1.34.2+k3s1",
        "node_count": "12",
        "provider": "aws",
        "region": "eu-central-1",
        "zone": "",
        "env": "prod",
    }
    assert with_facts({"env": "dev"}, facts) == {
        "env": "dev",
        "facts.felloe.io/kubernetes-version": "1.34",
        "facts.felloe.io/node-count": "12",
        "facts.felloe.io/provider": "aws",
        "facts.felloe.io/region": "eu-central-1",
    }


def test_a_token_can_not_say_what_only_a_spoke_reports() -> None:
    assert with_facts({"facts.felloe.io/provider": "gce", "facts.felloe.io/x": "y"}, {"provider": "aws"}) == {
        "facts.felloe.io/provider": "aws"
    }


@pytest.mark.parametrize("value", ["a b", "-a", "x" * 64, "a\nb", "${x}"])
def test_what_is_no_value_of_a_label_is_left_out(value: str) -> None:
    assert with_facts({}, {"region": value, "kubernetes_version": value}) == {}


@pytest.mark.parametrize(
    ("version", "placed"), [("v1.34.0", True), ("v1.35.3-gke.1", True), ("v1.9.9", False), ("", False)]
)
def test_a_placement_says_1_34_and_newer(version: str, placed: bool) -> None:
    world = World({"fleet/a.yaml": PLACEMENT + "---" + kustomization("shop"), "apps/shop/map.yaml": config_map("shop")})
    plan = world.plan("c", labels=with_facts({}, {"kubernetes_version": version}))
    assert bool(objects(plan, "shop")) is placed
