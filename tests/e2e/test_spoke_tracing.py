"""A delivery's trace goes on in the cluster: applied, then healthy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from felloe.bundle import ApplyOptions
from felloe.tracing import tracer
from tests.cluster.controlplane import ControlPlane
from tests.servers import otlp
from tests.spoke.cluster import Admin
from tests.spoke.driver import running
from tests.spoke.manifests import Wanted, config_map, deployment, namespace

pytestmark = pytest.mark.cluster


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[str]:
    with otlp.running(tmp_path) as endpoint:
        yield endpoint


async def test_applied_and_healthy_are_spans_of_the_delivery_that_brought_the_change(
    cluster: ControlPlane, admin: Admin, tmp_path: Path, receiver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver)
    tracing = tracer("felloe-spoke", {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver})
    apps = Wanted(
        "apps",
        [namespace("traced"), deployment("traced", "web")],
        ApplyOptions(prune=True, wait=True, timeout=60),
    )
    first, second = "1" * 32, "2" * 32
    async with running(cluster.kubeconfig, tmp_path / "state", tracing) as spoke:
        spoke.want(apps, traceparent=f"00-{first}-{'a' * 16}-01")
        await spoke.until_applied("apps")
        spoke.want(apps, Wanted("other", [config_map("traced", "a")]), traceparent=f"00-{second}-{'b' * 16}-01")
        await spoke.until("other", lambda status: bool(status.healthy_digest), "healthy")
    tracing.shutdown()
    spans = {
        (span["name"], span["attributes"]["felloe.workload"], span["trace"], span["parent"], span["failed"])
        for span in otlp.received(tmp_path)
    }
    workload = "Kustomization/flux-system/"
    assert spans == {
        (name, workload + which, trace, parent, False)
        for which, trace, parent in (("apps", first, "a" * 16), ("other", second, "b" * 16))
        for name in ("apply", "healthy")
    }
