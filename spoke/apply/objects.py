"""One object: applied, or deleted if it is still ours."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from felloe.annotations import policy
from felloe.errors import FelloeError, KubernetesError
from felloe.identity import ObjectId, WorkloadId
from felloe.labels import WORKLOAD_LABELS
from spoke.apply.deletion import Became, Deletion, Pruned
from spoke.apply.inventory import OwnerLabels
from spoke.apply.occupants import Occupants
from spoke.apply.recreate import make_room
from spoke.apply.strangers import Found, Stranger, strangers, take_over
from spoke.drift.fields import handed_over, taken_over
from spoke.drift.live import Live, LiveObjects, owner
from spoke.drift.watches import metadata_only, typed
from spoke.kube.client import METADATA_ONLY, Json, KubeClient
from spoke.kube.discovery import Discovery, NoSuchKindError, Resource
from spoke.kube.errors import CONFLICT, FORBIDDEN, NOT_FOUND, is_gone, is_nowhere
from spoke.kube.shapes import metadata_of, version_of

Manifest = Callable[[Mapping[str, str]], bytes]
"""Returns the bytes to apply to an object of this uid and resourceVersion; of any, or none, where none are given."""
_RELEASE_ATTEMPTS: Final = 8
_LOOKS: Final = 2
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Applied:
    """What an apply left behind; `created` tells that the object was not there before."""

    live: Live
    created: bool


class Objects:
    """Applies and deletes single objects. Errors carry the API server's own message.

    Requests are those of `client`'s user; `own` is the spoke's own client, to look what is gone.
    """

    def __init__(self, client: KubeClient, own: KubeClient, discovery: Discovery, live: LiveObjects) -> None:
        self._client = client
        self._own = own
        self._discovery = discovery
        self._live = live

    async def resource(self, identity: ObjectId, version: str) -> Resource:
        """Return the kind of an object that is to be applied.

        Raise NoSuchKindError where it is not served, FelloeError where the object lacks its namespace.
        """
        return await find_resource(self._discovery, identity, version)

    async def strangers(self, wanted: Iterable[tuple[ObjectId, Resource]]) -> Found:
        """Return what is there of objects that are not known as ours."""
        return await strangers(self._client, wanted)

    async def take_over(self, identity: ObjectId, resource: Resource, stranger: Stranger) -> None:
        """Make the fields of an object ours that those before us wrote."""
        await take_over(self._client, resource.path(identity.namespace, identity.name), stranger)

    async def apply(
        self,
        identity: ObjectId,
        resource: Resource,
        manifest: Manifest,
        at: Mapping[str, str],
        lost: Callable[[], None] | None = None,
    ) -> Applied:
        """Server-side apply an object; what the API server answers is not taken into what is live yet.

        `at` are the uid and resourceVersion that it must have, empty where it may be made. What somebody owns by hand
        is taken over, and goes where it is not in the manifest. `lost` is called when a request got no answer.
        """
        accept = self._accept(resource)
        path = resource.path(identity.namespace, identity.name)
        try:
            answer = await self._client.apply(path, manifest(at), accept=accept, lost=lost)
        except KubernetesError as error:
            if is_nowhere(error):
                self._discovery.forget(identity.group, identity.kind)
                await self._discovery.find(identity.group, resource.version, identity.kind)  # or says what is served
            raise
        obj, created = typed(answer.json(), resource), answer.created
        metadata = metadata_of(obj)
        if not created and (managers := taken_over(metadata)) is not None:
            try:
                now = await self._client.replace_managers(path, str(metadata.get("resourceVersion") or ""), managers)
                again = await self._client.apply(path, manifest(version_of(metadata_of(now))), accept=accept)
                obj = typed(again.json(), resource)
            except KubernetesError as error:
                if error.status not in (CONFLICT, NOT_FOUND):
                    raise  # else it changed meanwhile: the watch tells, and it is looked at again
        return Applied(self._live.read(identity, obj).settled, created)

    def _accept(self, resource: Resource) -> str:
        return METADATA_ONLY if metadata_only(resource, self._live) else "application/json"

    async def uid(self, identity: ObjectId) -> str:
        """Return the uid of an object, in whatever version its kind is served; empty where it is not there."""
        try:
            resource = await self._discovery.find_any(identity.group, "", identity.kind)
        except NoSuchKindError:
            return ""
        return (await self.version(identity, resource)).get("uid", "")

    async def version(self, identity: ObjectId, resource: Resource) -> dict[str, str]:
        """Return uid and resourceVersion of an object, nothing where it is not there."""
        try:
            found = await self._client.get(resource.path(identity.namespace, identity.name), accept=METADATA_ONLY)
        except KubernetesError as error:
            if error.status == NOT_FOUND:
                return {}
            raise
        return version_of(metadata_of(found))

    async def read(self, identity: ObjectId, resource: Resource) -> Json | None:
        """Return an object whole, as it is in the cluster; None where it is not there."""
        try:
            return typed(await self._client.get(resource.path(identity.namespace, identity.name)), resource)
        except KubernetesError as error:
            if error.status == NOT_FOUND:
                return None
            raise

    async def look(self, identity: ObjectId, version: str) -> None:
        """Take in an object as it is now, without a change to it; one that is gone or unknown is left to its watch."""
        try:
            resource = await self._discovery.find(identity.group, version, identity.kind)
            accept = self._accept(resource)
            obj = await self._client.get(resource.path(identity.namespace, identity.name), accept=accept)
        except KubernetesError as error:
            if error.status != NOT_FOUND and not isinstance(error, NoSuchKindError):
                raise
        else:
            self._live.seen(identity, typed(obj, resource))

    async def make_room(self, identity: ObjectId, resource: Resource, manifest: bytes) -> None:
        """Delete an object that can't become what the manifest says, see spoke.apply.recreate."""
        await make_room(self._client, identity, resource, manifest)

    async def exists(self, identity: ObjectId, version: str) -> bool:
        """Return whether an object is there to stay, ours or not; one that we may not see is taken to be.

        One that is being deleted is not: it comes back as a new one.
        """
        try:
            resource = await self._discovery.find_any(identity.group, version, identity.kind)
            found = await self._client.get(resource.path(identity.namespace, identity.name), accept=METADATA_ONLY)
        except KubernetesError as error:
            if error.status == NOT_FOUND or isinstance(error, NoSuchKindError):
                return False
            if error.status != FORBIDDEN:
                raise
            return True
        return not metadata_of(found).get("deletionTimestamp")

    async def prune(
        self,
        identity: ObjectId,
        version: str,
        workload: WorkloadId,
        inherited: Iterable[OwnerLabels] = (),
        kept: str = "",
        *,
        force: bool = False,
    ) -> Became:
        """Delete an object that is not wanted any more, see spoke.apply.deletion.

        Labels of a former owner, from which the workload has inherited, count as long as no labels of ours are there.
        Of Namespaces and CRDs, without `force`, only those are deleted in which nothing is that isn't ours. It is left
        where it is the same object as one of another API group that is wanted, which has the uid `kept`.
        """
        occupants = Occupants(self._own, self._discovery)

        async def objection(identity: ObjectId, path: str, metadata: Mapping[str, object]) -> str:
            return "" if force or policy(metadata).prune_forced else await occupants.refusal(identity, path)

        def ours(metadata: Mapping[str, object]) -> bool:
            return belongs(metadata, workload, inherited)

        async def delete(path: str) -> Became:
            return await Deletion(self._client, self._own).delete(identity, path, ours, objection, kept)

        became = await self._where_served(identity, version, delete)
        return Pruned.GONE if became is None else became

    async def is_ours(self, identity: ObjectId, version: str, workload: WorkloadId) -> bool:
        """Return whether an object carries a workload's labels, as far as the spoke itself may see that."""

        async def look(path: str) -> bool:
            return owner(metadata_of(await self._own.get(path, accept=METADATA_ONLY))) == workload

        try:
            return await self._where_served(identity, version, look) or False
        except KubernetesError as error:
            if is_gone(error) or error.status == FORBIDDEN:
                return False
            raise

    async def _where_served(self, identity: ObjectId, version: str, work: Callable[[str], Awaitable[_T]]) -> _T | None:
        """Do some work on an object that was applied once, at its path of today; None where it can't be there any more.

        Raise KubernetesError where its kind is defined and can't be found now, which says nothing of the object.
        """
        for _ in range(_LOOKS):
            resource = await self._kind_of_before(identity, version)
            if resource is None:
                return None
            try:
                return await work(resource.path(identity.namespace, identity.name))
            except KubernetesError as error:
                if not is_nowhere(error):
                    raise
                self._discovery.forget(identity.group, identity.kind)  # another version is served by now, or none
        raise KubernetesError(f"{identity}: its kind is not served as the API server says it is", status=503)

    async def _kind_of_before(self, identity: ObjectId, version: str) -> Resource | None:
        try:
            resource = await self._discovery.find_any(identity.group, version, identity.kind)
            if resource.namespaced != bool(identity.namespace):
                self._discovery.forget(identity.group, identity.kind)
                resource = await self._discovery.find_any(identity.group, version, identity.kind)
        except NoSuchKindError:
            if why := await self._discovery.hidden(identity.group, identity.kind):
                raise KubernetesError(f"{identity}: {why}", status=503) from None
            return None
        # In another scope than its own its path would be that of another object.
        return resource if resource.namespaced == bool(identity.namespace) else None

    async def _is_gone(self, path: str) -> bool:
        """Return whether there is nothing left that somebody without rights might delete.

        A namespace takes its objects along and its role bindings first: the end of a workload must not hang on that.
        """
        if not self._client.user:
            return False
        try:
            await self._own.get(path, accept=METADATA_ONLY)
        except KubernetesError as error:
            return is_gone(error)
        return False

    async def release(
        self, identity: ObjectId, version: str, workload: WorkloadId, labels: Mapping[str, str], manager: str
    ) -> None:
        """Take this workload's labels off an object, put `labels` on it, and give our fields to another manager.

        Nothing else of it changes. An object that is gone, or somebody else's, is left alone.
        """

        async def give_back(path: str) -> None:
            await self._give_back(identity, path, workload, labels, manager)

        await self._where_served(identity, version, give_back)

    async def _give_back(
        self, identity: ObjectId, path: str, workload: WorkloadId, labels: Mapping[str, str], manager: str
    ) -> None:
        for _ in range(_RELEASE_ATTEMPTS):
            try:
                metadata = metadata_of(await self._client.get(path, accept=METADATA_ONLY))
                if owner(metadata) != workload:
                    return
                rest = {key: value for key, value in _labels(metadata).items() if key not in WORKLOAD_LABELS}
                operations: list[Mapping[str, object]] = [
                    {"op": "add", "path": "/metadata/labels", "value": {**rest, **labels}},
                    {"op": "replace", "path": "/metadata/managedFields", "value": handed_over(metadata, manager)},
                ]
                await self._client.patch(path, str(metadata.get("resourceVersion") or ""), operations, manager=manager)
            except KubernetesError as error:
                if is_gone(error) or (error.status == FORBIDDEN and await self._is_gone(path)):
                    return
                if error.status != CONFLICT:
                    raise
            else:
                return
        raise KubernetesError(f"{identity} changes faster than it can be released", status=CONFLICT)


