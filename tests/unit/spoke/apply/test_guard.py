"""Which deletions a person is asked about."""

from __future__ import annotations

from dataclasses import replace

import pytest

from felloe.identity import ObjectId, WorkloadId
from spoke.apply.guard import Pending, pending
from spoke.apply.inventory import Inventory, Item, decode, encode

APPS = WorkloadId("Kustomization", "flux-system", "apps")
SETTLED = Item("v1", 3, b"key", b"mark", settled=True)


def config(name: str) -> ObjectId:
    return ObjectId("", "ConfigMap", "shop", name)


def had(total: int, item: Item = SETTLED) -> Inventory:
    items = {config(f"a{number:03}"): item for number in range(total)}
    return Inventory(APPS, items, applied_at=1000.5, applied_objects=total)


def asked(inventory: Inventory, number: int, limit: float = 0.5) -> Pending | None:
    return pending(inventory, sorted(inventory.items)[:number], (), limit)


@pytest.mark.parametrize(
    ("total", "deleted", "limit", "asks"),
    [
        (20, 10, 0.5, False),
        (20, 11, 0.5, True),
        (9, 9, 0.5, False),
        (10, 10, 0.5, True),
        (1000, 500, 0.5, False),
        (1000, 501, 0.5, True),
        (10, 10, 1.0, False),
        (1000, 10, 0.0, True),
        (1000, 9, 0.0, False),
    ],
)
def test_more_than_the_share_and_at_least_ten(total: int, deleted: int, limit: float, asks: bool) -> None:
    found = asked(had(total), deleted, limit)
    assert (found is not None) is asks
    assert found is None or (len(found.objects), found.total) == (deleted, total)


def test_the_share_is_of_what_was_there_whatever_came_since() -> None:
    inventory = had(20)
    inventory.items |= {config(f"new{number}"): Item("v1", 3, b"key", b"mark") for number in range(100)}
    assert asked(inventory, 11)


def test_the_name_is_of_these_objects_at_this_time() -> None:
    inventory = had(30)
    first, again = asked(inventory, 20), asked(had(30), 20)
    assert first
    assert first == again
    others = [asked(inventory, 21), asked(replace(inventory, applied_at=2000.0), 20)]
    others.append(asked(replace(inventory, id=WorkloadId("Kustomization", "flux-system", "other")), 20))
    assert len({each.name for each in [first, *others] if each}) == 4


def test_what_was_approved_is_not_asked_about_again_when_half_of_it_is_done() -> None:
    approved = had(30, replace(SETTLED, settled=False))
    (written,) = decode(encode(approved).items()).values()
    assert asked(written, 30) is None


def test_a_generated_object_with_a_successor_does_not_count() -> None:
    old = {config(f"settings{number}-5m8c4hbtg2"): SETTLED for number in range(12)}
    inventory = Inventory(APPS, old, applied_objects=12)
    new = {config(f"settings{number}-9f2kdd6hmk") for number in range(12)}
    assert pending(inventory, old, new, 0.5) is None
    assert pending(inventory, old, {config("settings0-9f2kdd6hmk")}, 0.5)
    assert pending(inventory, old, {config(f"settings{number}-production") for number in range(12)}, 0.5)


def test_the_message_says_how_many_of_how_many_and_names_some() -> None:
    found = asked(had(12), 12)
    assert found
    assert found.message == (
        "12 of 12 objects would be deleted (100%, more than 50% at once need approval): "
        "ConfigMap shop/a000, ConfigMap shop/a001, ConfigMap shop/a002 and 9 more"
    )
