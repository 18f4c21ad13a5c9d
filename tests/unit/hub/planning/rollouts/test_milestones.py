"""Every move of a rollout is told once: begun, superseded, queued, let through; what did not move is not told."""

from __future__ import annotations

import json
from dataclasses import replace

from hub.planning.rollouts.milestones import chronological, milestones
from hub.rollout.model import Note, Phase, RolloutState, Track
from hub.store import AuditQuery
from tests.fleet.manifests import environment
from tests.unit.hub.composition import Inside, World, eventually
from tests.unit.hub.planning.rollouts.shop import converge, fleet_of, rollout, shop, value, version

TRACK = Track("placement/shop", "production")
DONE = RolloutState(
    1,
    Phase.COMPLETE,
    began_at=1.0,
    base=1,
    assigned={"a": 1, "b": 1},
    stage_of={"a": "all", "b": "all"},
    done=frozenset("ab"),
)
BEGUN = replace(DONE, release=2, phase=Phase.PROGRESSING, began_at=2.0, assigned={"a": 2, "b": 1}, done=frozenset())


def told(before: RolloutState | None, after: RolloutState, upstream: str = "") -> list[tuple[str, tuple[str, ...]]]:
    return [(note.reason, note.clusters) for note in milestones(TRACK, before, after, upstream)]


def test_a_release_that_begins_and_whom_it_reaches() -> None:
    assert told(DONE, BEGUN) == [("RolloutBegan", ("a", "b")), ("Admitted", ("a",))]
    assert told(BEGUN, BEGUN) == []
    assert told(BEGUN, replace(BEGUN, assigned={"a": 2, "b": 2})) == [("Admitted", ("b",))]
    assert told(DONE, BEGUN, "staging")[0] == ("Promoted", ("a", "b"))


def test_a_cluster_that_has_already_what_begins_is_not_let_through() -> None:
    assert told(DONE, replace(BEGUN, assigned={"a": 2, "b": 2}, done=frozenset("b"))) == [
        ("RolloutBegan", ("a", "b")),
        ("Admitted", ("a",)),
    ]
    assert told(None, replace(DONE, began_at=5.0)) == [], "a strategy is new, and everything is as it wants it"


def test_another_number_for_the_same_content_is_nothing_to_tell() -> None:
    assert told(BEGUN, replace(BEGUN, release=3, assigned={"a": 3, "b": 1})) == []
    assert told(BEGUN, replace(BEGUN, release=3, assigned={"a": 3, "b": 3})) == [("Admitted", ("b",))]


def test_a_newer_release_supersedes_or_waits() -> None:
    newer = replace(BEGUN, release=3, began_at=3.0, assigned={"a": 3, "b": 1})
    assert [reason for reason, _ in told(BEGUN, newer)] == ["RolloutSuperseded", "RolloutBegan", "Admitted"]
    assert told(BEGUN, replace(BEGUN, queue=(3,))) == [("RolloutQueued", ())]
    assert told(replace(BEGUN, queue=(3,)), replace(BEGUN, queue=(3, 4))) == [("RolloutQueued", ())]


def test_a_stage_is_done_and_the_next_one_begins_before_its_clusters_are_let_through() -> None:
    reasons = ("StageDone", "StageBegan", "RolloutComplete")
    notes = [Note(reason, "", warning=False) for reason in reasons]
    found = chronological(milestones(TRACK, DONE, BEGUN), notes)
    assert [note.reason for note in found] == ["RolloutBegan", "StageDone", "StageBegan", "Admitted", "RolloutComplete"]


def test_going_back_is_not_being_let_through() -> None:
    assert told(BEGUN, replace(BEGUN, phase=Phase.FAILED, assigned={"a": 1, "b": 1})) == []


def audited(hub: Inside) -> list[tuple[str, str, list[str]]]:
    entries = [json.loads(record.entry) for record in hub.store.audit(AuditQuery(limit=1000))]
    return [(one["who"], one["action"], one.get("clusters", [])) for one in entries]


async def test_the_audit_log_says_which_policy_let_which_clusters_through_to_which_commit(world: World) -> None:
    world.repository.commit(shop(world, rollout("careful")))
    async with world.hub() as hub:
        await fleet_of(hub, a={"canary": "yes"}, b={})
        before = len(audited(hub))
        commit = world.repository.commit(version("2"))
        await hub.look()
        await converge(hub, "a", "b")
        actions = ("RolloutStarted", "RolloutClustersMoved", "RolloutFinished")
        assert [one for one in audited(hub)[before:] if one[1] in actions] == [
            ("policy/careful", "RolloutStarted", ["a", "b"]),
            ("policy/careful", "RolloutClustersMoved", ["a"]),
            ("policy/careful", "RolloutClustersMoved", ["b"]),
            ("policy/careful", "RolloutFinished", ["a", "b"]),
        ]
        newest = json.loads(hub.store.audit(AuditQuery(action="RolloutClustersMoved", limit=1000))[-1].entry)
        assert (newest["revision"], bool(newest["author"])) == (f"main@sha1:{commit}", True)
        (move,) = json.loads(hub.store.history(cluster="b")[-1].detail)["via"]
        assert (move["track"], move["who"]) == ("shop", "policy/careful")
        quiet = len(audited(hub))
        world.repository.commit({"README.md": "words"})
        await converge(hub, "a", "b")
        assert audited(hub)[quiet:] == []


async def test_a_promotion_by_policy_is_an_act_too(world: World) -> None:
    dev, staging = environment("dev"), environment("staging")
    staging["spec"] |= {"promotesFrom": {"environment": "dev"}}  # type: ignore[operator]
    world.repository.commit(shop(world, dev, staging))
    async with world.hub() as hub:
        await fleet_of(hub, d={"env": "dev"}, s={"env": "staging"})
        await converge(hub, "d", "s")
        world.repository.commit(version("2"))
        await hub.look()
        before = len(audited(hub))
        hub.report("d")
        await eventually(lambda: value(hub, "s") == "2")
        assert ("policy/default", "Promoted", ["s"]) in audited(hub)[before:]
