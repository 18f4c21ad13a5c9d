"""Objects for tests of the spoke, and bundles made of them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from felloe.bundle import ApplyOptions, Bundle, Entry, Workload
from felloe.digest import canonical_json, digest
from felloe.identity import WorkloadId, object_id, split_api_version
from hub.targeting.waves import wave_of
from spoke.state import BundleStore, Part, StoredBundle

Manifest = dict[str, object]


@dataclass(frozen=True)
class Wanted:
    """A workload as a test writes it."""

    name: str
    objects: Iterable[Manifest] = ()
    options: ApplyOptions = field(default_factory=lambda: ApplyOptions(prune=True, retry_interval=2.0))
    variables: dict[str, str] = field(default_factory=dict)
    ignore: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # by kind


def workload_id(name: str) -> WorkloadId:
    return WorkloadId("Kustomization", "flux-system", name)


def commit(
    store: BundleStore,
    generation: int,
    workloads: Iterable[Wanted],
    traceparent: str = "",
    approved: Iterable[str] = (),
) -> StoredBundle:
    """Put a bundle on a spoke's disk, as the link does it."""
    built = []
    for wanted in workloads:
        entries = []
        for manifest in wanted.objects:
            blob = canonical_json(manifest)
            name = digest(blob)
            store.add([Part(name, 0, len(blob), blob)])
            identity = object_id(manifest)
            version = split_api_version(str(manifest["apiVersion"]))[1]
            wave = wave_of(identity, manifest)
            ignore = wanted.ignore.get(identity.kind, ())
            entries.append(Entry(identity, version, name, wave, len(blob), template=b"${" in blob, ignore=ignore))
        built.append(Workload(workload_id(wanted.name), wanted.options, tuple(entries), wanted.variables))
    stored = StoredBundle(1, generation, Bundle(tuple(built), tuple(approved)), traceparent, time.time(), store.trusted)
    store.commit(stored)
    return stored


def namespace(name: str) -> Manifest:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def config_map(namespace: str, name: str, **data: str) -> Manifest:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def secret(namespace: str, name: str, **text: str) -> Manifest:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": text}


def deployment(namespace: str, name: str, replicas: int = 1, **resources: str) -> Manifest:
    labels = {"app": name}
    container: Manifest = {"name": "main", "image": "example.com/app:1", "ports": [{"containerPort": 80}]}
    if resources:
        container["resources"] = {"requests": resources}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def definition(plural: str, kind: str, group: str = "test.example.com") -> Manifest:
    schema = {
        "type": "object",
        "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": plural, "singular": plural.rstrip("s"), "kind": kind},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }


def custom(namespace: str, name: str, kind: str, group: str = "test.example.com", **spec: object) -> Manifest:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": f"{group}/v1", "kind": kind, "metadata": metadata, "spec": spec}
