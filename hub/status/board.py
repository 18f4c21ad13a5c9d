"""The board: every resource as it is now, and a watch that is level-based.

A watcher is told which resources changed, never a history: what changes ten times before it looks is told once, and a
slow watcher costs at most one entry for each resource. One event loop owns a board; it has no locks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType

from hub.status.resource import Collection, Key, Resource


@dataclass(frozen=True, slots=True)
class Posted:
    """A resource and the version at which it last changed."""

    resource: Resource
    version: int


class Subscription:
    """What changed for one watcher since it last looked."""

    def __init__(self, collections: frozenset[Collection]) -> None:
        self.collections = collections
        self._changed: dict[Key, None] = {}
        self._wake = asyncio.Event()

    def tell(self, key: Key) -> None:
        """Note that a resource changed or went."""
        self._changed[key] = None
        self._wake.set()

    def take(self) -> tuple[Key, ...]:
        """Return the keys that changed since the last time, in the order of their first change."""
        changed = tuple(self._changed)
        self._changed.clear()
        self._wake.clear()
        return changed

    async def wait(self) -> None:
        """Return as soon as something changed."""
        await self._wake.wait()


class Board:
    """Every resource, by collection and key."""

    def __init__(self) -> None:
        self._posted: dict[Collection, dict[Key, Posted]] = {collection: {} for collection in Collection}
        self._by_cluster: dict[str, set[Key]] = {}
        self._subscriptions: set[Subscription] = set()
        self._version = 0

    @property
    def version(self) -> int:
        """Return the number of changes so far."""
        return self._version

    def list(self, collection: Collection) -> list[Posted]:
        """Return a collection, sorted by key."""
        posted = self._posted[collection]
        return [posted[key] for key in sorted(posted)]

    def get(self, collection: Collection, key: Key) -> Posted | None:
        """Return one resource."""
        return self._posted[collection].get(key)

    def resources(self, collection: Collection) -> Mapping[Key, Resource]:
        """Return a collection's resources by key: the `previous` of the builders."""
        posted = self._posted[collection]
        return MappingProxyType({key: one.resource for key, one in posted.items()})

    def of_cluster(self, cluster: str) -> Mapping[Key, Resource]:
        """Return a cluster and its workloads by key: the `previous` of `build_cluster`."""
        found = {key: self._posted[Collection.WORKLOADS][key].resource for key in self._by_cluster.get(cluster, ())}
        own = Key("", "Cluster", "", cluster)
        if own in self._posted[Collection.CLUSTERS]:
            found[own] = self._posted[Collection.CLUSTERS][own].resource
        return found

    def post(self, resource: Resource) -> bool:
        """Show a resource; return whether that changed anything."""
        posted = self._posted[resource.collection]
        before = posted.get(resource.key)
        if before is not None and before.resource == resource:
            return False
        self._version += 1
        posted[resource.key] = Posted(resource, self._version)
        if resource.collection is Collection.WORKLOADS:
            self._by_cluster.setdefault(resource.cluster, set()).add(resource.key)
        self._tell(resource.collection, resource.key)
        return True

    def withdraw(self, collection: Collection, key: Key) -> bool:
        """Take a resource off; return whether it was there."""
        if self._posted[collection].pop(key, None) is None:
            return False
        self._version += 1
        if collection is Collection.WORKLOADS:
            of_cluster = self._by_cluster[key.cluster]
            of_cluster.discard(key)
            if not of_cluster:
                del self._by_cluster[key.cluster]
        self._tell(collection, key)
        return True

    def replace_cluster(self, cluster: Resource, workloads: Iterable[Resource]) -> bool:
        """Show a cluster and exactly these workloads of it; return whether that changed anything."""
        now = {workload.key: workload for workload in workloads}
        gone = [key for key in self._by_cluster.get(cluster.name, ()) if key not in now]
        changed = [self.withdraw(Collection.WORKLOADS, key) for key in gone]
        changed += [self.post(workload) for workload in now.values()]
        changed.append(self.post(cluster))
        return any(changed)

    def withdraw_cluster(self, name: str) -> bool:
        """Take off a cluster with its workloads; return whether there was anything."""
        gone = [self.withdraw(Collection.WORKLOADS, key) for key in tuple(self._by_cluster.get(name, ()))]
        gone.append(self.withdraw(Collection.CLUSTERS, Key("", "Cluster", "", name)))
        return any(gone)

    def replace(self, collection: Collection, resources: Iterable[Resource]) -> bool:
        """Show exactly these resources in a collection other than workloads; return whether that changed anything."""
        now = {resource.key: resource for resource in resources}
        gone = [key for key in self._posted[collection] if key not in now]
        changed = [self.withdraw(collection, key) for key in gone]
        return any(changed + [self.post(resource) for resource in now.values()])

    @contextmanager
    def subscribe(self, *collections: Collection) -> Iterator[Subscription]:
        """Be told of every change in these collections for as long as the block lasts."""
        subscription = Subscription(frozenset(collections))
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)

    def _tell(self, collection: Collection, key: Key) -> None:
        for subscription in self._subscriptions:
            if collection in subscription.collections:
                subscription.tell(key)
