"""The small decisions: waves, variables of labels."""

from __future__ import annotations

import pytest

from hub.fleet import Cluster, Environment, Fleet, LabelSelector
from hub.targeting.variables import label_variables, view_cluster
from hub.targeting.waves import wave_of


@pytest.mark.parametrize(
    ("group", "kind", "wave"),
    [
        ("", "Namespace", 0),
        ("apiextensions.k8s.io", "CustomResourceDefinition", 1),
        ("rbac.authorization.k8s.io", "ClusterRole", 2),
        ("storage.k8s.io", "StorageClass", 2),
        ("networking.k8s.io", "IngressClass", 2),
        ("gateway.networking.k8s.io", "GatewayClass", 2),
        ("", "PersistentVolume", 2),
        ("", "ConfigMap", 3),
        ("rbac.authorization.k8s.io", "Role", 3),
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration", 4),
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration", 4),
        ("apiregistration.k8s.io", "APIService", 4),
        ("example.org", "Namespace", 3),
    ],
)
def test_what_others_need_comes_first_and_what_can_block_others_last(group: str, kind: str, wave: int) -> None:
    assert wave_of(group, kind) == wave


def test_labels_are_variables_with_valid_names() -> None:
    labels = {"env": "prod", "example.org/zone-a": "z", "a-b": "dashed", "a_b": "exact", "0day": "no"}
    assert label_variables(labels) == {"env": "prod", "example_org_zone_a": "z", "a_b": "exact"}


def test_later_wins_label_environment_cluster() -> None:
    fleet = Fleet(
        clusters={"c": Cluster("c", variables={"size": "from-cluster"})},
        environments={"e": Environment("e", LabelSelector(), {"size": "from-env", "tier": "from-env", "text": "a\nb"})},
    )
    view = view_cluster("c", {"size": "from-label", "tier": "from-label", "zone": "from-label"}, fleet)
    assert view.variables == {
        "cluster_env": "e",
        "cluster_name": "c",
        "size": "from-cluster",
        "text": "ab",
        "tier": "from-env",
        "zone": "from-label",
    }
