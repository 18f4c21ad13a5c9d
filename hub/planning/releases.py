"""Releases: the content of every source at one time, by number, so that clusters can be planned by an older one.

A release is nothing but commits: what it means for a cluster is resolved again where that is needed, from the mirrors.
So a cluster that a rollout keeps at an older release still follows its own labels, and one that joins gets what its
neighbours have.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Final

import orjson

from felloe.errors import FelloeError, SourceError
from hub.fleet import Fleet, load_fleet
from hub.planning.contents import InForce
from hub.planning.plans import Settings
from hub.planning.rollouts.belonging import Belonging
from hub.rollout.model import Release
from hub.sources.follow import SourceState
from hub.sources.git import Fetched, GitSources
from hub.sources.objects import CommitInfo
from hub.sources.spec import GitSpec
from hub.store import Store
from hub.targeting import Snapshot

log = logging.getLogger(__name__)

_KEPT: Final = 50
"""How many releases are known by their number although no rollout needs them."""
_WORLDS: Final = 8
_URGENT: Final = re.compile(r"^Felloe-Urgent:[ \t]*(\S.*?)[ \t]*$", re.MULTILINE | re.IGNORECASE)
_REVERTS: Final = re.compile(r"^This reverts commit [0-9a-f]{7,64}\b", re.MULTILINE)
_REVERT_OF: Final = re.compile(r'(Revert|Reapply) "')
"""How a revert's subject begins, once for each that it takes back; Git 2.43 calls a revert of a revert Reapply."""


@dataclass(frozen=True, slots=True)
class World:
    """What planning by a release goes by: its fleet, which may differ by cluster, and its sources."""

    release: Release
    snapshot: Snapshot
    belonging: Belonging
    contents: Mapping[GitSpec, Snapshot | str]


class Releases:
    """Knows every release that is still needed."""

    def __init__(self, settings: Settings, git: GitSources, store: Store) -> None:
        self._settings = settings
        self._git = git
        self._store = store
        self._known: dict[int, Release] = {}
        git.pinned = self.commits
        self._worlds: OrderedDict[int, tuple[Fleet, World]] = OrderedDict()

    def recall(self) -> None:
        """Take up the releases of before this start. Raise StoreError."""
        for number, detail in self._store.releases().items():
            try:
                self._known[number] = Release(**orjson.loads(detail))
            except (orjson.JSONDecodeError, TypeError):
                log.warning("release %d can't be read, and is not known any more", number)

    @property
    def fleet_source(self) -> GitSpec:
        """Return the source of the fleet repository."""
        return self._settings.fleet_source

    @property
    def known(self) -> Mapping[int, Release]:
        """Return every release that is known, by number."""
        return self._known

    def commits(self) -> frozenset[str]:
        """Return the commits that releases consist of. May be called from any thread."""
        return frozenset(
            pin.rpartition(":")[2] for release in list(self._known.values()) for pin in release.pins.values()
        )

    @property
    def newest(self) -> Release | None:
        """Return the newest one."""
        return self._known[max(self._known)] if self._known else None

    def take_up(self, in_force: InForce, states: Iterable[SourceState], now: float) -> Release:
        """Return the release that the sources are at now: a new one where any of them is elsewhere than before.

        Raise StoreError.
        """
        fetched = {source_key(state.spec): state.fetched for state in states if state.fetched is not None}
        pins = {key: found.revision for key, found in sorted(fetched.items())}
        pins[source_key(self._settings.fleet_source)] = in_force.snapshot.revision
        before = self.newest
        if before is not None and before.pins == pins:
            return before
        moved = [key for key in pins if before is None or before.pins.get(key) != pins[key]]
        own = source_key(self._settings.fleet_source)
        moved.sort(key=lambda key: key != own)
        commits = [fetched[key].commit for key in moved if key in fetched and fetched[key].revision == pins[key]]
        release = _release(before.number + 1 if before else 1, in_force.snapshot.revision, pins, commits, now)
        if before is not None and len(commits) == len(moved) == 1:
            base = before.pins.get(moved[0], "").rpartition(":")[2]
            release = replace(release, alone=bool(base) and commits[0].parents == (base,))
        self._store.save_release(release.number, orjson.dumps(asdict(release)).decode())
        self._known[release.number] = release
        return release

    def keep(self, needed: Collection[int]) -> None:
        """Forget all but these and the newest ones. Raise StoreError."""
        spared = set(needed) | set(sorted(self._known)[-_KEPT:])
        gone = self._known.keys() - spared
        if gone:
            self._store.forget_releases(gone)
        for number in gone:
            del self._known[number]
            self._worlds.pop(number, None)

    async def world(self, number: int, now: Fleet) -> World:
        """Return what planning by a release goes by, while the fleet is as it is `now`.

        Raise SourceError where its commits are not here any more, ConfigError where its fleet can't be read.
        """
        found = self._worlds.get(number)
        if found is not None and found[0] is now:
            self._worlds.move_to_end(number)
            return found[1]
        release = self._known.get(number)
        if release is None:
            raise SourceError(f"release {number} is not known any more")
        source = self._settings.fleet_source
        snapshot = found[1].snapshot if found else self._at(source, release.revision)
        fleet = await asyncio.to_thread(load_fleet, snapshot.tree, self._settings.fleet_path)
        contents = found[1].contents if found else _Pinned(self, release)
        world = World(release, snapshot, Belonging(fleet, now, release.at), contents)
        self._worlds[number] = (now, world)
        self._worlds.move_to_end(number)
        while len(self._worlds) > _WORLDS:
            self._worlds.popitem(last=False)
        return world

    def _at(self, spec: GitSpec, revision: str) -> Snapshot:
        """Return the content of a source at a revision that was fetched once. Raise SourceError."""
        commit = revision.rpartition(":")[2]
        info = CommitInfo(commit, "", "", datetime.fromtimestamp(0, UTC))
        return Snapshot(self._git.tree(spec, Fetched(revision, info)), revision)

    def content(self, spec: GitSpec, release: Release) -> Snapshot | str:
        """Return the content of a source at a release, or why it can't be had."""
        revision = release.pins.get(source_key(spec))
        if revision is None:
            return f"{spec.key} was not followed at release {release.number}"
        try:
            return self._at(spec, revision)
        except FelloeError as error:
            return str(error)


