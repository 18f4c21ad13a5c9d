"""Deliveries: one per cluster and generation, from the offer to the last healthy object, as spans and metrics.

The spoke's own spans (`apply`, `healthy`) hang below `deliver`, whose trace context travels with the bundle.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from felloe.digest import Digest
from felloe.tracing import Span, Tracer
from hub.metrics import HubMetrics, Stage


@dataclass(slots=True)
class _Delivery:
    root: Digest
    span: Span
    send: Span
    began: float
    reached: set[Stage] = field(default_factory=set)


class Deliveries:
    """What is on its way to each cluster."""

    def __init__(self, tracer: Tracer, metrics: HubMetrics) -> None:
        self._tracer = tracer
        self._metrics = metrics
        self._open: dict[str, _Delivery] = {}

    def begin(self, cluster: str, root: Digest, *, parent: str, links: Sequence[str]) -> str:
        """Begin the delivery of a new root and return its traceparent; an older one ends as superseded."""
        if (before := self._open.pop(cluster, None)) is not None:
            before.send.end()
            before.span.set("felloe.superseded", True)
            before.span.end()
        attributes = {"felloe.cluster": cluster, "felloe.root": root.hex()}
        span = self._tracer.start("deliver", parent=parent, links=links, attributes=attributes)
        send = self._tracer.start("send", parent=span.traceparent, attributes=attributes)
        self._open[cluster] = _Delivery(root, span, send, time.monotonic())
        return span.traceparent

    def reached(self, cluster: str, root: Digest, stage: Stage) -> None:
        """Note that a cluster has come so far with a root; only the first time counts, and only for the newest root."""
        delivery = self._open.get(cluster)
        if delivery is None or delivery.root != root or stage in delivery.reached:
            return
        delivery.reached.add(stage)
        self._metrics.delivered(stage, time.monotonic() - delivery.began)
        delivery.send.end()
        if stage == "healthy":
            delivery.span.end()
            del self._open[cluster]

    def awaits(self, cluster: str, root: Digest) -> bool:
        """Tell whether a cluster is on its way to a root."""
        delivery = self._open.get(cluster)
        return delivery is not None and delivery.root == root

    def refused(self, cluster: str, root: Digest, message: str) -> None:
        """Note that the spoke can't take a root; only the newest one counts."""
        delivery = self._open.get(cluster)
        if delivery is not None and delivery.root == root:
            delivery.send.fail(message)
            delivery.send.end()

    def abandon(self, cluster: str) -> None:
        """End the delivery to a cluster, if there is one: it could not be published, or the cluster has gone."""
        if (delivery := self._open.pop(cluster, None)) is not None:
            delivery.send.end()
            delivery.span.set("felloe.abandoned", True)
            delivery.span.end()

    def close(self) -> None:
        """End what is open: the hub stops."""
        for delivery in self._open.values():
            delivery.send.end()
            delivery.span.end()
        self._open.clear()
