"""How a Job ended that the cluster has removed."""

from __future__ import annotations

import pytest

from spoke.apply.expiry import expiry
from spoke.apply.inventory import Item
from spoke.health import Health, HealthStatus

ITEM = Item("v1", 0, b"k")
FAILED = Item("v1", 0, b"k", failed=True)


def last(status: HealthStatus) -> Health:
    return Health(status, "Reason", "as it was")


@pytest.mark.parametrize(
    ("item", "seen", "status", "written"),
    [
        (ITEM, last(HealthStatus.CURRENT), None, ITEM),
        (ITEM, last(HealthStatus.FAILED), HealthStatus.FAILED, FAILED),
        (ITEM, None, None, ITEM),
        (FAILED, None, HealthStatus.FAILED, FAILED),
    ],
)
def test_how_it_ended(item: Item, seen: Health | None, status: HealthStatus | None, written: Item) -> None:
    found = expiry(item, seen)
    assert found is not None
    assert found.item == written
    assert (found.health.status if found.health else None) == status
    assert found.health is None or "gone, as its ttlSecondsAfterFinished says" in found.health.message


@pytest.mark.parametrize("status", [HealthStatus.IN_PROGRESS, HealthStatus.TERMINATING, HealthStatus.UNKNOWN])
def test_one_that_had_not_ended_did_not_go_by_itself(status: HealthStatus) -> None:
    assert expiry(ITEM, last(status)) is None
