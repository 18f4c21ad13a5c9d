"""What the hub counts, for Prometheus. Each hub has its own registry, so that two in one process don't mix."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from hub.status.resource import Resource

Stage = Literal["acked", "applied", "healthy"]
"""How far a delivery has come: on the spoke's disk, applied whole, applied and healthy."""

_RENDER: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_DELIVERY: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900)


class HubMetrics:
    """The hub's metrics. All times are seconds."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._connected = Gauge("felloe_spokes_connected", "Spokes with an open stream.", registry=registry)
        self._render = Histogram(
            "felloe_render_seconds", "Time of one build of an overlay.", buckets=_RENDER, registry=registry
        )
        self._builds = Counter(
            "felloe_renders_total",
            "Overlays rendered, by result: built, cached (nothing that was read had changed) or failed.",
            ["result"],
            registry=registry,
        )
        self._delivery = Histogram(
            "felloe_delivery_seconds",
            "Time from the offer of a generation to its stage on one cluster.",
            ["stage"],
            buckets=_DELIVERY,
            registry=registry,
        )
        self._fetch = Histogram(
            "felloe_source_fetch_seconds",
            "Time of one look at a source, by result: unchanged, fetched or failed.",
            ["result"],
            buckets=_RENDER,
            registry=registry,
        )
        self._workloads = Gauge(
            "felloe_workloads", "Workloads on all clusters, by condition and status.", ["condition", "status"],
            registry=registry,
        )  # fmt: skip
        for result in ("built", "cached", "failed"):
            self._builds.labels(result)
        self.workloads(())

    def spokes_connected(self, number: int) -> None:
        """Tell how many spokes have an open stream."""
        self._connected.set(number)

    def rendered(self, seconds: float, *, failed: bool = False) -> None:
        """Count an overlay that was built, or that failed to build."""
        self._render.observe(seconds)
        self._builds.labels("failed" if failed else "built").inc()

    def render_cached(self, number: int = 1) -> None:
        """Count overlays whose last result was used again."""
        self._builds.labels("cached").inc(number)

    def delivered(self, stage: Stage, seconds: float) -> None:
        """Tell how long after the offer of a generation a cluster reached a stage."""
        self._delivery.labels(stage).observe(seconds)

    def fetched(self, seconds: float, result: Literal["unchanged", "fetched", "failed"]) -> None:
        """Count a look at a source."""
        self._fetch.labels(result).observe(seconds)

    def workloads(self, resources: Iterable[Resource]) -> None:
        """Tell how all workloads are: `resources` are those of the board."""
        self._workloads.clear()
        tally = Tally((one.type, one.status) for resource in resources for one in resource.conditions)
        for condition in {"Ready", "Healthy"} | {kind for kind, _ in tally}:
            for status in ("True", "False", "Unknown"):
                self._workloads.labels(condition, status).set(tally[condition, status])
