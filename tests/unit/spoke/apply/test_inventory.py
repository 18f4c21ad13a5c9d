"""An inventory survives writing, splitting and damage without losing an object."""

from __future__ import annotations

import random

import orjson
import pytest
import zstandard

from felloe.digest import Digest
from felloe.errors import StoreError
from felloe.identity import ObjectId, WorkloadId
from spoke.apply.inventory import Inventory, Item, Parting, decode, encode, encode_changes
from spoke.apply.origin import Origin

ID = WorkloadId("Kustomization", "flux-system", "apps")


def inventory(count: int, **facts: object) -> Inventory:
    items = {
        ObjectId("apps", "Deployment", "shop", f"web-{number}"): Item("v1", 3, bytes([number % 256] * 16), b"f" * 12)
        for number in range(count)
    }
    return Inventory(ID, items, **facts)  # type: ignore[arg-type]


def test_what_is_written_is_read() -> None:
    written = inventory(3, prune=True, requested_at="now", applied_digest=Digest(b"d" * 32), applied_at=12.5, serial=4)
    written.inherited = ((("owner/name", "apps"), ("owner/namespace", "flux-system")),)
    written.origin = Origin(b"hub", 3, 7, Digest(b"w" * 32))
    written.items[ObjectId("", "Namespace", "", "shop")] = Item("v1", 0, created=True)
    written.items[ObjectId("batch", "Job", "shop", "migrate")] = Item("v1", 3, failed=True)
    assert decode(encode(written).items()) == {ID: written}


def test_what_a_newer_spoke_says_besides_is_passed_over() -> None:
    written = inventory(3, parting=Parting(timeout=7.0))
    ((name, data),) = encode(written).items()
    content = orjson.loads(zstandard.decompress(data))
    content["more"] = content["parting"]["more"] = 1
    assert decode([(name, zstandard.compress(orjson.dumps(content)))]) == {ID: written}


def test_an_empty_inventory_is_one_piece() -> None:
    assert decode(encode(inventory(0)).items()) == {ID: inventory(0)}


def test_twenty_thousand_objects_are_split_below_the_limit_of_an_object() -> None:
    large = inventory(20_000)
    pieces = encode(large)
    assert len(pieces) == 3
    assert max(map(len, pieces.values())) * 4 / 3 < 1_000_000
    assert decode(pieces.items()) == {ID: large}


def test_names_that_are_long_and_have_nothing_in_common_are_split_below_it_as_well() -> None:
    names = random.Random(1)  # noqa: S311
    items = {
        ObjectId("", "ConfigMap", "shop", names.randbytes(100).hex()): Item("v1", 1, names.randbytes(16))
        for _ in range(8000)
    }
    pieces = encode(Inventory(ID, items))
    assert max(map(len, pieces.values())) < 1_000_000
    assert decode(pieces.items())[ID].items == items


def test_after_a_crash_between_pieces_nothing_is_lost_and_the_later_one_wins() -> None:
    old, new = inventory(9_000, serial=1), inventory(17_000, serial=2, prune=True)
    changed = ObjectId("apps", "Deployment", "shop", "web-0")
    new.items[changed] = Item("v1", 3, b"new")
    half = dict(list(encode(new).items())[:2])
    read = decode([*half.items(), *encode(old).items()])[ID]
    assert read.items.keys() >= old.items.keys()
    assert read.prune
    whole = decode([*encode(new).items(), *encode(old).items()])[ID]
    assert whole.items[changed].applied == b"new"


def named(number: int) -> ObjectId:
    return ObjectId("apps", "Deployment", "shop", f"web-{number}")


def test_changes_count_where_they_are_newer_than_the_piece_that_has_the_object() -> None:
    whole, later = inventory(20_000, serial=4), inventory(20_000, serial=5, prune=True)
    later.items[named(1)] = Item("v1", 3, b"changed")
    later.items[named(20_000)] = Item("v1", 3)
    del later.items[named(2)]
    changes = "changes", encode_changes(later, [named(1), named(20_000)], [named(2)])
    assert decode([*encode(whole).items(), changes]) == {ID: later}
    assert decode([changes, *encode(whole).items()]) == {ID: later}


def test_outdated_changes_bring_nothing_back() -> None:
    earlier, whole = inventory(3, serial=5), inventory(2, serial=6)
    changes = "changes", encode_changes(earlier, [named(2)], [named(1)])
    assert decode([changes, *encode(whole).items()]) == {ID: whole}
    whole.serial = 5  # two spokes counted on from the same record: the whole is right
    assert decode([changes, *encode(whole).items()]) == {ID: whole}


def test_after_a_crash_between_pieces_changes_still_count_for_those_not_written_anew() -> None:
    old, changed, new = inventory(20_000, serial=1), inventory(20_000, serial=2), inventory(20_000, serial=3)
    for number in range(40):
        changed.items[named(number)] = Item("v1", 3, b"changed")
        del new.items[named(number)]
    changes = "changes", encode_changes(changed, map(named, range(40)), [])
    written = dict(list(encode(new).items())[:1])
    read = decode([*(encode(old) | written).items(), changes])[ID].items
    still = {named(number) for number in range(40) if named(number) in read}
    assert 0 < len(still) < 40
    assert {read[identity].applied for identity in still} == {b"changed"}
    assert read.keys() - still == new.items.keys()


def test_a_piece_of_another_number_of_pieces_takes_over_what_it_has() -> None:
    old, new = inventory(9_000, serial=1), inventory(7_000, serial=2)
    assert decode([*encode(old).items(), *encode(new).items()]) == {ID: new}


def test_workloads_are_kept_apart() -> None:
    other = Inventory(WorkloadId("Kustomization", "flux-system", "other"))
    assert set(decode([*encode(inventory(1)).items(), *encode(other).items()])) == {ID, other.id}
    assert inventory(0).name != other.name


@pytest.mark.parametrize("damage", [b"", b"\0" * 20, encode(inventory(1)).popitem()[1][:-3]])
def test_a_damaged_piece_is_an_error_that_names_it(damage: bytes) -> None:
    with pytest.raises(StoreError, match="the inventory piece-1 can't be read"):
        decode([("piece-1", damage)])
