"""Commits as traces and metrics see them.

A trace begins with a commit: its span covers the look at the source that found it (`fetch`), what was rendered because
of it, and the moment at which every cluster had its new desired state. Deliveries hang below it and outlive it.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from felloe.tracing import Attribute, Span, Tracer
from hub.metrics import HubMetrics
from hub.sources.follow import SourceState
from hub.sources.git import Fetched, GitSources
from hub.sources.secrets import SecretFolder
from hub.sources.spec import GitSpec
from hub.sources.url import UrlRewriter, shown
from hub.targeting import RenderWant

_AUTHORS_KEPT: Final = 1000


@dataclass(frozen=True, slots=True)
class Look:
    """When a source was looked at, in nanoseconds since 1970."""

    began: int
    ended: int


class TimedGitSources(GitSources):
    """Git sources whose looks are counted and timed."""

    def __init__(self, data: Path, secrets: SecretFolder, rewriter: UrlRewriter, metrics: HubMetrics) -> None:
        super().__init__(data, secrets, rewriter)
        self._metrics = metrics
        self._seen: dict[GitSpec, str] = {}
        self.looks: dict[GitSpec, Look] = {}
        """The last successful look at each source."""

    async def resolve(self, spec: GitSpec) -> Fetched:
        """Look at a source. Raise SourceError."""
        began = time.time_ns()
        try:
            fetched = await super().resolve(spec)
        except BaseException:
            self._metrics.fetched((time.time_ns() - began) / 1e9, "failed")
            raise
        ended = time.time_ns()
        self._metrics.fetched(
            (ended - began) / 1e9, "unchanged" if self._seen.get(spec) == fetched.revision else "fetched"
        )
        self._seen[spec] = fetched.revision
        self.looks[spec] = Look(began, ended)
        return fetched

    def keep(self, specs: Collection[GitSpec]) -> None:
        """Forget what is known of the looks at others."""
        self._seen = {spec: revision for spec, revision in self._seen.items() if spec in specs}
        self.looks = {spec: look for spec, look in self.looks.items() if spec in specs}


class Commits:
    """The commits that one round of planning takes up, as spans. `parent` is what its renders and deliveries belong to.

    A round that no commit caused (a cluster joined, somebody resumed a workload) has no parent of its own; it links to
    the commits that are in force.
    """

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._revisions: dict[GitSpec, str] = {}
        self._in_force: dict[GitSpec, str] = {}
        self._open: list[Span] = []
        self._authors: dict[str, str] = {}

    def take_up(self, states: Iterable[SourceState], looks: Mapping[GitSpec, Look]) -> None:
        """Begin a span for each source whose revision is new; `states` are those of all sources."""
        states = list(states)
        followed = {state.spec for state in states}
        for known in (self._revisions, self._in_force):
            for gone in known.keys() - followed:
                del known[gone]
        for state in states:
            if state.fetched is None or self._revisions.get(state.spec) == state.fetched.revision:
                continue
            self._revisions[state.spec] = state.fetched.revision
            self._open.append(self._begin(state, state.fetched, looks.get(state.spec)))
            self._authors[state.fetched.revision] = state.fetched.commit.author
            if len(self._authors) > _AUTHORS_KEPT:
                del self._authors[next(iter(self._authors))]

    def author(self, revision: str) -> str:
        """Return who wrote the commit of a revision that was taken up lately; empty for others."""
        return self._authors.get(revision, "")

    @property
    def parent(self) -> str:
        """Return the traceparent of this round; empty where no commit caused it."""
        return self._open[0].traceparent if self._open else ""

    @property
    def links(self) -> tuple[str, ...]:
        """Return the traceparents of this round's commits, or of those in force where there is none."""
        return tuple(span.traceparent for span in self._open) or tuple(self._in_force.values())

    def rendered(self, want: RenderWant, began: int, *, objects: int = 0, error: str = "") -> None:
        """Note a build of an overlay that began at a time in nanoseconds since 1970 and has just ended."""
        attributes: dict[str, Attribute] = {
            "felloe.path": want.path,
            "felloe.source": str(want.source.key),
            "felloe.revision": want.revision,
            "felloe.objects": objects,
        }
        span = self._tracer.start("render", parent=self.parent, attributes=attributes, start_ns=began)
        if error:
            span.fail(error)
        span.end()

    def end(self) -> None:
        """End the round: every cluster has its desired state."""
        for span in self._open:
            span.end()
        self._open.clear()

    def _begin(self, state: SourceState, fetched: Fetched, look: Look | None) -> Span:
        attributes = {
            "vcs.repository.url.full": shown(state.spec.url),
            "vcs.ref.head.revision": fetched.commit.id,
            "felloe.source": str(state.key),
            "felloe.revision": fetched.revision,
            "felloe.commit.subject": fetched.commit.subject,
        }
        span = self._tracer.start("commit", attributes=attributes, start_ns=look.began if look else None)
        self._in_force[state.spec] = span.traceparent
        if look is not None:
            self._tracer.start("fetch", parent=span.traceparent, start_ns=look.began).end(look.ended)
        return span
