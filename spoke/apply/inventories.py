"""Where inventories are kept: ConfigMaps of the spoke's own namespace, in the cluster that they are about."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Final

import orjson

from felloe.errors import KubernetesError, StoreError
from felloe.identity import WorkloadId
from felloe.labels import GROUP, SYSTEM_NAMESPACE
from spoke.apply.inventory import Inventory, decode, encode
from spoke.kube.client import METADATA_ONLY, KubeClient
from spoke.kube.errors import NOT_FOUND

_LABEL: Final = f"{GROUP}/inventory"
_WORKLOAD: Final = f"{GROUP}/inventory-of"
_KEY: Final = "inventory.json.zst"


class Inventories:
    """Reads and writes the inventories of one cluster. Raises KubernetesError where the API server refuses."""

    def __init__(self, client: KubeClient, namespace: str = SYSTEM_NAMESPACE) -> None:
        self._client = client
        self._namespace = namespace
        self._written: dict[WorkloadId, set[str]] = {}

    async def load(self) -> Mapping[WorkloadId, Inventory]:
        """Return every inventory of the cluster. Raise StoreError where one is damaged: then nothing may be pruned."""
        pieces: dict[str, bytes] = {}
        token = ""
        while True:
            params = {"labelSelector": f"{_LABEL}=true", "limit": "10"} | ({"continue": token} if token else {})
            answer = await self._client.get(self._collection, params)
            items = answer.get("items")
            for item in items if isinstance(items, list) else []:
                name = str(item["metadata"]["name"])
                try:
                    pieces[name] = base64.b64decode(item["binaryData"][_KEY], validate=True)
                except (KeyError, TypeError, binascii.Error) as error:
                    raise StoreError(f"the inventory {self._namespace}/{name} has no {_KEY}: restore it") from error
            metadata = answer.get("metadata")
            token = str(metadata.get("continue") or "") if isinstance(metadata, Mapping) else ""
            if not token:
                break
        inventories = decode(pieces.items())
        for identity, inventory in inventories.items():
            self._written[identity] = {name for name in pieces if name.startswith(f"{inventory.name}-")}
        return inventories

    async def write(self, inventory: Inventory) -> None:
        """Make the cluster's record of a workload this one."""
        inventory.serial += 1
        written = self._written.setdefault(inventory.id, set())
        pieces = encode(inventory)
        for name, data in pieces.items():
            await self._put(name, inventory.id, data)
            written.add(name)
        for name in written - pieces.keys():
            await self._delete(name)
            written.discard(name)

    async def delete(self, identity: WorkloadId) -> None:
        """Forget a workload that has no objects any more."""
        for name in self._written.pop(identity, set()):
            await self._delete(name)

    @property
    def _collection(self) -> str:
        return f"/api/v1/namespaces/{self._namespace}/configmaps"

    async def _put(self, name: str, identity: WorkloadId, data: bytes) -> None:
        manifest = orjson.dumps(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {
                    "name": name,
                    "namespace": self._namespace,
                    "labels": {_LABEL: "true"},
                    "annotations": {_WORKLOAD: str(identity)},
                },
                "binaryData": {_KEY: base64.b64encode(data).decode("ascii")},
            }
        )
        path = f"{self._collection}/{name}"
        try:
            await self._client.apply(path, manifest, accept=METADATA_ONLY)
        except KubernetesError as error:
            if error.status != NOT_FOUND:
                raise
            await self._make_namespace()
            await self._client.apply(path, manifest, accept=METADATA_ONLY)

    async def _make_namespace(self) -> None:
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self._namespace}}
        await self._client.apply(f"/api/v1/namespaces/{self._namespace}", orjson.dumps(manifest), accept=METADATA_ONLY)

    async def _delete(self, name: str) -> None:
        path = f"{self._collection}/{name}"
        try:
            found = await self._client.get(path, accept=METADATA_ONLY)
            metadata = found.get("metadata")
            if isinstance(metadata, Mapping):
                await self._client.delete(path, str(metadata.get("uid")))
        except KubernetesError as error:
            if error.status != NOT_FOUND:
                raise
