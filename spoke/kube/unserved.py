"""Kinds that are defined and that discovery does not show.

An API server that has just started serves, for some tenths of a second, a discovery without custom kinds, and marks it
neither incomplete nor stale (seen with 1.36). Whoever took that for the truth would take every custom object for gone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from felloe.errors import KubernetesError
from spoke.kube.client import KubeClient
from spoke.kube.errors import FORBIDDEN, NOT_FOUND

_DEFINITIONS: Final = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_NAMES_ONLY: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"


async def unserved(client: KubeClient, shown: Collection[str]) -> set[tuple[str, str]]:
    """Return group and kind of what is defined, to be served, and not among `shown` (``<plural>.<group>``).

    Where definitions may not be read, discovery is all there is to go by. Raise KubernetesError for other failures.
    """
    found: set[tuple[str, str]] = set()
    token = ""
    while True:
        params = {"limit": "500"} | ({"continue": token} if token else {})
        try:
            answer = await client.get(_DEFINITIONS, params, accept=_NAMES_ONLY)
        except KubernetesError as error:
            if error.status == FORBIDDEN:
                return set()
            raise
        items = answer.get("items")
        names = [str(item["metadata"]["name"]) for item in items] if isinstance(items, list) else []
        for name in names:
            if name not in shown and (kind := await _defined(client, name)):
                found.add(kind)
        metadata = answer.get("metadata")
        token = str(metadata.get("continue") or "") if isinstance(metadata, Mapping) else ""
        if not token:
            return found


async def _defined(client: KubeClient, name: str) -> tuple[str, str] | None:
    """Return group and kind of a definition that is to be served, None where it is not, or gone."""
    try:
        spec = (await client.get(f"{_DEFINITIONS}/{name}")).get("spec")
    except KubernetesError as error:
        if error.status == NOT_FOUND:
            return None
        raise
    names = spec.get("names") if isinstance(spec, Mapping) else None
    if not isinstance(spec, Mapping) or not isinstance(names, Mapping):
        return None
    versions = spec.get("versions")
    served = any(version.get("served") is True for version in versions) if isinstance(versions, list) else False
    return (str(spec.get("group")), str(names.get("kind"))) if served else None
