from __future__ import annotations

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from hub.metrics import HubMetrics
from tests.unit.hub.api.inmemory import cluster, workload


def test_what_prometheus_is_told() -> None:
    registry = CollectorRegistry()
    metrics = HubMetrics(registry)
    metrics.spokes_connected(3)
    metrics.rendered(0.2)
    metrics.rendered(0.1, failed=True)
    metrics.render_cached(5)
    metrics.delivered("healthy", 0.3)
    metrics.fetched(0.05, "unchanged")
    metrics.workloads([workload("a"), workload("b"), cluster("a")])
    metrics.workloads([workload("a")])
    told = generate_latest(registry).decode().splitlines()
    for line in (
        "felloe_spokes_connected 3.0",
        'felloe_renders_total{result="built"} 1.0',
        'felloe_renders_total{result="failed"} 1.0',
        'felloe_renders_total{result="cached"} 5.0',
        "felloe_render_seconds_count 2.0",
        'felloe_delivery_seconds_count{stage="healthy"} 1.0',
        'felloe_source_fetch_seconds_count{result="unchanged"} 1.0',
        'felloe_workloads{condition="Ready",status="True"} 1.0',
        'felloe_workloads{condition="Ready",status="False"} 0.0',
    ):
        assert line in told


def test_two_hubs_in_one_process_do_not_mix() -> None:
    one, two = CollectorRegistry(), CollectorRegistry()
    HubMetrics(one).spokes_connected(1)
    HubMetrics(two)
    assert b"felloe_spokes_connected 0.0" in generate_latest(two)
