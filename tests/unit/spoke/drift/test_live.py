"""What is live, from watch events and answers that may arrive in any order."""

from __future__ import annotations

from typing import Any

from felloe.identity import ObjectId, WorkloadId
from spoke.drift.contest import FREE_HEALS, Contest
from spoke.drift.live import Live, LiveObjects
from spoke.health.cel import Cel
from spoke.health.expressions import Evaluations

IDENTITY = ObjectId("", "ConfigMap", "shop", "a")
LABELS = {
    "fleet.felloe.io/workload-kind": "Kustomization",
    "fleet.felloe.io/workload-namespace": "flux-system",
    "fleet.felloe.io/workload-name": "apps",
}


class Recorder:
    def __init__(self, expected: bytes | None = None) -> None:
        self.expected = expected
        self.ignored: tuple[str, ...] = ()
        self.changes: list[tuple[int | None, int | None]] = []
        self.live = LiveObjects(
            lambda _: self.expected,
            lambda _: self.ignored,
            self.changed,
            lambda _: None,
            lambda *_: False,
            Evaluations(Cel()),
        )

    def changed(self, identity: ObjectId, before: Live | None, now: Live | None) -> None:
        self.changes.append((before.version if before else None, now.version if now else None))


def obj(version: int, uid: str = "u", **labels: str) -> dict[str, Any]:
    metadata = {
        "name": "a",
        "namespace": "shop",
        "uid": uid,
        "resourceVersion": str(version),
        "labels": LABELS | labels,
    }
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


def test_an_older_event_changes_nothing() -> None:
    recorder = Recorder()
    recorder.live.seen(IDENTITY, obj(5))
    recorder.live.seen(IDENTITY, obj(4))
    recorder.live.gone(IDENTITY, obj(4))
    assert recorder.changes == [(None, 5)]
    assert recorder.live.get(IDENTITY)


def test_a_new_object_of_the_same_name_replaces_the_old_one() -> None:
    recorder = Recorder()
    recorder.live.seen(IDENTITY, obj(5))
    recorder.live.seen(IDENTITY, obj(6, uid="other"))
    recorder.live.gone(IDENTITY, obj(7, uid="other"))
    assert recorder.changes == [(None, 5), (5, 6), (6, None)]


def test_the_end_of_a_former_object_is_not_that_of_its_successor() -> None:
    """The answer to our own apply may be here before the events of what was deleted before it."""
    recorder = Recorder()
    recorder.live.seen(IDENTITY, obj(5))
    recorder.live.seen(IDENTITY, obj(9, uid="other"))
    going = obj(6)
    going["metadata"]["deletionTimestamp"] = "2026-11-21T20:00:00Z"
    recorder.live.seen(IDENTITY, going)
    recorder.live.gone(IDENTITY, obj(7))
    assert recorder.changes == [(None, 5), (5, 9)]


def test_the_owner_is_whom_the_labels_name() -> None:
    live = Recorder().live
    assert live.seen(IDENTITY, obj(1)).owner == WorkloadId("Kustomization", "flux-system", "apps")
    assert live.seen(IDENTITY, obj(2, **{"fleet.felloe.io/workload-name": ""})).owner is None


def test_managed_fields_are_kept_only_of_what_differs_from_our_last_apply() -> None:
    live = Recorder(expected=b"what we left behind").live
    drifted = live.seen(IDENTITY, obj(1))
    assert drifted.drifted is not None
    assert drifted.settled.drifted is None
    assert Recorder().live.seen(IDENTITY, obj(1)).drifted is None


def test_heals_in_a_row_wait_longer_each_time_and_calm_ends_the_row() -> None:
    contest = Contest()
    pauses = []
    for _ in range(8):
        now = contest.not_before
        contest = contest.healed(now)
        pauses.append(contest.not_before - now)
    assert pauses[: FREE_HEALS - 1] == [0.0] * (FREE_HEALS - 1)
    assert pauses[FREE_HEALS - 1 :] == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0]
    assert contest.contested
    assert not contest.healed(contest.not_before + 60).contested
