"""A spoke runs for months: what a former state of the cluster was made of goes with it, at once."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator

import pytest

from felloe.bundle import Entry
from spoke.apply.workload import WorkloadTask
from tests.spoke.cluster import Admin
from tests.spoke.driver import Spoke, eventually
from tests.spoke.manifests import Wanted, config_map, namespace

pytestmark = pytest.mark.cluster

_OBJECTS = 10
_ROUNDS = 5


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Leave freeing to reference counts: the collector looks at what lives long only after thousands more."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def test_changes_and_heals_leave_nothing_behind(spoke: Spoke, admin: Admin, no_collector: None) -> None:
    for number in range(_ROUNDS):
        objects = [config_map("months", f"item-{each}", value=str(number)) for each in range(_OBJECTS)]
        spoke.want(Wanted("months", [namespace("months"), *objects]))
        await spoke.until_applied("months")
        admin.patch("v1", "ConfigMap", "item-0", "months", {"data": {"value": "by hand"}})

        def healed(wanted: str = str(number)) -> bool:
            found = admin.config_map("months", "item-0")
            return found is not None and found["data"] == {"value": wanted}

        await eventually(healed, "healed")
        if number == 0:
            before = _alive()
    after = _alive()
    assert after[WorkloadTask] == before[WorkloadTask]
    assert after[Entry] <= before[Entry] + _OBJECTS + 1  # at most one bundle that somebody still holds


def _alive() -> Counter[type]:
    return Counter(type(each) for each in gc.get_objects())
