"""What is to be done for a workload: pure decisions from what is desired, recorded and live."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import groupby
from typing import Final

from felloe.bundle import Entry, Workload
from felloe.identity import ObjectId, WorkloadId
from felloe.labels import SYSTEM_NAMESPACE
from spoke.apply.inventory import Inventory, Item
from spoke.drift.live import Live

NAMESPACE: Final = ("", "Namespace")
CRD: Final = ("apiextensions.k8s.io", "CustomResourceDefinition")
RIGHTS: Final = frozenset(
    {("", "ServiceAccount")}
    | {("rbac.authorization.k8s.io", kind) for kind in ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")}
)
"""Kinds that decide who may do what: when one changes, what was refused may be allowed."""

_LAST: Final = {CRD: 1, NAMESPACE: 2}
_BUILT_IN_GROUPS: Final = frozenset(
    f"{group}.k8s.io"
    for group in (
        "admissionregistration",
        "apiextensions",
        "apiregistration",
        "authentication",
        "authorization",
        "certificates",
        "coordination",
        "discovery",
        "events",
        "flowcontrol.apiserver",
        "internal.apiserver",
        "networking",
        "node",
        "rbac.authorization",
        "resource",
        "scheduling",
        "storage",
        "storagemigration",
    )
)
_PROTECTED_NAMESPACES: Final = frozenset({"default", "kube-system", "kube-public", "kube-node-lease", SYSTEM_NAMESPACE})


class Why(Enum):
    """Why an object is applied."""

    CHANGED = "its desired state changed"
    MISSING = "it was deleted, or lost our labels"
    DRIFTED = "fields of it were changed"
    TAKEN = "another workload's labels are on it"
    REQUESTED = "a reconciliation was asked for"

    @property
    def drift(self) -> bool:
        """Return whether the cluster, not Git, is what changed."""
        return self in (Why.MISSING, Why.DRIFTED, Why.TAKEN)


def why_apply(
    key: bytes, item: Item | None, live: Live | None, owner: WorkloadId, *, again: bool = False
) -> Why | None:
    """Return why an object has to be applied, None where it is as it should be (unless it is to be applied `again`).

    An object that is being deleted is left alone until it is gone: applying it would change nothing. So is one that
    says so in Git or, whatever Git has by now, in the cluster; one that is made once is looked for only.
    """
    if live is not None and live.left_alone:
        return None
    if item is None or item.applied != key:
        return Why.CHANGED
    if live is None:
        return None if item.left_alone else Why.MISSING
    if live.terminating or item.left_alone or item.once:
        return None
    if live.owner != owner:
        return Why.TAKEN
    if live.fingerprint != item.fingerprint:
        return Why.DRIFTED
    return Why.CHANGED if again else None


def waves(entries: Iterable[Entry]) -> list[list[Entry]]:
    """Return entries wave by wave, the first to apply first."""
    ordered = sorted(entries, key=lambda entry: entry.wave)
    return [list(wave) for _, wave in groupby(ordered, key=lambda entry: entry.wave)]


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What an inventory has that its workload does not want any more.

    `prune` is to be deleted, stage by stage: the last wave first, in it custom resources before what may run their
    controllers, and what gives rights after what may need them; CRDs and Namespaces after all. `released` is only
    forgotten: another workload has it now, or it is to stay. What is in neither waits for the workload that claims it
    to write it down.
    """

    prune: tuple[tuple[ObjectId, ...], ...]
    released: tuple[ObjectId, ...]


def leftovers(
    inventory: Inventory,
    wanted: Collection[ObjectId],
    claims: Mapping[ObjectId, WorkloadId],
    recorded: Callable[[ObjectId], bool],
    *,
    prune: bool,
) -> Leftovers:
    """Return what becomes of the objects that a workload had and does not want.

    `claims` says which workload of the bundle wants an object, `recorded` whether an object is in the inventory of
    the workload that wants it, and carries that one's labels: only then it is safe to forget it here.
    """
    released: list[ObjectId] = []
    doomed: list[tuple[int, int, int, ObjectId]] = []
    for identity, item in inventory.items.items():
        if identity in wanted:
            continue
        if claims.get(identity, inventory.id) != inventory.id:
            if recorded(identity):
                released.append(identity)
        elif not prune or not _prunable(identity, item):
            released.append(identity)
        else:
            doomed.append((_LAST.get(identity[:2], 0), -item.wave, _rank(identity), identity))
    doomed.sort()
    grouped = groupby(doomed, key=lambda each: each[:3])
    return Leftovers(tuple(tuple(identity for *_, identity in stage) for _, stage in grouped), tuple(released))


def _rank(identity: ObjectId) -> int:
    """Return when an object is deleted in its wave: kinds that the API server does not have by itself before others."""
    if "." in identity.group and identity.group not in _BUILT_IN_GROUPS:
        return 0
    return 2 if identity[:2] in RIGHTS else 1


def _prunable(identity: ObjectId, item: Item) -> bool:
    """Return whether we may delete it: of namespaces, which take everything in them along, only those that we made."""
    if item.left_alone:
        return False
    if identity[:2] != NAMESPACE:
        return True
    return item.created and identity.name not in _PROTECTED_NAMESPACES


def claims(
    workloads: Iterable[Workload], has: Callable[[WorkloadId, ObjectId], bool] = lambda *_: False
) -> dict[ObjectId, WorkloadId]:
    """Return which workload has which object: of several that name the same one, the one that `has` it, or the first.

    So nobody takes an object from a workload by naming it too.
    """
    claimed: dict[ObjectId, WorkloadId] = {}
    for workload in workloads:
        for entry in workload.entries:
            first = claimed.setdefault(entry.id, workload.id)
            if first != workload.id and has(workload.id, entry.id) and not has(first, entry.id):
                claimed[entry.id] = workload.id
    return claimed
