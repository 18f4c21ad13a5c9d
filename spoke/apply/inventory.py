"""What was applied for a workload: the cluster's own record of it, so that nothing is ever left behind.

The record is written before an object is applied for the first time (the intent) and reduced after the objects that are
not wanted any more are gone. A spoke that is killed at any point finds every object it may have made.

A record is one or several ConfigMaps below the size limit of an object: zstd over JSON, split by a hash of the object,
so that rewriting one piece moves no object between pieces. A piece says all about its part of the objects. Where little
has changed since they were written, one small piece more says just that: to change an object of thousands costs no more
than to change one of ten. Whatever the order in which pieces were written, of two that speak of an object the one with
the later serial is right.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import groupby
from typing import Final, Self

import orjson
import zstandard

from felloe.bundle import PRUNE_LIMIT, ApplyOptions, deletes_at_removal
from felloe.digest import Digest
from felloe.errors import StoreError
from felloe.identity import ObjectId, WorkloadId
from spoke.apply.origin import Origin

FORMAT: Final = 1
CHANGES: Final = "changes"
"""How the name of the piece of changes ends."""
_ITEMS_IN_A_PIECE: Final = 8000
_PIECE_BYTES: Final = 960 * 1024
"""The data of a ConfigMap may be 1 MiB."""
_LEVEL: Final = 3
_LARGEST_PIECE_BYTES: Final = 16 * 1024 * 1024


OwnerLabels = tuple[tuple[str, str], ...]
"""Labels, sorted, with which another controller marks what it applied."""


@dataclass(frozen=True, slots=True)
class Item:
    """One object of an inventory.

    `applied` names what was last applied and `fingerprint` the fields that this made ours. While something else is
    about to be applied, `applied` is empty: what is in the cluster is then either. `created` says that the object was
    not there before us; it is known of namespaces only. `left_alone` and `once` are what the object in Git says
    (felloe.annotations). `settled` says that it was there when the workload was last applied whole, and that
    nobody approved since then that it goes. `failed` says of a Job that it did, and is gone by its
    ttlSecondsAfterFinished.
    """

    version: str
    wave: int
    applied: bytes = b""
    fingerprint: bytes = b""
    created: bool = False
    left_alone: bool = False
    once: bool = False
    settled: bool = False
    failed: bool = False

    @property
    def known(self) -> bool:
        """Return whether any state of it was applied, so that it got into the cluster."""
        return bool(self.applied or self.fingerprint)


@dataclass(frozen=True, slots=True)
class Parting:
    """How a workload is taken down on the day when it leaves the bundle, and its options are no longer there.

    `deletion_policy`, `prune_limit` and `force_prune` are ApplyOptions' of the same name, `timeout` its seconds.
    """

    deletion_policy: str = "MirrorPrune"
    prune_limit: float = PRUNE_LIMIT
    force_prune: bool = False
    timeout: float = 270.0

    @classmethod
    def of(cls, options: ApplyOptions) -> Self:
        """Return what the options of a workload say about it."""
        return cls(options.deletion_policy, options.prune_limit, options.force_prune, options.timeout)


@dataclass(slots=True)
class Inventory:
    """The record of one workload.

    `prune`, `suspend`, `service_account` and `parting` are kept for the day when it leaves the bundle.
    `applied_objects` is how many objects it had when it was last applied whole. `inherited` are the labels of former
    owners: an object of the inventory that carries one of these sets, and no labels of ours yet, is ours as well.
    """

    id: WorkloadId
    items: dict[ObjectId, Item] = field(default_factory=dict)
    prune: bool = False
    suspend: bool = False
    service_account: str = ""
    parting: Parting = field(default_factory=Parting)
    requested_at: str = ""
    applied_digest: Digest | None = None
    applied_at: float = 0.0
    applied_objects: int = 0
    serial: int = 0
    inherited: tuple[OwnerLabels, ...] = ()
    origin: Origin = field(default_factory=Origin)

    @property
    def deletes_at_removal(self) -> bool:
        """Return whether its objects are deleted when it leaves the bundle."""
        return not self.suspend and deletes_at_removal(self.parting.deletion_policy, prune=self.prune)

    @property
    def name(self) -> str:
        """Return the name that its pieces begin with."""
        return "inventory-" + hashlib.sha256("\0".join(self.id).encode()).hexdigest()[:20]


def encode(inventory: Inventory) -> dict[str, bytes]:
    """Return the pieces of a whole inventory by name; the number of pieces is part of each name."""
    count = max(1, -(-len(inventory.items) // _ITEMS_IN_A_PIECE))
    pieces = _cut(inventory, count)
    while max(map(len, pieces.values())) > _PIECE_BYTES and count < len(inventory.items):
        count *= 2
        pieces = _cut(inventory, count)
    return pieces


def _cut(inventory: Inventory, count: int) -> dict[str, bytes]:
    rows: list[list[list[object]]] = [[] for _ in range(count)]
    for identity, item in inventory.items.items():
        rows[_part(identity, count)].append(_row(identity, item))
    head = _head(inventory)
    return {
        f"{inventory.name}-{count}-{number}": _pack(head | {"part": [number, count], "items": items})
        for number, items in enumerate(rows)
    }


def encode_changes(inventory: Inventory, changed: Iterable[ObjectId], gone: Iterable[ObjectId]) -> bytes:
    """Return the piece that says in what an inventory differs from its other pieces, which have earlier serials."""
    items = [_row(identity, inventory.items[identity]) for identity in changed]
    return _pack(_head(inventory) | {"gone": [[*identity] for identity in gone], "items": items})


def _part(identity: ObjectId, count: int) -> int:
    return zlib.crc32(identity.inventory_id.encode()) % count


def _row(identity: ObjectId, item: Item) -> list[object]:
    return [*identity, item.version, item.wave, item.applied.hex(), item.fingerprint.hex(), _marks(item)]


def _head(inventory: Inventory) -> dict[str, object]:
    return {
        "format": FORMAT,
        "workload": [*inventory.id],
        "prune": inventory.prune,
        "suspend": inventory.suspend,
        "service_account": inventory.service_account,
        "parting": asdict(inventory.parting),
        "requested_at": inventory.requested_at,
        "applied_digest": inventory.applied_digest.hex() if inventory.applied_digest else "",
        "applied_at": inventory.applied_at,
        "applied_objects": inventory.applied_objects,
        "serial": inventory.serial,
        "inherited": inventory.inherited,
        "origin": _origin_to_json(inventory.origin),
    }


def _pack(content: Mapping[str, object]) -> bytes:
    return zstandard.compress(orjson.dumps(content), _LEVEL)


@dataclass(frozen=True, slots=True)
class _Piece:
    """A piece as it was read: `says` has its items only.

    `part` is its number and how many there are; of a piece of changes it is None, and `gone` is no more.
    """

    says: Inventory
    part: tuple[int, int] | None
    gone: frozenset[ObjectId]

    def speaks_of(self, identity: ObjectId) -> bool:
        """Return whether what earlier pieces say of an object counts no more."""
        if self.part is None:
            return identity in self.gone
        number, count = self.part
        return _part(identity, count) == number


def decode(pieces: Iterable[tuple[str, bytes]]) -> Mapping[WorkloadId, Inventory]:
    """Return the inventories that named pieces hold. Raise StoreError where one can't be read."""
    inventories: dict[WorkloadId, Inventory] = {}

    def order(piece: _Piece) -> tuple[WorkloadId, int, bool]:
        return piece.says.id, piece.says.serial, piece.part is not None

    read = sorted((_piece(name, data) for name, data in pieces), key=order)
    for (identity, *_), group in groupby(read, key=order):
        together = list(group)
        before = inventories.get(identity)
        items = before.items if before else {}
        for outdated in [each for each in items if any(piece.speaks_of(each) for piece in together)]:
            del items[outdated]
        for piece in together:
            items |= piece.says.items
        inventories[identity] = replace(together[-1].says, items=items)
    return inventories


