"""A commit that deletes most of a workload waits on the cluster until a person approves it, whatever restarts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.fixtures import ClusterPool
from tests.fleet.fleet import Fleet
from tests.fleet.manifests import config_map, documents, overlay, shop
from tests.fleet.processes import condition, eventually

pytestmark = pytest.mark.cluster

SHOP = ("namespace.yaml", "settings.yaml", "web.yaml")
NOTES = [f"note-{number:02}" for number in range(12)]
WITH_NOTES = {
    "base/kustomization.yaml": overlay(*SHOP, "notes.yaml", namespace="shop"),
    "base/notes.yaml": documents(*(config_map(name, text="a note") for name in NOTES)),
}


@pytest.fixture(scope="module")
def fleet(clusters: ClusterPool, kustomize_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """The shop with a dozen notes, applied on one cluster."""
    (cluster,) = clusters.get(1, nodes=True)
    with Fleet(tmp_path_factory.mktemp("fleet"), {"dev": cluster}, kustomize_binary) as fleet:
        fleet.repository.commit(shop(fleet.url, ["dev"]) | WITH_NOTES, "the shop")
        fleet.hub.start()
        fleet.join("dev", env="dev")
        fleet.hub.felloe("wait", "--for", "healthy", "--timeout", "2m", timeout=150)
        yield fleet


def waits(fleet: Fleet) -> dict[str, Any]:
    """The workload, once it waits for approval."""
    eventually(lambda: fleet.hub.workload("dev", "shop")["status"].get("pendingPrune"), "it asks")
    found: dict[str, Any] = fleet.hub.workload("dev", "shop")
    return found


def notes(fleet: Fleet) -> int:
    return sum(fleet.config_map("dev", name) is not None for name in NOTES)


def test_a_commit_that_deletes_most_of_a_workload_waits_for_approval(fleet: Fleet) -> None:
    settings = documents(config_map("settings", greeting="hello again"))
    sha = fleet.commit(
        {"base/kustomization.yaml": overlay(*SHOP, namespace="shop"), "base/settings.yaml": settings}, "no notes"
    )
    ready = condition(waits(fleet), "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "PruneNeedsApproval")
    assert "12 of 15 objects would be deleted (80%" in ready["message"]
    assert ready["message"].endswith("felloe approve prune --cluster dev --workload flux-system/shop")
    assert notes(fleet) == 12
    found = fleet.data("dev", "settings")
    assert found
    assert found["greeting"] == "hello again"

    shown = fleet.hub.felloe("approve", "prune", "--cluster", "dev", expect=1)
    assert "would delete 12 of 15 objects:\n  ConfigMap shop/note-00\n" in shown
    assert "Nothing was approved: --yes does it." in shown
    assert "to delete 12 of 15 objects" in fleet.hub.felloe("describe", "workload", "shop")
    assert notes(fleet) == 12

    assert "approved: 12 objects" in fleet.hub.felloe("approve", "prune", "--cluster", "dev", "--yes")
    fleet.wait(sha)
    assert notes(fleet) == 0
    events = fleet.hub.felloe("events", "--cluster", "dev")
    assert "admin approved" in events
    assert "no workload on cluster 'dev'" in fleet.hub.felloe("approve", "prune", "--cluster", "dev", expect=1)


def test_a_workload_that_is_taken_away_waits_too_and_the_approval_outlives_a_restart(fleet: Fleet) -> None:
    fleet.deliver(WITH_NOTES, "notes again")
    fleet.commit({"fleet/shop.yaml": None}, "by accident")
    workload = waits(fleet)
    ready = condition(workload, "Ready")
    assert ready["reason"] == "PruneNeedsApproval"
    assert ready["message"].startswith("no longer wanted; 15 of 15 objects would be deleted")
    fleet.spokes["dev"].kill()
    eventually(lambda: not fleet.is_connected("dev"), "the spoke is gone")
    fleet.hub.felloe("approve", "prune", "--cluster", "dev", "--workload", "flux-system/shop", "--yes")
    fleet.hub.kill()
    assert notes(fleet) == 12
    fleet.hub.start()
    fleet.spokes["dev"].start()
    eventually(lambda: notes(fleet) == 0, "the notes are gone")
    eventually(lambda: not fleet.hub.get("workloads", "--cluster", "dev"), "the workload is gone")


def test_what_is_put_back_needs_no_approval(fleet: Fleet) -> None:
    fleet.deliver(shop(fleet.url, ["dev"]) | WITH_NOTES, "back")
    fleet.commit({"fleet/shop.yaml": None}, "an accident again")
    waits(fleet)
    fleet.deliver(shop(fleet.url, ["dev"]) | WITH_NOTES, "put back")
    assert "pendingPrune" not in fleet.hub.workload("dev", "shop")["status"]
    assert notes(fleet) == 12
