"""What is kept of tracks: memory and the store never differ."""

from __future__ import annotations

from pathlib import Path

import pytest

from felloe.errors import StoreError
from hub.planning.rollouts.records import Records, TrackRecord, record_from_json, record_to_json
from hub.rollout import PromotionState
from hub.rollout.model import GateResult, Phase, RolloutState, Track, Verdict
from hub.store import SqliteStore

TRACK = Track("placement/shop", "production")
RECORD = TrackRecord(
    RolloutState(3, Phase.PAUSED, base=2, assigned={"a": 3, "b": 1}, healthy={"a": 2}),
    PromotionState(),
    {3: GateResult(Verdict.PASSED, 2.0, 1.0, "seen", "ada")},
)


def test_a_record_is_read_as_it_was_written() -> None:
    assert record_from_json(record_to_json(RECORD)) == RECORD
    assert RECORD.releases == {1, 2, 3}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"rollout": {"phase": "Odd"}, "promotion": {}, "approved": {}}'])
def test_other_text_is_an_error(text: str) -> None:
    with pytest.raises(StoreError, match="can't be read"):
        record_from_json(text)


def test_what_was_not_kept_is_not_known(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "hub.db")
    records = Records(store)

    def fail() -> None:
        with records.batch():
            records.save(TRACK, RECORD)
            raise StoreError("the disk is full")

    with pytest.raises(StoreError, match="full"):
        fail()
    assert records.all == {}
    with records.batch():
        records.save(TRACK, RECORD)
    store.close()
    store = SqliteStore(tmp_path / "hub.db")
    again = Records(store)
    again.recall()
    assert again.all == {TRACK: RECORD}
    again.save(TRACK, None)
    assert store.rollouts() == {}
    store.close()
