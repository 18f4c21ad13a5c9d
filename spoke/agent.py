"""The spoke, put together: its disk, the API server, the engine, what it reports, and what it keeps in the cluster.

It starts from its disk, or from the cluster where the disk is empty: with the hub away it applies, heals and restarts
as if the hub were there. It works only while the cluster's lease is its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any, Final

from felloe import queries
from felloe.errors import BundleError, KubernetesError, StoreError
from felloe.tracing import Tracer
from spoke.adopt import Adoption, FluxGate
from spoke.apply.engine import Engine
from spoke.apply.latecomers import LATE_SECONDS
from spoke.apply.untouched import FAILED, HELD, tell
from spoke.cluster.facts import keep_learning
from spoke.cluster.identity import IdentitySecret
from spoke.cluster.lease import Holder, Lease, Times
from spoke.cluster.namespace import OwnNamespace
from spoke.cluster.recorder import Recorder
from spoke.kube.access import Access
from spoke.kube.client import KubeClient, connect
from spoke.kube.discovery import Discovery
from spoke.kube.errors import no_request_succeeds, passing
from spoke.kube.jitter import spread
from spoke.kube.pace import Pace
from spoke.link import Handler
from spoke.report.reporter import Reporter
from spoke.state import BundleStore, Identity, StoredBundle

_LONGEST_PAUSE_SECONDS: Final = 15.0
_BEFORE_THE_LINK_SECONDS: Final = 5.0
_log = logging.getLogger(__name__)


class Agent:
    """One spoke without its link: `on_bundle` is what the link calls, `reporter` what it reads, `handlers` answer."""

    def __init__(
        self,
        client: KubeClient,
        quick: KubeClient,
        store: BundleStore,
        tracer: Tracer,
        *,
        service_account: str = "",
        prune_former_hub: bool = False,
        times: Times | None = None,
        late_seconds: float = LATE_SECONDS,
    ) -> None:
        """`quick` is for the lease alone: a renewal must not wait behind a thousand applies."""
        self.reporter = Reporter()
        self._client = client
        self._store = store
        discovery = Discovery(client)
        self._gate = FluxGate(client, discovery)
        self._service_account = service_account
        self._prune_former_hub = prune_former_hub
        self.handlers: Mapping[str, Handler] = {queries.DIFF: self._diff, queries.ADOPT_FLUX: self._adopt_flux}
        self._own = OwnNamespace(client)
        self._secret = IdentitySecret(self._own)
        self._who = ("", "")
        self._lease = Lease(OwnNamespace(quick), store.instance, lambda: self._who, times)
        self._recorder = Recorder(self._own, store, self._warn)
        self._engine = Engine(
            client,
            discovery,
            self._gate,
            store,
            self.reporter,
            tracer,
            self._recorder,
            service_account=service_account,
            prune_former_hub=prune_former_hub,
            late_seconds=late_seconds,
        )
        self.adoption = Adoption(client, discovery, self._gate, self._engine, self.reporter)
        self._untouched: tuple[str, str] | None = None
        self._told: StoredBundle | None = None
        self._known = asyncio.Event()

    # -- the identity

    async def identity(self) -> Identity | None:
        """Return the identity that the cluster keeps, None where there is none; an API server that is away is awaited.

        Raise StoreError where it is damaged.
        """
        failures = 0
        while True:
            try:
                return await self._secret.load()
            except KubernetesError as error:
                if not _may_pass(error):
                    _log.warning("event=identity-unreadable error=%r", str(error))
                    return None
                failures += 1
                _log.warning("event=cluster-unreachable failures=%d error=%r", failures, str(error))
                await _backoff(failures)

    def joined(self, identity: Identity) -> None:
        """Take who we are to the hub, now or again after a renewal."""
        self._who = (identity.hub, identity.cluster)
        self._lease.tell()
        self._secret.want(identity)

    # -- bundles

    def on_bundle(self, stored: StoredBundle) -> None:
        """Take a bundle that is whole, verified and on the disk."""
        self._recorder.want(stored)
        self._engine.set_bundle(stored)
        if self._untouched is not None:
            self._leave_alone(*self._untouched)

    async def ready_for_link(self) -> None:
        """Wait until the disk has what the cluster keeps, or it is clear that this takes longer."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_BEFORE_THE_LINK_SECONDS):
                await self._known.wait()

    # -- work

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(keep_learning(self._client, self.reporter.learned))
            tasks.create_task(self._gate.run(self._engine.look_again))
            tasks.create_task(self._with_the_lease())

    async def _with_the_lease(self) -> None:
        """Work while the lease is ours, and say who has it while it is not."""
        while True:
            await self._lease.take(self._held_by, self._no_lease)
            self._untouched = None
            try:
                reason = await self._while_held()
            finally:
                await self._lease.release()
            _log.warning("event=lease-lost message=%r", reason)

    async def _while_held(self) -> str:
        """Work until the lease is lost, and return why."""
        work = asyncio.create_task(self._work())
        keeper = asyncio.create_task(self._lease.keep())
        try:
            await asyncio.wait({work, keeper}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _ended(work, keeper)
        if not work.cancelled():
            work.result()
        return keeper.result()

    async def _work(self) -> None:
        await self._restore()
        self._known.set()
        if (current := self._store.current) is not None:
            self._recorder.want(current)
            self._engine.set_bundle(current, from_hub=False)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._recorder.run())
            tasks.create_task(self._secret.run())
            tasks.create_task(self.adoption.run())
            tasks.create_task(self._engine.run())

    async def _restore(self) -> None:
        """Bring to the disk what the cluster keeps, where that is newer; with an empty disk this has to succeed."""
        failures = 0
        while True:
            try:
                head = await self._recorder.head()
                current = self._store.current
                if head is not None and (current is None or self._recorder.newer(head, current)):
                    stored = await self._recorder.restore(head)
                    _log.info("event=restored generation=%d from=%s", stored.generation, self._own.name)
            except (StoreError, BundleError) as error:
                _log.warning("event=record-unreadable error=%r", str(error))
            except KubernetesError as error:
                _log.warning("event=record-unreadable error=%r", str(error))
                if _may_pass(error) and self._store.current is None:
                    failures += 1
                    self._no_lease(str(error))
                    await _backoff(failures)
                    continue
            return

    def _warn(self, reason: str, message: str) -> None:
        self.reporter.event(reason, message, None, warning=True)

    # -- saying why nothing is done

    def _held_by(self, holder: Holder) -> None:
        self._leave_alone(
            HELD,
            f"this cluster is worked on by {holder}: this one, cluster {self._who[1] or '?'} of the hub"
            f" {self._who[0] or '?'}, applies nothing and deletes nothing; stop one of the two",
        )
        self._known.set()

    def _no_lease(self, message: str) -> None:
        self._leave_alone(FAILED, message)

    def _leave_alone(self, reason: str, message: str) -> None:
        """Tell the hub for each workload of the newest bundle that it is left alone, and the log once."""
        current = self._store.current
        if (reason, message) == self._untouched:
            if current is self._told:
                return
        else:
            _log.warning("event=%s message=%r", reason, message)
        self._untouched, self._told = (reason, message), current
        if current is not None:
            self.reporter.bundle(current.epoch, current.generation, current.bundle.root, current.traceparent)
            tell(self.reporter, ((w.id, w.digest) for w in current.bundle.workloads), reason, message)

    async def _diff(self, question: bytes) -> AsyncGenerator[bytes, None]:
        from spoke.diff.differ import Differ

        differ = Differ(
            self._client,
            self._gate,
            self._store,
            service_account=self._service_account,
            prune_former_hub=self._prune_former_hub,
        )
        async with aclosing(differ.answer(question)) as messages:
            async for message in messages:
                yield message

    async def _adopt_flux(self, question: bytes) -> AsyncGenerator[bytes, None]:
        from spoke.adopt.answers import answer

        if self._untouched is not None:
            raise KubernetesError(self._untouched[1])
        async with aclosing(answer(self.adoption, question)) as messages:
            async for message in messages:
                yield message


@asynccontextmanager
async def agent(
    access: Access,
    store: BundleStore,
    tracer: Tracer,
    *,
    service_account: str = "",
    prune_former_hub: bool = False,
    times: Times | None = None,
    late_seconds: float = LATE_SECONDS,
    pace: Pace | None = None,
) -> AsyncIterator[Agent]:
    """Yield an agent for a cluster; `run` is to be run inside.

    Workloads that name no service account are applied as `service_account` of their namespace, if that is not empty.
    What another hub left in the cluster is deleted with `prune_former_hub` only.
    """
    async with connect(access, pace=pace) as client, connect(access) as quick:
        yield Agent(
            client,
            quick,
            store,
            tracer,
            service_account=service_account,
            prune_former_hub=prune_former_hub,
            times=times,
            late_seconds=late_seconds,
        )


async def _ended(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait until they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _may_pass(error: KubernetesError) -> bool:
    return passing(error) or no_request_succeeds(error)


async def _backoff(failures: int) -> None:
    pause = min(_LONGEST_PAUSE_SECONDS, 0.25 * 2 ** min(failures, 8))
    await asyncio.sleep(spread(pause))
