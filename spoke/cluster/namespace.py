"""The spoke's own namespace: the few kinds of requests that its inventories, record, identity and lease need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import orjson

from felloe.errors import KubernetesError
from felloe.labels import SYSTEM_NAMESPACE
from spoke.kube.client import METADATA_ONLY, Answer, Json, KubeClient
from spoke.kube.errors import NOT_FOUND

_LIST_METADATA_ONLY: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
_PAGE: Final = "500"

CONFIG_MAPS: Final = "/api/v1", "configmaps"
SECRETS: Final = "/api/v1", "secrets"
LEASES: Final = "/apis/coordination.k8s.io/v1", "leases"

Collection = tuple[str, str]
"""The path of a group's version, and the plural name of a kind."""


class OwnNamespace:
    """Objects of one namespace, which is made when the first of them is. Raises KubernetesError where refused."""

    def __init__(self, client: KubeClient, name: str = SYSTEM_NAMESPACE) -> None:
        self.name = name
        self._client = client

    def path(self, collection: Collection, name: str = "") -> str:
        """Return the path of a collection, or of an object in it."""
        version, plural = collection
        return f"{version}/namespaces/{self.name}/{plural}" + (f"/{name}" if name else "")

    async def get(self, collection: Collection, name: str, *, accept: str = "application/json") -> Json | None:
        """Return an object, None where it is not there."""
        try:
            return await self._client.get(self.path(collection, name), accept=accept)
        except KubernetesError as error:
            if error.status == NOT_FOUND:
                return None
            raise

    async def page(self, collection: Collection, selector: str, limit: int, token: str) -> Json:
        """Return one page of a list; `token` is the `continue` of the page before, empty for the first."""
        params = {"labelSelector": selector, "limit": str(limit)} | ({"continue": token} if token else {})
        return await self._client.get(self.path(collection), params)

    async def uids(self, collection: Collection, selector: str) -> dict[str, str]:
        """Return the uid of every object that a label selector chooses, by name; their content is not asked for."""
        found: dict[str, str] = {}
        token = ""
        while True:
            params = {"labelSelector": selector, "limit": _PAGE} | ({"continue": token} if token else {})
            answer = await self._client.get(self.path(collection), params, accept=_LIST_METADATA_ONLY)
            items = answer.get("items")
            for item in items if isinstance(items, list) else []:
                found[str(item["metadata"]["name"])] = str(item["metadata"]["uid"])
            token = next_page(answer)
            if not token:
                return found

    async def apply(self, collection: Collection, name: str, manifest: Mapping[str, object]) -> str:
        """Server-side apply an object, its namespace before it where that is not there; return its uid."""
        path, body = self.path(collection, name), orjson.dumps(manifest)
        try:
            answer = await self._client.apply(path, body, accept=METADATA_ONLY)
        except KubernetesError as error:
            if error.status != NOT_FOUND:
                raise
            await self._make()
            answer = await self._client.apply(path, body, accept=METADATA_ONLY)
        return str(metadata(answer.json()).get("uid") or "")

    async def create(self, collection: Collection, manifest: Mapping[str, object]) -> Answer:
        """Create an object, its namespace before it where that is not there. A 409 says that it is there already."""
        path, body = self.path(collection), orjson.dumps(manifest)
        try:
            return await self._client.create(path, body)
        except KubernetesError as error:
            if error.status != NOT_FOUND:
                raise
            await self._make()
            return await self._client.create(path, body)

    async def replace(self, collection: Collection, name: str, manifest: Mapping[str, object]) -> Answer:
        """Replace an object if it still is at the resourceVersion that `manifest` names; else a 409 is raised."""
        return await self._client.replace(self.path(collection, name), orjson.dumps(manifest))

    async def delete(self, collection: Collection, name: str, uid: str = "") -> None:
        """Delete an object, by the uid that it has or is known to have; one that is gone is no error."""
        path = self.path(collection, name)
        try:
            uid = uid or str(metadata(await self._client.get(path, accept=METADATA_ONLY)).get("uid"))
            await self._client.delete(path, uid)
        except KubernetesError as error:
            if error.status != NOT_FOUND:
                raise

    async def _make(self) -> None:
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.name}}
        await self._client.apply(f"/api/v1/namespaces/{self.name}", orjson.dumps(manifest), accept=METADATA_ONLY)


def metadata(obj: Mapping[str, object]) -> Mapping[str, object]:
    """Return the metadata of an object or a list."""
    found = obj.get("metadata")
    return found if isinstance(found, Mapping) else {}


def next_page(answer: Mapping[str, object]) -> str:
    """Return the token of a list's next page, empty after the last one."""
    return str(metadata(answer).get("continue") or "")
