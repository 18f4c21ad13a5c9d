"""What is compared of a workload, what is said of it as a whole, and where an answer ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from felloe.bundle import ApplyOptions, Entry, Workload, object_id_from_proto, object_id_to_proto
from felloe.digest import Digest
from felloe.identity import ObjectId, WorkloadId
from felloe.v1 import diff_pb2 as pb
from spoke.apply.hold import Hold
from spoke.apply.inventory import Inventory, Item, Parting
from spoke.apply.origin import Origin
from spoke.diff.compare import Comparison
from spoke.diff.differ import _MOST_TEXT, _Answer, _Around

APPS = WorkloadId("Kustomization", "flux-system", "apps")


class Told(Comparison):
    """Tells that every object would be made or deleted, with a diff of its own length."""

    def __init__(self, diff: str = "+ x\n") -> None:
        self._diff = diff

    async def wanted(self, workload: Workload, entry: Entry, item: Item | None) -> pb.ObjectDifference | None:
        return pb.ObjectDifference(id=object_id_to_proto(entry.id), change=pb.CHANGE_CREATE, diff=self._diff)

    async def unwanted(self, inventory: Inventory, identity: ObjectId) -> pb.ObjectDifference | None:
        return pb.ObjectDifference(id=object_id_to_proto(identity), change=pb.CHANGE_DELETE, diff=self._diff)


def config_map(number: int) -> ObjectId:
    return ObjectId("", "ConfigMap", "shop", f"c{number:02}")


def workload(count: int, **options: object) -> Workload:
    entries = tuple(Entry(config_map(n), "v1", Digest(bytes(32)), 3, 1) for n in range(count))
    return Workload(APPS, replace(ApplyOptions(prune=True), **options), entries)  # type: ignore[arg-type]


def recorded(count: int, **fields: object) -> Inventory:
    items = {config_map(n): Item("v1", 3, b"k", b"f", settled=True) for n in range(count)}
    inventory = Inventory(APPS, items, prune=True, applied_objects=count)
    return replace(inventory, **fields)  # type: ignore[arg-type]


async def told(
    wanted: Workload | None,
    inventory: Inventory,
    comparison: Comparison | None = None,
    holds: Mapping[WorkloadId, Hold] | None = None,
) -> tuple[dict[str, int], pb.WorkloadDifference]:
    """What was told of each object, and of the workload."""
    claims = {entry.id: APPS for entry in wanted.entries} if wanted else {}
    around = _Around({APPS: inventory}, claims, holds or {}, (), b"hub", prune_former_hub=False)
    found = [each async for each in _Answer(lambda *_: comparison or Told(), around).of(APPS, wanted)]
    objects = {object_id_from_proto(each.object.id).name: int(each.object.change) for each in found[:-1]}
    return objects, found[-1].workload


async def test_what_is_not_wanted_any_more_comes_after_what_is() -> None:
    objects, summary = await told(workload(2), recorded(3))
    assert objects == {"c00": pb.CHANGE_CREATE, "c01": pb.CHANGE_CREATE, "c02": pb.CHANGE_DELETE}
    assert (summary.objects, summary.same, summary.left_out, summary.message) == (3, 0, 0, "")
    assert list((await told(workload(2, prune=False), recorded(3)))[0]) == ["c00", "c01"]


async def test_a_deletion_of_most_waits_for_approval() -> None:
    _, summary = await told(workload(1), recorded(20))
    assert summary.message.startswith("the deletions would wait for felloe approve prune: 19 of 20 objects")


async def test_a_workload_that_goes_takes_along_what_its_policy_says() -> None:
    objects, summary = await told(None, recorded(2))
    assert set(objects.values()) == {pb.CHANGE_DELETE}
    assert summary.message == "it is not meant for this cluster any more"
    around = _Around({}, {}, {}, (), b"hub", prune_former_hub=False)
    for stays in (recorded(2, parting=Parting("Orphan")), recorded(2, suspend=True), recorded(2, prune=False)):
        answer = _Answer(lambda *_: Told(), replace(around, inventories={APPS: stays}))
        assert [each async for each in answer.of(APPS, None)] == []


async def test_what_another_hub_had_applied_stays() -> None:
    objects, _ = await told(workload(1), recorded(2, origin=Origin(hub=b"before")))
    assert objects == {"c00": pb.CHANGE_CREATE, "c01": pb.CHANGE_SKIPPED}


async def test_why_nothing_happens_for_now_is_said() -> None:
    assert "it is suspended" in (await told(workload(1, suspend=True), recorded(0)))[1].message
    assert "drift: warn" in (await told(workload(1, drift="warn"), recorded(0)))[1].message
    hold = Hold("Flux applies it", "kustomize-controller")
    _, summary = await told(workload(1), recorded(0), holds={APPS: hold})
    assert summary.message == "nothing of this happens for now: Flux applies it"


async def test_after_enough_text_the_rest_is_only_counted() -> None:
    objects, summary = await told(workload(40), recorded(0), Told("+" * (_MOST_TEXT // 4)))
    assert 4 <= len(objects) < 20
    assert summary.left_out == 40 - len(objects)
