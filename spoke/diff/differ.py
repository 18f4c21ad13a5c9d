"""Answers the query "diff": the desired state that this spoke has, or another one, against the live cluster.

Objects are compared a few at a time, so that what is being applied meanwhile goes first, and told in the order in which
they would be applied. Inventories are read from the cluster, as after a restart: what is diffed is no part of what the
engine is just doing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Collection, Coroutine, Iterable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

import orjson
from google.protobuf.message import DecodeError

from felloe.bundle import (
    Bundle,
    Delta,
    Workload,
    patch,
    workload_from_proto,
    workload_id_from_proto,
    workload_id_to_proto,
)
from felloe.digest import Digest, digest
from felloe.errors import BundleError, KubernetesError, LinkError
from felloe.identity import ObjectId, WorkloadId
from felloe.v1 import diff_pb2 as pb
from spoke.apply.guard import pending
from spoke.apply.hold import Gate, Hold
from spoke.apply.inventories import Inventories
from spoke.apply.inventory import Inventory, Parting
from spoke.apply.plan import CRD, claims, leftovers, waves
from spoke.cluster.namespace import OwnNamespace
from spoke.diff.compare import Comparison, Surroundings
from spoke.kube.accounts import Account, no_account
from spoke.kube.client import METADATA_ONLY, KubeClient
from spoke.kube.discovery import Discovery
from spoke.kube.errors import FORBIDDEN, NOT_FOUND
from spoke.state import BundleStore

_AT_ONCE: Final = 8
_MOST_TEXT: Final = 8 * 1024 * 1024
"""Characters of all diffs of an answer; what comes after is only counted."""

_Result = TypeVar("_Result")
_Work = Callable[[], Coroutine[None, None, _Result]]


class Differ:
    """The handler of the query."""

    def __init__(
        self,
        client: KubeClient,
        gate: Gate,
        store: BundleStore,
        *,
        service_account: str = "",
        prune_former_hub: bool = False,
    ) -> None:
        """`service_account` is that of workloads which name none; empty for the spoke's own rights."""
        self._client = client
        self._gate = gate
        self._store = store
        self._service_account = service_account
        self._prune_former_hub = prune_former_hub

    async def answer(self, question: bytes) -> AsyncGenerator[bytes, None]:
        """Yield Differences. Raise FelloeError where there is nothing to compare with, or no API server."""
        try:
            asked = pb.DiffQuestion.FromString(question)
        except DecodeError:
            raise LinkError("the question is damaged") from None
        current = self._store.current
        if current is None:
            raise BundleError("this spoke has no desired state yet")
        bundle, blobs = self._desired(asked, current.bundle)
        only = workload_id_from_proto(asked.workload) if asked.HasField("workload") else None
        content = self._content(blobs)
        inventories = await Inventories(OwnNamespace(self._client)).load()
        wanted = claims(bundle.workloads, partial(_has, inventories))
        around = Surroundings(wanted, frozenset(_defined(bundle, content)))
        # Its own discovery: a kind that is not there yet must be looked for, and nothing is kept after the answer.
        discovery = Discovery(self._client)
        acting = _Accounts(self._client, self._service_account)
        answer = _Answer(
            lambda identity, account: Comparison(acting.client(identity, account), discovery, content, around),
            _Around(
                inventories,
                wanted,
                self._gate.holds(bundle, wanted),
                bundle.approved_prunes,
                current.hub,
                self._prune_former_hub,
            ),
        )
        for identity in sorted({*bundle.by_id, *inventories} if only is None else {only}):
            async with aclosing(answer.of(identity, bundle.by_id.get(identity))) as differences:
                async for difference in differences:
                    yield difference.SerializeToString()

    def _desired(self, asked: pb.DiffQuestion, current: Bundle) -> tuple[Bundle, Mapping[Digest, bytes]]:
        """Return the bundle that is asked about, and the objects that came with the question."""
        if not asked.HasField("instead"):
            return current, {}
        if asked.instead.base_root != current.root:
            raise BundleError("the desired state changed at this moment: try again")
        changed = tuple(workload_from_proto(workload) for workload in asked.instead.changed)
        removed = tuple(workload_id_from_proto(workload) for workload in asked.instead.removed)
        bundle = patch(current, Delta(changed, removed, current.approved_prunes))
        return bundle, {digest(blob): blob for blob in asked.instead.blobs}

    def _content(self, blobs: Mapping[Digest, bytes]) -> Callable[[Digest], bytes | None]:
        return lambda name: blobs.get(name) or self._store.get(name)


class _Accounts:
    """Clients that ask as the service accounts of workloads, once it is known that those are there."""

    def __init__(self, client: KubeClient, default: str) -> None:
        self._client = client
        self._default = default

    def client(self, workload: WorkloadId, named: str) -> KubeClient:
        """Return the client of a workload; its requests are refused where its account is not there."""
        name = named or self._default
        if not name:
            return self._client
        account = Account(workload.namespace, name)
        lock, missing = asyncio.Lock(), list[KubernetesError | None]()

        async def check() -> None:
            async with lock:
                if not missing:
                    missing.append(await self._missing(account))
            if missing[0] is not None:
                raise missing[0]

        return self._client.impersonating(account.user, check)

    async def _missing(self, account: Account) -> KubernetesError | None:
        """Return the error that says that an account is not there; where we may not look, RBAC alone decides."""
        try:
            path = f"/api/v1/namespaces/{account.namespace}/serviceaccounts/{account.name}"
            await self._client.get(path, accept=METADATA_ONLY)
        except KubernetesError as error:
            if error.status not in (NOT_FOUND, FORBIDDEN):
                raise
            return no_account(account) if error.status == NOT_FOUND else None
        return None


