"""Drives the core of a spoke and remembers what it reports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from felloe.tracing import OFF, Tracer
from felloe.v1 import status_pb2 as pb
from spoke.adopt import Adoption
from spoke.agent import Agent, agent
from spoke.cluster.lease import Times
from spoke.kube.config import load_kubeconfig
from spoke.kube.pace import Pace
from spoke.report.reporter import Reporter
from spoke.state import BundleStore, Identity, StoredBundle
from tests.cluster.controlplane import ControlPlane
from tests.spoke.manifests import Wanted, commit, workload_id

TIMEOUT_SECONDS = 30.0

Check = Callable[[pb.WorkloadStatus], bool]


class Spoke:
    """A running spoke: `want` is the hub, `until` waits for what it reports."""

    def __init__(self, running: Agent, store: BundleStore) -> None:
        self._agent = running
        self.store = store
        self._told = asyncio.Condition()
        self.statuses: dict[str, pb.WorkloadStatus] = {}
        self.removed: set[str] = set()
        self.events: list[pb.Event] = []

    @property
    def adoption(self) -> Adoption:
        """What takes a cluster over from Flux."""
        return self._agent.adoption

    @property
    def reporter(self) -> Reporter:
        """What it tells; whoever reads it takes it from what is remembered here."""
        return self._agent.reporter

    def take(self, stored: StoredBundle) -> None:
        """Take a bundle that is on the disk, as from the link."""
        self._agent.on_bundle(stored)

    def want(self, *workloads: Wanted, traceparent: str = "", approved: Iterable[str] = ()) -> None:
        """Make this the desired state."""
        generation = self.store.current.generation + 1 if self.store.current else 1
        self._agent.on_bundle(commit(self.store, generation, workloads, traceparent, approved))

    def join(self, hub: str, cluster: str) -> None:
        """Be somebody to a hub."""
        self._agent.joined(Identity(hub, cluster, "", "", "", 0.0, 0.0))

    def digest(self, name: str) -> bytes:
        assert self.store.current
        return self.store.current.bundle.by_id[workload_id(name)].digest

    def applied(self, name: str) -> bool:
        """Return whether the newest state of a workload was applied whole."""
        status = self.statuses.get(name)
        return status is not None and status.applied_digest == self.digest(name) == status.digest

    async def until(self, name: str, check: Check, what: str, seconds: float = TIMEOUT_SECONDS) -> pb.WorkloadStatus:
        """Wait until the newest status of a workload is as wanted, and return it."""

        def holds() -> bool:
            return (
                name in self.statuses
                and self.store.current is not None
                and self.statuses[name].digest == self.digest(name)
                and check(self.statuses[name])
            )

        await self._until(holds, lambda: f"{name} {what}: it is {self.statuses.get(name)}", seconds)
        return self.statuses[name]

    async def until_said(self, name: str, check: Check, what: str) -> pb.WorkloadStatus:
        """Wait until the newest status of a workload, whether it is still wanted or not, is as wanted."""
        await self._until(
            lambda: name in self.statuses and check(self.statuses[name]),
            lambda: f"{name} {what}: it is {self.statuses.get(name)}",
        )
        return self.statuses[name]

    async def until_applied(self, name: str) -> pb.WorkloadStatus:
        return await self.until(
            name, lambda _: self.applied(name) and ready(self.statuses[name])[0] == "True", "applied"
        )

    async def until_status(self, name: str) -> pb.WorkloadStatus:
        """Wait until there is anything to say of a workload."""
        await self._until(lambda: name in self.statuses, lambda: f"{name} is known")
        return self.statuses[name]

    async def until_removed(self, name: str) -> None:
        await self._until(lambda: name in self.removed, lambda: f"{name} removed")

    async def until_event(self, reason: str, text: str) -> pb.Event:
        """Wait for an event of this reason whose message holds a text."""
        found: list[pb.Event] = []

        def holds() -> bool:
            found[:] = [event for event in self.events if event.reason == reason and text in event.message]
            return bool(found)

        await self._until(holds, lambda: f"event {reason} {text!r}: there are {self.events}")
        return found[0]

    async def _until(
        self, holds: Callable[[], bool], what: Callable[[], str], seconds: float = TIMEOUT_SECONDS
    ) -> None:
        try:
            async with asyncio.timeout(seconds), self._told:
                await self._told.wait_for(holds)
        except TimeoutError:
            raise AssertionError(f"not within {seconds:.0f} s: {what()}") from None

    async def listen(self) -> None:
        """Take what is reported, until cancelled."""
        while True:
            message = await self._agent.reporter.changes()
            async with self._told:
                self.statuses |= {status.id.name: status for status in message.workloads}
                self.removed |= {identity.name for identity in message.removed}
                self.events += message.events
                self._told.notify_all()


@asynccontextmanager
async def running(
    kubeconfig: Path,
    state: Path,
    tracer: Tracer = OFF,
    *,
    service_account: str = "",
    prune_former_hub: bool = False,
    times: Times | None = None,
    late_seconds: float = 2.0,
    pace: Pace | None = None,
) -> AsyncIterator[Spoke]:
    """Run a spoke on a state folder for as long as the context."""
    store = BundleStore(state)
    try:
        async with agent(
            load_kubeconfig(kubeconfig),
            store,
            tracer,
            service_account=service_account,
            prune_former_hub=prune_former_hub,
            times=times,
            late_seconds=late_seconds,
            pace=pace,
        ) as core:
            spoke = Spoke(core, store)
            tasks = [asyncio.create_task(core.run()), asyncio.create_task(spoke.listen())]
            try:
                yield spoke
            finally:
                for task in tasks:
                    task.cancel()
                for result in await asyncio.gather(*tasks, return_exceptions=True):
                    if isinstance(result, Exception):
                        raise result
    finally:
        store.close()


def condition(status: pb.WorkloadStatus, kind: str) -> tuple[str, str, str]:
    """Return status, reason and message of a condition."""
    names = {pb.CONDITION_STATUS_TRUE: "True", pb.CONDITION_STATUS_FALSE: "False"}
    found = next(entry for entry in status.conditions if entry.type == kind)
    return names.get(found.status, "Unknown"), found.reason, found.message


def ready(status: pb.WorkloadStatus) -> tuple[str, str, str]:
    return condition(status, "Ready")


def asked(cluster: ControlPlane, mark: int) -> list[tuple[str, str, str, str]]:
    """Return verb, resource, namespace and name of what spokes asked since `mark`, watches and the lease apart."""
    events = cluster.audit_since(mark, user_agent="felloe-spoke")
    return [
        (event.verb, event.resource, event.namespace, event.name)
        for event in events
        if event.verb != "watch" and event.resource != "leases"
    ]


def disturbed(cluster: ControlPlane, mark: int) -> list[tuple[str, str, str, str]]:
    """Return what spokes `asked` for since `mark` about objects: not what they write down, nor what the cluster is."""
    return [
        (verb, resource, place, name)
        for verb, resource, place, name in asked(cluster, mark)
        if resource not in ("", "nodes") and (resource, place) != ("secrets", "felloe-system")
    ]


async def eventually(check: Callable[[], object], what: str) -> None:
    """Wait until a check returns something true."""
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while not await asyncio.to_thread(check):  # noqa: ASYNC110 (another process is what is looked at)
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"not within {TIMEOUT_SECONDS:.0f} s: {what}") from None
