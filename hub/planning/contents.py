"""The content of the sources at the revisions that are here, and the fleet that is in force.

A fleet repository whose newest revision does not load changes nothing, and stops nothing either: planning goes on with
the last revision that did load, also after a restart, for as long as the mirror still has it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from posixpath import normpath

from felloe.errors import FelloeError, SourceError, StoreError
from hub.fleet import Fleet, load_fleet
from hub.planning.plans import Plans, Settings
from hub.sources.follow import SourceState
from hub.sources.git import Fetched, GitSources
from hub.sources.objects import CommitInfo
from hub.sources.spec import GitSpec
from hub.store import SourceState as KeptSource
from hub.store import Store
from hub.targeting import Snapshot

log = logging.getLogger(__name__)


class Contents:
    """Trees by source, each opened once for a revision."""

    def __init__(self, git: GitSources) -> None:
        self._git = git
        self._open: dict[GitSpec, Snapshot] = {}

    def at(self, spec: GitSpec, fetched: Fetched) -> Snapshot:
        """Return the content of a source. Raise SourceError where it is not here, or damaged."""
        known = self._open.get(spec)
        if known is None or known.revision != fetched.revision:
            known = self._open[spec] = Snapshot(self._git.tree(spec, fetched), fetched.revision)
        return known

    def of(self, states: Iterable[SourceState]) -> dict[GitSpec, Snapshot | str]:
        """Return the content of every source that was fetched, or why it could not be."""
        found: dict[GitSpec, Snapshot | str] = {}
        for state in states:
            if state.fetched is not None:
                try:
                    found[state.spec] = self.at(state.spec, state.fetched)
                except SourceError as error:
                    found[state.spec] = str(error)
            elif state.error:
                found[state.spec] = state.error
        return found

    def keep(self, specs: Collection[GitSpec]) -> None:
        """Forget the others."""
        self._open = {spec: snapshot for spec, snapshot in self._open.items() if spec in specs}

    def forget(self) -> None:
        """Open everything anew: a mirror was damaged, and what was read from it stays so when it is repaired."""
        self._open.clear()


@dataclass(frozen=True, slots=True)
class InForce:
    """The fleet that planning goes by, with the content of its repository."""

    fleet: Fleet
    snapshot: Snapshot


class FleetReader:
    """Knows which fleet is in force."""

    def __init__(self, settings: Settings, git: GitSources, contents: Contents, store: Store) -> None:
        self._settings = settings
        self._git = git
        self._contents = contents
        self._store = store
        self._in_force: InForce | None = None
        self._broken: tuple[str, str] = ("", "")

    async def read(self, state: SourceState | None, plans: Plans) -> InForce | None:
        """Return the fleet in force, None while there is none, and note in `plans` which it is and what is wrong.

        Raise SourceError where the mirror is damaged, StoreError where the state can't be read.
        """
        plans.problem = ""
        if state is None or state.fetched is None:
            if self._in_force is None:
                plans.problem = (state.error or "") if state else ""
            return self._in_force
        plans.attempted = state.fetched.revision
        try:
            self._in_force = await self._load(state.spec, state.fetched)
        except SourceError:
            raise
        except FelloeError as error:
            plans.problem = str(error)
            if self._broken[0] != state.fetched.revision:
                log.warning("the fleet at %s does not load: %s", state.fetched.revision, error)
            self._broken = (state.fetched.revision, plans.problem)
            self._in_force = self._in_force or await self._recall()
        if self._in_force is not None:
            plans.fleet, plans.revision = self._in_force.fleet, self._in_force.snapshot.revision
        return self._in_force

    async def _load(self, spec: GitSpec, fetched: Fetched) -> InForce:
        if self._broken[0] == fetched.revision:
            raise FelloeError(self._broken[1])
        snapshot = self._contents.at(spec, fetched)
        known = self._in_force
        if known is not None and known.snapshot.revision == snapshot.revision:
            return known if known.snapshot is snapshot else InForce(known.fleet, snapshot)
        if known is not None and self._same_folder(known.snapshot, snapshot):
            fleet = known.fleet
        else:
            fleet = await asyncio.to_thread(load_fleet, snapshot.tree, self._settings.fleet_path)
        try:
            self._store.save_source(KeptSource(self._key, fetched.revision, fetched.commit.id))
        except StoreError as error:  # a restart would only not find it
            log.warning("can't keep which fleet is in force: %s", error)
        return InForce(fleet, snapshot)

    def _same_folder(self, one: Snapshot, other: Snapshot) -> bool:
        """Tell whether the fleet folder is the same at two revisions: most commits only touch what clusters get."""
        path = normpath(self._settings.fleet_path.strip("/"))
        folders = [snapshot.tree.entry("" if path == "." else path) for snapshot in (one, other)]
        return None not in folders and len({folder.oid for folder in folders if folder}) == 1

    async def _recall(self) -> InForce | None:
        """Return the fleet that was in force before this start, None where it is not here any more."""
        kept = self._store.sources().get(self._key)
        if kept is None:
            return None
        fetched = Fetched(kept.revision, CommitInfo(kept.commit, "", "", datetime.fromtimestamp(0, UTC)))
        try:
            tree = self._git.tree(self._settings.fleet_source, fetched)
            fleet = await asyncio.to_thread(load_fleet, tree, self._settings.fleet_path)
        except FelloeError as error:
            log.warning("the fleet at %s, which was in force, can't be read again: %s", kept.revision, error)
            return None
        return InForce(fleet, Snapshot(tree, kept.revision))

    @property
    def _key(self) -> str:
        spec = self._settings.fleet_source
        return f"{spec.key} {spec.url}@{spec.ref}"
