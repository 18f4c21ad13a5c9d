from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.cluster import background
from tests.cluster.background import Slot
from tests.cluster.binaries.lock import try_lock
from tests.cluster.errors import HarnessError


@pytest.fixture
def slot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slot:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(background, "TAKE_SECONDS", 1.0)
    return Slot("hand")


def test_a_look_at_the_lock_does_not_stop_a_supervisor(slot: Slot) -> None:
    with slot.lock.open("a") as look, slot.lock.open("a") as lock:
        assert try_lock(look.fileno())
        threading.Timer(0.1, look.close).start()
        slot.take(lock)
        assert slot.supervisor() is not None


def test_one_prefix_has_one_supervisor(slot: Slot) -> None:
    with slot.lock.open("a") as first, slot.lock.open("a") as second:
        slot.take(first)
        with pytest.raises(HarnessError, match="'hand' run already"):
            slot.take(second)


def test_clusters_that_were_forgotten_are_not_read(slot: Slot) -> None:
    with slot.lock.open("a") as lock:
        slot.take(lock)
        assert slot.read() is None
        slot.write([])
        assert slot.read() == []
    assert slot.read() is None
