"""Publishing: a plan becomes the desired state of its cluster, on disk and on the link.

What a commit leaves as it is for a cluster moves its revision only, which is written for many clusters at once; those
that get something new come first.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import orjson

from felloe.digest import Digest
from felloe.errors import StoreError
from hub.link.frames import BlobMissingError
from hub.link.server import LinkServer
from hub.planning.commits import Commits
from hub.planning.deliveries import Deliveries
from hub.planning.history import Passage, changed_workloads, describe_move
from hub.planning.plans import Plans
from hub.store import Blobs, Desired, Publication, Store
from hub.targeting import ClusterPlan, WorkloadPlan, plan_from_json, plan_to_json

log = logging.getLogger(__name__)

_AT_ONCE: Final = 32
"""How many clusters share a transaction, and hold up the event loop for its length."""
_SLID_AT_ONCE: Final = 256
"""The same, where only a revision is written."""
_WRITTEN_AT: Final = "writtenAt"
"""In the text of a plan, the revision that it stood for when it was written."""

Revisions: TypeAlias = Callable[[str], str]
"""By cluster, the revision of the fleet repository that its plan stands for."""


@dataclass(frozen=True, slots=True)
class _Published:
    """What a cluster was given: its plan, the revision that this stands for, and both as the store's text has them.

    Where a commit only moves the revision, the text stays, and `stored_plan` moves what it says.
    """

    plan: ClusterPlan
    revision: str
    traceparent: str
    text: ClusterPlan
    text_revision: str


class Publisher:
    """Knows what is published for each member."""

    def __init__(self, plans: Plans, store: Store, blobs: Blobs, link: LinkServer, deliveries: Deliveries) -> None:
        self._plans = plans
        self._store = store
        self._blobs = blobs
        self._link = link
        self._deliveries = deliveries
        self._published: dict[str, _Published] = {}
        self._again: set[str] = set()

    def recall(self, members: Collection[str]) -> None:
        """Take up what was published before this start.

        Raise StoreError where a plan can't be read: without it, what only it knows would be taken for unwanted.
        """
        for desired in self._store.all_desired():
            if desired.cluster in members and desired.plan:
                text, revision = _read(desired)
                plan = stored_plan(desired)
                self._plans.clusters[desired.cluster] = plan
                published = _Published(plan, desired.revision, desired.traceparent, text, revision)
                self._published[desired.cluster] = published

    def revision(self, cluster: str) -> str:
        """Return the revision that a cluster was published at last, empty where it never was."""
        before = self._published.get(cluster)
        return before.revision if before else ""

    def again(self, cluster: str) -> None:
        """Have a cluster's plan published the next time with all its objects, even if it was."""
        self._again.add(cluster)

    def keep(self, members: Collection[str]) -> None:
        """Forget the clusters that are no members."""
        for gone in self._published.keys() - members:
            del self._published[gone]
            self._deliveries.abandon(gone)
        self._again &= set(members)

    async def publish(
        self,
        plans: Sequence[ClusterPlan],
        members: Collection[str],
        revisions: Revisions,
        commits: Commits,
        passages: Mapping[str, Collection[Passage]] | None = None,
    ) -> dict[str, str]:
        """Make these the plans of their clusters, and the desired states of those that are members.

        `revisions` says which revision of the fleet repository each stands for; `passages` are, by cluster, what let
        the releases of its units through: for the history. Return by cluster why it could not be done: it keeps the
        plan that it has.
        """
        moved: list[ClusterPlan] = []
        same: list[ClusterPlan] = []
        slid: list[ClusterPlan] = []
        moves = _Moves()
        for plan in plans:
            if plan.cluster not in members:
                if self._plans.clusters.get(plan.cluster) != plan:
                    moved.append(plan)
                continue
            before = self._published.get(plan.cluster)
            if before is None or before.plan.bundle.root != plan.bundle.root or plan.cluster in self._again:
                moved.append(plan)
            elif before.revision != revisions(plan.cluster) or before.plan != plan:
                slides = moves.suffice(before.text, before.text_revision, plan, revisions(plan.cluster))
                (slid if slides else same).append(plan)
            else:
                self._plans.clusters[plan.cluster] = before.plan
        troubles: dict[str, str] = {}
        for start in range(0, len(slid), _SLID_AT_ONCE):
            troubles |= self._slide(slid[start : start + _SLID_AT_ONCE], revisions)
            await asyncio.sleep(0)
        due = moved + same
        for start in range(0, len(due), _AT_ONCE):
            troubles |= await self._some(due[start : start + _AT_ONCE], members, revisions, commits, passages or {})
        return troubles

    def _slide(self, plans: Sequence[ClusterPlan], revisions: Revisions) -> dict[str, str]:
        """Move the revisions of clusters whose plans say nothing else that is new."""
        try:
            with self._store.batch():
                for plan in plans:
                    self._store.move(plan.cluster, revisions(plan.cluster))
        except StoreError as error:
            log.warning("can't move the revisions of %d clusters: %s", len(plans), error)
            return {plan.cluster: str(error) for plan in plans}
        for plan in plans:
            kept, before = plan.without_blobs(), self._published[plan.cluster]
            self._plans.clusters[plan.cluster] = kept
            self._published[plan.cluster] = replace(before, plan=kept, revision=revisions(plan.cluster))
        return {}

    async def _some(
        self,
        plans: Sequence[ClusterPlan],
        members: Collection[str],
        revisions: Revisions,
        commits: Commits,
        passages: Mapping[str, Collection[Passage]],
    ) -> dict[str, str]:
        known = {plan.cluster: self._objects_before(plan.cluster, members) for plan in plans}
        again = self._again & known.keys()
        self._again -= again  # who asks from now on is served by the next round
        troubles = await asyncio.to_thread(self._put_blobs, plans, known)
        there = [plan for plan in plans if plan.cluster not in troubles]
        written: list[_Published] = []
        try:
            with self._store.batch():
                for plan in there:
                    if plan.cluster in members:
                        try:
                            through, revision = passages.get(plan.cluster, ()), revisions(plan.cluster)
                            published = self._publish(plan, revision, commits, through, again=plan.cluster in again)
                            written.append(published)
                        except BlobMissingError as error:  # nothing was written
                            troubles[plan.cluster] = str(error)
        except StoreError as error:
            written = []
            troubles |= {plan.cluster: str(error) for plan in there}
        for published in written:
            self._published[published.plan.cluster] = published
        for plan in plans:
            if plan.cluster not in troubles:
                self._plans.clusters[plan.cluster] = plan.without_blobs()
                continue
            log.warning("cluster %s: %s", plan.cluster, troubles[plan.cluster])
            self._again.add(plan.cluster)
            self._deliveries.abandon(plan.cluster)
        return troubles

    def _objects_before(self, cluster: str, members: Collection[str]) -> set[Digest]:
        """Return the objects that were put for a cluster's last plan: they need not be put again."""
        if cluster in self._again:
            return set()
        if cluster not in members:
            plan = self._plans.clusters.get(cluster)
            return plan.bundle.digests() if plan else set()
        before = self._published.get(cluster)
        return before.plan.bundle.digests() if before else set()

    def _put_blobs(self, plans: Sequence[ClusterPlan], known: Mapping[str, AbstractSet[Digest]]) -> dict[str, str]:
        """Keep the objects that are new to their clusters, also those that are there: collecting spares what is new."""
        troubles: dict[str, str] = {}
        put: set[Digest] = set()
        for plan in plans:
            try:
                for name in plan.blobs.keys() - put:
                    if name not in known[plan.cluster] or name not in self._blobs:
                        put.add(self._blobs.put(plan.blobs[name]))
            except StoreError as error:
                troubles[plan.cluster] = str(error)
        return troubles

    def _publish(
        self, plan: ClusterPlan, revision: str, commits: Commits, passages: Collection[Passage], *, again: bool
    ) -> _Published:
        name, root = plan.cluster, plan.bundle.root
        before = self._published.get(name)
        if again and self._store.desired(name) is None:  # it was removed and has joined again
            before = None
        traceparent = before.traceparent if before else ""
        text = orjson.dumps(plan_to_json(plan) | {_WRITTEN_AT: revision}).decode()
        kept = plan.without_blobs()
        moves = before is None or before.plan.bundle.root != root
        packed = None if moves or again else self._store.bundle(root)
        if packed is not None:  # nothing to deliver: the link need not know
            self._store.publish(Publication(name, root, packed, revision, text, traceparent), time.time())
            return _Published(kept, revision, traceparent, kept, revision)
        if moves:
            traceparent = self._deliveries.begin(name, root, parent=commits.parent, links=commits.links)
        generation = self._link.publish(name, plan.bundle, revision=revision, plan=text, traceparent=traceparent)
        if moves:
            changed = tuple(changed_workloads(before.plan if before else None, plan))
            former = before.revision if before else ""
            detail = describe_move(
                changed, revision=revision, former=former, author_of=commits.author, passages=passages
            )
            self._store.add_history(name, generation, time.time(), detail, [each.id for each in changed])
        return _Published(kept, revision, traceparent, kept, revision)


