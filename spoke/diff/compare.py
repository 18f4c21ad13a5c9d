"""One object: what is in the cluster against what an apply would make of it, or against its deletion.

The API server says what an apply would come to (a dry run of the very manifest that would be sent), so that defaults,
conversions and webhooks are in it. Nothing is changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson

from felloe.annotations import policy
from felloe.bundle import Entry, Workload, object_id_to_proto, workload_id_to_proto
from felloe.digest import Digest
from felloe.errors import BundleError, FelloeError, KubernetesError
from felloe.identity import ObjectId, WorkloadId
from felloe.v1 import diff_pb2 as pb
from spoke.apply.inventory import Inventory, Item
from spoke.apply.objects import belongs, find_resource
from spoke.apply.plan import CRD, NAMESPACE
from spoke.apply.prepare import applied_key, desired, expires, manifest, on_top_of, variables_digest
from spoke.apply.recreate import advised, immutable, may_recreate, tried
from spoke.diff.takeover import without_taken
from spoke.diff.text import cleaned, shortened, unified
from spoke.kube.client import Json, KubeClient
from spoke.kube.discovery import Discovery, NoSuchKindError, Resource
from spoke.kube.errors import CONFLICT, NOT_FOUND, no_request_succeeds
from spoke.kube.shapes import metadata_of

if TYPE_CHECKING:
    from felloe.k8syaml import JsonValue

_CONFLICTS: Final = 4


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an object may rest on: who wants which object, and the kinds that definitions of the bundle add."""

    claims: Mapping[ObjectId, WorkloadId]
    defined: Collection[tuple[str, str]]
    """Group and kind."""


class Comparison:
    """Compares objects of one workload, as `client`'s user. Raises KubernetesError where no request succeeds."""

    def __init__(
        self, client: KubeClient, discovery: Discovery, blob: Callable[[Digest], bytes | None], around: Surroundings
    ) -> None:
        self._client = client
        self._discovery = discovery
        self._blob = blob
        self._around = around

    async def wanted(self, workload: Workload, entry: Entry, item: Item | None) -> pb.ObjectDifference | None:
        """Return what an apply would change of an object, None for nothing; `item` is its place in the inventory."""
        said = _Said(workload.id, entry.id, entry.api_version)
        claimant = self._around.claims.get(entry.id, workload.id)
        if claimant != workload.id:
            return said.failed(f"{claimant} wants this object too, and comes first: remove it from one")
        try:
            obj = desired(self._content(entry), entry, workload)
            if policy(metadata_of(obj)).left_alone:
                return said.skipped("it is left alone: its annotations in Git say so")
            return await self._compare(said, workload, entry, item, obj)
        except KubernetesError as error:
            if no_request_succeeds(error):
                raise
            return said.failed(str(error))
        except FelloeError as error:
            return said.failed(str(error))

    async def unwanted(self, inventory: Inventory, identity: ObjectId) -> pb.ObjectDifference | None:
        """Return what deleting an object that is not wanted any more comes to, None where it is gone already."""
        item = inventory.items[identity]
        said = _about(inventory, identity)
        try:
            resource = await self._discovery.find_any(identity.group, item.version, identity.kind)
            live = await self._live(identity, resource)
        except NoSuchKindError:
            return None
        except KubernetesError as error:
            if no_request_succeeds(error):
                raise
            return said.failed(str(error))
        if live is None:
            return None
        if not belongs(metadata_of(live), inventory.id, inventory.inherited):
            return said.skipped("it stays: it does not carry this workload's labels any more")
        if not policy(metadata_of(live)).prunable:
            return said.skipped("it stays: its annotations in the cluster say so")
        difference = await said.changed(live, None, resource.version)
        if difference is not None and identity[:2] in (NAMESPACE, CRD):
            difference.message = "it is deleted once nothing that is not ours is in it"
        return difference

    async def kept(self, inventory: Inventory, identity: ObjectId) -> pb.ObjectDifference | None:
        """Return that an object stays which is not wanted any more, since another hub had it applied."""
        return _about(inventory, identity).skipped("it stays: the hub that had this cluster before had it applied")

    # -- one object

    def _content(self, entry: Entry) -> bytes:
        blob = self._blob(entry.digest)
        if blob is None:
            raise BundleError(f"the content of {entry.id} is not here yet: try again in a moment")
        return blob

    async def _compare(
        self, said: _Said, workload: Workload, entry: Entry, item: Item | None, obj: dict[str, JsonValue]
    ) -> pb.ObjectDifference | None:
        try:
            resource = await find_resource(self._discovery, entry.id, entry.version)
        except NoSuchKindError:
            if entry.id[:2] not in self._around.defined:
                raise
            return await said.created_as_in_git(obj, workload, "its kind is not defined yet")
        live = await self._live(entry.id, resource)
        if live is None and item is not None and expires(obj):
            if item.applied == applied_key(entry, variables_digest(workload)):
                return None  # it has run, and the cluster has removed it
        elif live is not None and (why := _left_alone(obj, live)):
            return said.skipped(why)
        try:
            try:
                merged = await self._merged(workload, entry, resource, obj, live)
            except KubernetesError as error:
                own = policy(metadata_of(obj)).forced or policy(metadata_of(live or {})).forced
                may = may_recreate(entry.id, workload=workload.options.force, own=own)
                if live is None or (field := immutable(error, tried=may)) is None:
                    raise
                if not may:
                    raise advised(entry.id, field, error) from None
                merged = await tried(self._client, entry.id, resource, orjson.loads(manifest(obj, workload.id)), live)
                return await said.recreated(live, merged, field)
        except KubernetesError as error:
            if live is None and error.status == NOT_FOUND and self._namespace_to_come(entry.id):
                return await said.created_as_in_git(obj, workload, "its namespace is not there yet")
            raise
        return await said.changed(live, merged, entry.version)

    def _namespace_to_come(self, identity: ObjectId) -> bool:
        return ObjectId(*NAMESPACE, "", identity.namespace) in self._around.claims

    async def _live(self, identity: ObjectId, resource: Resource) -> Json | None:
        try:
            return await self._client.get(resource.path(identity.namespace, identity.name))
        except KubernetesError as error:
            if error.status == NOT_FOUND:
                return None
            raise

    async def _merged(
        self, workload: Workload, entry: Entry, resource: Resource, obj: dict[str, JsonValue], live: Json | None
    ) -> Mapping[str, object]:
        """Return what the API server would make of an apply."""
        path = resource.path(entry.id.namespace, entry.id.name)
        for attempt in range(_CONFLICTS):
            sent = on_top_of(obj, live, entry.ignore) if live is not None and entry.ignore else obj
            try:
                answer = await self._client.apply(path, manifest(sent, workload.id), dry_run=True)
                return answer.json() if policy(metadata_of(obj)).merged else without_taken(answer.json())
            except KubernetesError as error:
                if error.status != CONFLICT or sent is obj or attempt == _CONFLICTS - 1:
                    raise
            live = await self._live(entry.id, resource)
        raise AssertionError("unreachable")


