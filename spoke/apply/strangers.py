"""What is already in the cluster under the name of an object that we are about to make, and is not marked as ours.

The watches see only what carries our labels. An object that somebody else made is looked at before it is touched: it
may say that it is to be left alone, and its fields are taken over first, so that it changes once and not twice.
Whole namespaces are listed where many objects are to be made, metadata only and page by page.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from felloe.annotations import Policy, policy
from felloe.errors import KubernetesError
from felloe.identity import ObjectId
from spoke.apply.concurrency import bounded
from spoke.drift.fields import LAST_APPLIED, Json, taken_over
from spoke.kube.client import METADATA_ONLY, KubeClient
from spoke.kube.discovery import Resource
from spoke.kube.errors import CONFLICT, FORBIDDEN, NOT_FOUND, is_nowhere, no_request_succeeds
from spoke.kube.shapes import metadata_of
from spoke.kube.watch import LIST_METADATA_ONLY

_ONE_BY_ONE: Final = 4
_ATTEMPTS: Final = 4
_PAGE: Final = "500"


@dataclass(frozen=True, slots=True)
class Stranger:
    """An object as it was found. `managers` says who owns its fields once it is taken over, None if nothing changes."""

    policy: Policy
    version: str
    managers: Sequence[Json] | None = None
    leftovers: tuple[str, ...] = ()


Found = Mapping[ObjectId, Stranger | KubernetesError]
"""By object that is there, or that can't be looked at."""


async def strangers(client: KubeClient, wanted: Iterable[tuple[ObjectId, Resource]]) -> Found:
    """Return what there is of the objects wanted. Raise KubernetesError with status 0 where the API server is away."""
    groups: dict[tuple[Resource, str], set[ObjectId]] = {}
    for identity, resource in wanted:
        groups.setdefault((resource, identity.namespace), set()).add(identity)
    found: dict[ObjectId, Stranger | KubernetesError] = {}
    alone: list[tuple[ObjectId, Resource]] = []
    for (resource, namespace), identities in groups.items():
        if len(identities) > _ONE_BY_ONE:
            unseen = await _listed(client, resource, namespace, identities, found)
        else:
            unseen = identities
        alone += [(identity, resource) for identity in unseen]
    await bounded(lambda each: _alone(client, *each, found), alone)
    return found


async def _listed(
    client: KubeClient,
    resource: Resource,
    namespace: str,
    identities: set[ObjectId],
    found: dict[ObjectId, Stranger | KubernetesError],
) -> set[ObjectId]:
    """Look for objects in a list; return those that are left to be looked at one by one, the list being too long."""
    names = {identity.name: identity for identity in identities}
    token, pages = "", 0
    while pages * _ONE_BY_ONE < len(identities):
        pages += 1
        params = {"limit": _PAGE} | ({"continue": token} if token else {})
        try:
            answer = await client.get(resource.collection(namespace), params, accept=LIST_METADATA_ONLY)
        except KubernetesError as error:
            if error.status == FORBIDDEN:
                break
            if is_nowhere(error):
                return set()  # its apply says so, and hides no other kind
            raise
        items = answer.get("items")
        for item in items if isinstance(items, list) else []:
            metadata = metadata_of(item)
            if (identity := names.get(str(metadata.get("name")))) and metadata.get("namespace", "") == namespace:
                found[identity] = _stranger(metadata)
        token = str(metadata_of(answer).get("continue") or "")
        if not token:
            return set()
    return identities - found.keys()


async def _alone(
    client: KubeClient, identity: ObjectId, resource: Resource, found: dict[ObjectId, Stranger | KubernetesError]
) -> None:
    try:
        obj = await client.get(resource.path(identity.namespace, identity.name), accept=METADATA_ONLY)
    except KubernetesError as error:
        if no_request_succeeds(error):
            raise
        if error.status != NOT_FOUND:
            found[identity] = error
    else:
        found[identity] = _stranger(metadata_of(obj))


def _stranger(metadata: Json) -> Stranger:
    annotations = metadata.get("annotations")
    leftovers = (LAST_APPLIED,) if isinstance(annotations, Mapping) and LAST_APPLIED in annotations else ()
    managers = taken_over(metadata)
    if managers is None and leftovers:
        entries = metadata.get("managedFields")
        managers = entries if isinstance(entries, list) else None
    says = policy(metadata)
    return Stranger(
        says, str(metadata.get("resourceVersion") or ""), managers, () if says.merged or managers is None else leftovers
    )


async def take_over(client: KubeClient, path: str, stranger: Stranger) -> None:
    """Make the fields ours that those before us wrote, so that the next apply removes what is not in Git.

    One that changes meanwhile, as a Deployment does while its pods come up, is looked at again: what is taken over only
    when it is ours changes it twice, which is two rollouts.
    """
    for attempt in range(_ATTEMPTS):
        try:
            if attempt:
                stranger = _stranger(metadata_of(await client.get(path, accept=METADATA_ONLY)))
            if stranger.managers is not None and not stranger.policy.merged:
                await client.replace_managers(path, stranger.version, stranger.managers, without=stranger.leftovers)
        except KubernetesError as error:
            if error.status == NOT_FOUND:
                return
            if error.status != CONFLICT:
                raise
        else:
            return
