"""Which kinds an API server has, and under which path: its REST mapping.

Read once and again only when a kind is asked for that is not there, so a quiet spoke asks for nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from felloe.errors import KubernetesError
from spoke.kube.client import Json, KubeClient
from spoke.kube.errors import NO_KIND, NOT_FOUND
from spoke.kube.shapes import mappings
from spoke.kube.unserved import unserved

_AGGREGATED: Final = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,"
    "application/json"
)
_FRESH_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind in one version, and the name that its path has for it."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool
    listable: bool = True

    def collection(self, namespace: str = "") -> str:
        """Return the path of all objects, or of those in one namespace."""
        base = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        inside = f"/namespaces/{quote(namespace, safe='')}" if self.namespaced and namespace else ""
        return f"{base}{inside}/{self.plural}"

    def path(self, namespace: str, name: str) -> str:
        """Return the path of one object."""
        return f"{self.collection(namespace)}/{quote(name, safe='')}"


class NoSuchKindError(KubernetesError):
    """The API server has no such kind, perhaps not yet."""


class Discovery:
    """The kinds of one API server."""

    def __init__(self, client: KubeClient, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._kinds: dict[tuple[str, str], dict[str, Resource]] = {}
        self._untold: list[str] = []
        self._read_at = float("-inf")
        self._lock = asyncio.Lock()

    def known(self, group: str, kind: str, version: str = "") -> Resource | None:
        """Return a kind without asking the API server: in this version, or without one in any that is served."""
        versions = self._kinds.get((group, kind), {})
        return versions.get(version) if version else next(iter(versions.values()), None)

    async def find(self, group: str, version: str, kind: str) -> Resource:
        """Return a kind in just this version. Raise NoSuchKindError, worded as kubectl does, where it is not served."""
        found = self.known(group, kind, version)
        if found is None:
            await self._refresh()
            found = self.known(group, kind, version)
        if found is None:
            prefix = f"{group}/" if group else ""
            others = ", ".join(f"{prefix}{each}" for each in self._kinds.get((group, kind), {}))
            instead = f": it is served in {others}" if others else ""
            raise NoSuchKindError(
                f'no matches for kind "{kind}" in version "{prefix}{version}"{instead}', reason=NO_KIND
            )
        return found

    async def find_any(self, group: str, version: str, kind: str) -> Resource:
        """Return a kind in this version, else in another one: what was applied long ago must still be found."""
        try:
            return await self.find(group, version, kind)
        except NoSuchKindError:
            other = self.known(group, kind)
            if other is None:
                raise
            return other

    async def namespaced(self) -> list[Resource]:
        """Return every kind that objects in a namespace can have and that can be listed, each in one version, anew.

        Raise KubernetesError where an aggregated API can't tell its kinds, or a kind is defined and not served.
        """
        self.outdated()
        await self._refresh()
        if self._untold:
            raise KubernetesError(
                f"the kinds of {', '.join(self._untold)} can't be told now: its server is away", status=503
            )
        if hidden := await unserved(self._client, self._shown()):
            kinds = ", ".join(sorted(f"{kind}.{group}" for group, kind in hidden))
            raise KubernetesError(f"{kinds} can't be listed now: defined, and not served yet", status=503)
        found = [next(iter(versions.values())) for versions in self._kinds.values()]
        return [resource for resource in found if resource.namespaced and resource.listable]

    async def hidden(self, group: str, kind: str) -> str:
        """Return why what is of a kind that is not found may be there all the same, empty where it is gone."""
        if any(api.rpartition("/")[0] == group for api in self._untold):
            return f"the kinds of {group} can't be told now: its server is away"
        if group and (group, kind) in await unserved(self._client, self._shown()):
            return "its kind is defined and not served now"
        return ""

    def _shown(self) -> set[str]:
        resources = (resource for versions in self._kinds.values() for resource in versions.values())
        return {f"{resource.plural}.{resource.group}" for resource in resources}

    def forget(self, group: str, kind: str) -> None:
        """Say that a kind is not served as it was: it is looked for anew when it is asked for."""
        self._kinds.pop((group, kind), None)
        self.outdated()

    def outdated(self) -> None:
        """Say that kinds were added: the next unknown one is looked for at once."""
        self._read_at = float("-inf")

    async def _refresh(self) -> None:
        asked_at = self._clock()
        async with self._lock:
            if self._read_at > asked_at - _FRESH_SECONDS:
                return
            kinds: dict[tuple[str, str], dict[str, Resource]] = {}
            for resource in await self._read():
                kinds.setdefault((resource.group, resource.kind), {}).setdefault(resource.version, resource)
            self._kinds = kinds
            self._read_at = self._clock()

    async def _read(self) -> list[Resource]:
        found: list[Resource] = []
        self._untold = []
        for root in ("/api", "/apis"):
            answer = await self._client.get(root, accept=_AGGREGATED)
            if answer.get("kind") == "APIGroupDiscoveryList":
                found += _aggregated(answer)
                self._untold += _stale(answer)
            else:
                for api in _group_versions(answer):
                    found += await self._legacy(api)
        return found

    async def _legacy(self, api: str) -> list[Resource]:
        group, _, version = api.rpartition("/")
        try:
            answer = await self._client.get(f"/apis/{api}" if group else f"/api/{api}")
        except KubernetesError as error:
            if error.status in (NOT_FOUND, 503):  # an aggregated API whose server is away must not hide the others
                self._untold.append(api)
                return []
            raise
        return [
            Resource(
                group,
                version,
                str(entry["kind"]),
                str(entry["name"]),
                entry.get("namespaced") is True,
                _can_list(entry),
            )
            for entry in mappings(answer.get("resources"))
            if "/" not in str(entry.get("name", "/")) and "kind" in entry
        ]


def _aggregated(answer: Json) -> Iterator[Resource]:
    for item in mappings(answer.get("items")):
        metadata = item.get("metadata")
        group = str(metadata.get("name", "")) if isinstance(metadata, Mapping) else ""
        for version in mappings(item.get("versions")):
            for entry in mappings(version.get("resources")):
                kind = entry.get("responseKind")
                if isinstance(kind, Mapping) and kind.get("kind"):
                    yield Resource(
                        group,
                        str(version.get("version", "")),
                        str(kind["kind"]),
                        str(entry.get("resource", "")),
                        entry.get("scope") == "Namespaced",
                        _can_list(entry),
                    )


def _stale(answer: Json) -> Iterator[str]:
    for item in mappings(answer.get("items")):
        metadata = item.get("metadata")
        group = metadata.get("name", "") if isinstance(metadata, Mapping) else ""
        for version in mappings(item.get("versions")):
            if version.get("freshness") == "Stale":
                yield f"{group}/{version.get('version', '')}"


def _can_list(entry: Mapping[str, object]) -> bool:
    verbs = entry.get("verbs")
    return isinstance(verbs, list) and "list" in verbs


def _group_versions(answer: Json) -> Iterator[str]:
    versions = answer.get("versions")
    if isinstance(versions, list):
        yield from (str(version) for version in versions)
    for group in mappings(answer.get("groups")):
        for version in mappings(group.get("versions")):
            yield str(version.get("groupVersion", ""))
