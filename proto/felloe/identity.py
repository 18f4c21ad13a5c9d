"""Who an object and a workload are: the names that both sides, the CLI and the inventory use for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from felloe.errors import ConfigError


class ObjectId(NamedTuple):
    """One Kubernetes object. The version is not part of who it is; `namespace` is empty for a cluster-scoped one."""

    group: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        """Return it as kubectl would be asked for it: ``Deployment.apps shop/web``."""
        kind = f"{self.kind}.{self.group}" if self.group else self.kind
        return f"{kind} {self.namespace}/{self.name}" if self.namespace else f"{kind} {self.name}"

    @property
    def inventory_id(self) -> str:
        """Return it as Flux' inventory has it: ``<namespace>_<name>_<group>_<kind>``, ``:`` in a name as ``__``."""
        return f"{self.namespace}_{self.name.replace(':', '__')}_{self.group}_{self.kind}"


class WorkloadId(NamedTuple):
    """One workload: the Kustomization (later: HelmRelease) that its objects come from."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        """Return it as the CLI shows and takes it: ``Kustomization/flux-system/apps``."""
        return f"{self.kind}/{self.namespace}/{self.name}"


def split_api_version(api_version: str) -> tuple[str, str]:
    """Return (group, version) of an ``apiVersion``; the core group is empty."""
    group, _, version = api_version.rpartition("/")
    return group, version


def object_id(manifest: Mapping[str, object]) -> ObjectId:
    """Return who a manifest is. Raise ConfigError where apiVersion, kind or metadata.name is missing or no text."""
    api_version, kind, metadata = (manifest.get(key) for key in ("apiVersion", "kind", "metadata"))
    if not isinstance(api_version, str) or not api_version:
        raise ConfigError("an object has no apiVersion")
    if not isinstance(kind, str) or not kind:
        raise ConfigError("an object has no kind")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    namespace = metadata.get("namespace") if isinstance(metadata, Mapping) else None
    if not isinstance(name, str) or not name:
        if isinstance(metadata, Mapping) and metadata.get("generateName"):
            raise ConfigError(
                f"a {kind} has metadata.generateName, {metadata['generateName']!r}, which makes another object each "
                "time: give it a metadata.name"
            )
        raise ConfigError(f"a {kind} has no metadata.name")
    if namespace is not None and not isinstance(namespace, str):
        raise ConfigError(f"{kind} {name} has a metadata.namespace that is no text")
    return ObjectId(split_api_version(api_version)[0], kind, namespace or "", name)
