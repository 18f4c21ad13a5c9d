"""Both Helm charts as objects, for the tests that read them and those that apply them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import helm_python as helm
import yaml

CHARTS = Path(__file__).parents[2] / "charts"
VALUES: dict[str, dict[str, object]] = {
    "hub": {
        "fleet": {"url": "https://git.example.com/fleet.git@main", "insteadOf": ["https://a/=https://b/"]},
        "advertise": ["hub.example.com"],
        "sourceSecrets": [{"namespace": "flux-system", "name": "git", "secretName": "git-credentials"}],
    },
    "spoke": {"hub": {"address": "hub.example.com:8443"}, "token": "felloe1.abc"},
}
"""The values of each chart that its tests start from."""

Object = dict[str, Any]


def render(chart: str, values: Mapping[str, object] | None = None, *, namespace: str = "felloe-system") -> list[Object]:
    """Return what `helm install felloe-CHART` would make; `values` replace those in `VALUES` key by key."""
    rendered = helm.Chart.load(CHARTS / chart).render(
        VALUES[chart] | dict(values or {}), name=f"felloe-{chart}", namespace=namespace
    )
    return [
        document
        for name, text in sorted(rendered.items())
        if name.endswith(".yaml")
        for document in yaml.safe_load_all(text)
        if document
    ]


def of_kind(objects: list[Object], kind: str) -> Object:
    """Return the only object of a kind."""
    (found,) = (item for item in objects if item["kind"] == kind)
    return found


def pod(objects: list[Object]) -> Object:
    """Return the pod's spec."""
    (found,) = (item for item in objects if item["kind"] in ("StatefulSet", "Deployment"))
    spec: Object = found["spec"]["template"]["spec"]
    return spec
