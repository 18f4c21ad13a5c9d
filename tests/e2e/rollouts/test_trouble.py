"""What dies or is lost in the middle of a rollout on four real API servers: nothing gets past the rollout."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from functools import partial

import pytest

from tests.fleet.fleet import Fleet
from tests.fleet.processes import eventually
from tests.fleet.rollouts import (
    APPROVED,
    CANARY,
    NAMES,
    REST,
    approve,
    asked,
    deliver,
    files,
    phase,
    rollout,
    shop,
    steer,
    versions,
)

pytestmark = pytest.mark.cluster


def by(fleet: Fleet, *stages: Mapping[str, object]) -> dict[str, str]:
    """The shop by a canary and then these stages."""
    return files(fleet, rollout("careful", CANARY, *stages))


def test_clusters_that_are_put_out_in_the_middle_block_nobody(fleet: Fleet) -> None:
    fleet.commit(by(fleet, APPROVED) | shop("1"))
    eventually(lambda: versions(fleet) == ["1", "0", "0", "0"], "the canary has it")
    fleet.hub.felloe("cluster", "revoke", "b", "--yes", "--reason", "stolen")
    fleet.hub.felloe("cluster", "remove", "c", "--yes", "--reason", "gone")
    approve(fleet)
    eventually(lambda: phase(fleet) == "Complete", "nobody waits for them")
    assert versions(fleet) == ["1", "0", "0", "1"], "they keep what they have"
    for name in ("b", "c"):
        fleet.spokes[name].stop()
        fleet.join(name)
    eventually(lambda: versions(fleet) == ["1"] * 4, "who joins again gets what the others have")


def test_what_dies_in_its_turn_goes_on_and_an_undo_outlives_the_hub(fleet: Fleet) -> None:
    deliver(fleet, by(fleet, REST) | shop("2"), "2")
    fleet.clusters["b"].stop_apiserver(kill=True)
    fleet.commit(shop("3"))
    eventually(lambda: versions(fleet, "a") == ["3"], "the canary has it")
    fleet.spokes["b"].kill()
    fleet.clusters["b"].start_apiserver()
    fleet.spokes["b"].start()
    eventually(lambda: versions(fleet) == ["3"] * 4, "b took its turn, and the others after it")
    fleet.commit(by(fleet, APPROVED) | shop("4"))
    eventually(lambda: versions(fleet) == ["4", "3", "3", "3"], "the canary has it")
    fleet.spokes["a"].stop()
    steer(fleet, "undo")
    fleet.hub.kill()
    fleet.hub.start()
    fleet.spokes["a"].start()
    eventually(lambda: versions(fleet) == ["3"] * 4, "the canary goes back")
    assert phase(fleet) == "Undone"


def test_a_git_server_that_is_away_or_rewrites_history_changes_nothing_past_the_rollout(fleet: Fleet) -> None:
    deliver(fleet, by(fleet, REST) | shop("5"), "5")
    good = fleet.repository.head
    fleet.commit(by(fleet, APPROVED) | shop("6"))
    eventually(lambda: versions(fleet) == ["6", "5", "5", "5"], "the canary has it")
    fleet.server.behaviour.bearer = "another"
    fleet.hub.felloe("reconcile", "source", "fleet", expect=1)
    fleet.hub.kill()
    fleet.hub.start()
    for name in NAMES:
        eventually(partial(fleet.is_connected, name), f"{name} is connected")
    assert versions(fleet) == ["6", "5", "5", "5"]
    approve(fleet)
    eventually(lambda: versions(fleet) == ["6"] * 4, "what was fetched goes on without Git")
    fleet.server.behaviour.bearer = None
    subprocess.run(["git", "reset", "--quiet", "--hard", good], cwd=fleet.repository.work, check=True)
    fleet.commit(by(fleet, APPROVED) | shop("7"))
    eventually(lambda: versions(fleet) == ["7", "6", "6", "6"], "the rewritten branch begins with the canary")
    approve(fleet)
    eventually(lambda: versions(fleet) == ["7"] * 4, "all have it")


def test_a_hub_that_lost_everything_takes_over_what_runs(fleet: Fleet) -> None:
    fleet.commit(shop("8"))
    eventually(lambda: versions(fleet) == ["8", "7", "7", "7"], "the canary has it")
    before = [fleet.config_map(name, "settings").metadata.uid for name in NAMES]
    fleet.hub.kill()
    for spoke in fleet.spokes.values():
        spoke.stop()
    fleet.hub.data.rename(fleet.folder / "lost")
    fleet.hub.start()
    for name in reversed(NAMES):
        fleet.join(name)
    eventually(lambda: asked(fleet) == ["go"], "it waits for the gate again")
    assert versions(fleet) == ["8", "7", "7", "7"], "what runs stays as it is"
    approve(fleet)
    eventually(lambda: versions(fleet) == ["8"] * 4, "all have it")
    assert [fleet.config_map(name, "settings").metadata.uid for name in NAMES] == before
