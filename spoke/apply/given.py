"""What the engine is given: bundles, the disk that they are on, and who is told how things stand."""

from __future__ import annotations

from typing import Protocol

from felloe.bundle import Bundle
from felloe.digest import Digest
from felloe.identity import ObjectId, WorkloadId
from felloe.v1 import status_pb2 as pb


class Desired(Protocol):
    """A whole, verified bundle as it lies on disk."""

    @property
    def epoch(self) -> int:
        """Return the epoch of the hub that sent it."""
        ...

    @property
    def generation(self) -> int:
        """Return its generation."""
        ...

    @property
    def bundle(self) -> Bundle:
        """Return what it says."""
        ...

    @property
    def traceparent(self) -> str:
        """Return the trace of its delivery; may be empty."""
        ...

    @property
    def received_at(self) -> float:
        """Return when it was received, in seconds since 1970."""
        ...

    @property
    def hub(self) -> bytes:
        """Return what names the CA of the hub that sent it; empty where that is not known."""
        ...


class Blobs(Protocol):
    """The objects of the bundle, on disk."""

    def get(self, name: Digest, /) -> bytes | None:
        """Return the canonical JSON with this digest, None where it is not here. Raise StoreError for a bad disk."""
        ...


class Desires(Blobs, Protocol):
    """The disk that bundles are on."""

    def doubt(self) -> None:
        """Take it that the newest bundle is older than what was applied."""
        ...


class Report(Protocol):
    """Who is told how things stand."""

    def workload(self, status: pb.WorkloadStatus) -> None:
        """Take how a workload stands."""
        ...

    def removed(self, identity: WorkloadId) -> None:
        """Take it that a workload is gone from the cluster."""
        ...

    def event(
        self,
        reason: str,
        message: str,
        workload: WorkloadId,
        identity: ObjectId | None = None,
        *,
        warning: bool = False,
    ) -> None:
        """Take something that happened."""
        ...


class Reporting(Report, Protocol):
    """Who is told how things stand, and which bundle that is about."""

    def bundle(self, epoch: int, generation: int, root: bytes, traceparent: str) -> None:
        """Take the bundle that is being applied from now on."""
        ...