@dataclass(frozen=True, slots=True)
class _Around:
    """What an answer goes by; `hub` names the one whose bundle it is."""

    inventories: Mapping[WorkloadId, Inventory]
    claims: Mapping[ObjectId, WorkloadId]
    holds: Mapping[WorkloadId, Hold]
    approved_prunes: Collection[str]
    hub: bytes
    prune_former_hub: bool


class _Answer:
    """The differences of one answer, and how much was told already."""

    def __init__(self, comparison: Callable[[WorkloadId, str], Comparison], around: _Around) -> None:
        self._comparison = comparison
        self._inventories = around.inventories
        self._wanted = around.claims
        self._around = around
        self._told = 0

    async def of(self, identity: WorkloadId, workload: Workload | None) -> AsyncGenerator[pb.Difference, None]:
        """Yield the differences of one workload, which may be in its inventory only; its summary comes last."""
        inventory = self._inventories.get(identity, Inventory(identity))
        note = self._note(workload, inventory)
        summary = pb.WorkloadDifference(id=workload_id_to_proto(identity), message=note)
        work = list(self._work(workload, inventory))
        summary.objects = len(work)
        done = 0
        async with aclosing(in_order(work, _AT_ONCE, lambda: self._told < _MOST_TEXT)) as found:
            async for difference in found:
                done += 1
                if difference is None:
                    summary.same += 1
                else:
                    self._told += len(difference.diff)
                    yield pb.Difference(object=difference)
        summary.left_out = len(work) - done
        if summary.objects:
            yield pb.Difference(workload=summary)

    def _work(self, workload: Workload | None, inventory: Inventory) -> Iterator[_Work[pb.ObjectDifference | None]]:
        """Yield what is to be compared, in the order in which it would be done."""
        entries = workload.entries if workload else ()
        account = workload.options.service_account if workload else inventory.service_account
        comparison = self._comparison(inventory.id, account)
        if workload is not None:
            for wave in waves(entries):
                for entry in wave:
                    yield partial(comparison.wanted, workload, entry, inventory.items.get(entry.id))
        for identity in self._doomed(workload, inventory):
            if self._foreign(inventory):
                yield partial(comparison.kept, inventory, identity)
            else:
                yield partial(comparison.unwanted, inventory, identity)

    def _doomed(self, workload: Workload | None, inventory: Inventory) -> list[ObjectId]:
        """Return what would be deleted, in the order in which it would be."""
        prune = workload.options.prune if workload else inventory.deletes_at_removal
        wanted = {entry.id for entry in workload.entries} if workload else set()
        left = leftovers(inventory, wanted, self._wanted, self._recorded, prune=prune)
        return [identity for stage in left.prune for identity in stage]

    def _foreign(self, inventory: Inventory) -> bool:
        return inventory.origin.foreign_to(self._around.hub) and not self._around.prune_former_hub

    def _note(self, workload: Workload | None, inventory: Inventory) -> str:
        """Return why what differs, or would be deleted, would stay so for now; empty where it would not."""
        hold = self._around.holds.get(inventory.id)
        notes = [f"nothing of this happens for now: {hold.reason}" if hold else _about(workload, inventory)]
        wanted = [entry.id for entry in workload.entries] if workload else []
        limit = (Parting.of(workload.options) if workload else inventory.parting).prune_limit
        mass = (
            None if self._foreign(inventory) else pending(inventory, self._doomed(workload, inventory), wanted, limit)
        )
        if mass is not None and mass.name not in self._around.approved_prunes:
            notes.append(f"the deletions would wait for felloe approve prune: {mass.message}")
        return "; ".join(note for note in notes if note)

    def _recorded(self, identity: ObjectId) -> bool:
        return _has(self._inventories, self._wanted[identity], identity)


def _has(inventories: Mapping[WorkloadId, Inventory], workload: WorkloadId, identity: ObjectId) -> bool:
    """Return whether a workload has applied an object."""
    holder = inventories.get(workload)
    item = holder.items.get(identity) if holder else None
    return item is not None and item.known


async def in_order(
    work: Iterable[_Work[_Result]], at_once: int, more: Callable[[], bool]
) -> AsyncGenerator[_Result, None]:
    """Yield the results of some work in its order, `at_once` being done at a time, for as long as `more` says so."""
    running: deque[asyncio.Task[_Result]] = deque()
    try:
        for each in work:
            if not more():
                break
            running.append(asyncio.create_task(each()))
            if len(running) == at_once:
                yield await running.popleft()
        while running:
            yield await running.popleft()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def _about(workload: Workload | None, inventory: Inventory) -> str:
    """Return what a workload itself says about whether this happens; empty where it does."""
    if workload is None:
        if inventory.suspend:
            return "it is not meant for this cluster any more; it was suspended, so its objects stay"
        stays = "" if inventory.deletes_at_removal else "; its objects stay: no prune, or deletionPolicy Orphan"
        return f"it is not meant for this cluster any more{stays}"
    if workload.options.suspend:
        return "it is suspended: nothing of this happens until it is resumed"
    return "" if workload.options.drift == "enabled" else f"drift is not healed here (drift: {workload.options.drift})"


def _defined(bundle: Bundle, content: Callable[[Digest], bytes | None]) -> Iterator[tuple[str, str]]:
    """Yield group and kind of what the definitions of a bundle define."""
    for workload in bundle.workloads:
        for entry in workload.entries:
            if entry.id[:2] == CRD and (blob := content(entry.digest)) is not None:
                spec = orjson.loads(blob).get("spec") or {}
                yield str(spec.get("group")), str((spec.get("names") or {}).get("kind"))
