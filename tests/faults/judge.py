"""Whether a cluster is as it must be, after a kill and when a spoke has come to its end: rules over snapshots.

After a kill a good deal may be unfinished, so the rules ask only for what must hold at every moment: what carries the
labels of a workload that prunes is in that workload's record (nothing is orphaned); what was wanted all the time, or is
of a workload that was suspended all the time, is still the same object (nothing is wrongly deleted); and what is
nobody's business is untouched.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from felloe.identity import ObjectId
from tests.faults.world import KEEPING, PRUNING, Generation, parent


@dataclass(frozen=True, slots=True)
class Seen:
    """An object as it is in the cluster. `owner` is the workload that its labels name, empty for none of ours."""

    uid: str
    owner: str
    terminating: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The cluster at a moment at which nobody works on it: the world's objects, and the records by workload."""

    objects: Mapping[ObjectId, Seen]
    records: Mapping[str, Collection[ObjectId]]
    decoys: Mapping[str, str]
    """Path to uid and version of what no spoke may touch."""

    def there(self, identity: ObjectId | None) -> Seen | None:
        """Return an object that is there, and not about to go with what it lives in."""
        if identity is None:
            return None
        seen = self.objects.get(identity)
        above = parent(identity)
        if seen is None or seen.terminating or (above and self.there(above) is None):
            return None
        return seen


@dataclass(slots=True)
class Judge:
    """Knows what was wanted and done by hand since the last time that all was settled."""

    start: Snapshot
    """The cluster when it was settled last."""
    window: list[Generation]
    """What was wanted since, the settled generation first."""
    last: Snapshot
    """The cluster after the last kill."""
    stored: int = 0
    """The generation that was on the spoke's disk for certain, when `last` was taken."""
    deleted: set[ObjectId] = field(default_factory=set)
    """What was deleted by hand since `start`."""
    stripped: set[ObjectId] = field(default_factory=set)
    """What lost our labels by hand since `start`."""
    fell_late: set[ObjectId] = field(default_factory=set)
    """What was deleted since `start` by a request that was done later than it was made."""
    existed: set[ObjectId] = field(default_factory=set)
    """What was there at `start`, or was seen since."""

    def after_kill(self, now: Snapshot, stored: int) -> list[str]:
        """Return what is wrong after a kill."""
        wrong = [*self._orphans(now), *self._decoys(now), *self._replaced(now), *self._lost(now)]
        self.last, self.stored = now, stored
        self.existed |= now.objects.keys()
        return wrong

    def settled(self, now: Snapshot) -> list[str]:
        """Return what is wrong where a spoke has come to its end."""
        wants = self.window[-1].wants
        return [
            *self._orphans(now),
            *self._decoys(now),
            *self._replaced(now),
            *self._lost(now),
            *self._wanted(now),
            *self._records(now),
            *(
                f"{identity} is still there, of {seen.owner or 'nobody'}"
                for identity, seen in now.objects.items()
                if identity not in wants and self._must_go(identity)
            ),
        ]

    def begin(self, now: Snapshot) -> None:
        """Begin anew from a settled cluster."""
        self.start = self.last = now
        self.window = self.window[-1:]
        self.stored = self.window[0].number
        self.deleted.clear()
        self.stripped.clear()
        self.fell_late.clear()
        self.existed = set(now.objects)

    # -- the rules

    def _orphans(self, now: Snapshot) -> Iterable[str]:
        for identity, seen in now.objects.items():
            if seen.terminating:  # its deletion is under way, whoever sees it through
                continue
            if seen.owner in PRUNING and identity not in now.records.get(seen.owner, ()):
                yield f"{identity} carries the labels of {seen.owner}, which has no record of it"

    def _decoys(self, now: Snapshot) -> Iterable[str]:
        for path, version in self.start.decoys.items():
            if now.decoys.get(path) != version:
                yield f"{path} is not ours and was touched: {version} is {now.decoys.get(path)}"

    def _replaced(self, now: Snapshot) -> Iterable[str]:
        """Tell what was wanted by all that the spoke knew since the last look, and is another object now, or none."""
        known = [generation for generation in self.window if generation.number >= self.stored]
        for identity in self.last.objects:
            before, after = self.last.there(identity), now.objects.get(identity)
            if before is None or not (self._all_the_time(identity, known) or self._frozen(identity, before, known)):
                continue
            if after is None or after.uid != before.uid:
                yield f"{identity} was to stay all the time and is {'another object' if after else 'gone'}"

    def _all_the_time(self, identity: ObjectId, known: Iterable[Generation]) -> bool:
        above = parent(identity)
        return (
            identity not in self.deleted | self.fell_late
            and all(identity in generation.wants for generation in known)
            and (above is None or self._all_the_time(above, known))
        )

    def _frozen(self, identity: ObjectId, seen: Seen, known: Iterable[Generation]) -> bool:
        """Return whether an object is of a workload that was suspended all the time, and nobody else's business."""
        return (
            identity not in self.deleted | self.fell_late
            and parent(identity) is None
            and all(
                seen.owner in generation.suspended and generation.claimants(identity) <= {seen.owner}
                for generation in known
            )
        )

    def _lost(self, now: Snapshot) -> Iterable[str]:
        """Tell what no workload may delete, and is gone."""
        for identity in self.existed - self.deleted - now.objects.keys():
            owners = self._owners(identity)
            if parent(identity) is None and owners and not owners & set(PRUNING):
                yield f"{identity} is gone: it was only ever {KEEPING}'s, or nobody's"

    def _wanted(self, now: Snapshot) -> Iterable[str]:
        for identity, want in self.window[-1].wants.items():
            seen = now.objects.get(identity)
            if seen is None or seen.terminating:
                yield f"{identity} is wanted and not there"
            elif seen.owner != want.workload:
                yield f"{identity} is {want.workload}'s and carries the labels of {seen.owner or 'nobody'}"

    def _records(self, now: Snapshot) -> Iterable[str]:
        newest = self.window[-1]
        for workload in sorted({*PRUNING, KEEPING, *now.records}):
            wanted = {identity for identity, want in newest.wants.items() if want.workload == workload}
            record = now.records.get(workload)
            if workload in newest.absent:
                if record is not None:
                    yield f"{workload} is not wanted and has a record of {len(record)} objects"
            elif record is None or set(record) != wanted:
                differs = sorted(set(record or ()) ^ wanted)
                yield f"the record of {workload} differs from what is wanted: {[str(each) for each in differs]}"

    def _must_go(self, identity: ObjectId) -> bool:
        owners = self._owners(identity)
        return bool(owners) and owners <= set(PRUNING) and identity not in self.stripped

    def _owners(self, identity: ObjectId) -> set[str]:
        """Return who had an object, or wanted it, since the cluster was settled; empty text for nobody."""
        owners = {owner for generation in self.window for owner in generation.claimants(identity)}
        if (seen := self.start.objects.get(identity)) is not None:
            owners.add(seen.owner)
        return owners
