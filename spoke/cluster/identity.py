"""Who the spoke is, also in a Secret of its cluster: a pod on an empty disk joins without a new token."""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from felloe.errors import FelloeError, StoreError
from felloe.labels import GROUP
from spoke.cluster.namespace import SECRETS, OwnNamespace
from spoke.kube.jitter import spread
from spoke.state import Identity

NAME: Final = "felloe-spoke-identity"
_KEY: Final = "identity.json"
_TYPE: Final = f"{GROUP}/spoke-identity"
_LONGEST_PAUSE_SECONDS: Final = 60.0
_log = logging.getLogger(__name__)


class IdentitySecret:
    """The identity of one cluster's spoke. `want` names the newest, `run` writes it for as long as it runs."""

    def __init__(self, namespace: OwnNamespace) -> None:
        self._namespace = namespace
        self._there: Identity | None = None
        self._wanted: Identity | None = None
        self._changed = asyncio.Event()

    async def load(self) -> Identity | None:
        """Return the identity in the cluster, None where there is none.

        Raise KubernetesError where the API server refuses, StoreError where it is damaged.
        """
        found = await self._namespace.get(SECRETS, NAME)
        if found is None:
            return None
        data = found.get("data")
        try:
            text = base64.b64decode(data[_KEY] if isinstance(data, Mapping) else "", validate=True)
            self._there = Identity.from_json(text)
        except (KeyError, TypeError, ValueError, binascii.Error) as error:
            raise StoreError(
                f"the Secret {self._namespace.name}/{NAME} is damaged ({type(error).__name__}): delete it, and let the"
                " spoke join again with a new token"
            ) from error
        return self._there

    def want(self, identity: Identity) -> None:
        """Keep this identity in the cluster from now on."""
        self._wanted = identity
        self._changed.set()

    async def run(self) -> None:
        """Write until cancelled; what the API server refuses is tried again, and stops nothing else."""
        failures = 0
        while True:
            await self._changed.wait()
            try:
                if self._there is None:
                    with suppress(StoreError):  # a damaged one is replaced
                        await self.load()
                if self._wanted is not None and self._wanted != self._there:
                    await self._write(self._wanted)
                if self._wanted == self._there:
                    self._changed.clear()
                failures = 0
            except FelloeError as error:
                failures += 1
                _log.warning("event=identity-not-kept error=%r", str(error))
                pause = min(_LONGEST_PAUSE_SECONDS, 2 ** min(failures, 10))
                await asyncio.sleep(spread(pause))

    async def _write(self, identity: Identity) -> None:
        manifest: dict[str, object] = {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": _TYPE,
            "metadata": {"name": NAME, "namespace": self._namespace.name},
            "data": {_KEY: base64.b64encode(identity.to_json()).decode("ascii")},
        }
        await self._namespace.apply(SECRETS, NAME, manifest)
        self._there = identity
