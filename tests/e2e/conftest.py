"""One fleet for each test module: a Git server, a hub, and a spoke in each of three real clusters."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.fixtures import ClusterPool
from tests.fleet.fleet import Fleet
from tests.fleet.manifests import ENVIRONMENTS, shop


@pytest.fixture(scope="module")
def empty_fleet(
    clusters: ClusterPool, kustomize_binary: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fleet]:
    """A hub over an empty repository; clusters are there, and none has joined."""
    members = dict(zip(ENVIRONMENTS, clusters.get(len(ENVIRONMENTS), nodes=True), strict=True))
    with Fleet(tmp_path_factory.mktemp("fleet"), members, kustomize_binary) as fleet:
        yield fleet


@pytest.fixture(scope="module")
def fleet(empty_fleet: Fleet) -> Fleet:
    """The shop in dev, staging and production, applied and healthy everywhere."""
    empty_fleet.repository.commit(shop(empty_fleet.url), "the shop")
    empty_fleet.hub.start()
    empty_fleet.join_all({name: {"env": name} for name in ENVIRONMENTS})
    empty_fleet.hub.felloe("wait", "--for", "healthy", "--timeout", "2m", timeout=150)
    return empty_fleet
