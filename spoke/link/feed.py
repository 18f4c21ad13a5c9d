"""What the link needs of whoever knows the cluster's status (spoke/report)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from felloe.v1 import status_pb2


class StatusFeed(Protocol):
    """The cluster's status, level-based; only events are single happenings that must not get lost.

    Who hands an event out forgets it. The link keeps a status with events until the hub has confirmed it, and gives it
    back by `requeue` where the stream broke before: its events then come again, before newer ones, with the next
    `full` or `changes`. So every event arrives at least once, now and then twice.
    """

    def full(self) -> status_pb2.ClusterStatus:
        """Return everything there is (`full` set, with facts) and the pending events, and count it all as told."""
        ...

    async def changes(self) -> status_pb2.ClusterStatus:
        """Wait until something changed since the last `full` or `changes`, then return what did, with new events.

        Changes within about 50 ms come as one. It may be cancelled while it waits and must lose nothing then.
        """
        ...

    def requeue(self, status: status_pb2.ClusterStatus) -> None:
        """Take back a status that may not have arrived: its events are pending again, the rest is in `full`."""
        ...

    def facts(self) -> Mapping[str, str]:
        """Return what the cluster says of itself: kubernetes_version, node_count … Never waits."""
        ...
