"""A workload's part of the trace of its delivery: how long it took until all was applied, and until it was healthy."""

from __future__ import annotations

from felloe.identity import WorkloadId
from felloe.tracing import Span, Tracer


class Milestones:
    """The steps that a workload is on the way to; `parent` is the trace of the bundle that brought it."""

    def __init__(self, tracer: Tracer, parent: str, workload: WorkloadId, objects: int) -> None:
        self._tracer = tracer
        self._parent = parent
        self._attributes: dict[str, str | int] = {"felloe.workload": str(workload), "felloe.objects": objects}
        self._open: dict[str, Span] = {}

    def begin(self, step: str) -> None:
        """Begin a step."""
        self._open[step] = self._tracer.start(step, parent=self._parent, attributes=self._attributes)

    def reached(self, step: str) -> bool:
        """End a step; return whether it had begun."""
        span = self._open.pop(step, None)
        if span is not None:
            span.end()
        return span is not None

    def missed(self) -> None:
        """End all steps that were not reached."""
        for span in self._open.values():
            span.fail("it did not come to that before a newer bundle, or the end of the spoke")
            span.end()
        self._open.clear()
