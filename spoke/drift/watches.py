"""Watches of what is managed, by label: what drives healing and health without a single request of its own.

The spoke itself watches a kind everywhere. Where it may not, and always for a workload that is applied as a service
account, which need not have rights elsewhere, it watches the kind in each namespace that has managed objects.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final, NamedTuple

from felloe.errors import KubernetesError
from felloe.identity import ObjectId
from felloe.labels import WORKLOAD_NAME
from spoke.drift.live import LiveObjects
from spoke.kube.client import Json, KubeClient
from spoke.kube.discovery import Discovery, Resource
from spoke.kube.errors import FORBIDDEN
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

_LISTED_RATHER: Final = 50

_log = logging.getLogger(__name__)


def metadata_only(resource: Resource, live: LiveObjects) -> bool:
    """Return whether a kind's metadata is all that a spoke needs of it."""
    kind = resource.group, resource.kind
    return kind in _CONTENT_IS_NO_MATTER and not live.whole(*kind)


def typed(obj: Json, resource: Resource) -> Json:
    """Give an object the kind that lists and metadata-only answers leave out."""
    api_version = f"{resource.group}/{resource.version}" if resource.group else resource.version
    obj["apiVersion"], obj["kind"] = api_version, resource.kind
    return obj


class Need(NamedTuple):
    """Objects of a kind in a namespace (empty for a kind without) that `user` is to watch; empty: the spoke itself."""

    user: str
    group: str
    kind: str
    namespace: str


@dataclass(frozen=True, slots=True)
class _Watch:
    """One watch; the namespace of its key is empty where it sees all. `whole`: not the metadata alone."""

    feed: _Feed
    reflector: Reflector
    task: asyncio.Task[None]
    whole: bool


class Watches:
    """The watches of one spoke. Each is a task in `tasks` until `retain` no longer names what it sees."""

    def __init__(self, live: LiveObjects, discovery: Discovery, tasks: asyncio.TaskGroup) -> None:
        self._live = live
        self._discovery = discovery
        self._tasks = tasks
        self._watches: dict[Need, _Watch] = {}
        self._narrow: set[Kind] = set()

    async def ensure(
        self, client: KubeClient, resource: Resource, namespaces: Collection[str], timeout: float = 30.0
    ) -> KubernetesError | None:
        """Watch a kind in some namespaces as the client's user, and wait until what there is of it is known.

        A new watch sees what changes after that as soon as it is released, or ten seconds later. Return what the API
        server refuses for now, if it does.
        """
        kind = (resource.group, resource.kind)
        if not resource.namespaced:
            return await self._answered([self._watch(client, resource, "")], timeout)
        if not client.user and kind not in self._narrow:
            problem = await self._answered([self._watch(client, resource, "")], timeout)
            if problem is None or problem.status != FORBIDDEN:
                return problem
            self._narrow.add(kind)
            if refused := self._watches.pop(Need("", *kind, ""), None):  # another workload may have found out already
                refused.task.cancel()
        return await self._answered([self._watch(client, resource, each) for each in sorted(namespaces)], timeout)

    def release(self, resources: Collection[Resource], applied: int) -> None:
        """Follow what is going on from now on, after so many objects were applied under new watches."""
        kinds = {(resource.group, resource.kind) for resource in resources}
        for need, watch in self._watches.items():
            if (need.group, need.kind) in kinds:
                watch.reflector.release(outdated=applied > _LISTED_RATHER)

    def again(self) -> None:
        """Try at once what was refused, or not served: rights or kinds may have changed."""
        for watch in self._watches.values():
            if watch.feed.problem is not None:
                watch.reflector.again()

    def retain(self, needs: Collection[Need]) -> None:
        """Stop the watches of what nobody needs any more."""
        exact = set(needs)
        kinds = {need[:3] for need in exact}
        stopped: set[Kind] = set()
        for need in list(self._watches):
            if (need in exact) if need.namespace else (need[:3] in kinds):
                continue
            self._watches.pop(need).task.cancel()
            stopped.add((need.group, need.kind))
        for kind in stopped:
            seen = {need.namespace for need in self._watches if need[1:3] == kind}
            for identity in self._live.of_kind(*kind) if "" not in seen else ():
                if identity.namespace not in seen:
                    self._live.forget(identity)

    def _watch(self, client: KubeClient, resource: Resource, namespace: str) -> _Feed:
        need = Need(client.user, resource.group, resource.kind, namespace)
        whole = not metadata_only(resource, self._live)
        if (known := self._watches.get(need)) is not None and known.whole != whole:
            self._watches.pop(need).task.cancel()
        if need not in self._watches:
            feed = _Feed(resource, namespace, self._live, self._discovery)
            reflector = Reflector(
                client,
                resource.collection(namespace),
                {"labelSelector": WORKLOAD_NAME},
                feed,
                metadata_only=not whole,
                held=True,
                moved=feed.moved,
            )
            task = self._tasks.create_task(reflector.run(), name=f"watch {resource.kind} {namespace}")
            self._watches[need] = _Watch(feed, reflector, task, whole)
        return self._watches[need].feed

    @staticmethod
    async def _answered(feeds: Collection[_Feed], timeout: float) -> KubernetesError | None:
        try:
            async with asyncio.timeout(timeout):
                for feed in feeds:
                    await feed.answered.wait()
        except TimeoutError:
            return KubernetesError(f"the API server does not list what there is within {timeout:.0f} s")
        return next((feed.problem for feed in feeds if feed.problem is not None), None)


class _Feed:
    """Takes what one watch sees into what is live. `problem` says why it sees nothing at the moment."""

    def __init__(self, resource: Resource, namespace: str, live: LiveObjects, discovery: Discovery) -> None:
        self._resource = resource
        self._namespace = namespace
        self._live = live
        self._discovery = discovery
        self.answered = asyncio.Event()
        self.problem: KubernetesError | None = None

    def seen(self, obj: Json) -> None:
        self._live.seen(self._identity(key_of(obj)), typed(obj, self._resource))

    def gone(self, obj: Json) -> None:
        self._live.gone(self._identity(key_of(obj)), typed(obj, self._resource))

    def listed(self, keys: set[Key], version: int) -> None:
        for identity in self._live.of_kind(self._resource.group, self._resource.kind):
            known = self._live.get(identity)
            if self._namespace and identity.namespace != self._namespace:
                continue
            # What we applied after the list was made is not in it, and not gone.
            if (
                known
                and (identity.namespace, identity.name) not in keys
                and known.version <= (version or known.version)
            ):
                self._live.gone(identity)
        self.problem = None
        self.answered.set()

    def failed(self, error: KubernetesError) -> None:
        if self.problem is None:
            _log.warning("event=watch-failed kind=%s error=%r", self._resource.kind, str(error))
        self.problem = error
        self.answered.set()

    async def moved(self) -> str:
        """Return the path of a version that is served now, since the one of before is not: the kind is the same."""
        known = self._resource
        self._discovery.forget(known.group, known.kind)
        self._resource = await self._discovery.find_any(known.group, known.version, known.kind)
        return self._resource.collection(self._namespace)

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
