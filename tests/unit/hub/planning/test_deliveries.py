"""A delivery is one span from the offer to healthy, and its stages are counted once, for the newest root only."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from felloe.digest import digest
from felloe.tracing import OFF, tracer
from hub.metrics import HubMetrics
from hub.planning.deliveries import Deliveries
from tests.servers import otlp

OLD, NEW = digest(b"old"), digest(b"new")


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def counted(registry: CollectorRegistry, stage: str) -> float:
    return registry.get_sample_value("felloe_delivery_seconds_count", {"stage": stage}) or 0.0


def test_each_stage_counts_once_and_only_for_the_newest_root(registry: CollectorRegistry) -> None:
    deliveries = Deliveries(OFF, HubMetrics(registry))
    deliveries.begin("a", OLD, parent="", links=())
    deliveries.begin("a", NEW, parent="", links=())
    deliveries.reached("a", OLD, "acked")
    deliveries.reached("b", NEW, "acked")
    for _ in range(2):
        deliveries.reached("a", NEW, "acked")
        deliveries.reached("a", NEW, "applied")
    assert (deliveries.awaits("a", NEW), deliveries.awaits("a", OLD)) == (True, False)
    deliveries.reached("a", NEW, "healthy")
    deliveries.reached("a", NEW, "healthy")
    assert [counted(registry, stage) for stage in ("acked", "applied", "healthy")] == [1, 1, 1]
    assert not deliveries.awaits("a", NEW)


def test_a_cluster_that_has_gone_is_not_waited_for(registry: CollectorRegistry) -> None:
    deliveries = Deliveries(OFF, HubMetrics(registry))
    deliveries.begin("a", NEW, parent="", links=())
    deliveries.abandon("a")
    deliveries.abandon("a")
    deliveries.reached("a", NEW, "acked")
    assert counted(registry, "acked") == 0


def test_a_receiver_gets_what_became_of_each(receiver: Path, registry: CollectorRegistry) -> None:
    tracing = tracer("felloe-hub", os.environ)
    deliveries = Deliveries(tracing, HubMetrics(registry))
    commit = tracing.start("commit")
    traceparent = deliveries.begin("a", OLD, parent=commit.traceparent, links=[commit.traceparent])
    deliveries.begin("a", NEW, parent=commit.traceparent, links=[])
    deliveries.refused("a", OLD, "an older one")
    deliveries.refused("a", NEW, "an object is too large")
    deliveries.begin("b", NEW, parent="", links=[])
    deliveries.reached("b", NEW, "acked")
    deliveries.close()
    commit.end()
    tracing.shutdown()
    spans = otlp.received(receiver)
    delivered = {(one["attributes"]["felloe.cluster"], one["attributes"]["felloe.root"]): one for one in spans[:-1]
                 if one["name"] == "deliver"}  # fmt: skip
    first = delivered["a", OLD.hex()]
    assert traceparent.split("-")[1:3] == [first["trace"], first["span"]]
    assert first["attributes"]["felloe.superseded"] is True
    (begun,) = (one for one in spans if one["name"] == "commit")
    assert (first["parent"], first["links"]) == (begun["span"], [begun["span"]])
    failed = [one["attributes"]["felloe.root"] for one in spans if one["failed"]]
    assert failed == [NEW.hex()]
    assert ("b", NEW.hex()) in delivered
