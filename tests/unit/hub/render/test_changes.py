"""Patches and images of an override, applied by the real kustomize after a folder's own."""

from __future__ import annotations

import pytest

from felloe.errors import RenderError
from felloe.k8syaml import JsonValue
from hub.fleet.model import Image, Patch, Target
from hub.render.changes import Changes
from hub.render.render import Rendered, Renderer, RenderRequest
from tests.unit.hub.render.conftest import Write
from tests.unit.hub.render.helpers import FolderTree

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME, labels: {app: NAME}}
spec:
  replicas: 1
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec: {containers: [{name: main, image: "nginx:1.0"}]}
"""
FILES = {
    "app/web.yaml": DEPLOYMENT.replace("NAME", "web"),
    "app/api.yaml": DEPLOYMENT.replace("NAME", "api"),
}
WRITTEN = FILES | {
    "app/kustomization.yaml": """
resources: [web.yaml, api.yaml]
images: [{name: nginx, newTag: '1.1'}]
patches: [{target: {name: web}, patch: '[{"op": "replace", "path": "/spec/replicas", "value": 2}]'}]
"""
}
REPLICAS = Patch(
    '[{"op":"replace","path":"/spec/replicas","value":"${replicas}"}]', Target(kind="Deployment", name="w.*")
)


async def render(renderer: Renderer, tree: FolderTree, changes: Changes, namespace: str | None = None) -> Rendered:
    return await renderer.render(RenderRequest(tree, "app", namespace, changes))


def specs(rendered: Rendered) -> dict[str, tuple[JsonValue, JsonValue]]:
    """Return replicas and image by name."""
    found: dict[str, tuple[JsonValue, JsonValue]] = {}
    for each in rendered.objects:
        spec = each.manifest["spec"]
        assert isinstance(spec, dict)
        image = spec["template"]["spec"]["containers"][0]["image"]  # type: ignore[index,call-overload]
        found[each.id.name] = (spec.get("replicas"), image)
    return found


@pytest.mark.parametrize("files", [FILES, WRITTEN])
async def test_a_json_patch_changes_what_its_target_means_and_may_hold_variables(
    renderer: Renderer, source: Write, files: dict[str, str]
) -> None:
    found = specs(await render(renderer, source(files), Changes((REPLICAS,))))
    assert found["web"][0] == "${replicas}"
    assert found["api"][0] == 1


async def test_a_strategic_merge_patch_needs_no_target(renderer: Renderer, source: Write) -> None:
    patch = Patch("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: api}\nspec: {replicas: 7}\n")
    assert {name: n for name, (n, _) in specs(await render(renderer, source(FILES), Changes((patch,)))).items()} == {
        "web": 1,
        "api": 7,
    }


async def test_an_image_is_changed_wherever_it_is_used_and_wins_over_the_folders_own(
    renderer: Renderer, source: Write
) -> None:
    changes = Changes(images=(Image("nginx", "mirror.example/nginx", "1.2"), Image("nginx", new_tag="1.3")))
    assert {image for _, image in specs(await render(renderer, source(WRITTEN), changes)).values()} == {"nginx:1.3"}


async def test_patches_hold_with_a_target_namespace(renderer: Renderer, source: Write) -> None:
    rendered = await render(renderer, source(FILES), Changes((REPLICAS,)), "shop")
    assert {each.id.namespace for each in rendered.objects} == {"shop"}
    assert specs(rendered)["web"][0] == "${replicas}"


async def test_equal_changes_are_one_build_and_others_another(renderer: Renderer, source: Write) -> None:
    tree = source(FILES)
    plain = await render(renderer, tree, Changes())
    one = await render(renderer, tree, Changes((REPLICAS,)))
    builds = renderer.builds
    again = await render(renderer, tree, Changes((Patch(REPLICAS.patch, Target(kind="Deployment", name="w.*")),)))
    assert (again.key, again.remembered, renderer.builds) == (one.key, True, builds)
    assert plain.key != one.key
    assert specs(await render(renderer, tree, Changes()))["web"][0] == 1


@pytest.mark.parametrize(
    ("patch", "says"),
    [
        (Patch("kind: Deployment\napiVersion: apps/v1\nmetadata: {name: nobody}\nspec: {replicas: 2}\n"), "nobody"),
        (Patch('[{"op": "remove", "path": "/spec/nothing"}]', Target(kind="Deployment")), "nothing"),
        (Patch('[{"op": "test", "path": "/spec/replicas", "value": 5}]', Target(kind="Deployment")), "/spec/replicas"),
    ],
)
async def test_a_patch_that_does_not_apply_is_an_error(
    renderer: Renderer, source: Write, patch: Patch, says: str
) -> None:
    with pytest.raises(RenderError, match="does not build") as caught:
        await render(renderer, source(FILES), Changes((patch,)))
    assert says in str(caught.value)
