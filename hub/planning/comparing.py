"""Diffs: the hub asks a spoke what its desired state, or another revision of it, would change in its cluster.

The hub sends only what the spoke lacks, and gets unified diffs without the values of Secrets.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Final

from google.protobuf.message import DecodeError

from felloe import queries
from felloe.bundle import Bundle, Delta, delta, workload_id_to_proto, workload_to_proto
from felloe.digest import Digest
from felloe.errors import ConfigError, LinkError, StoreError
from felloe.identity import WorkloadId
from felloe.parts import LARGEST_MESSAGE
from felloe.v1 import diff_pb2 as pb
from hub.link.queries import QueryError
from hub.link.server import LinkServer
from hub.planning.planner import Planner
from hub.store import Blobs
from hub.targeting import ClusterPlan
from hub.targeting.plan import READY

_TIMEOUT: Final = 300.0
_LOOK_AGAIN: Final = 0.02


class Comparer:
    """Compares clusters with what they should be."""

    def __init__(self, planner: Planner, link: LinkServer, blobs: Blobs, *, patience: float = 5.0) -> None:
        """`patience` is how many seconds a cluster may take to have what was published for it."""
        self._planner = planner
        self._link = link
        self._blobs = blobs
        self._patience = patience

    @asynccontextmanager
    async def compare(
        self, cluster: str, workload: str = "", revision: str = ""
    ) -> AsyncIterator[AsyncIterator[pb.Difference]]:
        """Yield the differences of a cluster, or of one workload of it ([NAMESPACE/]NAME), as its spoke finds them.

        With `revision`, those that this revision would make. Raise ConfigError for a workload that is not there,
        SourceError for a revision that can't be had, LinkError where the spoke can't be asked; so may the iterator.
        """
        self._link.check(cluster, queries.DIFF)
        now = self._planner.plans.clusters.get(cluster)
        if now is None:
            raise ConfigError(f"nothing has been planned for cluster {cluster} yet")
        if revision:
            known = _found(workload, now.by_id)
            then = await self._planner.preview(cluster, known, revision)
            only = _named(workload, then.by_id, cluster, revision) if workload else None
            question = self._question(now.bundle, then, only)
        else:
            then = now
            only = _named(workload, now.by_id, cluster, "") if workload else None
            question = pb.DiffQuestion()
        if only is not None:
            question.workload.CopyFrom(workload_id_to_proto(only))
        await self._taken(cluster, now.bundle.root)
        async with self._link.ask(cluster, queries.DIFF, _packed(question), timeout=_TIMEOUT) as messages:
            yield self._differences(messages, then, only, revision)

    async def _taken(self, cluster: str, root: Digest) -> None:
        """Wait until a cluster has what was published for it. Raise QueryError where that does not come soon."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience):
                while self._link.held(cluster) != root:  # noqa: ASYNC110 -- it is a matter of milliseconds, as a rule
                    await asyncio.sleep(_LOOK_AGAIN)
        if self._link.held(cluster) != root:
            raise QueryError(
                f"cluster {cluster} has not taken its newest desired state yet: felloe describe cluster {cluster}"
            )

    async def _differences(
        self, messages: AsyncIterator[bytes], plan: ClusterPlan, only: WorkloadId | None, revision: str
    ) -> AsyncIterator[pb.Difference]:
        """Yield what the spoke says, and first what can't be compared since it does not render."""
        for each in plan.workloads:
            bad = [one.message for one in each.conditions if (one.type, one.status) == (READY, "False")]
            if bad and only in (None, each.id):
                failed = pb.ObjectDifference(workload=workload_id_to_proto(each.id), change=pb.CHANGE_FAILED)
                failed.message = f"it stays as it is{f' at {revision}' if revision else ''}: {'; '.join(bad)}"
                yield pb.Difference(object=failed)
        async for message in messages:
            try:
                yield pb.Difference.FromString(message)
            except DecodeError:
                raise LinkError(f"cluster {plan.cluster} answered with something that is no difference") from None

    def _question(self, now: Bundle, then: ClusterPlan, only: WorkloadId | None) -> pb.DiffQuestion:
        """Return the question about another desired state than the one that the spoke has."""
        change = delta(now, then.bundle)
        lacking = _digests(change, only) - now.digests()
        instead = pb.Instead(
            base_root=now.root,
            changed=[workload_to_proto(workload) for workload in change.changed],
            removed=[workload_id_to_proto(workload) for workload in change.removed],
            blobs=[self._blob(name, then) for name in sorted(lacking)],
        )
        return pb.DiffQuestion(instead=instead)

    def _blob(self, name: Digest, plan: ClusterPlan) -> bytes:
        blob = plan.blobs.get(name) or self._blobs.get(name)
        if blob is None:
            raise StoreError("an object is not here; it comes back with the next fetch of its source")
        return blob


def _digests(change: Delta, only: WorkloadId | None) -> set[Digest]:
    return {entry.digest for workload in change.changed if only in (None, workload.id) for entry in workload.entries}


def _packed(question: pb.DiffQuestion) -> bytes:
    packed = question.SerializeToString()
    if len(packed) > LARGEST_MESSAGE:
        raise ConfigError(
            f"this revision changes more than can be compared at once ({len(packed)} bytes of new objects, at most"
            f" {LARGEST_MESSAGE}): compare one workload after the other"
        )
    return packed


def _found(named: str, workloads: Iterable[WorkloadId]) -> WorkloadId | None:
    """Return the one workload that a name means, None where it means none. Raise ConfigError where it means several."""
    namespace, _, name = named.rpartition("/")
    found = sorted(each for each in workloads if each.name == name and namespace in ("", each.namespace))
    if len(found) > 1:
        raise ConfigError(f"{named!r} is the name of several workloads ({', '.join(map(str, found))}): say which")
    return found[0] if found else None


def _named(named: str, workloads: Iterable[WorkloadId], cluster: str, revision: str) -> WorkloadId:
    workloads = list(workloads)
    found = _found(named, workloads)
    if found is None:
        at = f" at {revision}" if revision else ""
        there = ", ".join(f"{each.namespace}/{each.name}" for each in sorted(workloads)[:10]) or "none"
        raise ConfigError(f"cluster {cluster} has no workload {named!r}{at}; there are: {there}")
    return found
