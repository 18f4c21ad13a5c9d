"""A cluster that is revoked is out at once, keeps what it has, and comes back with a new token; the log knows why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.fixtures import ClusterPool
from tests.fleet.fleet import Fleet
from tests.fleet.manifests import cluster, config_map, documents
from tests.fleet.processes import eventually

pytestmark = pytest.mark.cluster


def files(value: str) -> dict[str, str | bytes | None]:
    return {
        "fleet/dev.yaml": documents(cluster("dev", "dev", syncPath="clusters/dev")),
        "clusters/dev/settings.yaml": documents(config_map("settings", "default", v=value)),
    }


@pytest.fixture(scope="module")
def fleet(clusters: ClusterPool, kustomize_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """One cluster with one ConfigMap."""
    (one,) = clusters.get(1)
    with Fleet(tmp_path_factory.mktemp("fleet"), {"dev": one}, kustomize_binary) as fleet:
        fleet.repository.commit(files("1"), "the first")
        fleet.hub.start()
        fleet.join("dev")
        fleet.hub.felloe("wait", "--for", "healthy", "--timeout", "2m", timeout=150)
        yield fleet


def value(fleet: Fleet) -> str | None:
    data = fleet.data("dev", "settings", "default")
    return data["v"] if data else None


def test_a_revoked_cluster_is_out_at_once_keeps_what_it_has_and_comes_back(fleet: Fleet) -> None:
    hub = fleet.hub
    hub.token("dev")
    shown = hub.felloe("cluster", "revoke", "dev", expect=1)
    assert "cluster dev (connected, 1 workload):" in shown
    assert fleet.is_connected("dev"), "nothing was said"
    assert hub.felloe("cluster", "revoke", "dev", "--yes", "--reason", "stolen").endswith("cluster dev is revoked\n")
    assert not fleet.is_connected("dev")
    fleet.commit(files("2"), "the second")
    patch = {"data": {"v": "by hand"}}
    fleet.core("dev").patch_namespaced_config_map("settings", "default", patch)
    eventually(lambda: value(fleet) == "1", "its spoke heals what it has, which is the first commit")
    assert not fleet.is_connected("dev")

    fleet.spokes["dev"].stop()
    spoke = fleet.join("dev")
    eventually(lambda: value(fleet) == "2", f"it has the second commit; its log:\n{spoke.process.tail()}")
    hub.felloe("wait", "--for", "healthy", "--timeout", "1m", timeout=90)
    entries = [json.loads(line) for line in hub.felloe("audit", "--cluster", "dev", "-o", "json").splitlines()]
    told = [(one["action"], one.get("reason", "")) for one in entries]
    assert told == [("TokenCreated", ""), ("TokenCreated", ""), ("ClusterRevoked", "stolen"), ("TokenCreated", "")]
    assert hub.felloe("audit", "verify").startswith("entries 1 to ")


def test_the_history_says_which_commit_ran_when_and_how_long_it_took(fleet: Fleet) -> None:
    sha = fleet.deliver(files("3"), "the third", to="healthy")
    shown = json.loads(fleet.hub.felloe("history", "--cluster", "dev", "-o", "json"))["items"]
    assert [one["generation"] for one in shown] == [1, 2, 3]
    assert shown[-1]["revision"] == f"main@sha1:{sha}"
    assert shown[-1]["formerRevision"] == shown[-2]["revision"]
    assert all(one["appliedAt"] and one["healthyAt"] for one in shown)
    (line,) = fleet.hub.felloe("history", "--workload", "flux-system", "--limit", "1").splitlines()[1:]
    assert sha[:8] in line
    assert line.endswith("commit")
