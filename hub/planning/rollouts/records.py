"""What is kept of a track: its rollout, what is known of the environment that it is promoted from, and who approved."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field

from felloe.errors import StoreError
from hub.rollout import PromotionState, promotion_json, promotion_of, state_json, state_of
from hub.rollout.model import GateResult, RolloutState, Track, Verdict
from hub.store import Store


@dataclass(frozen=True, slots=True)
class TrackRecord:
    """A track's rollout, None where nothing has been promoted to it yet.

    `approved` is by release, and so is `soak_skipped`: who lets a release come here without its soak, and why.
    """

    state: RolloutState | None = None
    promotion: PromotionState = field(default_factory=PromotionState)
    approved: Mapping[int, GateResult] = field(default_factory=dict)
    soak_skipped: Mapping[int, str] = field(default_factory=dict)

    @property
    def releases(self) -> frozenset[int]:
        """Return the releases that it may still need."""
        found = {each.release for each in self.promotion.completions}
        if self.state is not None:
            state = self.state
            found |= {state.release, state.base, state.former, state.left_out, *state.queue}
            found |= {*state.assigned.values(), *state.healthy.values()}
        return frozenset(found - {0})


def record_to_json(record: TrackRecord) -> str:
    """Return a record as JSON text; equal ones give equal texts."""
    value = {
        "rollout": json.loads(state_json(record.state)) if record.state is not None else None,
        "promotion": json.loads(promotion_json(record.promotion)),
        "approved": {str(number): asdict(result) for number, result in sorted(record.approved.items())},
        "soakSkipped": {str(number): why for number, why in sorted(record.soak_skipped.items())},
    }
    return json.dumps(value, separators=(",", ":"))


def record_from_json(text: str) -> TrackRecord:
    """Read what `record_to_json` wrote. Raise StoreError for any other text."""
    try:
        value = json.loads(text)
        rollout = value["rollout"]
        approved = {
            int(number): GateResult(**{**result, "verdict": Verdict(result["verdict"])})
            for number, result in value["approved"].items()
        }
        return TrackRecord(
            state_of(json.dumps(rollout)) if rollout is not None else None,
            promotion_of(json.dumps(value["promotion"])),
            approved,
            {int(number): str(why) for number, why in value.get("soakSkipped", {}).items()},
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise StoreError(f"the state of a rollout can't be read: {error}") from error


class Records:
    """The record of every track, in memory and in the store. Whoever changes one waits for its `turn`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._saved: dict[Track, str] = {}
        self.all: dict[Track, TrackRecord] = {}
        self.turn = asyncio.Lock()

    def recall(self) -> None:
        """Take up the records of before this start. Raise StoreError where one can't be read."""
        for (unit, environment), text in self._store.rollouts().items():
            track = Track(unit, environment)
            self.all[track], self._saved[track] = record_from_json(text), text

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Keep everything inside, and what is written to the store besides, together or not at all."""
        before, saved = dict(self.all), dict(self._saved)
        try:
            with self._store.batch():
                yield
        except BaseException:
            self.all, self._saved = before, saved
            raise

    def save(self, track: Track, record: TrackRecord | None) -> None:
        """Keep how far a track is; None forgets it. Raise StoreError."""
        text = record_to_json(record) if record is not None else ""
        if text != self._saved.get(track, ""):
            self._store.save_rollout(track.unit, track.environment, text)
        if record is None:
            self.all.pop(track, None)
            self._saved.pop(track, None)
        else:
            self.all[track], self._saved[track] = record, text

    def needed(self) -> frozenset[int]:
        """Return the releases that clusters are at, or may come or go back to."""
        return frozenset(number for record in self.all.values() for number in record.releases)
