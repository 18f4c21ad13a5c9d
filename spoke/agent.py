"""The spoke, put together: its disk, the API server, the engine, what it reports, and the link to the hub.

It starts from its disk: with the hub away it applies, heals and restarts as if the hub were there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Final

from felloe import queries
from felloe.errors import KubernetesError
from felloe.tracing import Tracer
from spoke.adopt import Adoption, FluxGate
from spoke.apply.engine import Engine
from spoke.kube.access import Access
from spoke.kube.client import KubeClient, connect
from spoke.kube.discovery import Discovery
from spoke.link import Handler
from spoke.report.reporter import Reporter
from spoke.state import BundleStore, StoredBundle

_FACTS_PAUSE_SECONDS: Final = 30.0
_log = logging.getLogger(__name__)


class Agent:
    """One spoke without its link: `on_bundle` is what the link calls, `reporter` what it reads, `handlers` answer."""

    def __init__(self, client: KubeClient, store: BundleStore, tracer: Tracer, service_account: str = "") -> None:
        self.reporter = Reporter()
        self._client = client
        self._store = store
        discovery = Discovery(client)
        self._gate = FluxGate(client, discovery)
        self._service_account = service_account
        self.handlers: Mapping[str, Handler] = {queries.DIFF: self._diff}
        self._engine = Engine(client, discovery, self._gate, store, self.reporter, tracer, service_account)
        self.adoption = Adoption(client, discovery, self._gate, self._engine, self.reporter)

    def on_bundle(self, stored: StoredBundle) -> None:
        """Take a bundle that is whole, verified and on the disk."""
        self._engine.set_bundle(stored)

    async def run(self) -> None:
        """Work until cancelled."""
        if self._store.current is not None:
            self._engine.set_bundle(self._store.current)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._learn_facts())
            tasks.create_task(self._gate.run(self._engine.look_again))
            tasks.create_task(self._engine.run())

    async def _diff(self, question: bytes) -> AsyncGenerator[bytes, None]:
        from spoke.diff.differ import Differ

        differ = Differ(self._client, self._gate, self._store, self._service_account)
        async with aclosing(differ.answer(question)) as messages:
            async for message in messages:
                yield message

    async def _learn_facts(self) -> None:
        """Ask the cluster once who it is."""
        while True:
            try:
                self.reporter.learned(await facts(self._client))
            except KubernetesError as error:
                _log.warning("event=cluster-unreachable error=%r", str(error))
                await asyncio.sleep(_FACTS_PAUSE_SECONDS)
            else:
                return


async def facts(client: KubeClient) -> Mapping[str, str]:
    """Return what a cluster says of itself: kubernetes_version."""
    version = await client.get("/version")
    return {"kubernetes_version": str(version.get("gitVersion", ""))}


@asynccontextmanager
async def agent(access: Access, store: BundleStore, tracer: Tracer, service_account: str = "") -> AsyncIterator[Agent]:
    """Yield an agent for a cluster; `run` is to be run inside.

    Workloads that name no service account are applied as `service_account` of their namespace, if that is not empty.
    """
    async with connect(access) as client:
        yield Agent(client, store, tracer, service_account)
