"""One real cluster for the spoke's e2e tests of a module, and a clean spoke for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.cluster.controlplane import ControlPlane
from tests.cluster.fixtures import ClusterPool
from tests.spoke.cluster import Admin
from tests.spoke.driver import Spoke, running


@pytest.fixture(scope="module")
def cluster(clusters: ClusterPool) -> ControlPlane:
    return clusters.get(1, nodes=True)[0]


@pytest.fixture
def admin(cluster: ControlPlane) -> Admin:
    admin = Admin(cluster)
    admin.forget_spokes()
    return admin


@pytest_asyncio.fixture
async def spoke(cluster: ControlPlane, admin: Admin, tmp_path: Path) -> AsyncIterator[Spoke]:
    async with running(cluster.kubeconfig, tmp_path / "state") as spoke:
        yield spoke
