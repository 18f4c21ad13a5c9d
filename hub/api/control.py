"""What the API asks of the hub. The API decides who may ask and whether what is named exists; the hub acts.

`who` is the name of the person who asks and `reason` their own words for why, both for the audit log.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from felloe.identity import WorkloadId
from felloe.v1 import adopt_pb2, diff_pb2
from hub.planning.forecast import Forecast, Progress
from hub.rollout.model import Act, Track
from hub.status.board import Board
from hub.status.events import EventLog
from hub.targeting.explaining import Subject


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A join token, told once. `token` is a secret."""

    token: str
    cluster: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class RenderedWorkload:
    """What a workload would put on a cluster: whole manifests, variables filled in, in the order of applying."""

    id: WorkloadId
    revision: str
    manifests: Sequence[Mapping[str, object]]


class Control(Protocol):
    """The hub, as the API needs it. Every method may raise FelloeError, whose message the caller is shown."""

    @property
    def board(self) -> Board:
        """The resources as they are now."""
        ...

    @property
    def events(self) -> EventLog:
        """The newest events."""
        ...

    def unready(self) -> Sequence[str]:
        """Return what keeps the hub from serving, in words; empty once the state is open and the link listens."""
        ...

    async def create_token(self, cluster: str, labels: Mapping[str, str], ttl: timedelta, *, who: str) -> IssuedToken:
        """Make a one-time join token for a cluster, whose labels it gets where no Cluster object declares it."""
        ...

    def subject(self, cluster: str) -> Subject:
        """Return a cluster (it is on the board) as explanations need it."""
        ...

    async def render(self, cluster: str, workload: WorkloadId | None) -> Sequence[RenderedWorkload]:
        """Return what a cluster (it is on the board) would get, of one workload or of all."""
        ...

    def compare(
        self, cluster: str, workload: str, revision: str
    ) -> AbstractAsyncContextManager[AsyncIterator[diff_pb2.Difference]]:
        """Compare a cluster (it is on the board), or a workload of it, with what it should be, or be at a revision.

        The differences come as its spoke finds them, and may end in a FelloeError; empty texts ask for everything.
        """
        ...

    def forecast(
        self, revision: str, packed: bytes, selects: Callable[[Mapping[str, str]], bool], cluster: str
    ) -> AsyncIterator[Progress | Forecast]:
        """Tell what the fleet repository at a revision, or a checkout in a tar archive, would change; that comes last.

        `selects` says by its labels which cluster counts; `cluster`, not empty, is the only one.
        """
        ...

    async def adopt_flux(
        self, cluster: str, asked: adopt_pb2.FluxAdoption, *, who: str, reason: str = ""
    ) -> Sequence[adopt_pb2.FluxAnswer]:
        """Have a cluster (it is on the board) taken over from Flux or given back, or ask what that would do."""
        ...

    async def reconcile_source(self, kind: str, namespace: str, name: str, *, who: str) -> str:
        """Fetch a source (it is on the board) now; return the revision it has then. Raise SourceError."""
        ...

    async def reconcile_workload(
        self, workload: WorkloadId, clusters: Collection[str], *, who: str, reason: str = ""
    ) -> None:
        """Have a workload applied again on these clusters (they have it on the board), whether it changed or not."""
        ...

    async def suspend_workload(
        self, workload: WorkloadId, clusters: Collection[str], *, suspended: bool, who: str, reason: str = ""
    ) -> None:
        """Suspend or resume a workload on these clusters (they have it on the board), until the opposite is asked."""
        ...

    async def approve_prune(
        self, workload: WorkloadId, cluster: str, prune: str, *, who: str, reason: str = ""
    ) -> None:
        """Let a spoke delete what it asks about (it is on the board, under this name), in the name of a person."""
        ...

    async def act_on_rollout(
        self, track: Track, act: Act, *, who: str, reason: str, stage: str, gate: str, release: int
    ) -> None:
        """Do something to the rollout of a track (it is on the board), in the name of a person; return once decided.

        `stage` and `gate` are empty but where the act is about one. Raise FelloeError where the rollout is not one to
        which this can be done now, or has another release than `release` (0: whichever it has).
        """
        ...

    async def promote(self, track: Track, revision: str, *, who: str, reason: str, skip_soak: bool = False) -> None:
        """Let a release go on to the environment (it is on the board) of a track, in the name of a person.

        `revision` is a commit or its beginning; empty is what the environment before runs. With `skip_soak` it does
        not wait until it has soaked there. Raise FelloeError where there is no such track, or the release has not been
        healthy in the environment before.
        """
        ...

    async def revoke_cluster(self, cluster: str, *, who: str, reason: str = "") -> bool:
        """Make every certificate and join token of a cluster worthless, at once; return whether it was a member."""
        ...

    async def remove_cluster(self, cluster: str, *, who: str, reason: str = "") -> bool:
        """Revoke a cluster and forget all that is known of it; return whether it was known."""
        ...

    async def announce_urls(self, urls: Collection[str], ref: str) -> Sequence[str]:
        """Look at every source with one of these repository URLs now, in whatever form it writes them.

        `ref` is the ref that was pushed (``refs/heads/main``), empty where unknown. Return the names
        (``GitRepository/flux-system/apps``) of those that were told. Doesn't wait for the fetch.
        """
        ...
