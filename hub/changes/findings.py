"""What a person should know before a change is let through: what can't be done, and what can't be undone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from felloe.annotations import policy
from felloe.bundle import ApplyOptions
from felloe.identity import ObjectId
from felloe.k8syaml import JsonValue
from felloe.massprune import too_many
from hub.changes.apis import RETIRED
from hub.changes.immutable import immutable_fields
from hub.changes.model import Action, Finding, ObjectChange, Reason, Severity

Json = Mapping[str, JsonValue]

_NAMESPACE: Final = ("", "Namespace")
_DEFINITION: Final = ("apiextensions.k8s.io", "CustomResourceDefinition")
_DATA: Final = frozenset({("", "PersistentVolumeClaim"), ("", "PersistentVolume")})
_PRECIOUS: Final = frozenset({_NAMESPACE, _DEFINITION, *_DATA})
"""Kinds that the `force` of a whole workload does not make again: each has to say so itself."""
_NAMED: Final = 3


@dataclass(frozen=True, slots=True)
class Facts:
    """What findings go by: how the workload is applied, whether it goes, and the cluster's version of Kubernetes 1."""

    options: ApplyOptions | None
    going: bool = False
    minor: int | None = None

    @property
    def deletes(self) -> bool:
        """Tell whether the workload deletes what it does not want any more."""
        if self.options is None or self.options.suspend:
            return False
        return self.options.deletes_at_removal if self.going else self.options.prune


def of_object(change: ObjectChange, before: Json | None, after: Json | None, facts: Facts) -> Iterator[Finding]:
    """Yield what is to be said about one object."""
    if change.action is Action.DELETE:
        yield from _deletion(change.id, before or {}, facts)
    if change.action is Action.UPDATE and before is not None and change.former is None:
        yield from _immutable(change, before, after or {}, facts)
    if change.action in (Action.CREATE, Action.UPDATE):
        yield from _api(change, facts)


def of_workload(objects: Sequence[ObjectChange], total: int, facts: Facts) -> Iterator[Finding]:
    """Yield what is to be said about a workload; `total` is how many objects it has now."""
    doomed = [each.id for each in objects if each.action is Action.DELETE]
    limit = facts.options.prune_limit if facts.options else 1.0
    if too_many(len(doomed), total, limit):
        more = len(doomed) - _NAMED
        named = ", ".join(map(str, doomed[:_NAMED])) + (f" and {more} more" if more > 0 else "")
        message = (
            f"{len(doomed)} of {total} objects would be deleted ({len(doomed) / total:.0%}, more than {limit:.0%} at "
            f"once wait for felloe approve prune): {named}"
        )
        yield Finding(Reason.MASS_PRUNE, Severity.WARNING, message)
    released = [each.id for each in objects if each.action is Action.RELEASE]
    if released:
        more = len(released) - _NAMED
        named = ", ".join(map(str, released[:_NAMED])) + (f" and {more} more" if more > 0 else "")
        message = f"stays in the cluster and is not Felloe's any more (prune and deletionPolicy say so): {named}"
        yield Finding(Reason.KEPT, Severity.NOTE, message)


def _deletion(identity: ObjectId, before: Json, facts: Facts) -> Iterator[Finding]:
    forced = (facts.options is not None and facts.options.force_prune) or policy(_metadata(before)).prune_forced
    when = "with everything that is in it" if forced else "once nothing that is not ours is in it"
    if identity[:2] == _NAMESPACE:
        yield Finding(Reason.NAMESPACE_DELETED, Severity.WARNING, f"the namespace is deleted, {when}", identity)
    elif identity[:2] == _DEFINITION:
        message = f"the kind is not there any more, and no object of it: it is deleted {when}"
        yield Finding(Reason.DEFINITION_REMOVED, Severity.WARNING, message, identity)
    elif identity[:2] in _DATA:
        message = "it is deleted, and what it stores may go with it, as its reclaim policy says"
        yield Finding(Reason.DATA_DELETED, Severity.WARNING, message, identity)


def _immutable(change: ObjectChange, before: Json, after: Json, facts: Facts) -> Iterator[Finding]:
    paths = immutable_fields(change.id, before, change.fields)
    if not paths:
        return
    named = ", ".join(paths[:_NAMED]) + (f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else "")
    own = policy(_metadata(after)).forced
    whole = facts.options is not None and facts.options.force and change.id[:2] not in _PRECIOUS
    if own or whole:
        message = f"{named} can't be changed, so that it is deleted and made again (force)"
        yield Finding(Reason.IMMUTABLE_FIELD, Severity.WARNING, message, change.id)
    else:
        message = (
            f"{named} can't be changed, so that applying it fails: give it another name, or let it be deleted and "
            "made again with the annotation kustomize.toolkit.fluxcd.io/force: enabled"
        )
        yield Finding(Reason.IMMUTABLE_FIELD, Severity.WARNING, message, change.id)


def _api(change: ObjectChange, facts: Facts) -> Iterator[Finding]:
    retired = RETIRED.get((change.api_version, change.id.kind))
    if retired is None:
        return
    what = f"{change.api_version} {change.id.kind} is not served from Kubernetes 1.{retired.removed} on"
    if facts.minor is not None and facts.minor >= retired.removed:
        message = f"{what}, which is this cluster's version or an older one: use {retired.instead}"
        yield Finding(Reason.REMOVED_API, Severity.WARNING, message, change.id)
    else:
        yield Finding(Reason.DEPRECATED_API, Severity.WARNING, f"{what}: use {retired.instead}", change.id)


def _metadata(obj: Json) -> Json:
    metadata = obj.get("metadata")
    return metadata if isinstance(metadata, Mapping) else {}
