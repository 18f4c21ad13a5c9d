"""The spoke's own namespace: the few kinds of requests that its inventories, record, identity and lease need.

A write names the version that it is about. So one that the API server carries out late, when its spoke is dead and the
next one has written something newer, is refused: what was recorded last stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import orjson

from felloe.errors import KubernetesError
from felloe.labels import SYSTEM_NAMESPACE
from spoke.kube.client import METADATA_ONLY, Answer, Json, KubeClient
from spoke.kube.errors import CONFLICT, NOT_FOUND, is_another
from spoke.kube.shapes import mappings

_LIST_METADATA_ONLY: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
_PAGE: Final = "500"
_ATTEMPTS: Final = 4

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
        self._versions: dict[str, dict[str, str]] = {}
        """The uid and resourceVersion that an object was last seen at, by its path."""

    def path(self, collection: Collection, name: str = "") -> str:
        """Return the path of a collection, or of an object in it."""
        version, plural = collection
        return f"{version}/namespaces/{self.name}/{plural}" + (f"/{name}" if name else "")

    async def get(self, collection: Collection, name: str, *, accept: str = "application/json") -> Json | None:
        """Return an object, None where it is not there."""
        path = self.path(collection, name)
        try:
            return self._seen(path, await self._client.get(path, accept=accept))
        except KubernetesError as error:
            if error.status == NOT_FOUND:
                self._versions.pop(path, None)
                return None
            raise

    async def page(self, collection: Collection, selector: str, limit: int, token: str) -> Json:
        """Return one page of a list; `token` is the `continue` of the page before, empty for the first."""
        params = {"labelSelector": selector, "limit": str(limit)} | ({"continue": token} if token else {})
        answer = await self._client.get(self.path(collection), params)
        self._listed(collection, answer)
        return answer

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
            self._listed(collection, answer)
            token = next_page(answer)
            if not token:
                return found

    async def apply(self, collection: Collection, name: str, manifest: Mapping[str, object]) -> str:
        """Make an object what a manifest says, its namespace before it where that is not there; return its uid.

        It is server-side applied to the version that was seen last, and created where none was.
        """
        path = self.path(collection, name)
        for attempt in range(_ATTEMPTS):
            version = self._versions.get(path)
            try:
                if version is None:
                    answer = await self.create(collection, manifest)
                else:
                    body = orjson.dumps({**manifest, "metadata": {**metadata(manifest), **version}})
                    answer = await self._client.apply(path, body, accept=METADATA_ONLY)
            except KubernetesError as error:
                # It is there, or at another version, or gone: what was asked for earlier came late.
                if not is_another(error) or attempt == _ATTEMPTS - 1:
                    raise
                self._versions.pop(path, None)
                await self.get(collection, name, accept=METADATA_ONLY)
            else:
                return str(metadata(self._seen(path, answer.json())).get("uid") or "")
        raise AssertionError("unreachable")

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
        for attempt in range(_ATTEMPTS):
            try:
                if path not in self._versions:
                    self._seen(path, await self._client.get(path, accept=METADATA_ONLY))
                found = self._versions[path]
                await self._client.delete(path, uid or found["uid"], found["resourceVersion"])
            except KubernetesError as error:
                self._versions.pop(path, None)
                if error.status == NOT_FOUND:
                    return
                if error.status != CONFLICT or attempt == _ATTEMPTS - 1:
                    raise
            else:
                self._versions.pop(path, None)
                return

    def _seen(self, path: str, obj: Json) -> Json:
        """Take an object as the API server has it."""
        self._versions[path] = _at(obj)
        return obj

    def _listed(self, collection: Collection, answer: Json) -> None:
        for item in mappings(answer.get("items")):
            self._versions[self.path(collection, str(metadata(item).get("name")))] = _at(item)

    async def _make(self) -> None:
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.name}}
        await self._client.apply(f"/api/v1/namespaces/{self.name}", orjson.dumps(manifest), accept=METADATA_ONLY)


def metadata(obj: Mapping[str, object]) -> Mapping[str, object]:
    """Return the metadata of an object or a list."""
    found = obj.get("metadata")
    return found if isinstance(found, Mapping) else {}


def _at(obj: Mapping[str, object]) -> dict[str, str]:
    """Return what names just this version of an object."""
    return {key: str(metadata(obj).get(key) or "") for key in ("uid", "resourceVersion")}


def next_page(answer: Mapping[str, object]) -> str:
    """Return the token of a list's next page, empty after the last one."""
    return str(metadata(answer).get("continue") or "")
