"""What was rendered is at hand, and takes no more memory than it may: counted as what it takes, not as its text."""

from __future__ import annotations

import gc
from pathlib import Path
from weakref import ref

from felloe.identity import object_id
from felloe.k8syaml import JsonValue
from hub.render.memo import Memo, Result
from hub.render.objects import RenderedObject

COUNT = 50
ONE_RESULT = COUNT * 2_000
"""Bytes; about what the objects of one result take."""


def rendered(name: str, value: str) -> RenderedObject:
    manifest: dict[str, JsonValue] = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "shop"},
        "data": {"value": value, "text": "x" * 200},
    }
    return RenderedObject(object_id(manifest), manifest, "apps/all.yaml")


def result(value: str) -> Result:
    return tuple(rendered(f"item-{number}", value) for number in range(COUNT)), ("a warning",)


def kept(results: list[ref[RenderedObject]]) -> int:
    gc.collect()
    return sum(each() is not None for each in results)


def test_a_result_comes_back_also_after_a_restart(tmp_path: Path) -> None:
    Memo(tmp_path).put("one", result("1"))
    assert Memo(tmp_path).get("one") == result("1")


def test_results_of_which_nothing_is_the_same_are_held_up_to_the_limit(tmp_path: Path) -> None:
    memo = Memo(tmp_path, in_memory=10 * ONE_RESULT)
    alive = []
    for number in range(40):
        made = result(str(number))
        memo.put(str(number), made)
        alive.append(ref(made[0][0]))
        del made
    assert 4 <= kept(alive) <= 12
    assert memo.get("0") == result("0"), "what had to go is on disk"


def test_what_results_have_in_common_counts_once(tmp_path: Path) -> None:
    memo = Memo(tmp_path, in_memory=3 * ONE_RESULT)
    objects, warnings = result("0")
    for number in range(40):
        memo.put(str(number), ((rendered("item-0", str(number)), *objects[1:]), warnings))
    found = [memo.get(str(number)) for number in range(20, 40)]
    assert all(each is not None and each[0][1] is objects[1] for each in found)
    assert memo.get("39") is memo.get("39")


def test_what_somebody_still_holds_is_not_read_again(tmp_path: Path) -> None:
    memo = Memo(tmp_path, in_memory=ONE_RESULT)
    mine = result("mine")
    memo.put("mine", mine)
    for number in range(5):
        memo.put(str(number), result(str(number)))
    again = memo.get("mine")
    assert again == mine
    assert all(one is other for one, other in zip(again[0], mine[0], strict=True))
    last = ref(mine[0][0])
    del mine, again
    assert kept([last]) == 0, "it is followed, and not held"
    assert memo.get("mine") == result("mine")