class _Moves:
    """Tells whether a plan is another one at another revision; what clusters share is compared once.

    It keeps nothing alive: the plans that it is asked about have to live as long as it does.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[int, int, str, str], bool] = {}

    def suffice(self, text: ClusterPlan, written_at: str, plan: ClusterPlan, revision: str) -> bool:
        """Tell whether `text`, with the revision at which it was written moved on, says what `plan` does."""
        return (
            len(text.workloads) == len(plan.workloads)
            and all(
                self._are_one(old, new, written_at, revision)
                for old, new in zip(text.workloads, plan.workloads, strict=True)
            )
            and replace(text, workloads=plan.workloads) == plan
        )

    def _are_one(self, old: WorkloadPlan, new: WorkloadPlan, written_at: str, revision: str) -> bool:
        key = (id(old), id(new), written_at, revision)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = old.moved(written_at, revision) == new
        return known


def stored_plan(desired: Desired) -> ClusterPlan:
    """Return the plan of a publication. Raise StoreError where it can't be read."""
    plan, written_at = _read(desired)
    return plan if written_at == desired.revision else plan.moved(written_at, desired.revision)


def _read(desired: Desired) -> tuple[ClusterPlan, str]:
    """Return the plan as its text has it, and the revision at which that was written."""
    try:
        value = orjson.loads(desired.plan)
        return plan_from_json(value), str(value.get(_WRITTEN_AT, desired.revision))
    except (orjson.JSONDecodeError, StoreError) as error:
        raise StoreError(
            f"the stored plan of cluster {desired.cluster} can't be read ({error}): start the version of Felloe that "
            "wrote it, or restore the hub's data folder from a backup"
        ) from error
