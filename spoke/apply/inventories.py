"""Where inventories are kept: ConfigMaps of the spoke's own namespace, in the cluster that they are about."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Final

from felloe.errors import StoreError
from felloe.identity import WorkloadId
from felloe.labels import GROUP
from spoke.apply.inventory import Inventory, decode, encode
from spoke.cluster.namespace import CONFIG_MAPS, OwnNamespace, next_page

_LABEL: Final = f"{GROUP}/inventory"
_WORKLOAD: Final = f"{GROUP}/inventory-of"
_KEY: Final = "inventory.json.zst"
_PAGE: Final = 10


class Inventories:
    """Reads and writes the inventories of one cluster. Raises KubernetesError where the API server refuses."""

    def __init__(self, namespace: OwnNamespace) -> None:
        self._namespace = namespace
        self._written: dict[WorkloadId, set[str]] = {}
        self._unsure: set[WorkloadId] = set()

    async def load(self) -> Mapping[WorkloadId, Inventory]:
        """Return every inventory of the cluster. Raise StoreError where one is damaged: then nothing may be pruned."""
        pieces: dict[str, bytes] = {}
        token = ""
        while True:
            answer = await self._namespace.page(CONFIG_MAPS, f"{_LABEL}=true", _PAGE, token)
            items = answer.get("items")
            for item in items if isinstance(items, list) else []:
                name = str(item["metadata"]["name"])
                try:
                    pieces[name] = base64.b64decode(item["binaryData"][_KEY], validate=True)
                except (KeyError, TypeError, binascii.Error) as error:
                    where = f"{self._namespace.name}/{name}"
                    raise StoreError(f"the inventory {where} has no {_KEY}: restore it") from error
            token = next_page(answer)
            if not token:
                break
        inventories = decode(pieces.items())
        for identity, inventory in inventories.items():
            self._written[identity] = {name for name in pieces if name.startswith(f"{inventory.name}-")}
        return inventories

    async def write(self, inventory: Inventory) -> None:
        """Make the cluster's record of a workload this one."""
        self._unsure.add(inventory.id)
        inventory.serial += 1
        written = self._written.setdefault(inventory.id, set())
        pieces = encode(inventory)
        for name, data in pieces.items():
            written.add(name)  # before: a write that is given up half way may have come through
            await self._put(name, inventory.id, data)
        for name in written - pieces.keys():
            await self._namespace.delete(CONFIG_MAPS, name)
            written.discard(name)
        self._unsure.discard(inventory.id)

    def unsure(self, identity: WorkloadId) -> bool:
        """Return whether a record may say something else than is thought, for a write was cut short or refused.

        It may lack objects that are thought to be in it: it has to be written before anything is applied.
        """
        return identity in self._unsure

    async def delete(self, identity: WorkloadId) -> None:
        """Forget a workload that has no objects any more."""
        self._unsure.add(identity)
        written = self._written.get(identity, set())
        for name in sorted(written):
            await self._namespace.delete(CONFIG_MAPS, name)
            written.discard(name)
        self._written.pop(identity, None)
        self._unsure.discard(identity)

    async def _put(self, name: str, identity: WorkloadId, data: bytes) -> None:
        manifest: dict[str, object] = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": name,
                "namespace": self._namespace.name,
                "labels": {_LABEL: "true"},
                "annotations": {_WORKLOAD: str(identity)},
            },
            "binaryData": {_KEY: base64.b64encode(data).decode("ascii")},
        }
        await self._namespace.apply(CONFIG_MAPS, name, manifest)
