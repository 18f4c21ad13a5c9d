"""A folder without a kustomization is built in parts, and nobody can tell but by the time that a change takes."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from felloe.errors import RenderError
from hub.render.closure import find_closure
from hub.render.division import divide
from hub.render.render import Renderer, RenderRequest
from tests.unit.hub.render.conftest import Write


def large_map(name: str, value: str = "1", size: int = 0) -> str:
    data = {"value": value, "text": "x" * size}
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})


def folder(count: int) -> dict[str, str]:
    return {f"app/item-{number:03}.yaml": large_map(f"item-{number:03}") for number in range(count)}


async def test_parts_give_what_the_whole_gives(renderer: Renderer, source: Write) -> None:
    files = folder(60) | {
        "app/comments.yaml": "# nothing here\n",
        "app/large.yaml": large_map("large", size=20_000),
        "app/sub/kustomization.yaml": "resources: [../../base]\nnamePrefix: sub-\n",
        "base/kustomization.yaml": "resources: [map.yaml]\n",
        "base/map.yaml": large_map("base"),
    }
    tree = source(files)
    closure = find_closure(tree, "app")
    assert len(divide(tree, closure)) > 3
    expected, _ = await renderer._kustomize.build(tree, replace(closure, generated=False), None)
    rendered = await renderer.render(RenderRequest(tree, "app"))
    assert rendered.objects == expected
    assert len(rendered.objects) == 62


async def test_a_change_to_one_file_builds_one_part(renderer: Renderer, source: Write) -> None:
    files = folder(60) | {"app/large.yaml": large_map("large", size=20_000)}
    await renderer.render(RenderRequest(source(files), "app"))
    before = renderer.builds
    files["app/item-030.yaml"] = large_map("item-030", "2")
    rendered = await renderer.render(RenderRequest(source(files), "app"))
    assert renderer.builds == before + 1
    assert not rendered.remembered
    assert {one.id.name: one.manifest["data"] for one in rendered.objects}["item-030"] == {"value": "2", "text": ""}
    assert (await renderer.render(RenderRequest(source(files), "app"))).remembered


async def test_a_file_that_goes_takes_its_objects_along(renderer: Renderer, source: Write) -> None:
    files = folder(40)
    await renderer.render(RenderRequest(source(files), "app"))
    tree = source({})
    (tree.folder / "app/item-020.yaml").unlink()
    rendered = await renderer.render(RenderRequest(tree, "app"))
    assert "item-020" not in {one.id.name for one in rendered.objects}
    assert len(rendered.objects) == 39


async def test_an_object_that_two_parts_hold_is_told_with_both_files(renderer: Renderer, source: Write) -> None:
    files = folder(60) | {"app/z-large.yaml": large_map("item-001", size=20_000)}
    with pytest.raises(RenderError, match=r"ConfigMap item-001 is there twice .*item-001\.yaml and app/z-large\.yaml"):
        await renderer.render(RenderRequest(source(files), "app"))


async def test_a_part_that_does_not_build_is_told_by_its_file(renderer: Renderer, source: Write) -> None:
    files = folder(60) | {"app/item-040.yaml": "kind: ["}
    with pytest.raises(RenderError, match=r"app/item-040\.yaml"):
        await renderer.render(RenderRequest(source(files), "app"))


def test_what_somebody_wrote_is_built_whole(source: Write) -> None:
    files = folder(60)
    names = [name.removeprefix("app/") for name in files]
    tree = source(files | {"app/kustomization.yaml": json.dumps({"resources": names})})
    assert len(divide(tree, find_closure(tree, "app"))) == 1
