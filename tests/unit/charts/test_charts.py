"""Both charts lint, render what a restricted cluster admits, and refuse values that would be ignored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import helm_python as helm
import pytest
import yaml

CHARTS = Path(__file__).parents[3] / "charts"
VALUES: dict[str, dict[str, object]] = {
    "hub": {
        "fleet": {"url": "https://git.example.com/fleet.git@main", "insteadOf": ["https://a/=https://b/"]},
        "advertise": ["hub.example.com"],
        "sourceSecrets": [{"namespace": "flux-system", "name": "git", "secretName": "git-credentials"}],
    },
    "spoke": {"hub": {"address": "hub.example.com:8443"}, "token": "felloe1.abc"},
}


def render(chart: str, values: dict[str, object] | None = None) -> list[dict[str, Any]]:
    rendered = helm.Chart.load(CHARTS / chart).render(
        VALUES[chart] | (values or {}), name=f"felloe-{chart}", namespace="felloe-system"
    )
    return [
        document
        for name, text in sorted(rendered.items())
        if name.endswith(".yaml")
        for document in yaml.safe_load_all(text)
        if document
    ]


def pod(objects: list[dict[str, Any]]) -> dict[str, Any]:
    (found,) = (item for item in objects if item["kind"] == "StatefulSet")
    spec: dict[str, Any] = found["spec"]["template"]["spec"]
    return spec


@pytest.mark.parametrize("chart", VALUES)
def test_lints_without_a_warning(chart: str) -> None:
    report = helm.lint(CHARTS / chart, VALUES[chart], strict=True)
    assert not report["errors"]
    assert [message for message in report["messages"] if message["severity"] > 1] == []


@pytest.mark.parametrize("chart", VALUES)
def test_meets_the_restricted_pod_security_standard(chart: str) -> None:
    spec = pod(render(chart))
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_the_hub_has_no_rights_in_its_own_cluster() -> None:
    objects = render("hub")
    assert not [item for item in objects if "Role" in str(item["kind"])]
    assert pod(objects)["automountServiceAccountToken"] is False


def test_a_restricted_spoke_gets_its_rules_and_no_more() -> None:
    rules = [{"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["*"]}]
    objects = render("spoke", {"rbac": {"clusterAdmin": False, "rules": rules}})
    (role,) = (item for item in objects if item["kind"] == "ClusterRole")
    granted = role["rules"]
    assert rules[0] in granted
    assert all(set(rule["verbs"]) <= {"get", "list", "watch"} for rule in granted if rule not in rules)


def test_the_join_token_is_a_file_and_no_argument() -> None:
    objects = render("spoke")
    assert "felloe1.abc" not in str(pod(objects))
    (secret,) = (item for item in objects if item["kind"] == "Secret")
    assert secret["stringData"] == {"token": "felloe1.abc"}


@pytest.mark.parametrize("chart", VALUES)
def test_an_unknown_value_is_refused(chart: str) -> None:
    with pytest.raises(helm.HelmError, match="replicaCount"):
        helm.Chart.load(CHARTS / chart).validate_schema(VALUES[chart] | {"replicaCount": 3})
