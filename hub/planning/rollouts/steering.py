"""Steering: what people do to rollouts. It is decided by what is known now, and kept before it takes effect."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from felloe.errors import ConfigError
from hub.planning.releases import Releases
from hub.planning.rollouts.parties import Chronicle
from hub.planning.rollouts.records import Records, TrackRecord
from hub.rollout import abort, approve, pause, resume, retry, skip_soak, undo
from hub.rollout.model import Act, GateResult, Release, RolloutState, Track, Verdict

_PLAIN_ACTS: Final = {Act.PAUSE: pause, Act.RESUME: resume, Act.ABORT: abort, Act.RETRY: retry}


class Steering:
    """Acts in the name of people; `stirred` is called with a track that is to be looked at again."""

    def __init__(
        self, records: Records, releases: Releases, chronicle: Chronicle, stirred: Callable[[Track], None]
    ) -> None:
        self._records = records
        self._releases = releases
        self._chronicle = chronicle
        self._stirred = stirred

    async def act(self, track: Track, act: Act, *, who: str, reason: str, stage: str, gate: str, release: int) -> None:
        """Do something to the rollout of a track in the name of a person.

        Raise ConfigError where that makes no sense now, StoreError where it can't be kept.
        """
        async with self._records.turn:
            record, state = self._of(track)
            if release and release != state.release:
                raise ConfigError(f"rollout {track} is at release {state.release} now, not {release}: look again")
            now = time.time()
            match act:
                case Act.APPROVE:
                    state = approve(state, stage, gate, who=who, reason=reason, now=now)
                case Act.SKIP_SOAK:
                    state = skip_soak(state, stage, who=who, reason=reason, now=now)
                case Act.UNDO:
                    state = undo(state, who=who, reason=reason, now=now, releases=self._releases.known.keys())
                case _:
                    state = _PLAIN_ACTS[act](state, who=who, reason=reason, now=now)
            known = self._releases.known.get(state.release)
            names = sorted(state.stage_of)
            with self._records.batch():
                self._chronicle.acted(track, known, act, who=who, reason=reason, clusters=names, stage=stage, gate=gate)
                self._records.save(track, replace(record, state=state))
        self._stirred(track)

    async def promote(self, track: Track, revision: str, *, who: str, reason: str, skip_soak: bool = False) -> None:
        """Let a release go on to the environment of a track in the name of a person, `skip_soak`: without its soak.

        `revision` names it, or the newest that was healthy in the environment before. Raise ConfigError where none is
        such a one, StoreError where it can't be kept.
        """
        async with self._records.turn:
            record = self._records.all.get(track)
            if record is None:
                raise ConfigError(f"there is no rollout {track}")
            ready = [each.release for each in record.promotion.completions]
            known = self._releases.known
            wanted = [
                number for number in ready if number in known and (not revision or _is_at(known[number], revision))
            ]
            if not wanted:
                what = f"revision {revision}" if revision else "no release"
                raise ConfigError(f"{what} has not been healthy yet where {track} is promoted from")
            now = time.time()
            result = GateResult(Verdict.PASSED, now, now, reason, who)
            number = max(wanted)
            approved = {key: each for key, each in record.approved.items() if key in ready}
            skipped = {key: each for key, each in record.soak_skipped.items() if key in ready}
            if skip_soak:
                skipped[number] = f"{who}: {reason}"
            record = replace(record, approved={**approved, number: result}, soak_skipped=skipped)
            with self._records.batch():
                self._chronicle.acted(track, known[number], None, who=who, reason=reason, soak_skipped=skip_soak)
                self._records.save(track, record)
        self._stirred(track)

    def _of(self, track: Track) -> tuple[TrackRecord, RolloutState]:
        record = self._records.all.get(track)
        if record is None or record.state is None:
            raise ConfigError(f"there is no rollout {track}")
        return record, record.state


def _is_at(release: Release, asked: str) -> bool:
    """Tell whether a commit of a release, of whichever source, is (or begins with) the one that is asked for."""
    commits = (each.rpartition(":")[2] for each in (release.revision, *release.pins.values()))
    return any(each.startswith(asked.rpartition(":")[2].lower()) for each in commits if each)
