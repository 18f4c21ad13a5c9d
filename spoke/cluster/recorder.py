"""Writes the record of the newest bundle into the cluster, reads it back, and says when it is there.

What is in the cluster (inventories, objects) must never be newer than the record unnoticed: an older record would take
what a newer bundle made for something that nobody wants. So what is made for the first time, and what is deleted, waits
until the record of its bundle is written (`recorded`); changes of objects that are there do not wait. Where the API
server refuses the record, work goes on all the same, the hub is told, and the inventories, which carry the generation
that they were written for, let a spoke with an older record find out.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Final, Protocol

from felloe.errors import FelloeError, KubernetesError, StoreError
from felloe.labels import GROUP
from spoke.cluster.namespace import SECRETS, OwnNamespace
from spoke.cluster.record import Assembly, Division, Head, Pack, pieces
from spoke.kube.errors import no_request_succeeds, passing
from spoke.kube.jitter import spread
from spoke.state import BundleStore, Part, StoredBundle

_LABEL: Final = f"{GROUP}/desired"
_HEAD: Final = "desired-state"
_KEY: Final = "zst"
_TYPE: Final = f"{GROUP}/desired-state"
_AT_ONCE: Final = 4
_FAILURES_UNTIL_IT_IS_TOLD: Final = 3
_LONGEST_WAIT_SECONDS: Final = 20.0
_LONGEST_PAUSE_SECONDS: Final = 300.0
_CHANGES_FIRST_SECONDS: Final = 0.1
_log = logging.getLogger(__name__)

Tell = Callable[[str, str], None]
"""Takes the reason and the message of a warning for the hub."""


class Record(Protocol):
    """What is known of the desired state in the cluster."""

    def hurry(self) -> None:
        """Have the newest bundle recorded at once: somebody is about to wait for it."""
        ...

    async def recorded(self) -> None:
        """Wait until the newest bundle is recorded in the cluster, or it is known that it won't be soon."""
        ...


