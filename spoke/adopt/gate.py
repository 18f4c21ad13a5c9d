"""Who applies a workload, Flux or the spoke: as long as Flux does, the spoke leaves it alone.

Two controllers that apply the same objects would fight over their labels, and the one that is removed first would
delete them. So nothing has to be done in the right order when a spoke joins a cluster of Flux's: the workloads that
Flux applies wait and say so, until they are handed over.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Final

from felloe.bundle import Bundle
from felloe.errors import ConfigError, KubernetesError
from felloe.identity import ObjectId, WorkloadId
from spoke.adopt.flux import FLUX_GROUP, FLUX_KIND, FLUX_MANAGER, RELEASING, FluxKustomization, Name, read
from spoke.adopt.plan import rivals, same_name
from spoke.apply.hold import Hold
from spoke.kube.client import Json, KubeClient
from spoke.kube.discovery import Discovery, NoSuchKindError, Resource
from spoke.kube.errors import NOT_FOUND
from spoke.kube.watch import Key, Reflector, key_of

_LONGEST_PAUSE_SECONDS: Final = 15.0
_log = logging.getLogger(__name__)


class FluxGate:
    """Knows Flux's Kustomizations of one cluster; where Flux is not installed it asks for nothing."""

    def __init__(self, client: KubeClient, discovery: Discovery) -> None:
        self._client = client
        self._discovery = discovery
        self._kustomizations: dict[Name, FluxKustomization] = {}
        self._unseen = ""
        self._answered = asyncio.Event()
        self._look = asyncio.Event()
        self._gone = asyncio.Event()
        self._changed: Callable[[], None] = lambda: None

    async def run(self, changed: Callable[[], None]) -> None:
        """Follow Flux's Kustomizations until cancelled; `changed` is called when another one may apply a workload."""
        self._changed = changed
        pauses = 0
        while True:
            try:
                resource = await self.resource()
            except KubernetesError as error:
                _log.warning("event=flux-not-looked-for error=%r", str(error))
                pauses += 1
                await asyncio.sleep(min(_LONGEST_PAUSE_SECONDS, 0.25 * 2 ** min(pauses, 8)))
                continue
            pauses = 0
            if resource is not None:
                await self._follow(resource)
            self._answered.set()
            self._look.clear()
            await self._look.wait()

    async def ready(self) -> None:
        """Wait until it is known what Flux applies; Flux may have been installed since it was asked for last."""
        if self._discovery.known(FLUX_GROUP, FLUX_KIND) is not None and not self._look.is_set():
            self._look.set()
        await self._answered.wait()

    def holds(self, bundle: Bundle, claims: Mapping[ObjectId, WorkloadId]) -> Mapping[WorkloadId, Hold]:
        """Return which workloads are Flux's, of the bundle and of those that left it."""
        if self._unseen:
            return {workload.id: Hold(self._unseen, FLUX_MANAGER) for workload in bundle.workloads}
        theirs = {same_name(name): flux for name, flux in self._kustomizations.items() if not flux.ours}
        theirs = {identity: flux for identity, flux in theirs.items() if not flux.elsewhere}
        theirs |= rivals(self._kustomizations.values(), bundle.by_id, claims)
        return {identity: _hold(flux) for identity, flux in theirs.items()}

    def learned(self, flux: FluxKustomization) -> None:
        """Take what we have just written on a Kustomization: its event may be on the way for a while."""
        self._take(flux)

    def known(self, names: Collection[Name]) -> list[FluxKustomization]:
        """Return the newest that the watch has told of some Kustomizations; what was taken over has no inventory."""
        return [flux for name, flux in self._kustomizations.items() if name in names]

    async def resource(self) -> Resource | None:
        """Return Flux's kind as this API server has it, None where Flux is not installed."""
        try:
            return await self._discovery.find_any(FLUX_GROUP, "v1", FLUX_KIND)
        except NoSuchKindError:
            return None

    async def _follow(self, resource: Resource) -> None:
        """Follow until the kind is gone."""
        self._gone.clear()
        reflector = asyncio.create_task(Reflector(self._client, resource.collection(), {}, self).run())
        gone = asyncio.create_task(self._gone.wait())
        try:
            done, _ = await asyncio.wait((reflector, gone), return_when=asyncio.FIRST_COMPLETED)
            if reflector in done:
                reflector.result()
        finally:
            for task in (reflector, gone):
                task.cancel()
            await asyncio.gather(reflector, gone, return_exceptions=True)

    # -- what the watch sees (kube.watch.Sink)

    def seen(self, obj: Json) -> None:
        """Take a Kustomization as it is now."""
        try:
            self._take(read(obj))
        except ConfigError as error:
            _log.warning("event=flux-inventory error=%r", str(error))
            self._take(read({**obj, "status": {}}))

    def gone(self, obj: Json) -> None:
        """Take a Kustomization that was deleted."""
        if self._kustomizations.pop(Name(*key_of(obj)), None) is not None:
            self._changed()

    def listed(self, keys: set[Key], version: int) -> None:
        """Take it that these are all."""
        for name in [name for name in self._kustomizations if (name.namespace, name.name) not in keys]:
            del self._kustomizations[name]
        self._unseen = ""
        self._answered.set()
        self._changed()

    def failed(self, error: KubernetesError) -> None:
        """Take it that they can't be read: as long as it is not known what Flux applies, nothing is touched."""
        _log.warning("event=watch-failed kind=%s error=%r", FLUX_KIND, str(error))
        if error.status == NOT_FOUND:
            self._kustomizations.clear()
            self._gone.set()
        elif not self._answered.is_set():
            self._unseen = f"Flux is installed, and the spoke can't see what it applies: {error}"
        self._answered.set()
        self._changed()

    def _take(self, flux: FluxKustomization) -> None:
        """Take a Kustomization; what is older than what is known already changes nothing."""
        if flux.ours:
            flux = replace(flux, inventory={})  # nobody asks for it any more, and it is large
        known = self._kustomizations.get(flux.name)
        if known is not None and 0 < flux.version < known.version:
            return
        self._kustomizations[flux.name] = flux
        if known is None or _matters(known) != _matters(flux):
            self._changed()


def _matters(flux: FluxKustomization) -> tuple[object, ...]:
    return (flux.mark, flux.elsewhere, flux.inventory.keys())


def _hold(flux: FluxKustomization) -> Hold:
    if flux.mark == RELEASING:
        return Hold(
            f"it is being given back to Flux's Kustomization {flux.name}",
            FLUX_MANAGER,
            release=True,
            labels=tuple(sorted(flux.name.labels.items())),
            theirs=frozenset(flux.plain),
        )
    return Hold(
        f"Flux applies it, by its Kustomization {flux.name} in this cluster: see what `felloe adopt flux` would do, or "
        "remove it from one of the two",
        FLUX_MANAGER,
    )
