"""Asks the cluster why an object stays unhealthy, so that its health says what a person would look for.

The spoke watches what it manages, not every pod of the cluster. So it asks, and only about what stays unhealthy: after
a moment, then in pauses that double as long as the answer is the same, one object at a time and two a second. A healthy
cluster costs no request.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from felloe.errors import KubernetesError
from felloe.identity import ObjectId
from spoke.health.model import Health, HealthStatus
from spoke.health.reasons import Trouble, last_warning, selector, worst
from spoke.health.snapshot import entries, section, text
from spoke.kube.client import KubeClient
from spoke.kube.discovery import Discovery, NoSuchKindError

Json = Mapping[str, object]

_RUNS_PODS: Final = frozenset(
    {("apps", "DaemonSet"), ("apps", "Deployment"), ("apps", "ReplicaSet"), ("apps", "StatefulSet"), ("batch", "Job")}
)
_POD: Final = ("", "Pod")
_ASKED_ABOUT: Final = _RUNS_PODS | {_POD, ("", "PersistentVolumeClaim")}
_STAYS: Final = frozenset({HealthStatus.IN_PROGRESS, HealthStatus.FAILED, HealthStatus.UNKNOWN})

_FIRST_SECONDS: Final = 3.0
_LONGEST_SECONDS: Final = 300.0
_BETWEEN_SECONDS: Final = 0.5
_FORBIDDEN_SECONDS: Final = 600.0
_PODS_IN_A_PAGE: Final = 50
_PAGES_AT_MOST: Final = 4
_EVENTS_AT_MOST: Final = 50
_FORBIDDEN: Final = 403
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Open:
    """An object that is unhealthy. Times are monotonic seconds."""

    health: Health
    client: KubeClient
    due: float
    pause: float
    asked_at: float = 0.0
    answer: str = ""


class Inquiries:
    """What is known of why objects are unhealthy. `run` asks.

    `told` is called when there is something new to say of an object, `looked` with every object that was asked for:
    some rules depend on how old it is.
    """

    def __init__(
        self,
        discovery: Discovery,
        told: Callable[[ObjectId], None],
        looked: Callable[[ObjectId, Json], None],
        *,
        first_seconds: float = _FIRST_SECONDS,
    ) -> None:
        self._discovery = discovery
        self._told = told
        self._looked = looked
        self._first = first_seconds
        self._open: dict[ObjectId, _Open] = {}
        self._news = asyncio.Event()

    def noted(self, identity: ObjectId, health: Health | None, client: KubeClient) -> None:
        """Take how an object is now, None for one that is gone or not looked at any more; `client` is to ask with."""
        if identity[:2] not in _ASKED_ABOUT:
            return
        if health is None or health.status not in _STAYS:
            self._open.pop(identity, None)
            return
        now = time.monotonic()
        known = self._open.get(identity)
        if known is None:
            self._open[identity] = _Open(health, client, now + self._first, self._first)
            self._news.set()
            return
        known.client = client
        if known.health != health:
            known.health, known.pause = health, self._first
            known.due = min(known.due, max(now, known.asked_at) + self._first)
        self._news.set()

    def retain(self, wanted: Collection[ObjectId]) -> None:
        """Forget all objects but these."""
        for identity in self._open.keys() - wanted:
            del self._open[identity]

    def explained(self, identity: ObjectId, health: Health) -> Health:
        """Return a health with what was found out about it."""
        known = self._open.get(identity)
        if known is None or not known.answer:
            return health
        return replace(health, message=f"{health.message}; {known.answer}")

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            self._news.clear()
            identity = min(self._open, key=lambda each: self._open[each].due, default=None)
            wait = max(0.0, self._open[identity].due - time.monotonic()) if identity is not None else None
            if identity is None or wait:
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._news.wait()
                continue
            await self._inquire(identity, self._open[identity])
            await asyncio.sleep(_BETWEEN_SECONDS)

    async def _inquire(self, identity: ObjectId, inquiry: _Open) -> None:
        try:
            answer = await self._answer(inquiry.client, identity)
        except KubernetesError as error:
            answer = inquiry.answer
            if error.status == _FORBIDDEN and inquiry.pause < _FORBIDDEN_SECONDS:
                _log.warning("event=inquiry-forbidden object=%r error=%r", str(identity), str(error))
                inquiry.pause = _FORBIDDEN_SECONDS
        now = time.monotonic()
        same = answer == inquiry.answer
        inquiry.answer, inquiry.asked_at = answer, now
        inquiry.due = now + inquiry.pause
        inquiry.pause = min(max(inquiry.pause, _LONGEST_SECONDS), inquiry.pause * 2) if same else self._first * 2
        if not same and self._open.get(identity) is inquiry:
            self._told(identity)

    async def _answer(self, client: KubeClient, identity: ObjectId) -> str:
        """Return why an object is unhealthy, empty where nothing tells; at most seven requests."""
        try:
            resource = await self._discovery.find(identity.group, "v1", identity.kind)
        except NoSuchKindError:
            return ""
        obj = await client.get(resource.path(identity.namespace, identity.name))
        self._looked(identity, obj)
        uid = text(section(obj, "metadata"), "uid")
        found = worst([obj]) if identity[:2] == _POD else await _worst_pod(client, identity, obj)
        if found is None:
            return _event(await _last_warning(client, identity.namespace, uid))
        trouble, others = found
        event = "" if trouble.explains_itself else await _last_warning(client, identity.namespace, trouble.uid)
        if identity[:2] == _POD:
            return _event(event)  # its own health says the rest already
        said = "; ".join(part for part in (trouble.message, _event(event)) if part)
        return f"pod {trouble.pod}{f' and {others} more' if others else ''}: {said}"


async def _worst_pod(client: KubeClient, identity: ObjectId, obj: Json) -> tuple[Trouble, int] | None:
    query = selector(obj) if identity[:2] in _RUNS_PODS else ""
    if not query:
        return None
    params = {"labelSelector": query, "limit": str(_PODS_IN_A_PAGE)}
    for _ in range(_PAGES_AT_MOST):
        page = await client.get(f"/api/v1/namespaces/{identity.namespace}/pods", params)
        if found := worst(entries(page, "items")):
            return found
        following = text(section(page, "metadata"), "continue")
        if not following:
            return None
        params["continue"] = following
    return None


async def _last_warning(client: KubeClient, namespace: str, uid: str) -> str:
    params = {"fieldSelector": f"involvedObject.uid={uid},type=Warning", "limit": str(_EVENTS_AT_MOST)}
    page = await client.get(f"/api/v1/namespaces/{namespace}/events", params)
    return last_warning(entries(page, "items"))


def _event(warning: str) -> str:
    return f"event {warning}" if warning else ""
