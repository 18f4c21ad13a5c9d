"""Deletes one object, if the one that is in the cluster is still ours, and tells what became of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Final, Protocol

from felloe.annotations import policy
from felloe.errors import KubernetesError
from felloe.identity import ObjectId
from spoke.apply.plan import NAMESPACE
from spoke.kube.client import METADATA_ONLY, KubeClient
from spoke.kube.errors import CONFLICT, FORBIDDEN, is_gone

Metadata = Mapping[str, object]
_ATTEMPTS: Final = 4


class Pruned(Enum):
    """What became of an object that is not wanted any more."""

    DELETED = "deleted"
    GONE = "was gone already"
    NOT_OURS = "left: it does not carry this workload's labels any more"
    KEPT = "left: its annotations or labels say that it is not to be deleted"
    WANTED = "left: it is wanted under the name of another API group"


@dataclass(frozen=True, slots=True)
class Leaving:
    """An object that is being deleted and still there: since when, and what the cluster says it waits for."""

    since: datetime
    finalizers: tuple[str, ...] = ()
    said: str = ""

    def __str__(self) -> str:
        what = f"its finalizers {', '.join(self.finalizers)}" if self.finalizers else "the cluster to be done with it"
        said = f" ({self.said})" if self.said else ""
        return f"is being deleted since {self.since:%Y-%m-%dT%H:%M:%SZ} and waits for {what}{said}"


@dataclass(frozen=True, slots=True)
class Refused:
    """Why an object that is not wanted any more is not deleted for now."""

    why: str


Became = Pruned | Leaving | Refused


class Objection(Protocol):
    """Tells what speaks against deleting an object, empty where nothing does."""

    async def __call__(self, identity: ObjectId, path: str, metadata: Metadata) -> str:
        """Return it."""
        ...


class Deletion:
    """Deletes as `client`; what that one may not see any more is looked at with the spoke's `own` rights."""

    def __init__(self, client: KubeClient, own: KubeClient) -> None:
        self._client = client
        self._own = own

    async def delete(
        self, identity: ObjectId, path: str, ours: Callable[[Metadata], bool], objection: Objection, kept: str = ""
    ) -> Became:
        """Delete an object if it, live, is still `ours` by its labels, dependents in the background.

        One that says ``prune: disabled`` (felloe.annotations) is kept, and so is, for now, one against which there
        is an objection; so is the one with the uid `kept`. Raise KubernetesError with the API server's words.
        """
        for attempt in range(_ATTEMPTS):
            try:
                metadata = await _metadata(self._client, path)
                if kept and metadata.get("uid") == kept:
                    return Pruned.WANTED
                if not ours(metadata):
                    return Pruned.NOT_OURS
                if not policy(metadata).prunable:
                    return Pruned.KEPT
                if metadata.get("deletionTimestamp"):
                    return await self._leaving(identity, path, metadata)
                if why := await objection(identity, path, metadata):
                    return Refused(why)
                # The version that carried the labels, so that nobody takes it over in between; a busy object changes
                # all the time, so the last attempt is content with the uid.
                version = "" if attempt == _ATTEMPTS - 1 else str(metadata.get("resourceVersion") or "")
                answer = (await self._client.delete(path, str(metadata.get("uid")), version)).json()
            except KubernetesError as error:
                if is_gone(error):
                    return Pruned.GONE
                if error.status == FORBIDDEN and (became := await self._on_its_way(identity, path)):
                    return became
                if error.status != CONFLICT:
                    raise
            else:
                # Some kinds answer with the object although it is gone.
                at_once = answer.get("kind") == "Status"
                return Pruned.DELETED if at_once else await self._after(identity, path, str(metadata.get("uid")))
        raise KubernetesError(f"{identity} changes faster than it can be deleted", status=CONFLICT)

    async def _after(self, identity: ObjectId, path: str, uid: str) -> Became:
        """Return what became of an object whose deletion was accepted."""
        try:
            metadata = await _metadata(self._own, path)
        except KubernetesError as error:
            if is_gone(error):
                return Pruned.DELETED
            raise
        return await self._leaving(identity, path, metadata) if metadata.get("uid") == uid else Pruned.DELETED

    async def _on_its_way(self, identity: ObjectId, path: str) -> Became | None:
        """Return what becomes of an object that may not be deleted, None where it simply stays.

        A namespace takes its role bindings along first: the end of a workload must not hang on that.
        """
        if not self._client.user:
            return None
        try:
            metadata = await _metadata(self._own, path)
        except KubernetesError as error:
            return Pruned.GONE if is_gone(error) else None
        return await self._leaving(identity, path, metadata) if metadata.get("deletionTimestamp") else None

    async def _leaving(self, identity: ObjectId, path: str, metadata: Metadata) -> Leaving:
        found = metadata.get("finalizers")
        finalizers = tuple(map(str, found)) if isinstance(found, list) else ()
        said = await self._what_remains(path) if identity[:2] == NAMESPACE else ""
        return Leaving(_deleted_at(metadata), finalizers, said)

    async def _what_remains(self, path: str) -> str:
        """Return what a namespace's controller says of its content."""
        status = (await self._own.get(path)).get("status")
        conditions = status.get("conditions") if isinstance(status, Mapping) else None
        return "; ".join(
            str(each.get("message"))
            for each in (conditions if isinstance(conditions, list) else [])
            if isinstance(each, Mapping) and each.get("status") == "True"
        )


def _deleted_at(metadata: Metadata) -> datetime:
    """Return when an object's deletion was asked for: its deletionTimestamp is that and the grace period later."""
    grace = metadata.get("deletionGracePeriodSeconds")
    try:
        at = datetime.fromisoformat(str(metadata.get("deletionTimestamp")))
    except ValueError:
        return datetime.now(UTC)
    return at - timedelta(seconds=grace if isinstance(grace, int) else 0)


async def _metadata(client: KubeClient, path: str) -> Metadata:
    metadata = (await client.get(path, accept=METADATA_ONLY)).get("metadata")
    return metadata if isinstance(metadata, Mapping) else {}
