"""The repository that the e2e tests, the demo and the benchmarks start from: a base and one overlay an environment."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

Files = dict[str, str]

ENVIRONMENTS = ("dev", "staging", "production")


def documents(*objects: Mapping[str, object]) -> str:
    """Return manifests as one YAML file; JSON is YAML."""
    return "\n---\n".join(json.dumps(item, indent=2) for item in objects) + "\n"


def config_map(name: str, namespace: str | None = None, **data: str) -> dict[str, object]:
    """Return a ConfigMap."""
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def namespace(name: str) -> dict[str, object]:
    """Return a Namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def deployment(name: str, replicas: int = 1, image: str = "registry.example.com/web:1") -> dict[str, object]:
    """Return a Deployment that becomes available on a node of kwok's."""
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "web", "image": image}]},
            },
        },
    }


def git_repository(name: str, url: str, branch: str = "main", interval: str = "1h") -> dict[str, object]:
    """Return Flux' GitRepository."""
    return {
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": "GitRepository",
        "metadata": {"name": name, "namespace": "flux-system"},
        "spec": {"url": url, "ref": {"branch": branch}, "interval": interval},
    }


def kustomization(
    name: str, path: str, source: str = "config", *, namespace: str = "flux-system", **spec: object
) -> dict[str, object]:
    """Return Flux' Kustomization, pruning; its source is in flux-system."""
    return {
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
        "kind": "Kustomization",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "interval": "10m",
            "prune": True,
            "path": path,
            "sourceRef": {"kind": "GitRepository", "name": source, "namespace": "flux-system"},
            **spec,
        },
    }


def placement(name: str, *workloads: str, **spec: object) -> dict[str, object]:
    """Return a Placement of Kustomizations (``name`` in flux-system, or ``namespace/name``).

    It is for every cluster unless `spec` says which.
    """
    named = [item.rpartition("/") for item in workloads]
    return {
        "apiVersion": "fleet.felloe.io/v1alpha1",
        "kind": "Placement",
        "metadata": {"name": name},
        "spec": {
            **(spec or {"clusterSelector": {}}),
            "workloads": [
                {"kind": "Kustomization", "namespace": namespace or "flux-system", "name": item}
                for namespace, _, item in named
            ],
        },
    }


def environment(name: str, **variables: str) -> dict[str, object]:
    """Return an Environment of the clusters that carry its name as label ``env``."""
    return {
        "apiVersion": "fleet.felloe.io/v1alpha1",
        "kind": "Environment",
        "metadata": {"name": name},
        "spec": {"clusterSelector": {"matchLabels": {"env": name}}, "variables": variables},
    }


def cluster(name: str, env: str, **spec: object) -> dict[str, object]:
    """Return a Cluster."""
    return {
        "apiVersion": "fleet.felloe.io/v1alpha1",
        "kind": "Cluster",
        "metadata": {"name": name, "labels": {"env": env}},
        "spec": spec,
    }


def overlay(*resources: str, **fields: object) -> str:
    """Return a kustomization.yaml."""
    return documents(
        {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": list(resources),
            **fields,
        }
    )


def shop(url: str, environments: Sequence[str] = ENVIRONMENTS) -> Files:
    """Return a fleet whose every cluster runs the shop of its environment: namespace, settings and a Deployment."""
    files = {
        "fleet/environments.yaml": documents(*(environment(name, tier=name) for name in environments)),
        "fleet/shop.yaml": documents(
            git_repository("config", url),
            kustomization("shop", "./environments/${env}", wait=True, timeout="2m"),
            placement("shop", "shop"),
        ),
        "base/kustomization.yaml": overlay("namespace.yaml", "settings.yaml", "web.yaml", namespace="shop"),
        "base/namespace.yaml": documents(namespace("shop")),
        "base/settings.yaml": documents(config_map("settings", greeting="hello", cluster="${cluster_name}")),
        "base/web.yaml": documents(deployment("web")),
    }
    for name in environments:
        files[f"environments/{name}/kustomization.yaml"] = overlay(
            "../../base", namespace="shop", patches=[{"path": "settings.yaml"}]
        )
        files[f"environments/{name}/settings.yaml"] = documents(config_map("settings", "shop", environment=name))
    return files
