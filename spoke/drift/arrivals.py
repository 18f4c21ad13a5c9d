"""What objects may fail for the lack of, and nobody of us makes: followed while something lacks it, and only then.

A kind appears with its definition or API service, a namespace by itself, rights with roles and bindings, whoever makes
them. Each is watched as metadata, without a label, by the spoke itself; where it may not, what failed is tried again
by backoff alone. A quiet cluster in which nothing is lacking has none of these watches.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from felloe.errors import KubernetesError
from felloe.identity import ObjectId, WorkloadId
from spoke.kube.client import Json, KubeClient
from spoke.kube.discovery import NoSuchKindError, Resource
from spoke.kube.errors import FORBIDDEN, NOT_FOUND
from spoke.kube.watch import Key, Reflector, key_of

_log = logging.getLogger(__name__)


class Lack(Enum):
    """What an object may lack."""

    KIND = "kind"
    NAMESPACE = "namespace"
    RIGHTS = "rights"


_RBAC: Final = "rbac.authorization.k8s.io"
_FOLLOWED: Final[Mapping[Lack, tuple[Resource, ...]]] = {
    Lack.KIND: (
        Resource("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", False),
        Resource("apiregistration.k8s.io", "v1", "APIService", "apiservices", False),
    ),
    Lack.NAMESPACE: (Resource("", "v1", "Namespace", "namespaces", False),),
    Lack.RIGHTS: (
        Resource(_RBAC, "v1", "Role", "roles", True),
        Resource(_RBAC, "v1", "RoleBinding", "rolebindings", True),
        Resource(_RBAC, "v1", "ClusterRole", "clusterroles", False),
        Resource(_RBAC, "v1", "ClusterRoleBinding", "clusterrolebindings", False),
        Resource("", "v1", "ServiceAccount", "serviceaccounts", True),
    ),
}


@dataclass(frozen=True, slots=True)
class Arrival:
    """Something appeared or changed; without a name, it may have been anything."""

    lack: Lack
    namespace: str = ""
    name: str = ""

    def concerns(self, identity: ObjectId) -> bool:
        """Return whether an object that lacks this sort of thing may have waited for just this one."""
        if not self.name:
            return True
        if self.lack is Lack.KIND:
            return self.name.endswith(f".{identity.group}")  # <plural>.<group>, <version>.<group>
        if self.lack is Lack.NAMESPACE:
            return self.name == identity.namespace
        return self.namespace in ("", identity.namespace)


def lack_of(error: KubernetesError) -> Lack | None:
    """Return what a refusal says is not there, None where it says nothing of the sort."""
    message = str(error)
    if isinstance(error, NoSuchKindError):
        return Lack.KIND
    if error.status == NOT_FOUND:
        return Lack.NAMESPACE if 'namespaces "' in message else Lack.KIND
    if error.status == FORBIDDEN and not message.startswith("admission webhook"):
        return Lack.NAMESPACE if "is being terminated" in message else Lack.RIGHTS
    return None


class Arrivals:
    """Follows what is lacking; `arrived` is called with what appears. Each watch is in `tasks`."""

    def __init__(self, client: KubeClient, arrived: Callable[[Arrival], None], tasks: asyncio.TaskGroup) -> None:
        self._client = client
        self._arrived = arrived
        self._tasks = tasks
        self._lacking: dict[WorkloadId, frozenset[Lack]] = {}
        self._watches: dict[Lack, list[asyncio.Task[None]]] = {}

    def lacking(self, workload: WorkloadId, lacks: Collection[Lack]) -> None:
        """Follow what a workload lacks now, and nothing more that only it lacked."""
        if lacks:
            self._lacking[workload] = frozenset(lacks)
        elif self._lacking.pop(workload, None) is None:
            return
        wanted = frozenset[Lack]().union(*self._lacking.values())
        for lack in self._watches.keys() - wanted:
            for task in self._watches.pop(lack):
                task.cancel()
        for lack in wanted - self._watches.keys():
            self._watches[lack] = [self._follow(lack, resource) for resource in _FOLLOWED[lack]]

    def _follow(self, lack: Lack, resource: Resource) -> asyncio.Task[None]:
        feed = _Feed(lack, resource, self._arrived)
        reflector = Reflector(self._client, resource.collection(), {}, feed, metadata_only=True)
        return self._tasks.create_task(reflector.run(), name=f"await {resource.kind}")


class _Feed:
    """Tells what one watch sees, once it knows what there was before."""

    def __init__(self, lack: Lack, resource: Resource, arrived: Callable[[Arrival], None]) -> None:
        self._lack = lack
        self._resource = resource
        self._arrived = arrived
        self._listing = True

    def seen(self, obj: Json) -> None:
        if not self._listing:
            self._arrived(Arrival(self._lack, *key_of(obj)))

    def gone(self, obj: Json) -> None:
        """Take it that something went: nothing waits for that."""

    def listed(self, keys: set[Key], version: int) -> None:
        # What appeared before the list was made is in it.
        self._listing = False
        self._arrived(Arrival(self._lack))

    def failed(self, error: KubernetesError) -> None:
        _log.info("event=arrivals-unseen kind=%s error=%r", self._resource.kind, str(error))
