"""The newest events of the fleet, numbered, in memory: what happened, for people; nothing is decided by them."""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import UTC, datetime
from typing import Final, NamedTuple

from felloe.bundle import object_id_from_proto, workload_id_from_proto
from felloe.v1 import status_pb2 as pb
from hub.status.facts import EventFacts
from hub.status.resource import timestamp

MAX_EVENT: Final = 16 * 1024
"""Bytes of one event of a spoke. It sends at most a thousand characters of message."""


class Numbered(NamedTuple):
    """An event and its number; numbers grow by one and start anew with the hub's process."""

    seq: int
    event: EventFacts

    def as_json(self) -> dict[str, object]:
        """Return it shaped as a Kubernetes core/v1 Event; `cluster` and `seq` are ours."""
        event = self.event
        shown: dict[str, object] = {
            "kind": "Event",
            "apiVersion": "v1",
            "metadata": {"name": f"event-{self.seq}", "resourceVersion": str(self.seq)},
            "seq": self.seq,
            "type": event.type,
            "reason": event.reason,
            "message": event.message,
            "cluster": event.cluster,
            "lastTimestamp": timestamp(event.time),
        }
        if event.involved is not None:
            kind, namespace, name = event.involved
            shown["involvedObject"] = {"kind": kind, "namespace": namespace, "name": name}
        if event.object is not None:
            shown["object"] = str(event.object)
        return shown


class EventLog:
    """The last `size` events."""

    def __init__(self, size: int = 10_000) -> None:
        self._events: deque[Numbered] = deque(maxlen=size)
        self._seq = 0
        self._more = asyncio.Event()

    def add(self, event: EventFacts) -> None:
        """Add an event and wake everybody who waits for one."""
        self._seq += 1
        self._events.append(Numbered(self._seq, event))
        self._more.set()
        self._more = asyncio.Event()

    @property
    def latest(self) -> int:
        """Return the number of the newest event, 0 before the first."""
        return self._seq

    def since(self, seq: int) -> list[Numbered]:
        """Return the events with a number above `seq`, oldest first."""
        newer: list[Numbered] = []
        for numbered in reversed(self._events):
            if numbered.seq <= seq:
                break
            newer.append(numbered)
        return newer[::-1]

    async def wait(self, seq: int) -> None:
        """Return as soon as there is an event with a number above `seq`."""
        while self._seq <= seq:
            await self._more.wait()


def event_from_proto(cluster: str, event: pb.Event) -> EventFacts:
    """Return what a spoke tells as an event of its cluster.

    Raise ValueError or OverflowError where it is absurd: thousands of events are kept, so that each has to be small.
    """
    if (size := event.ByteSize()) > MAX_EVENT:
        raise ValueError(f"it has {size} bytes, more than {MAX_EVENT}")
    return EventFacts(
        time=event.time.ToDatetime(tzinfo=UTC) if event.HasField("time") else datetime.now(UTC),
        type="Warning" if event.type == "Warning" else "Normal",
        reason=event.reason,
        message=event.message,
        cluster=cluster,
        involved=workload_id_from_proto(event.workload) if event.HasField("workload") else None,
        object=object_id_from_proto(event.object) if event.HasField("object") else None,
    )