@dataclass(frozen=True, slots=True)
class _Said:
    """Whose and which object it is about."""

    workload: WorkloadId
    id: ObjectId
    api_version: str

    def skipped(self, why: str) -> pb.ObjectDifference:
        return self._difference(pb.CHANGE_SKIPPED, message=why)

    def failed(self, why: str) -> pb.ObjectDifference:
        return self._difference(pb.CHANGE_FAILED, message=why)

    async def changed(
        self, live: Mapping[str, object] | None, merged: Mapping[str, object] | None, version: str
    ) -> pb.ObjectDifference | None:
        before = None if live is None else cleaned(live)
        after = None if merged is None else cleaned(merged)
        if before == after:
            return None
        diff = shortened(await asyncio.to_thread(unified, self.id, version, before, after))
        change = pb.CHANGE_CREATE if before is None else pb.CHANGE_DELETE if after is None else pb.CHANGE_UPDATE
        return self._difference(change, diff=diff)

    async def recreated(self, live: Json, made: Json, field: str) -> pb.ObjectDifference | None:
        difference = await self.changed(live, made, self.api_version.rpartition("/")[2])
        if difference is not None:
            difference.change = pb.CHANGE_RECREATE
            difference.message = f"it is deleted and made again: {field or 'a field of it'} can't be changed"
        return difference

    async def created_as_in_git(
        self, obj: dict[str, JsonValue], workload: Workload, why: str
    ) -> pb.ObjectDifference | None:
        """Return the making of an object that the API server can't try out yet."""
        version = self.api_version.rpartition("/")[2]
        difference = await self.changed(None, orjson.loads(manifest(obj, workload.id)), version)
        if difference is not None:
            difference.message = f"as it is in Git, without the API server's defaults, for {why}"
        return difference

    def _difference(self, change: pb.Change, *, diff: str = "", message: str = "") -> pb.ObjectDifference:
        return pb.ObjectDifference(
            workload=workload_id_to_proto(self.workload),
            id=object_id_to_proto(self.id),
            api_version=self.api_version,
            change=change,
            diff=diff,
            message=message,
        )


def _about(inventory: Inventory, identity: ObjectId) -> _Said:
    version = inventory.items[identity].version
    return _Said(inventory.id, identity, f"{identity.group}/{version}" if identity.group else version)


def _left_alone(obj: Mapping[str, JsonValue], live: Json) -> str:
    """Return why an object that is there would not be touched; empty where it would."""
    if policy(metadata_of(live)).left_alone:
        return "it is left alone: its annotations in the cluster say so"
    return "it is there, and made only once (ssa: IfNotPresent)" if policy(metadata_of(obj)).once else ""