class Recorder:
    """The record of one cluster. `want` names the bundle to record, `run` writes it for as long as it runs."""

    def __init__(self, namespace: OwnNamespace, store: BundleStore, tell: Tell) -> None:
        self._namespace = namespace
        self._store = store
        self._tell = tell
        self._head: Head | None = None
        self._division = Division()
        self._uids: dict[str, str] | None = None
        self._wanted: StoredBundle | None = None
        self._number = 0
        self._done = 0
        self._changed = asyncio.Event()
        self._settled = asyncio.Event()
        self._awaited = asyncio.Event()
        self._told = ""

    # -- reading

    async def head(self) -> Head | None:
        """Return the head of the record in the cluster, None where there is none.

        Raise KubernetesError where the API server refuses, StoreError where it is damaged.
        """
        found = await self._namespace.get(SECRETS, _HEAD)
        self._head = None if found is None else Head.decode(_content(found, _HEAD))
        return self._head

    def newer(self, head: Head, current: StoredBundle) -> bool:
        """Return whether a record is of a newer bundle than this one, by the hub that is followed."""
        mine = (current.epoch, current.generation)
        return self._store.trusted == head.hub and (head.epoch, head.generation) > mine

    async def restore(self, head: Head) -> StoredBundle:
        """Bring the bundle of a head to the disk, verified object by object and as a whole.

        Raise KubernetesError where the API server refuses, StoreError or BundleError where the record is damaged. Then
        nothing but verified objects is on the disk, and no bundle of it.
        """
        whole = Assembly()
        for name, count in head.packs.items():
            data = b"".join([await self._piece(f"{name}-{number}") for number in range(count)])
            self._store.add(Part(digest, 0, len(blob), blob) for digest, blob in whole.add(data))
        stored = StoredBundle(
            head.epoch,
            head.generation,
            whole.bundle(head.root, head.rest),
            head.traceparent,
            head.received_at,
            head.hub,
        )
        return self._store.restore(stored, head.highest_epoch)

    async def _piece(self, name: str) -> bytes:
        found = await self._namespace.get(SECRETS, name)
        if found is None:
            raise StoreError(f"the Secret {self._namespace.name}/{name} of the record is not there")
        return _content(found, name)

    # -- writing

    def want(self, stored: StoredBundle) -> None:
        """Record this bundle, and no older one any more."""
        self._wanted = stored
        self._number += 1
        self._changed.set()

    def hurry(self) -> None:
        """Write the bundle that is the newest now at once, for somebody is about to wait for it."""
        if self._done < self._number:
            self._awaited.set()

    async def recorded(self) -> None:
        """Wait until the bundle that is the newest now is recorded, or it is known that it won't be soon."""
        number = self._number
        self.hurry()
        try:
            async with asyncio.timeout(_LONGEST_WAIT_SECONDS):
                while self._done < number:
                    await self._settled.wait()
        except TimeoutError:
            self._refused(number, f"not within {_LONGEST_WAIT_SECONDS:.0f} s")

    async def run(self) -> None:
        """Write until cancelled; what is there is looked at anew."""
        self._uids = None
        if self._wanted is None:
            with suppress(FelloeError):  # asked again, and told, when there is something to write
                await self._survey()  # the first bundle need not wait for that
        while True:
            await self._changed.wait()
            self._changed.clear()
            await self._let_changes_go_first()
            await self._until_written()

    async def _let_changes_go_first(self) -> None:
        """Wait a moment, unless somebody waits for the record: changes of objects that are there need not."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_CHANGES_FIRST_SECONDS):
                await self._awaited.wait()
        self._awaited.clear()

    async def _until_written(self) -> None:
        """Write the newest bundle, again and again where that fails, until it is there or a newer one is wanted."""
        failures = 0
        while (stored := self._wanted) is not None:
            number = self._number
            try:
                await self._write(stored)
                self._open(number)
                await self._clean()
            except FelloeError as error:
                failures += 1
                self._head = self._uids = None  # look again at what is there
                lasting = not (isinstance(error, KubernetesError) and (passing(error) or no_request_succeeds(error)))
                if number == self._number and (lasting or failures >= _FAILURES_UNTIL_IT_IS_TOLD):
                    self._refused(number, str(error))
                await self._pause(failures)
            else:
                self._told = ""
                if number == self._number:
                    return

    async def _pause(self, failures: int) -> None:
        """Wait before the next try; a newer bundle is tried at once."""
        longest = min(_LONGEST_PAUSE_SECONDS, 0.5 * 2 ** min(failures, 12))
        try:
            async with asyncio.timeout(spread(longest)):
                await self._changed.wait()
                self._changed.clear()
        except TimeoutError:
            return

    async def _write(self, stored: StoredBundle) -> None:
        there = await self._survey()
        known = self._head
        for _ in self._division.take(stored.bundle):
            await asyncio.sleep(0)
        wanted = self._division.packs()
        counts = {pack.name: known.packs[pack.name] for pack in wanted if known and pack.name in known.packs}
        whole = {name for name, count in counts.items() if all(f"{name}-{n}" in there for n in range(count))}
        lacking = [pack for pack in wanted if pack.name not in whole]
        for start in range(0, len(lacking), _AT_ONCE):
            part = lacking[start : start + _AT_ONCE]
            put = await asyncio.gather(*map(self._put, part), return_exceptions=True)
            for pack, count in zip(part, put, strict=True):
                if isinstance(count, BaseException):
                    raise count
                counts[pack.name] = count
        head = Head(
            hub=stored.hub,
            highest_epoch=max(self._store.epoch, stored.epoch),
            epoch=stored.epoch,
            generation=stored.generation,
            root=stored.bundle.root,
            traceparent=stored.traceparent,
            received_at=stored.received_at,
            packs=counts,
            rest=replace(stored.bundle, workloads=()),
        )
        if head != known:
            await self._namespace.apply(SECRETS, _HEAD, self._secret(_HEAD, head.encode(), {}))
            self._head = head
            _log.debug("event=Recorded generation=%d packs=%d", stored.generation, len(lacking))

    async def _clean(self) -> None:
        """Delete the pieces that the newest head does not name."""
        there = await self._survey()
        for name in there.keys() - (self._head.names() if self._head else set()):
            await self._namespace.delete(SECRETS, name, there[name])
            del there[name]

    async def _survey(self) -> dict[str, str]:
        """Return the uid of every piece that is in the cluster, as far as this spoke knows since it last looked."""
        if self._uids is None:
            if self._head is None:
                with suppress(StoreError):  # a damaged one is replaced
                    await self.head()
            self._uids = await self._namespace.uids(SECRETS, f"{_LABEL}=true")
        return self._uids

    async def _put(self, pack: Pack) -> int:
        """Write a pack and return the number of its pieces."""
        cut = pieces(pack, self._store.get)
        there = await self._survey()
        for number, data in enumerate(cut):
            name = f"{pack.name}-{number}"
            there[name] = await self._namespace.apply(SECRETS, name, self._secret(name, data, {_LABEL: "true"}))
        return len(cut)

    def _secret(self, name: str, data: bytes, labels: Mapping[str, str]) -> dict[str, object]:
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": _TYPE,
            "metadata": {"name": name, "namespace": self._namespace.name, "labels": labels},
            "data": {_KEY: base64.b64encode(data).decode("ascii")},
        }

    def _open(self, number: int) -> None:
        """Let those go on who wait for this bundle, or for an older one."""
        if number > self._done:
            self._done = number
            self._settled.set()
            self._settled = asyncio.Event()

    def _refused(self, number: int, why: str) -> None:
        self._open(number)
        if why != self._told:
            self._told = why
            message = (
                f"the desired state can't be kept in the cluster ({self._namespace.name}), so that a spoke on an empty"
                f" disk would need the hub: {why}"
            )
            _log.warning("event=RecordRefused error=%r", message)
            self._tell("RecordRefused", message)


def _content(secret: Mapping[str, object], name: str) -> bytes:
    data = secret.get("data")
    try:
        return base64.b64decode(data[_KEY] if isinstance(data, Mapping) else "", validate=True)
    except (KeyError, TypeError, binascii.Error) as error:
        raise StoreError(f"the Secret {name} of the cluster's record has no {_KEY}") from error
