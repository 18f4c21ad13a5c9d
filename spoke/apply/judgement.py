"""The health of a workload, of all that counts for it: its own objects, and what its healthChecks name besides."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from typing import Final

from felloe.bundle import Workload
from felloe.identity import ObjectId
from spoke.apply import standing
from spoke.apply.context import Context
from spoke.apply.health_checks import HealthChecks, checked
from spoke.apply.standing import Verdict
from spoke.apply.state import State
from spoke.drift.live import Live
from spoke.health import Health, HealthStatus

_NOT_FOUND: Final = Health(HealthStatus.NOT_FOUND, "NotFound", "not found in the cluster")


class Judgement:
    """Judges the objects that a workload has (`wanted`).

    `own` are the workload's unhealthy objects, with why.
    """

    def __init__(self, context: Context, workload: Workload, state: State, wanted: Collection[ObjectId]) -> None:
        self._context = context
        self._options = workload.options
        self._state = state
        self._wanted = wanted
        self._outside = HealthChecks(context, workload, wanted)
        self._since: float | None = None
        self.own: dict[ObjectId, Health] = {}

    @property
    def gates(self) -> bool:
        """Return whether Ready asks for health."""
        return self._options.wait or bool(self._options.health_checks)

    @property
    def unhealthy(self) -> Mapping[ObjectId, Health]:
        """Return every unhealthy object, whether it counts or not, with why."""
        return {**self.own, **self._outside.unhealthy()}

    def follow(self, tasks: asyncio.TaskGroup, changed: Callable[[], None]) -> None:
        """Watch what counts and is not the workload's own for as long as `tasks` goes on; `changed` is told of it."""
        self._outside.follow(tasks, changed)

    def judge(self, identity: ObjectId, live: Live | None, *, applied: bool) -> None:
        """Judge an object as it is now; one that is not there is missed only if it was `applied`."""
        if live is not None and live.left_alone:
            health = None
        elif live is None and identity in self._state.expired:
            health = self._state.expired[identity]
        elif live is None:
            health = _NOT_FOUND if applied else None
        else:
            health = live.health if live.health.status is not HealthStatus.CURRENT else None
        self._context.inquiries.noted(identity, health if live is not None else None, self._context.client)
        if health is None:
            self.own.pop(identity, None)
        else:
            self.own[identity] = self._context.inquiries.explained(identity, health)

    def verdict(self) -> Verdict:
        """Return what Healthy says now; what stays unhealthy longer than the workload's timeout has failed."""
        bad, options, now = self._in_question(), self._options, time.monotonic()
        if not bad:
            self._since = None
        elif self._since is None:
            self._since = now
        overdue = self._since is not None and now >= self._since + options.timeout
        counted = len(options.health_checks) if options.health_checks and not options.wait else len(self._wanted)
        return standing.healthy(bad.items(), counted, overdue=overdue, timeout=options.timeout)

    def deadline(self, now: float) -> float | None:
        """Return when what is unhealthy has failed, in monotonic seconds; None if it has, or all is well."""
        deadline = None if self._since is None else self._since + self._options.timeout
        return deadline if deadline is not None and deadline > now else None

    def _in_question(self) -> dict[ObjectId, Health]:
        """Return the unhealthy ones of those objects whose health counts: all, or those that healthChecks names."""
        outside = self._outside.unhealthy()
        if self._options.wait or not self._options.health_checks:
            return {**self.own, **outside}
        named = checked(self._options)
        return {**{i: health for i, health in self.own.items() if i in named}, **outside}
