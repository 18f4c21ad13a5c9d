"""One fleet for each test module: a hub, and a spoke in each of four real clusters, whose shop goes by a Rollout."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.fixtures import ClusterPool
from tests.fleet import rollouts
from tests.fleet.fleet import Fleet


@pytest.fixture(scope="module")
def fleet(clusters: ClusterPool, kustomize_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A shop in four clusters without nodes, by the Rollout "careful": a canary, then one after the other."""
    members = dict(zip(rollouts.NAMES, clusters.get(len(rollouts.NAMES)), strict=True))
    with Fleet(tmp_path_factory.mktemp("rollouts"), members, kustomize_binary) as fleet:
        careful = rollouts.rollout("careful", rollouts.CANARY, rollouts.REST)
        fleet.repository.commit(rollouts.files(fleet, careful) | rollouts.shop("0"), "the shop")
        fleet.hub.start()
        fleet.join_all({name: {"env": environment} for name, environment in rollouts.ENVIRONMENTS.items()})
        fleet.wait(fleet.repository.head, "healthy")
        yield fleet
