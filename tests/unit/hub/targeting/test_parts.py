"""The small decisions: waves, variables of labels."""

from __future__ import annotations

import pytest

from felloe.errors import ConfigError
from felloe.identity import ObjectId
from felloe.waves import barrier
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
        ("", "ConfigMap", 5000),
        ("rbac.authorization.k8s.io", "Role", 5000),
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration", 10_000),
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration", 10_000),
        ("apiregistration.k8s.io", "APIService", 10_000),
        ("example.org", "Namespace", 5000),
    ],
)
def test_what_others_need_comes_first_and_what_can_block_others_last(group: str, kind: str, wave: int) -> None:
    assert wave_of(ObjectId(group, kind, "", "a"), {}) == wave


def in_wave(wave: object) -> dict[str, object]:
    return {"metadata": {"name": "a", "annotations": {"fleet.felloe.io/wave": wave}}}


@pytest.mark.parametrize(
    ("kind", "said", "wave"),
    [
        ("ConfigMap", "-3", 4997),
        ("ConfigMap", "0", 5000),
        ("ConfigMap", "+7", 5007),
        ("ConfigMap", "1000", 6000),
        ("StorageClass", "5", 5005),
        ("Namespace", "5", 0),
    ],
)
def test_an_object_may_name_its_wave_but_namespaces_stay_first(kind: str, said: str, wave: int) -> None:
    assert wave_of(ObjectId("", kind, "", "a"), in_wave(said)) == wave


@pytest.mark.parametrize("said", ["", "first", "1.5", "1001", "-1001", "${wave}", "\u0663", 7.5])
def test_a_wave_that_is_none_is_an_error(said: object) -> None:
    with pytest.raises(ConfigError, match=r"ConfigMap a: fleet.felloe.io/wave is .*; use a whole number"):
        wave_of(ObjectId("", "ConfigMap", "", "a"), in_wave(said))


@pytest.mark.parametrize(
    ("earlier", "later", "waits"),
    [
        (0, 5000, False),
        (2, 10_000, False),
        (5000, 10_000, False),
        (5000, 5000, False),
        (4999, 5000, True),
        (5000, 5001, True),
        (2, 4000, True),
        (6000, 10_000, True),
        (5001, 5000, False),
    ],
)
def test_only_waves_that_somebody_named_hold_others_up(earlier: int, later: int, waits: bool) -> None:
    assert barrier(earlier, later) is waits


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
