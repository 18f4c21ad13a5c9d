"""What the tasks of all workloads share, and what they ask of each other."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from felloe.bundle import Workload
from felloe.digest import Digest
from felloe.identity import ObjectId, WorkloadId
from felloe.tracing import Tracer
from spoke.apply.given import Blobs, Report
from spoke.apply.inventories import Inventories
from spoke.apply.latecomers import Latecomers
from spoke.apply.objects import Objects
from spoke.apply.origin import Origin
from spoke.cluster.recorder import Record
from spoke.drift.arrivals import Arrivals
from spoke.drift.live import LiveObjects
from spoke.drift.watches import Watches
from spoke.health.cel import Cel
from spoke.health.expressions import Evaluations, Rule
from spoke.health.inquiry import Inquiries
from spoke.kube.accounts import Account, Accounts
from spoke.kube.client import KubeClient
from spoke.kube.discovery import Discovery


class Peers(Protocol):
    """What a workload may ask about the others in its bundle."""

    @property
    def claims(self) -> Mapping[ObjectId, WorkloadId]:
        """Return which workload wants which object."""
        ...

    @property
    def approved_prunes(self) -> Collection[str]:
        """Return the names of the deletions that a person approved."""
        ...

    def recorded(self, identity: ObjectId) -> bool:
        """Return whether the workload that wants an object has it in its inventory, and its labels on the object."""
        ...

    def made(self, identity: ObjectId) -> bool:
        """Return whether the inventory of any workload says that we made an object."""
        ...

    async def waits_for(self, workload: Workload) -> str:
        """Return which dependency is not ready and why; empty where all are."""
        ...

    def changed(self) -> None:
        """Wake every task: something that others may wait for happened."""
        ...

    def told(self, identity: WorkloadId) -> None:
        """Wake those that wait for a workload by an expression: what is told of it changed."""
        ...

    def rule_of(self, identity: ObjectId) -> Rule | None:
        """Return the expressions that an object of the bundle is judged by, None where it is judged by kstatus."""
        ...


@dataclass(frozen=True, slots=True)
class Context:
    """The collaborators of a workload's task.

    `client` and `objects` act as the workload's `service_account` (empty: as the spoke itself); `inventories` are the
    spoke's own.
    """

    client: KubeClient
    accounts: Accounts
    discovery: Discovery
    objects: Objects
    inventories: Inventories
    live: LiveObjects
    watches: Watches
    arrivals: Arrivals
    blobs: Blobs
    report: Report
    tracer: Tracer
    peers: Peers
    cel: Cel
    evaluations: Evaluations
    inquiries: Inquiries
    record: Record
    latecomers: Latecomers
    prune_former_hub: bool
    """Whether what another hub's bundle left in the cluster may be deleted."""
    service_account: str = ""

    def acting(self, identity: WorkloadId, service_account: str) -> Context:
        """Return the same for a workload whose every request is made as a service account of its namespace, as in Flux.

        Without a name it is this context's own: the default for workloads that name none.
        """
        name = service_account or self.service_account
        if not name:
            return self
        client = self.accounts.client(Account(identity.namespace, name))
        objects = Objects(client, self.client, self.discovery, self.live)
        return replace(self, client=client, objects=objects, service_account=name)


@dataclass(frozen=True, slots=True)
class Delivery:
    """With which bundle a workload came: when (seconds since 1970), the trace it belongs to, and which one it is."""

    received_at: float
    traceparent: str
    hub: bytes
    epoch: int
    generation: int

    def origin(self, digest: Digest | None) -> Origin:
        """Return what an inventory says that was written for this; `digest` is of the workload's content."""
        return Origin(self.hub, self.epoch, self.generation, digest)


def owned_elsewhere(claims: Mapping[ObjectId, WorkloadId], workload: Workload) -> Collection[ObjectId]:
    """Return those objects of a workload that another one claims before it."""
    return frozenset(entry.id for entry in workload.entries if claims.get(entry.id, workload.id) != workload.id)
