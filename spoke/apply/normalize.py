"""How an object is spelt for server-side apply, which compares less kindly than a create: as Flux does (pkg/ssa).

A port without its protocol is merged by a key that is not all there (kubernetes/kubernetes 98576,
structured-merge-diff 130): two ports of one number would become one, or a conflict. stringData is never read back, so
nobody owns what it became. And what the API server alone may set is dropped, since exported manifests are full of it.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from felloe.identity import ObjectId

if TYPE_CHECKING:
    from felloe.k8syaml import JsonValue

_THE_SERVERS: Final = ("creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid")
_POD_SPECS: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {
    ("", "Pod"): ("spec",),
    ("", "ReplicationController"): ("spec", "template", "spec"),
    ("apps", "DaemonSet"): ("spec", "template", "spec"),
    ("apps", "Deployment"): ("spec", "template", "spec"),
    ("apps", "ReplicaSet"): ("spec", "template", "spec"),
    ("apps", "StatefulSet"): ("spec", "template", "spec"),
    ("batch", "CronJob"): ("spec", "jobTemplate", "spec", "template", "spec"),
    ("batch", "Job"): ("spec", "template", "spec"),
}


def normalize(obj: dict[str, JsonValue], identity: ObjectId) -> None:
    """Change an object in place to how it is applied."""
    group, kind = identity[:2]
    metadata = obj.get("metadata")
    if isinstance(metadata, dict):
        for name in _THE_SERVERS:
            metadata.pop(name, None)
    if kind != "CustomResourceDefinition":
        obj.pop("status", None)
    if (group, kind) == ("", "Secret"):
        _encode(obj)
    for port in _ports(obj, group, kind):
        port.setdefault("protocol", "TCP")


def _encode(secret: dict[str, JsonValue]) -> None:
    """Write texts as data, as the API server does; what is no text stays, and is refused there."""
    if not isinstance(given := secret.pop("stringData", None), dict):
        return
    texts = {key: value for key, value in given.items() if isinstance(value, str)}
    encoded: dict[str, JsonValue] = {
        key: base64.b64encode(value.encode()).decode("ascii") for key, value in texts.items()
    }
    data = secret.get("data")
    secret["data"] = (data if isinstance(data, dict) else {}) | encoded
    if len(texts) < len(given):
        secret["stringData"] = {key: value for key, value in given.items() if key not in texts}


def _ports(obj: dict[str, JsonValue], group: str, kind: str) -> Iterator[dict[str, JsonValue]]:
    if (group, kind) == ("", "Service"):
        yield from _mappings(obj.get("spec"), "ports")
    elif path := _POD_SPECS.get((group, kind)):
        spec: JsonValue = obj
        for name in path:
            spec = spec.get(name) if isinstance(spec, dict) else None
        for containers in ("containers", "initContainers"):
            for container in _mappings(spec, containers):
                yield from _mappings(container, "ports")


def _mappings(obj: JsonValue, name: str) -> list[dict[str, JsonValue]]:
    items = obj.get(name) if isinstance(obj, dict) else None
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