class _Pinned(Mapping[GitSpec, Snapshot | str]):
    """The sources of a release, each opened when it is first asked for; one that can't be is tried again."""

    def __init__(self, releases: Releases, release: Release) -> None:
        self._releases = releases
        self._release = release
        self._open: dict[GitSpec, Snapshot] = {}

    def __getitem__(self, spec: GitSpec) -> Snapshot | str:
        known = self._open.get(spec)
        if known is not None:
            return known
        found = self._releases.content(spec, self._release)
        if isinstance(found, Snapshot):
            self._open[spec] = found
        return found

    def __contains__(self, spec: object) -> bool:
        return isinstance(spec, GitSpec)

    def __iter__(self) -> Iterator[GitSpec]:
        return iter(self._open)

    def __len__(self) -> int:
        return len(self._open)


def source_key(spec: GitSpec) -> str:
    """Return the name of a source among the pins of a release."""
    return f"{spec.key} {spec.url}@{spec.ref}"


def _release(
    number: int, revision: str, pins: Mapping[str, str], commits: Collection[CommitInfo], now: float
) -> Release:
    """Return a release; what people see of it is said by the first of its new commits."""
    first = next(iter(commits), None)
    urgent = [found[1] for each in commits if (found := _URGENT.search(each.body))]
    return Release(
        number,
        revision,
        now,
        pins=pins,
        subject=first.subject if first else "",
        author=first.author if first else "",
        urgent="; ".join(urgent),
        reverts=first is not None and _takes_back(first),
    )


def _takes_back(commit: CommitInfo) -> bool:
    """Tell whether ``git revert`` made a commit, and not of a revert: that brings a change anew."""
    if not _REVERTS.search(commit.body):
        return False
    turns, at = 0, 0
    while found := _REVERT_OF.match(commit.subject, at):
        turns += 1 if found[1] == "Revert" else 2
        at = found.end()
    return turns == 0 or turns % 2 == 1
