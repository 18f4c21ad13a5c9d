"""Objects that a workload waits for (spec.healthChecks) without applying them: each is watched by its name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Final

from felloe.bundle import ApplyOptions, HealthCheck, Workload
from felloe.errors import KubernetesError
from felloe.identity import ObjectId, split_api_version
from spoke.apply.context import Context
from spoke.drift.watches import NamedObject
from spoke.health import Health, HealthStatus, assess, before_expressions
from spoke.health.expressions import rules
from spoke.kube.watch import Reflector

_FIRST_PAUSE_SECONDS: Final = 0.5
_LONGEST_PAUSE_SECONDS: Final = 15.0
_UNSEEN: Final = Health(HealthStatus.IN_PROGRESS, "NotObserved", "not looked at yet")
_NOT_FOUND: Final = Health(HealthStatus.NOT_FOUND, "NotFound", "not found in the cluster")


def checked(options: ApplyOptions) -> dict[ObjectId, HealthCheck]:
    """Return the objects that healthChecks name."""
    return {
        ObjectId(split_api_version(check.api_version)[0], check.kind, check.namespace, check.name): check
        for check in options.health_checks
    }


class HealthChecks:
    """The health of those objects that are not the workload's `own`."""

    def __init__(self, context: Context, workload: Workload, own: Collection[ObjectId]) -> None:
        self._context = context
        self._workload = workload
        self._rules = {(rule.group, rule.kind): rule for rule in rules(workload.options.health_check_exprs)}
        self._checks = {i: check for i, check in checked(workload.options).items() if i not in own}
        self._health = dict.fromkeys(self._checks, _UNSEEN)

    def unhealthy(self) -> Mapping[ObjectId, Health]:
        """Return those that are not CURRENT, with why."""
        inquiries = self._context.inquiries
        bad = {i: health for i, health in self._health.items() if health.status is not HealthStatus.CURRENT}
        return {identity: inquiries.explained(identity, health) for identity, health in bad.items()}

    def follow(self, tasks: asyncio.TaskGroup, changed: Callable[[], None]) -> None:
        """Watch them for as long as `tasks` goes on; `changed` is called when the health of one changes."""
        for identity, check in self._checks.items():
            tasks.create_task(self._follow(identity, check, changed))

    async def _follow(self, identity: ObjectId, check: HealthCheck, changed: Callable[[], None]) -> None:
        version = split_api_version(check.api_version)[1]
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                resource = await self._context.discovery.find(identity.group, version, identity.kind)
                break
            except KubernetesError as error:
                self._judged(identity, Health(HealthStatus.NOT_FOUND, "NotFound", str(error)), changed)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
        selector = {"fieldSelector": f"metadata.name={identity.name}"}
        feed = NamedObject(resource, lambda obj: self._seen(identity, obj, changed))
        await Reflector(self._context.client, resource.collection(identity.namespace), selector, feed).run()

    def _seen(self, identity: ObjectId, obj: Mapping[str, object] | None, changed: Callable[[], None]) -> None:
        rule = self._rules.get((identity.group, identity.kind))
        known = _NOT_FOUND if obj is None else before_expressions(obj) if rule else assess(obj)
        if known is not None:
            self._judged(identity, known, changed)
        elif obj is not None and rule is not None:
            key = (self._workload.id, identity)
            self._context.evaluations.ask(key, rule, obj, lambda health: self._judged(identity, health, changed))

    def _judged(self, identity: ObjectId, health: Health, changed: Callable[[], None]) -> None:
        self._health[identity] = health
        self._context.inquiries.noted(identity, health, self._context.client)
        changed()