_BITS: Final = (1, 2, 4, 8, 16)


def _marks(item: Item) -> int:
    """Return `created` to `failed`, in their order, as bits; a record from before there were others says a bool."""
    marks = (item.created, item.left_alone, item.once, item.settled, item.failed)
    return sum(bit for bit, mark in zip(_BITS, marks, strict=True) if mark)


def _piece(name: str, data: bytes) -> _Piece:
    try:
        content = orjson.loads(zstandard.ZstdDecompressor().decompress(data, max_output_size=_LARGEST_PIECE_BYTES))
        if content["format"] != FORMAT:
            raise StoreError(f"the inventory {name} has format {content['format']}, this spoke reads {FORMAT}")
        part = content.get("part")
        says = Inventory(
            id=WorkloadId(*content["workload"]),
            items={
                ObjectId(group, kind, namespace, object_name): Item(
                    version, wave, bytes.fromhex(key), bytes.fromhex(mark), *(bool(marks & bit) for bit in _BITS)
                )
                for group, kind, namespace, object_name, version, wave, key, mark, marks in content["items"]
            },
            prune=content["prune"],
            suspend=content["suspend"],
            service_account=content.get("service_account", ""),
            parting=_parting(content.get("parting", {})),
            requested_at=content["requested_at"],
            applied_digest=_digest(content["applied_digest"]),
            applied_at=content["applied_at"],
            applied_objects=content.get("applied_objects", 0),
            serial=content["serial"],
            inherited=tuple(tuple((key, value) for key, value in labels) for labels in content.get("inherited", ())),
            origin=_origin(content.get("origin")),
        )
        gone = frozenset(ObjectId(*identity) for identity in content.get("gone", ()))
        return _Piece(says, (part[0], part[1]) if part else None, gone)
    except (zstandard.ZstdError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"the inventory {name} can't be read ({type(error).__name__}): restore it, or delete it and prune by hand"
        ) from error


def _parting(said: Mapping[str, object]) -> Parting:
    """Return what was written; newer spokes may say more, which changes nothing of what is known here."""
    known = {each.name for each in fields(Parting)}
    return Parting(**{name: value for name, value in said.items() if name in known})  # type: ignore[arg-type]


def _origin_to_json(origin: Origin) -> list[object]:
    return [origin.hub.hex(), origin.epoch, origin.generation, origin.digest.hex() if origin.digest else ""]


def _origin(row: list[object] | None) -> Origin:
    """Return the origin that was written; spokes before it was known wrote none."""
    if row is None:
        return Origin()
    hub, epoch, generation, name = row
    return Origin(bytes.fromhex(str(hub)), int(str(epoch)), int(str(generation)), _digest(str(name)))


def _digest(text: str) -> Digest | None:
    return Digest(bytes.fromhex(text)) if text else None
