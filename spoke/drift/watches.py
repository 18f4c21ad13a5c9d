"""One watch per managed kind, by label: what drives healing and health without a single request of its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Final

from felloe.errors import KubernetesError
from felloe.identity import ObjectId
from felloe.labels import WORKLOAD_NAME
from spoke.drift.live import LiveObjects
from spoke.kube.client import Json, KubeClient
from spoke.kube.discovery import Resource
from spoke.kube.watch import Key, Reflector, key_of

Kind = tuple[str, str]
"""Group and kind."""

_CONTENT_IS_NO_MATTER: Final = frozenset(
    {
        ("", "ConfigMap"),
        ("", "LimitRange"),
        ("", "Secret"),
        ("", "ServiceAccount"),
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"),
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
        ("networking.k8s.io", "NetworkPolicy"),
        ("rbac.authorization.k8s.io", "ClusterRole"),
        ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
        ("rbac.authorization.k8s.io", "Role"),
        ("rbac.authorization.k8s.io", "RoleBinding"),
        ("scheduling.k8s.io", "PriorityClass"),
        ("storage.k8s.io", "StorageClass"),
    }
)
"""Kinds whose health is that they exist. Only their metadata is asked for: a Secret's content never gets here."""

_log = logging.getLogger(__name__)


def metadata_only(group: str, kind: str) -> bool:
    """Return whether a kind's metadata is all that a spoke needs of it."""
    return (group, kind) in _CONTENT_IS_NO_MATTER


def typed(obj: Json, resource: Resource) -> Json:
    """Give an object the kind that lists and metadata-only answers leave out."""
    api_version = f"{resource.group}/{resource.version}" if resource.group else resource.version
    obj["apiVersion"], obj["kind"] = api_version, resource.kind
    return obj


class Watches:
    """The watches of one spoke. Each is a task in `tasks` until `retain` no longer names its kind."""

    def __init__(self, client: KubeClient, live: LiveObjects, tasks: asyncio.TaskGroup) -> None:
        self._client = client
        self._live = live
        self._tasks = tasks
        self._watches: dict[Kind, tuple[_Feed, asyncio.Task[None]]] = {}

    async def ensure(self, resource: Resource, timeout: float = 30.0) -> bool:
        """Watch a kind and wait until what there is of it is known; return False where that fails for now."""
        kind = (resource.group, resource.kind)
        if kind not in self._watches:
            feed = _Feed(resource, self._live)
            reflector = Reflector(
                self._client,
                resource.collection(),
                {"labelSelector": WORKLOAD_NAME},
                feed,
                metadata_only=metadata_only(*kind),
            )
            task = self._tasks.create_task(reflector.run(), name=f"watch {resource.kind}")
            self._watches[kind] = (feed, task)
        feed = self._watches[kind][0]
        try:
            async with asyncio.timeout(timeout):
                await feed.answered.wait()
        except TimeoutError:
            return False
        return feed.synced

    def retain(self, kinds: Iterable[Kind]) -> None:
        """Stop the watches of all other kinds."""
        for kind in self._watches.keys() - set(kinds):
            _, task = self._watches.pop(kind)
            task.cancel()
            for identity in self._live.of_kind(*kind):
                self._live.forget(identity)


class _Feed:
    """Takes what one watch sees into what is live."""

    def __init__(self, resource: Resource, live: LiveObjects) -> None:
        self._resource = resource
        self._live = live
        self.answered = asyncio.Event()
        self.synced = False

    def seen(self, obj: Json) -> None:
        self._live.seen(self._identity(key_of(obj)), typed(obj, self._resource))

    def gone(self, obj: Json) -> None:
        self._live.gone(self._identity(key_of(obj)), typed(obj, self._resource))

    def listed(self, keys: set[Key], version: int) -> None:
        for identity in self._live.of_kind(self._resource.group, self._resource.kind):
            known = self._live.get(identity)
            # What we applied after the list was made is not in it, and not gone.
            if (
                known
                and (identity.namespace, identity.name) not in keys
                and known.version <= (version or known.version)
            ):
                self._live.gone(identity)
        self.synced = True
        self.answered.set()

    def failed(self, error: KubernetesError) -> None:
        if not self.answered.is_set() or self.synced:
            _log.warning("event=watch-failed kind=%s error=%r", self._resource.kind, str(error))
        self.synced = False
        self.answered.set()

    def _identity(self, key: Key) -> ObjectId:
        return ObjectId(self._resource.group, self._resource.kind, *key)


class NamedObject:
    """One object that is not ours but is waited for (healthChecks); `changed` is called with it, None if it is gone."""

    def __init__(self, resource: Resource, changed: Callable[[Json | None], None]) -> None:
        self._resource = resource
        self._changed = changed

    def seen(self, obj: Json) -> None:
        """Take it as it is now."""
        self._changed(typed(obj, self._resource))

    def gone(self, obj: Json) -> None:
        """Take it that it was deleted."""
        self._changed(None)

    def listed(self, keys: set[Key], version: int) -> None:
        """Take it that it is not there."""
        if not keys:
            self._changed(None)

    def failed(self, error: KubernetesError) -> None:
        """Wait on: its health stays what it was."""
        _log.warning("event=watch-failed kind=%s error=%r", self._resource.kind, str(error))
