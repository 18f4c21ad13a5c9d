"""One pass over some objects of a workload: the intent written down, then wave by wave, concurrent inside a wave."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from felloe.annotations import Policy, policy
from felloe.bundle import Entry, Workload
from felloe.errors import BundleError, FelloeError, KubernetesError
from felloe.identity import ObjectId
from felloe.labels import GROUP
from felloe.masking import is_secret
from felloe.waves import barrier
from spoke.apply.concurrency import bounded
from spoke.apply.context import Context
from spoke.apply.definitions import settle
from spoke.apply.expiry import JOB, expiry
from spoke.apply.inventory import Item, Parting
from spoke.apply.objects import Applied
from spoke.apply.plan import CRD, NAMESPACE, Why, waves, why_apply
from spoke.apply.prepare import (
    applied_key,
    desired,
    expires,
    manifest,
    marked,
    on_top_of,
    variables_digest,
)
from spoke.apply.recreate import advised, immutable, may_recreate
from spoke.apply.state import State
from spoke.apply.strangers import Stranger
from spoke.apply.troubles import Troubles
from spoke.drift.fields import change
from spoke.drift.ignore import carried_over
from spoke.drift.live import Live
from spoke.kube.client import Json
from spoke.kube.discovery import Resource
from spoke.kube.errors import UnreachableError, is_another, no_request_succeeds
from spoke.kube.shapes import metadata_of

if TYPE_CHECKING:
    from felloe.k8syaml import JsonValue

_CONFLICTS: Final = 4
_log = logging.getLogger(__name__)


class Step:
    """Applies objects of one workload; `troubles` says what could not be applied.

    `passed` are objects of somebody else that say they are to be left alone: no watch shows when they don't any more.
    `held` wait for an earlier wave, in which something failed. `unsaved` tells that the inventory in memory knows more
    than the one in the cluster.
    """

    def __init__(self, context: Context, workload: Workload, state: State) -> None:
        self._context = context
        self._workload = workload
        self._state = state
        self._entries = {entry.id: entry for entry in workload.entries}
        variables = variables_digest(workload)
        self._unsure: set[ObjectId] = set()
        """What an earlier task or spoke began to change or to delete, so that a request may still be on its way."""
        self._made_before: set[ObjectId] = set()
        """What an earlier task or spoke may have made, or be making."""
        self._keys = {entry.id: applied_key(entry, variables) for entry in workload.entries}
        self.troubles = Troubles(context.report, workload, state)
        self.passed: set[ObjectId] = set()
        self.held: set[ObjectId] = set()
        self.unsaved = False

    def why(self, identity: ObjectId) -> Why | None:
        """Return why an object has to be applied now, None where it is as it should be, or where drift is let be."""
        why = self._difference(identity)
        return None if why and why.drift and self._workload.options.drift != "enabled" else why

    def notice(self, identity: ObjectId) -> None:
        """Take it that an object may have changed; tell of its drift where that is not healed, or not at once."""
        if identity not in self._entries:
            return
        if self._context.live.get(identity) is not None:
            self._state.expired.pop(identity, None)
        why = self._difference(identity)
        mode, fought = self._workload.options.drift, self.troubles.contested(identity)
        if why is None or not why.drift or mode == "disabled":
            self.troubles.no_drift(identity)
        elif mode == "warn" or fought:
            what = self._what(identity, why, self._context.live.get(identity))
            self.troubles.drifted(identity, what, waits=fought and mode == "enabled")

    def _difference(self, identity: ObjectId) -> Why | None:
        if identity in self._context.live.doubtful:
            return Why.CHANGED
        why = why_apply(
            self._keys[identity],
            self._state.inventory.items.get(identity),
            self._context.live.get(identity),
            self._workload.id,
            again=self._context.latecomers.is_due(identity),
        )
        return None if why is Why.MISSING and self._expired(identity) else why

    def _expired(self, identity: ObjectId) -> bool:
        """Return whether an object that is not there is a Job that ended and went by itself; that is remembered."""
        expired, item = self._state.expired, self._state.inventory.items.get(identity)
        if identity in expired or identity[:2] != JOB or item is None:
            return identity in expired
        with suppress(FelloeError):  # a disk that lost it says so when it is applied
            ended = expires(self._desired(self._entries[identity]))
            found = expiry(item, self._context.live.last_words(identity)) if ended else None
            if found is not None:
                expired[identity] = found.health
                self.unsaved = self.unsaved or found.item != item
                self._state.inventory.items[identity] = found.item
        return identity in expired

    def applied(self, identity: ObjectId) -> bool:
        """Return whether the desired state of an object was applied at some time, so that it should be there."""
        item = self._state.inventory.items.get(identity)
        return item is not None and item.applied == self._keys[identity] and not (item.left_alone or item.once)

    def begun(self, identities: Iterable[ObjectId]) -> bool:
        """Return whether another state of any of these was about to be applied, and may have been."""
        items = (self._state.inventory.items.get(identity) for identity in identities)
        return any(item is not None and item.known and not item.applied for item in items)

    async def run(self, identities: Collection[ObjectId], *, requested: bool = False) -> None:
        """Apply what needs it, with `requested` all.

        What can't be applied is in `troubles`. Raise UnreachableError where the API server is away.
        """
        entries = [self._entries[identity] for identity in identities]
        await self._intend(entries)
        self.held.difference_update(identities)
        for wave in map(self._allowed, waves(entries)):
            resources = await self._resources(wave)
            todo = [
                (entry, resources[entry.id], why)
                for entry in wave
                if entry.id in resources and (why := Why.REQUESTED if requested else self.why(entry.id))
            ]
            for entry in wave:
                if entry.id in resources and self.why(entry.id) is None:
                    self.troubles.cleared(entry.id)
            try:
                await self._apply_all(todo)
            finally:
                self._context.watches.release(set(resources.values()), len(todo))
            await self._settle_kinds([entry for entry, _, _ in todo])

    def _allowed(self, wave: list[Entry]) -> list[Entry]:
        """Return what may be applied of a wave: new states of objects wait for those of waves that come first."""
        failed = {self._entries[identity].wave for identity in self.troubles.failures}
        if not wave or not any(barrier(earlier, wave[0].wave) for earlier in failed):
            return wave
        held = {entry.id for entry in wave if self.why(entry.id) is Why.CHANGED}
        self.held |= held
        return [entry for entry in wave if entry.id not in held]

    async def _intend(self, entries: Iterable[Entry]) -> None:
        """Write down what will be applied for the first time or otherwise than before, before it is.

        A change that was cut short, and is then taken back, would else look as if it had never begun.
        """
        known = self._state.inventory.items
        new: dict[ObjectId, Item] = {}
        changing: dict[ObjectId, Item] = {}
        for entry in entries:
            if (item := known.get(entry.id)) is None:
                new[entry.id] = Item(entry.version, entry.wave)
            else:
                self._made_before.add(entry.id)
                if item.known and not item.applied:
                    self._unsure.add(entry.id)
                if item.applied not in (b"", self._keys[entry.id]):
                    changing[entry.id] = replace(item, applied=b"")
        unsure = self._context.inventories.unsure(self._workload.id)
        if not new and not changing and not unsure:
            return
        if new or unsure:  # changes of objects that are there need not wait, see spoke.cluster.recorder
            self._context.record.hurry()
        for identity in [identity for identity in new if identity[:2] == NAMESPACE]:
            there = await self._context.objects.exists(identity, new[identity].version)
            # One that changes hands stays one that we made.
            new[identity] = replace(new[identity], created=not there or self._context.peers.made(identity))
        draft = replace(
            self._state.inventory,
            items=known | new | changing,
            prune=self._workload.options.prune,
            suspend=False,
            service_account=self._context.service_account,
            parting=Parting.of(self._workload.options),
        )
        if new or unsure:
            await self._context.record.recorded()
        await self._context.inventories.write(draft)
        self._state.inventory = draft
        self._context.peers.changed()

    async def _resources(self, wave: Iterable[Entry]) -> dict[ObjectId, Resource]:
        """Return the kinds of a wave's objects, each of them watched; objects of unknown kinds fail."""
        found: dict[ObjectId, Resource] = {}
        for entry in wave:
            try:
                found[entry.id] = await self._context.objects.resource(entry.id, entry.version)
            except FelloeError as error:
                self.troubles.failed(entry.id, error)
        namespaces: dict[Resource, set[str]] = {}
        for identity, resource in found.items():
            namespaces.setdefault(resource, set()).add(identity.namespace)
        for resource, within in namespaces.items():
            self.troubles.watched(resource, await self._context.watches.ensure(self._context.client, resource, within))
        return found

    async def _apply_all(self, todo: Collection[tuple[Entry, Resource, Why]]) -> None:
        live = self._context.live
        unknown = [(entry.id, resource) for entry, resource, _ in todo if live.get(entry.id) is None]
        self._context.latecomers.from_before(identity for identity, _ in unknown if identity in self._made_before)
        try:
            found = await self._context.objects.strangers(unknown)
        except KubernetesError as error:
            if no_request_succeeds(error):
                raise UnreachableError(str(error)) from error
            for entry, _, _ in todo:
                self.troubles.failed(entry.id, error)
            return

        async def one(work: tuple[Entry, Resource, Why]) -> None:
            entry, resource, why = work
            stranger = found.get(entry.id)
            try:
                if isinstance(stranger, KubernetesError):
                    raise stranger
                await self._apply(entry, resource, why, stranger)
            except FelloeError as error:
                self.troubles.failed(entry.id, error)
            done()

        with self._context.client.work(len(todo)) as done:
            await bounded(one, todo)

    async def _apply(self, entry: Entry, resource: Resource, why: Why, stranger: Stranger | None) -> None:
        self.passed.discard(entry.id)
        obj = self._desired(entry)
        says = policy(metadata_of(obj))
        self.troubles.annotated(entry.id, says)
        if self._left(entry, says, stranger):
            return
        if stranger is not None and not says.merged:
            await self._context.objects.take_over(entry.id, resource, stranger)
        before = self._context.live.get(entry.id)
        try:
            seen, applied = await self._replace(entry, resource, obj, why)
        except KubernetesError as error:
            forced = says.forced or bool(before and before.forced) or bool(stranger and stranger.policy.forced)
            may = may_recreate(entry.id, workload=self._workload.options.force, own=forced)
            field = immutable(error, tried=may)
            if field is None or (before is None and stranger is None):
                raise
            if not may:
                raise advised(entry.id, field, error) from None
            seen, applied = None, await self._recreate(entry, resource, obj, field)
        if applied.live.owner != self._workload.id:
            raise FelloeError(
                "it is stored without our labels, so that it can be neither followed nor deleted: have the admission "
                f"webhook or policy that takes them off leave labels of {GROUP} alone"
            )
        self._state.expired.pop(entry.id, None)
        self._unsure.discard(entry.id)
        self._write_down(entry, says, applied.live.fingerprint)
        self.troubles.cleared(entry.id)
        self._context.live.take(entry.id, applied.live)
        self._context.live.doubtful.discard(entry.id)
        if why.drift:
            self.troubles.healed(entry.id, self._what(entry.id, why, before, seen, new=applied.created))

    async def _recreate(self, entry: Entry, resource: Resource, obj: dict[str, JsonValue], field: str) -> Applied:
        """Delete an object and make it again, which needs no record: killed in between, the next run makes it."""
        await self._context.objects.make_room(entry.id, resource, manifest(obj, self._workload.id))
        applied = await self._send(entry, resource, obj)
        self.troubles.recreated(entry.id, field)
        return applied

    def _left(self, entry: Entry, says: Policy, stranger: Stranger | None) -> bool:
        """Return whether an object is not to be touched: it says so in Git or in the cluster, or is made once only."""
        live = self._context.live.get(entry.id)
        there = live is not None or stranger is not None
        if says.left_alone or (says.once and there):
            self._write_down(entry, says, b"")
        elif live is not None and live.left_alone:
            pass  # its watch tells when it says so no more
        elif stranger is not None and stranger.policy.left_alone:
            self.passed.add(entry.id)
        else:
            return False
        self.troubles.cleared(entry.id)
        self._context.live.doubtful.discard(entry.id)
        _log.debug("event=LeftAlone workload=%s object=%r", self._workload.id, str(entry.id))
        return True

    def _write_down(self, entry: Entry, says: Policy, fingerprint: bytes) -> None:
        known = self._state.inventory.items.get(entry.id)
        item = Item(
            entry.version,
            entry.wave,
            self._keys[entry.id],
            fingerprint,
            created=bool(known and known.created),
            left_alone=says.left_alone,
            once=says.once,
            settled=bool(known and known.settled),
        )
        if item != known:
            self._state.inventory.items[entry.id] = item
            self.unsaved = True

    async def _seen(self, entry: Entry, resource: Resource, why: Why) -> Json | None:
        """Return an object as it is, where that decides what is sent or can be told of a drift."""
        told = why is Why.DRIFTED and not is_secret(entry.id)
        return await self._context.objects.read(entry.id, resource) if entry.ignore or told else None

    async def _replace(
        self, entry: Entry, resource: Resource, obj: dict[str, JsonValue], why: Why
    ) -> tuple[Json | None, Applied]:
        """Apply an object over what is there, and return what that was, where it was looked at.

        Where it is known, it is applied to just that version: should this be done late, after a newer state was
        applied or the object deleted, it is refused. One that changes all the time gets its state in the end.
        """
        live, unsure = self._context.live.get(entry.id), entry.id in self._unsure
        at = live.at if live is not None else {}
        for attempt in range(_CONFLICTS):
            seen = await self._seen(entry, resource, why)
            sent = on_top_of(obj, seen, entry.ignore) if seen is not None and entry.ignore else obj
            try:
                applied = await self._send(entry, resource, sent, {} if sent is not obj else at)
                if unsure and str(applied.live.version) == at.get("resourceVersion"):
                    return seen, await self._renew(entry, resource, sent)
            except KubernetesError as error:
                if not is_another(error) or (sent is obj and not at) or attempt == _CONFLICTS - 1:
                    raise
                if sent is obj:
                    at = await self._context.objects.version(entry.id, resource) if attempt < _CONFLICTS - 2 else {}
            else:
                return seen, applied
        raise AssertionError("unreachable")

    async def _renew(self, entry: Entry, resource: Resource, obj: dict[str, JsonValue]) -> Applied:
        """Give an object another version that is as it should be already.

        What an earlier task asked for, to change it or to delete it, names the version of before: it is refused now.
        """
        await self._send(entry, resource, marked(obj))
        return await self._send(entry, resource, obj)

    async def _send(
        self, entry: Entry, resource: Resource, obj: dict[str, JsonValue], at: Mapping[str, str] = MappingProxyType({})
    ) -> Applied:
        # Whatever cuts this short, a newer bundle or an API server that is away: it may have been done.
        self._context.live.doubtful.add(entry.id)
        sent = partial(manifest, obj, self._workload.id)
        lost = None if at else partial(self._context.latecomers.unanswered, entry.id)
        return await self._context.objects.apply(entry.id, resource, sent, at, lost)

    def _what(
        self, identity: ObjectId, why: Why, before: Live | None, seen: Json | None = None, *, new: bool | None = None
    ) -> str:
        """Return what was done to an object, and who did it as far as the object says; never what a Secret holds."""
        if why is Why.MISSING:
            return {True: "was deleted", False: "had lost our labels", None: "was deleted, or lost our labels"}[new]
        if why is Why.DRIFTED and before and before.drifted:
            entry = self._entries[identity]
            with suppress(FelloeError):  # a disk that lost it says so when it is applied
                told = None if is_secret(identity) else seen
                return str(change(carried_over(self._desired(entry), {}, entry.ignore), before.drifted, told))
        return str(why.value)

    async def _settle_kinds(self, applied: Iterable[Entry]) -> None:
        definitions = [entry for entry in applied if entry.id[:2] == CRD and entry.id not in self.troubles.failures]
        if definitions:
            kinds = {entry.id: self._desired(entry) for entry in definitions}
            await settle(self._context, kinds, self._workload.options.timeout)

    def _desired(self, entry: Entry) -> dict[str, JsonValue]:
        blob = self._context.blobs.get(entry.digest)
        if blob is None:
            raise BundleError(f"the spoke's disk has lost {entry.id}: it is asked for again")
        return desired(blob, entry, self._workload)
