"""How everything stands, and what of it the hub has not been told yet.

The engine writes it, the link (`spoke.link.feed.StatusFeed`) reads it. Nothing waits in a queue: a workload that
changes ten times between two messages is told once, as it is now. Events are the exception, so only the last thousand
that were not told are kept.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

from felloe.bundle import object_id_to_proto, workload_id_from_proto, workload_id_to_proto
from felloe.identity import ObjectId, WorkloadId
from felloe.v1 import status_pb2 as pb
from spoke.apply.standing import timestamp

EVENTS_AT_MOST: Final = 1000
_EVENTS_IN_A_MESSAGE: Final = 100
_MESSAGE_AT_MOST: Final = 1000
_GATHER_SECONDS: Final = 0.05


class Reporter:
    """The status of one cluster, for the hub (`spoke.link`) and for whoever asks."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._head = pb.ClusterStatus()
        self._workloads: dict[WorkloadId, pb.WorkloadStatus] = {}
        self._untold: set[WorkloadId] = set()
        self._removed: set[WorkloadId] = set()
        self._events: deque[pb.Event] = deque(maxlen=EVENTS_AT_MOST)
        self._facts: dict[str, str] = {}
        self._facts_told = True
        self._changed = asyncio.Event()

    # -- what the engine tells

    def bundle(self, epoch: int, generation: int, root: bytes, traceparent: str) -> None:
        """Take the bundle that is being applied from now on."""
        self._head = pb.ClusterStatus(epoch=epoch, generation=generation, root=root, traceparent=traceparent)
        self._changed.set()

    def workload(self, status: pb.WorkloadStatus) -> None:
        """Take how a workload stands."""
        identity = workload_id_from_proto(status.id)
        self._workloads[identity] = status
        self._untold.add(identity)
        self._removed.discard(identity)
        self._changed.set()

    def removed(self, identity: WorkloadId) -> None:
        """Take it that a workload is gone from the cluster."""
        self._workloads.pop(identity, None)
        self._untold.discard(identity)
        self._removed.add(identity)
        self._changed.set()

    def event(
        self,
        reason: str,
        message: str,
        workload: WorkloadId | None,
        identity: ObjectId | None = None,
        *,
        warning: bool = False,
    ) -> None:
        """Take something that happened to a workload, or without one to the spoke itself."""
        event = pb.Event(
            time=timestamp(self._clock()),
            type="Warning" if warning else "Normal",
            reason=reason,
            message=message[:_MESSAGE_AT_MOST],
        )
        if workload is not None:
            event.workload.CopyFrom(workload_id_to_proto(workload))
        if identity is not None:
            event.object.CopyFrom(object_id_to_proto(identity))
        self._events.append(event)
        self._changed.set()

    def learned(self, facts: Mapping[str, str]) -> None:
        """Take what the cluster says of itself."""
        if dict(facts) != self._facts:
            self._facts = dict(facts)
            self._facts_told = False
            self._changed.set()

    # -- what the link asks

    def facts(self) -> Mapping[str, str]:
        """Return what the cluster says of itself."""
        return dict(self._facts)

    def full(self) -> pb.ClusterStatus:
        """Return everything, which counts as told from now on."""
        message = self._message(full=True)
        message.workloads.extend(self._workloads[identity] for identity in sorted(self._workloads))
        message.facts.update(self._facts)
        self._untold.clear()
        self._removed.clear()
        self._facts_told = True
        return message

    async def changes(self) -> pb.ClusterStatus:
        """Wait until there is something to tell, and return it; it counts as told from now on.

        Cancelled while it waits, it has told nothing.
        """
        await self._changed.wait()
        await asyncio.sleep(_GATHER_SECONDS)
        message = self._message(full=False)
        message.workloads.extend(self._workloads[identity] for identity in sorted(self._untold))
        message.removed.extend(workload_id_to_proto(identity) for identity in sorted(self._removed))
        if not self._facts_told:
            message.facts.update(self._facts)
        self._untold.clear()
        self._removed.clear()
        self._facts_told = True
        return message

    def requeue(self, status: pb.ClusterStatus) -> None:
        """Take back a status that may not have arrived: its events come again, before the newer ones."""
        room = EVENTS_AT_MOST - len(self._events)
        self._events.extendleft(reversed(status.events[-room:] if room else ()))
        self._changed.set()

    def _message(self, *, full: bool) -> pb.ClusterStatus:
        message = pb.ClusterStatus()
        message.CopyFrom(self._head)
        message.full = full
        message.events.extend(self._events.popleft() for _ in range(min(len(self._events), _EVENTS_IN_A_MESSAGE)))
        if not self._events:
            self._changed.clear()
        return message
