"""What a render is prepared into: the same whether or not it shares with the one before, and cheap where it does."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import pytest

from felloe.digest import digest
from felloe.identity import object_id
from felloe.k8syaml import JsonValue
from hub.render.objects import RenderedObject
from hub.targeting.prepare import Prepared, RenderCache, prepare

COUNT = 60


def rendered(number: int, value: str = "0") -> RenderedObject:
    manifest: dict[str, JsonValue] = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"item-{number:03}", "namespace": "shop"},
        "data": {"value": value, "cluster": "${cluster_name}" if number % 2 else "none"},
    }
    return RenderedObject(object_id(manifest), manifest)


def changed(objects: Sequence[RenderedObject], *, anew: bool) -> list[RenderedObject]:
    """Return them with another first one; the others are the same objects, or were read anew."""
    rest = copy.deepcopy(objects[1:]) if anew else objects[1:]
    return [rendered(0, "changed"), *rest]


def shared(before: Prepared, after: Prepared) -> int:
    same = sum(one is other for one, other in zip(before.entries, after.entries, strict=True))
    assert same == sum(data is before.blobs.get(name) for name, data in after.blobs.items())
    return same


@pytest.mark.parametrize("anew", [False, True], ids=["the same objects", "read anew"])
@pytest.mark.parametrize("templated", [False, True])
def test_renders_of_a_large_folder_share_what_is_the_same(templated: bool, anew: bool) -> None:
    cache = RenderCache()
    first = [rendered(number) for number in range(COUNT)]
    second = changed(first, anew=anew)
    before = cache.prepare("one", first, "apps", templated=templated)
    after = cache.prepare("two", second, "apps", templated=templated)
    assert after == prepare(second, "apps", templated=templated)
    assert all(digest(data) == name for name, data in after.blobs.items())
    assert shared(before, after) == COUNT - 1


def test_what_holds_variables_depends_on_who_asks() -> None:
    cache = RenderCache()
    objects = [rendered(number) for number in range(COUNT)]
    for templated in (False, True, False):
        found = cache.prepare("one", objects, "apps", templated=templated)
        assert found == prepare(objects, "apps", templated=templated)
        assert sum(entry.template for entry in found.entries) == (COUNT // 2 if templated else 0)


def test_what_leaves_a_folder_is_not_in_its_next_render() -> None:
    cache = RenderCache()
    objects = [rendered(number) for number in range(COUNT)]
    cache.prepare("one", objects, "apps", templated=False)
    assert cache.prepare("two", objects[1:], "apps", templated=False) == prepare(objects[1:], "apps", templated=False)
