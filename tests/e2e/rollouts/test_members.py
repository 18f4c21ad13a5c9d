"""Fleets that change in the middle of a rollout: nobody gets, or loses, anything past it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from typing import Any

import pytest

from tests.fleet.fleet import Fleet
from tests.fleet.manifests import config_map, documents, git_repository, kustomization, namespace, placement
from tests.fleet.processes import condition, eventually
from tests.fleet.rollouts import (
    APPROVED,
    CANARY,
    NAMES,
    REST,
    approve,
    asked,
    phase,
    rollout,
    shop,
    status,
    steer,
    versions,
)

pytestmark = pytest.mark.cluster

POLICIES = {"mirror": "MirrorPrune", "gone": "Delete", "slow": "WaitForTermination", "kept": "Orphan"}
MEMBER = {"shop": "yes"}
FINALIZER = "example.com/wait"


def labelled(**labels: Mapping[str, str]) -> dict[str, str]:
    """Clusters with labels in Git."""
    kinds = [
        {"apiVersion": "fleet.felloe.io/v1alpha1", "kind": "Cluster", "metadata": {"name": name, "labels": own}}
        for name, own in labels.items()
    ]
    return {"fleet/clusters.yaml": documents(*kinds)}


def files(fleet: Fleet, *stages: Mapping[str, object], name: str = "shop", **more: object) -> dict[str, str]:
    """The shop by a placement of this name, for clusters with a label; `more` are further workloads, by namespace."""
    workloads = ["shop", *more]
    kinds = [
        kustomization(each, f"./{each}", prune=each != "gone", deletionPolicy=POLICIES.get(each, "MirrorPrune"))
        for each in workloads
    ]
    placed = placement(name, *workloads, clusterSelector={"matchLabels": MEMBER}, rollout="careful")
    found = {
        "fleet/fleet.yaml": documents(git_repository("config", fleet.url), *kinds, placed, rollout("careful", *stages))
    }
    for each in more:
        found[f"{each}/all.yaml"] = documents(namespace(each), config_map("settings", each, v="1"))
    return found


def everybody(**other: Mapping[str, str]) -> dict[str, str]:
    return labelled(**dict.fromkeys(NAMES, MEMBER) | other)


def uids(fleet: Fleet) -> list[str]:
    return [str(fleet.config_map(name, "settings").metadata.uid) for name in NAMES]


def having(fleet: Fleet, item: str) -> list[str]:
    """The clusters that have the ConfigMap of a namespace, also one that is on its way out."""
    return [name for name in NAMES if fleet.config_map(name, "settings", item) is not None]


def settle(fleet: Fleet, changed: Mapping[str, str], version: str) -> None:
    """Commit, and have every cluster get it, by whatever stages."""
    sha = fleet.commit(dict(changed) | shop(version))
    fleet.wait(sha, "healthy")
    eventually(lambda: versions(fleet) == [version] * 4, "all have it")
    eventually(lambda: phase(fleet) == "Complete", "the rollout is complete")


def planned(fleet: Fleet, changed: Mapping[str, str]) -> Any:
    """What `felloe plan` says of a commit that is on a branch only."""
    repository, head = fleet.repository, fleet.repository.head
    repository.switch("try")
    repository.commit(changed)
    found = json.loads(fleet.hub.felloe("plan", "--branch", "try", "-o", "json", timeout=120))
    subprocess.run(["git", "switch", "--quiet", "main"], cwd=repository.work, check=True)
    assert repository.head == head
    return found


def test_labels_that_a_commit_takes_from_everybody_are_lost_stage_by_stage_each_policy_as_it_says(fleet: Fleet) -> None:
    more = dict.fromkeys(POLICIES, "")
    settle(fleet, files(fleet, CANARY, REST, **more) | everybody(), "1")
    fleet.commit(files(fleet, CANARY, APPROVED, **more))
    for name in NAMES:
        patch = {"metadata": {"finalizers": [FINALIZER]}}
        fleet.core(name).patch_namespaced_config_map("settings", "slow", patch)
    mistake = labelled(**{name: {} for name in NAMES})
    order = planned(fleet, mistake)["order"]
    assert [(stage["name"], stage["clusters"]) for stage in order[0]["stages"]] == [
        ("canary", ["a"]),
        ("rest", ["b", "c", "d"]),
    ]
    fleet.commit(mistake)
    eventually(lambda: having(fleet, "mirror") == having(fleet, "gone") == ["b", "c", "d"], "the canary loses them")
    assert having(fleet, "kept") == list(NAMES), "orphans stay"
    eventually(lambda: "being removed" in json.dumps(status(fleet)), "it is told what the canary waits for")
    assert fleet.config_map("a", "settings", "slow").metadata.deletion_timestamp
    assert not asked(fleet), "the canary is not done"
    fleet.core("a").patch_namespaced_config_map("settings", "slow", {"metadata": {"finalizers": None}})
    eventually(lambda: asked(fleet) == ["go"], "the canary is done: a person is asked")
    assert having(fleet, "shop") == having(fleet, "mirror") == ["b", "c", "d"], "nobody else lost anything"
    steer(fleet, "undo")
    eventually(lambda: versions(fleet) == ["1"] * 4, "the canary has it back")
    eventually(lambda: having(fleet, "mirror") == list(NAMES), "and all else")
    for name in NAMES[1:]:
        fleet.core(name).patch_namespaced_config_map("settings", "slow", {"metadata": {"finalizers": None}})
    settle(fleet, files(fleet, CANARY, REST) | everybody(), "2")
    eventually(lambda: having(fleet, "slow") == [], "workloads that left Git are gone")
    assert having(fleet, "kept") == list(NAMES)


def test_a_cluster_whose_label_goes_or_comes_in_the_middle_has_its_turn(fleet: Fleet) -> None:
    fleet.commit(files(fleet, CANARY, APPROVED) | shop("3"))
    eventually(lambda: versions(fleet)[0] == "3", "the canary has it")
    sha = fleet.commit(everybody(c={}))
    eventually(lambda: status(fleet)["revision"].endswith(sha) and asked(fleet) == ["go"], "the canary has that too")
    assert versions(fleet, "b", "c", "d") == ["2", "2", "2"], "c waits for the gate, also to lose it"
    approve(fleet)
    eventually(lambda: versions(fleet) == ["3", "3", "", "3"], "c has lost it, the others have the new one")
    eventually(lambda: phase(fleet) == "Complete", "it is complete")
    fleet.commit(everybody() | shop("4"))
    eventually(lambda: versions(fleet)[0] == "4", "the canary has it")
    assert versions(fleet, "b", "c", "d") == ["3", "", "3"], "c comes in its turn"
    approve(fleet)
    eventually(lambda: versions(fleet) == ["4"] * 4, "all have it")


def test_a_placement_that_is_renamed_hands_over_what_runs(fleet: Fleet) -> None:
    settle(fleet, files(fleet, CANARY, REST) | everybody(), "5")
    before = uids(fleet)
    fleet.commit(files(fleet, CANARY, REST, name="market") | shop("6"))
    eventually(lambda: versions(fleet) == ["6"] * 4, "the new placement has it everywhere")
    assert uids(fleet) == before, "nothing was deleted and made again"
    eventually(lambda: phase(fleet, "market") == "Complete", "the rollout is complete")
    fleet.commit(files(fleet, CANARY, REST) | shop("7"))
    eventually(lambda: versions(fleet) == ["7"] * 4, "and back")
    assert uids(fleet) == before


def test_a_selector_that_means_nobody_is_told_and_empties_clusters_in_their_turn(fleet: Fleet) -> None:
    wrong = files(fleet, CANARY, APPROVED)
    wrong = {"fleet/fleet.yaml": wrong["fleet/fleet.yaml"].replace('"shop": "yes"', '"shop": "yess"')}
    fleet.commit(wrong)
    eventually(lambda: versions(fleet) == ["", "7", "7", "7"], "the canary alone has lost it")
    (shown,) = fleet.hub.get("placements", "shop")
    assert condition(shown, "Selected")["status"] == "False"
    fleet.revert()
    eventually(lambda: versions(fleet, "b", "c", "d") == ["7"] * 3, "nobody else noticed")
    eventually(lambda: versions(fleet)[0] == "7", "the canary has it again")
