"""Which spoke works in a cluster: the one that holds its Lease. A second one, there by mistake, does nothing.

As in client-go's leader election a lease counts as lost when the one who holds it has not renewed it for so long that
others may take it; others judge that by their own clock, from when they last saw it change. The holder is the state
folder, not the process: a spoke that was killed and starts again on its disk goes on at once.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from felloe.errors import KubernetesError
from felloe.labels import GROUP
from spoke.cluster.namespace import LEASES, OwnNamespace, metadata
from spoke.kube.errors import CONFLICT, FORBIDDEN, NOT_FOUND
from spoke.kube.jitter import spread

NAME: Final = "felloe-spoke"
_HUB: Final = f"{GROUP}/hub"
_CLUSTER: Final = f"{GROUP}/cluster"
_RUN: Final = f"{GROUP}/run"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds: how long a lease is good, when its holder gives it up, how often it is renewed, and tried again."""

    duration: float = 30.0
    give_up: float = 20.0
    renew: float = 10.0
    retry: float = 2.0
    request: float = 5.0


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has a lease: its state folder and process, the hub and cluster that it works for, and since when."""

    instance: str
    run: str
    hub: str
    cluster: str
    since: str

    def __str__(self) -> str:
        return f"another spoke, cluster {self.cluster or '?'} of the hub {self.hub or '?'}, since {self.since or '?'}"


@dataclass(frozen=True, slots=True)
class _Seen:
    version: str
    holder: Holder
    transitions: int


class Lease:
    """The lease of one cluster. `take` waits until it is ours, `keep` until it no longer is, `release` gives it up."""

    def __init__(
        self,
        namespace: OwnNamespace,
        instance: str,
        about: Callable[[], tuple[str, str]],
        times: Times | None = None,
    ) -> None:
        """`instance` names our state folder; `about` returns the address of our hub and our cluster's name there."""
        self._namespace = namespace
        self._instance = instance
        self._run = uuid.uuid4().hex
        self._about = about
        self._times = times or Times()
        self._mine: _Seen | None = None
        self._had = False
        self._good_until = 0.0
        self._said: tuple[str, str] = ("", "")
        self._due = asyncio.Event()

    def tell(self) -> None:
        """Have the lease say now what `about` returns, if it says something else and is ours."""
        if self._said != self._about():
            self._due.set()

    async def take(self, held: Callable[[Holder], None], refused: Callable[[str], None]) -> None:
        """Wait until the lease is ours. `held` is told who else has it, `refused` what the API server refuses."""
        seen, since = "", 0.0
        failures = 0
        while True:
            pause = self._times.renew
            try:
                found = await self._get()
                if found is not None and found.version != seen:
                    seen, since = found.version, time.monotonic()
                if self._free(found) or time.monotonic() - since >= self._times.duration:
                    await self._write(found, self._instance)
                    return
                failures = 0
                if found is not None:
                    held(found.holder)
                    pause = min(pause, since + self._times.duration - time.monotonic())
            except (KubernetesError, TimeoutError) as error:
                if isinstance(error, KubernetesError) and error.status == CONFLICT:
                    pause = 0.1
                else:
                    failures += 1
                    refused(self._refusal(error))
                    pause = min(pause, 0.25 * 2 ** min(failures, 8))
            await asyncio.sleep(spread(pause) + 0.01)

    async def keep(self) -> str:
        """Renew the lease for as long as it is ours; return why it no longer is."""
        pause = self._times.renew
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(min(pause, max(0.0, self._good_until - time.monotonic()))):
                    await self._due.wait()
            self._due.clear()
            if time.monotonic() >= self._good_until:
                return f"it could not be renewed for {self._times.give_up:g} s"
            try:
                await self._write(self._mine, self._instance)
                pause = self._times.renew
            except (KubernetesError, TimeoutError) as error:
                _log.debug("event=lease-not-renewed error=%r", str(error))
                pause = self._times.retry
                if isinstance(error, KubernetesError) and error.status in (CONFLICT, NOT_FOUND):
                    if (taker := await self._taker()) is not None:
                        return f"it was taken by {taker}"
                    pause = 0.0

    async def release(self) -> None:
        """Give the lease up, so that the next spoke need not wait; where that fails, it runs out."""
        if self._mine is None:
            return
        mine, self._mine = self._mine, None
        try:
            await self._write(mine, "")
        except (KubernetesError, TimeoutError) as error:
            _log.debug("event=lease-not-released error=%r", str(error))
        self._mine = None

    def _free(self, found: _Seen | None) -> bool:
        """Return whether we may take the lease at once: nobody has it, or it is ours from before.

        One that another process took from us under our own name is not ours: its disk is a copy of this one.
        """
        if found is None or not found.holder.instance:
            return True
        return self._is_us(found.holder) or (found.holder.instance == self._instance and not self._had)

    def _is_us(self, holder: Holder) -> bool:
        return (holder.instance, holder.run) == (self._instance, self._run)

    async def _taker(self) -> Holder | None:
        """Return who has taken the lease from us, None where nobody has and it can be written again."""
        try:
            found = await self._get()
        except (KubernetesError, TimeoutError):
            return None
        if found is not None and found.holder.instance and not self._is_us(found.holder):
            return found.holder
        self._mine = found
        return None

    async def _get(self) -> _Seen | None:
        async with asyncio.timeout(self._times.request):
            lease = await self._namespace.get(LEASES, NAME)
        return None if lease is None else _seen(lease)

    async def _write(self, before: _Seen | None, instance: str) -> None:
        """Make `instance` the holder, if the lease still is as it was `before` (None: not there)."""
        asked_at = time.monotonic()
        about = self._about()
        manifest = self._manifest(before, instance, about)
        async with asyncio.timeout(self._times.request):
            answer = (
                await self._namespace.create(LEASES, manifest)
                if before is None
                else await self._namespace.replace(LEASES, NAME, manifest)
            )
        self._mine = _seen(answer.json())
        self._had = True
        self._said = about
        self._good_until = asked_at + self._times.give_up

    def _manifest(self, before: _Seen | None, instance: str, about: tuple[str, str]) -> dict[str, object]:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        hub, cluster = about
        same = before is not None and before.holder.instance == instance
        spec: dict[str, object] = {
            "holderIdentity": instance,
            "leaseDurationSeconds": max(1, round(self._times.duration)),
            "acquireTime": before.holder.since if before and same and before.holder.since else now,
            "renewTime": now,
            "leaseTransitions": (before.transitions if before else 0) + (0 if same else 1),
        }
        annotations = {_HUB: hub, _CLUSTER: cluster, _RUN: self._run}
        meta: dict[str, object] = {"name": NAME, "namespace": self._namespace.name, "annotations": annotations}
        if before is not None:
            meta["resourceVersion"] = before.version
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": spec}

    def _refusal(self, error: Exception) -> str:
        where = f"the lease {self._namespace.name}/{NAME}, which says which spoke works in this cluster,"
        if isinstance(error, KubernetesError) and error.status in (FORBIDDEN, NOT_FOUND):
            return (
                f"{where} can't be had: {error}; the spoke needs get, create and update of leases"
                f" (coordination.k8s.io) in the namespace {self._namespace.name}"
            )
        return f"{where} can't be had: {str(error) or 'no answer in time'}"


def _seen(lease: Mapping[str, object]) -> _Seen:
    meta, spec = metadata(lease), lease.get("spec")
    said: Mapping[str, object] = spec if isinstance(spec, Mapping) else {}
    annotations = meta.get("annotations")
    noted: Mapping[str, object] = annotations if isinstance(annotations, Mapping) else {}
    transitions = said.get("leaseTransitions")
    return _Seen(
        version=str(meta.get("resourceVersion") or ""),
        holder=Holder(
            instance=str(said.get("holderIdentity") or ""),
            run=str(noted.get(_RUN) or ""),
            hub=str(noted.get(_HUB) or ""),
            cluster=str(noted.get(_CLUSTER) or ""),
            since=str(said.get("acquireTime") or ""),
        ),
        transitions=transitions if isinstance(transitions, int) else 0,
    )