def _labels(metadata: Mapping[str, object]) -> dict[str, str]:
    labels = metadata.get("labels")
    return {str(key): str(value) for key, value in labels.items()} if isinstance(labels, Mapping) else {}


def _carries_any(metadata: Mapping[str, object], sets: Iterable[OwnerLabels]) -> bool:
    labels = _labels(metadata).items()
    return any(set(wanted) <= labels for wanted in sets)


def belongs(metadata: Mapping[str, object], workload: WorkloadId, inherited: Iterable[OwnerLabels] = ()) -> bool:
    """Return whether an object carries the labels of a workload, or none of ours but those of its former owner."""
    holder = owner(metadata)
    return holder == workload or (holder is None and _carries_any(metadata, inherited))


async def find_resource(discovery: Discovery, identity: ObjectId, version: str) -> Resource:
    """Return the kind of an object that is to be applied.

    Raise NoSuchKindError where it is not served, FelloeError where the object lacks its namespace, or has one too many.
    """
    resource = await discovery.find(identity.group, version, identity.kind)
    if resource.namespaced != bool(identity.namespace):  # or its kind was made anew, for another scope
        discovery.forget(identity.group, identity.kind)
        resource = await discovery.find(identity.group, version, identity.kind)
    if resource.namespaced and not identity.namespace:
        raise FelloeError(
            f"{identity}: namespace not specified: set metadata.namespace in the object, "
            "or targetNamespace in the Kustomization"
        )
    if not resource.namespaced and identity.namespace:
        raise FelloeError(
            f"{identity}: {identity.kind} is cluster-scoped: remove metadata.namespace, here {identity.namespace!r}"
        )
    return resource
