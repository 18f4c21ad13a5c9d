"""What overlays render to, for as long as a plan rests on it; and when a failure that may pass is worth another try."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Mapping
from typing import Final

from felloe.errors import FelloeError, RenderError, SandboxError, SourceError
from hub.metrics import HubMetrics
from hub.planning.commits import Commits
from hub.render.render import Rendered, Renderer, RenderRequest
from hub.targeting import RenderWant, Snapshot

log = logging.getLogger(__name__)

RETRY_SECONDS: Final = 60.0
_RETRY_SHARE: Final = 10
"""A build that ran into its limit of time is tried again after this many times as long: it holds up the others."""


class Overlays:
    """The renders that planning needs, and why those that failed did."""

    def __init__(self, renderer: Renderer, metrics: HubMetrics) -> None:
        self.results: dict[RenderWant, Rendered | RenderError] = {}
        self.damaged = False
        """Whether a source turned out damaged on the hub's disk since this was last set to False."""
        self._renderer = renderer
        self._metrics = metrics
        self._retries: dict[RenderWant, float] = {}

    @property
    def retry_at(self) -> float | None:
        """Return when (by the event loop's clock) a failure is to be tried again, None where none is."""
        return min(self._retries.values(), default=None)

    def forget_passed(self) -> None:
        """Forget the failures whose time has come: they are rendered again where they are still wanted."""
        now = asyncio.get_running_loop().time()
        for want in [want for want, at in self._retries.items() if at <= now]:
            del self._retries[want]
            self.results.pop(want, None)

    def keep(self, wants: Collection[RenderWant]) -> None:
        """Forget whatever is not among these."""
        self.results = {want: result for want, result in self.results.items() if want in wants}
        self._retries = {want: at for want, at in self._retries.items() if want in wants}

    async def render(self, wants: Mapping[RenderWant, Snapshot | str], commits: Commits) -> None:
        """Have a result for each of these; the contents are those of their sources, or why there is none."""
        async with asyncio.TaskGroup() as group:
            for want, content in wants.items():
                if isinstance(content, str):
                    self.results[want] = RenderError(content)
                else:
                    group.create_task(self._render(want, content, commits), name=f"render {want.path}")

    async def _render(self, want: RenderWant, content: Snapshot, commits: Commits) -> None:
        began, began_ns = time.perf_counter(), time.time_ns()
        try:
            request = RenderRequest(content.tree, want.path, want.target_namespace, want.changes)
            rendered = await self._renderer.render(request)
        except FelloeError as error:
            self._failed(want, error, time.perf_counter() - began)
            commits.rendered(want, began_ns, error=str(error))
            return
        except Exception as error:  # a bug that one overlay brings to light must not stop the others
            log.exception("rendering %s of %s at %s", want.path, want.source.key, want.revision)
            said = f"a bug in Felloe: {type(error).__name__}: {error}; the hub's log has more"
            self._failed(want, SandboxError(said), time.perf_counter() - began)
            return
        self.results[want] = rendered
        if rendered.remembered:
            self._metrics.render_cached()
        else:
            self._metrics.rendered(time.perf_counter() - began)
            commits.rendered(want, began_ns, objects=len(rendered.objects))

    def _failed(self, want: RenderWant, error: FelloeError, seconds: float) -> None:
        self.results[want] = error if isinstance(error, RenderError) else RenderError(str(error))
        self._metrics.rendered(seconds, failed=True)
        self.damaged = self.damaged or isinstance(error, SourceError)
        if isinstance(error, SandboxError) or not isinstance(error, RenderError):
            pause = max(RETRY_SECONDS, _RETRY_SHARE * seconds)
            self._retries[want] = asyncio.get_running_loop().time() + pause
