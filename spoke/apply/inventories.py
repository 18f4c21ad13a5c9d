"""Where inventories are kept: ConfigMaps of the spoke's own namespace, in the cluster that they are about."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from felloe.errors import StoreError
from felloe.identity import ObjectId, WorkloadId
from felloe.labels import GROUP
from spoke.apply.inventory import CHANGES, Inventory, Item, decode, encode, encode_changes
from spoke.cluster.namespace import CONFIG_MAPS, OwnNamespace, next_page

_LABEL: Final = f"{GROUP}/inventory"
_WORKLOAD: Final = f"{GROUP}/inventory-of"
_KEY: Final = "inventory.json.zst"
_PAGE: Final = 10
_CHANGES_AT_MOST: Final = 64
_SHARE_THAT_CHANGED: Final = 0.5


class Inventories:
    """Reads and writes the inventories of one cluster. Raises KubernetesError where the API server refuses."""

    def __init__(self, namespace: OwnNamespace) -> None:
        self._namespace = namespace
        self._written: dict[WorkloadId, set[str]] = {}
        self._unsure: set[WorkloadId] = set()
        self._serials: dict[WorkloadId, int] = {}
        self._known: dict[WorkloadId, Mapping[ObjectId, Item]] = {}
        """What the whole record says, apart from what was changed since."""

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
        """Make the cluster's record of a workload this one: whole, or in what differs where that is little."""
        known, unsure = self._known.get(inventory.id), inventory.id in self._unsure
        self._unsure.add(inventory.id)
        self._number(inventory)
        if known is None or unsure or (differing := _differing(known, inventory.items)) is None:
            await self._write_whole(inventory)
        else:
            name, data = f"{inventory.name}-{CHANGES}", encode_changes(inventory, *differing)
            self._written[inventory.id].add(name)
            await self._put(name, inventory.id, data)
        self._unsure.discard(inventory.id)

    def _number(self, inventory: Inventory) -> None:
        """Give a draft its serial; one that was given up had one too."""
        self._serials[inventory.id] = inventory.serial = max(inventory.serial, self._serials.get(inventory.id, 0)) + 1

    async def _write_whole(self, inventory: Inventory) -> None:
        items = dict(inventory.items)
        self._known.pop(inventory.id, None)
        written = self._written.setdefault(inventory.id, set())
        pieces = encode(inventory)
        for name, data in pieces.items():
            written.add(name)  # before: a write that is given up half way may have come through
            await self._put(name, inventory.id, data)
        for name in written - pieces.keys() - {f"{inventory.name}-{CHANGES}"}:  # that one is outdated by now
            await self._namespace.delete(CONFIG_MAPS, name)
            written.discard(name)
        self._known[inventory.id] = items

    def unsure(self, identity: WorkloadId) -> bool:
        """Return whether a record may say something else than is thought, for a write was cut short or refused.

        It may lack objects that are thought to be in it: it has to be written before anything is applied.
        """
        return identity in self._unsure

    async def delete(self, inventory: Inventory) -> None:
        """Forget a workload that has no objects any more.

        Where there are several pieces, it is written down first that it has none: some may be outdated, and say what
        is right no more, were they the ones that are left when this is cut short.
        """
        identity = inventory.id
        self._unsure.add(identity)
        written = self._written.get(identity, set())
        if len(written) > 1:
            nothing = replace(inventory, items={})
            self._number(nothing)
            await self._write_whole(nothing)
        self._known.pop(identity, None)
        for name in sorted(written, reverse=True):  # the changes, and then the piece that says all
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


def _differing(
    known: Mapping[ObjectId, Item], items: Mapping[ObjectId, Item]
) -> tuple[list[ObjectId], list[ObjectId]] | None:
    """Return which items are new or others, and which are no more; None where these are so many that all is written."""
    changed = [identity for identity, item in items.items() if known.get(identity) is not item]
    gone = [identity for identity in known if identity not in items] if len(items) < len(known) + len(changed) else []
    if len(changed) + len(gone) > min(_CHANGES_AT_MOST, len(items) * _SHARE_THAT_CHANGED):
        return None
    return changed, gone
