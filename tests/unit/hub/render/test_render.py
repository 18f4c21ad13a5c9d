"""Overlays become objects, by the real kustomize, once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from felloe.errors import RenderError, SandboxError
from felloe.k8syaml import JsonValue
from hub.render.render import Rendered, Renderer, RenderRequest, start_renderer
from hub.render.sandbox import Limits
from tests.unit.hub.render.conftest import Write
from tests.unit.hub.render.helpers import FolderTree, config_map, make_renderer

NAMESPACE = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {}\n"
FLEET = {
    "base/kustomization.yaml": "resources: [a.yaml]\n",
    "base/a.yaml": config_map("a", colour="none"),
    **{
        f"overlays/{name}/{file}": content
        for name in ("dev", "staging", "production")
        for file, content in {
            "kustomization.yaml": "resources: [../../base]\npatches: [{path: patch.yaml}]\n",
            "patch.yaml": config_map("a", colour=name),
        }.items()
    },
}


async def render(renderer: Renderer, tree: FolderTree, path: str = "", namespace: str | None = None) -> Rendered:
    return await renderer.render(RenderRequest(tree, path, namespace))


def ids(rendered: Rendered) -> list[str]:
    return [str(one.id) for one in rendered.objects]


async def test_an_overlay_with_everything(renderer: Renderer, source: Write) -> None:
    tree = source(
        {
            "base/kustomization.yaml": "resources: [a.yaml]\n",
            "base/a.yaml": config_map("a", colour="red"),
            "component/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n"
            "patches: [{path: patch.yaml}]\n",
            "component/patch.yaml": config_map("a", shape="round"),
            "app/kustomization.yaml": "resources: [../base]\ncomponents: [../component]\nnamePrefix: x-\n"
            "configMapGenerator: [{name: g, files: [k=../files/f.txt], options: {disableNameSuffixHash: true}}]\n",
            "files/f.txt": "from a file",
        }
    )
    rendered = await render(renderer, tree, "app")
    manifests: dict[str, JsonValue] = {str(one.id): one.manifest.get("data") for one in rendered.objects}
    assert manifests == {
        "ConfigMap x-a": {"colour": "red", "shape": "round"},
        "ConfigMap x-g": {"k": "from a file"},
    }
    assert {one.file for one in rendered.objects} == {"base/a.yaml", "app/kustomization.yaml"}
    assert all("annotations" not in str(one.manifest) for one in rendered.objects)


async def test_a_folder_without_kustomization(renderer: Renderer, source: Write) -> None:
    tree = source(
        {
            "app/a.yaml": config_map("a"),
            "app/deep/b.yml": config_map("b") + "---\n" + config_map("c"),
            "app/own/kustomization.yaml": "resources: [d.yaml]\nnameSuffix: -own\n",
            "app/own/d.yaml": config_map("d"),
            "app/empty.yaml": "# nothing yet\n",
            "app/README.md": "",
        }
    )
    rendered = await render(renderer, tree, "app")
    assert ids(rendered) == ["ConfigMap a", "ConfigMap b", "ConfigMap c", "ConfigMap d-own"]
    assert [one.file for one in rendered.objects] == [
        "app/a.yaml",
        "app/deep/b.yml",
        "app/deep/b.yml",
        "app/own/d.yaml",
    ]


@pytest.mark.parametrize(
    "files", [{"README.md": ""}, {"kustomization.yaml": ""}, {"kustomization.yaml": "resources: []"}]
)
async def test_nothing_rendered_is_said_to_be_empty(renderer: Renderer, source: Write, files: dict[str, str]) -> None:
    rendered = await render(renderer, source(files))
    assert rendered.empty
    assert rendered.objects == ()


async def test_both_programs_render_the_same(tmp_path: Path, source: Write, either_binary: Path) -> None:
    other = await start_renderer(tmp_path / "other", binary=either_binary)
    rendered = await render(other, source(FLEET), "overlays/dev")
    assert [one.manifest for one in rendered.objects] == [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"colour": "dev"}}
    ]


@pytest.mark.parametrize("path", ["--enable-helm", "-h", "github.com/a/b", "a b", "x?ref=y", "ü"])
async def test_no_path_is_taken_for_something_else(renderer: Renderer, source: Write, path: str) -> None:
    assert ids(await render(renderer, source({f"{path}/a.yaml": config_map("a")}), path)) == ["ConfigMap a"]


async def test_lists_are_flattened_and_status_is_dropped(renderer: Renderer, source: Write) -> None:
    crd = (
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata:\n  name: xs.example.com\n"
        "status:\n  storedVersions: [v1]\n"
    )
    items = "".join(f"- {{apiVersion: v1, kind: Pod, metadata: {{name: {n}}}, status: {{phase: Old}}}}\n" for n in "ab")
    tree = source({"list.yaml": f"apiVersion: v1\nkind: List\nitems:\n{items}", "crd.yaml": crd})
    rendered = await render(renderer, tree)
    assert {str(one.id): "status" in one.manifest for one in rendered.objects} == {
        "Pod a": False,
        "Pod b": False,
        "CustomResourceDefinition.apiextensions.k8s.io xs.example.com": True,
    }


# --- targetNamespace --------------------------------------------------------------------------------------------------


async def test_target_namespace_replaces_the_kustomizations_own(renderer: Renderer, source: Write) -> None:
    tree = source({"kustomization.yaml": "namespace: mine\nresources: [a.yaml]\n", "a.yaml": config_map("a")})
    assert ids(await render(renderer, tree)) == ["ConfigMap mine/a"]
    assert ids(await render(renderer, tree, namespace="target")) == ["ConfigMap target/a"]


@pytest.mark.parametrize("names", [["flux-system"], ["one", "two"]])
@pytest.mark.parametrize("own", ["", "namespace: mine\n"])
async def test_target_namespace_renames_no_namespace(
    renderer: Renderer, source: Write, names: list[str], own: str
) -> None:
    tree = source(
        {
            "kustomization.yaml": f"{own}resources: [a.yaml, {', '.join(f'{name}.yaml' for name in names)}]\n",
            "a.yaml": config_map("a"),
            **{f"{name}.yaml": NAMESPACE.format(name) for name in names},
        }
    )
    rendered = await render(renderer, tree, namespace="target")
    assert ids(rendered) == ["ConfigMap target/a", *(f"Namespace {name}" for name in names)]


# --- remembered -------------------------------------------------------------------------------------------------------


async def test_a_commit_that_touches_one_overlay_renders_one(renderer: Renderer, source: Write) -> None:
    paths = [f"overlays/{name}" for name in ("dev", "staging", "production")]
    tree = source(FLEET)
    before = [await render(renderer, tree, path) for path in paths]
    assert renderer.builds == 3
    tree = source({"overlays/staging/patch.yaml": config_map("a", colour="new"), "README.md": "new"})
    after = [await render(renderer, tree, path) for path in paths]
    assert renderer.builds == 4
    assert [one.key == other.key for one, other in zip(before, after, strict=True)] == [True, False, True]
    assert after[1].objects[0].manifest["data"] == {"colour": "new"}
    source({"base/a.yaml": config_map("a", colour="none", more="yes")})
    await asyncio.gather(*(render(renderer, tree, path) for path in paths))
    assert renderer.builds == 7


async def test_only_overlays_whose_folders_changed_are_followed_again(renderer: Renderer, source: Write) -> None:
    tree = source(FLEET)
    await render(renderer, tree, "overlays/dev")
    await render(renderer, tree, "overlays/staging")
    tree = source({"overlays/staging/kustomization.yaml": "resources: [../../base]\n", "README.md": "new"})
    assert ids(await render(renderer, tree, "overlays/dev")) == ["ConfigMap a"]
    assert tree.was_read == []
    rendered = await render(renderer, tree, "overlays/staging")
    assert rendered.objects[0].manifest["data"] == {"colour": "none"}


async def test_a_file_that_becomes_a_link_is_noticed(renderer: Renderer, source: Write) -> None:
    tree = source(
        {"app/kustomization.yaml": "resources: [../lib/a.yaml]\n", "lib/a.yaml": config_map("a"), "other": "x"}
    )
    await render(renderer, tree, "app")
    (tree.folder / "lib" / "a.yaml").unlink()
    (tree.folder / "lib").rmdir()
    source({"lib": "-> new", "new/a.yaml": config_map("b")})
    assert ids(await render(renderer, tree, "app")) == ["ConfigMap b"]


async def test_a_file_that_appears_in_a_folder_is_noticed(renderer: Renderer, source: Write) -> None:
    tree = source({"app/a.yaml": config_map("a")})
    await render(renderer, tree, "app")
    source({"app/b.yaml": config_map("b")})
    assert ids(await render(renderer, tree, "app")) == ["ConfigMap a", "ConfigMap b"]


async def test_the_same_request_at_the_same_time_is_one_build(renderer: Renderer, source: Write) -> None:
    tree = source(FLEET)
    results = await asyncio.gather(*(render(renderer, tree, "overlays/dev") for _ in range(20)))
    assert renderer.builds == 1
    assert len({one.key for one in results}) == 1


async def test_a_cancelled_request_leaves_the_build_to_the_next(renderer: Renderer, source: Write) -> None:
    tree = source(FLEET)
    first = asyncio.create_task(render(renderer, tree, "overlays/dev"))
    second = asyncio.create_task(render(renderer, tree, "overlays/dev"))
    async with asyncio.timeout(10):
        while not renderer.builds:  # noqa: ASYNC110 (there is no event for a build that begins)
            await asyncio.sleep(0.001)
    first.cancel()
    assert ids(await second) == ["ConfigMap a"]


async def test_results_survive_a_restart(tmp_path: Path, kustomize_binary: Path, source: Write) -> None:
    tree = source(FLEET)
    first = await start_renderer(tmp_path / "data", binary=kustomize_binary)
    before = await render(first, tree, "overlays/dev")
    second = await start_renderer(tmp_path / "data", binary=kustomize_binary)
    assert await render(second, tree, "overlays/dev") == before
    assert second.builds == 0


async def test_a_damaged_result_is_rendered_again(tmp_path: Path, kustomize_binary: Path, source: Write) -> None:
    tree = source(FLEET)
    first = await start_renderer(tmp_path / "data", binary=kustomize_binary)
    before = await render(first, tree, "overlays/dev")
    stored = list((tmp_path / "data" / "renders").iterdir())
    stored[0].write_bytes(stored[0].read_bytes()[:20])
    second = await start_renderer(tmp_path / "data", binary=kustomize_binary)
    assert await render(second, tree, "overlays/dev") == before
    assert second.builds == 1


async def test_what_is_on_disk_is_for_the_hub_alone(tmp_path: Path, renderer: Renderer, source: Write) -> None:
    await render(renderer, source(FLEET), "overlays/dev")
    left = list((tmp_path / "data").rglob("*"))
    assert left
    assert all(file.stat().st_mode & 0o077 == 0 for file in left)
    assert not list((tmp_path / "data" / "builds").iterdir())


async def test_a_failure_is_remembered_until_a_file_changes(renderer: Renderer, source: Write) -> None:
    tree = source({"app/kustomization.yaml": "resources: [a.yaml]\n", "app/a.yaml": "a: 1\n"})
    for _ in range(2):
        with pytest.raises(RenderError):
            await render(renderer, tree, "app")
    assert renderer.builds == 1
    source({"app/a.yaml": config_map("a")})
    assert ids(await render(renderer, tree, "app")) == ["ConfigMap a"]


# --- what does not build ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"a.yaml": "a: [\n"}, r"does not build: a\.yaml: line 2: is not valid YAML"),
        (
            {"a.yaml": config_map("a") + "kind: ConfigMap\n"},
            r"does not build: a\.yaml: line 7: the key 'kind' is there",
        ),
        ({"a.yaml": "some: thing\n"}, r"does not build: a\.yaml: missing Resource metadata"),
        ({"a.yaml": "apiVersion: v1\nkind: Pod\nmetadata:\n  generateName: a-\n"}, r"a\.yaml: .*no metadata\.name"),
        ({"a.yaml": config_map("a"), "b.yaml": config_map("a")}, r"b\.yaml: may not add resource with .*registered id"),
        ({"kustomization.yaml": "nonsense: 1\n"}, r'unknown field "nonsense"'),
        (
            {"kustomization.yaml": "resources: [base]\n", "base/kustomization.yaml": "resources: [a.yaml]\n"}
            | {"base/a.yaml": "a: [\n"},
            r"does not build: base/a\.yaml: ",
        ),
        (
            {"kustomization.yaml": "resources: [a.yaml]\npatches: [{path: p.yaml}]\n", "a.yaml": config_map("a")}
            | {"p.yaml": config_map("other")},
            r"no .*matches",
        ),
        (
            {"a.yaml": "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n"}
            | {"b.yaml": "apiVersion: v2\nkind: Pod\nmetadata: {name: a}\n"},
            r"Pod a is there twice \(in a\.yaml and b\.yaml\)",
        ),
        (
            {"a.yaml": config_map("a", big="x" * 1600 * 1024)},
            r"^a\.yaml: ConfigMap a: is 1,[\d,]+ bytes; the API server",
        ),
    ],
)
async def test_what_does_not_build_names_its_file(
    tmp_path: Path, renderer: Renderer, source: Write, files: dict[str, str], says: str
) -> None:
    with pytest.raises(RenderError, match=says) as caught:
        await render(renderer, source(files))
    assert str(tmp_path) not in str(caught.value)
    assert "build-" not in str(caught.value)


async def test_a_large_object_that_fits_is_rendered(renderer: Renderer, source: Write) -> None:
    rendered = await render(renderer, source({"a.yaml": config_map("a", big="x" * 1024 * 1024)}))
    assert ids(rendered) == ["ConfigMap a"]


SECRET = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\nstringData:\n  password: swordfish\n"


@pytest.mark.parametrize(
    "files",
    [
        {"kustomization.yaml": "secretGenerator: [{name: a, literals: [swordfish]}]\n"},
        {"kustomization.yaml": "secretGenerator: [{name: a, envs: [a.env]}]\n", "a.env": "KEY=swordfish\nKEY=again\n"},
        {
            "kustomization.yaml": "resources: [s.yaml]\npatches: [{path: p.yaml}]\n",
            "s.yaml": SECRET,
            "p.yaml": "swordfish: [",
        },
        {
            "kustomization.yaml": "resources: [s.yaml]\npatches:\n- target: {kind: Secret}\n  patch: |-\n"
            "    - {op: replace, path: /stringData/missing/x, value: swordfish}\n    - swordfish\n",
            "s.yaml": SECRET,
        },
        {
            "kustomization.yaml": "resources: [s.yaml]\npatchesStrategicMerge:\n- |-\n  kind: Secret\n"
            "  stringData: {a: swordfish}\n",
            "s.yaml": SECRET.replace("swordfish", "else"),
        },
        {"s.yaml": SECRET + "  password: swordfish\n bad\n"},
        {"s.yaml": SECRET.replace("swordfish", "[swordfish")},
    ],
)
async def test_no_secret_is_in_a_message(
    tmp_path: Path, source: Write, files: dict[str, str], either_binary: Path
) -> None:
    renderer = await make_renderer(tmp_path / "data", either_binary)
    with pytest.raises(RenderError) as caught:
        await render(renderer, source(files))
    assert "swordfish" not in str(caught.value)


async def test_a_limit_names_the_kustomization_and_is_tried_again(
    tmp_path: Path, kustomize_binary: Path, source: Write
) -> None:
    renderer = await start_renderer(tmp_path / "data", binary=kustomize_binary, limits=Limits(output=1024))
    tree = source({"app/a.yaml": config_map("a", big="x" * 2000)})
    for _ in range(2):
        with pytest.raises(SandboxError, match=r"^app/kustomization\.yaml: the build was stopped: it wrote more than"):
            await render(renderer, tree, "app")
    assert renderer.builds == 2


async def test_a_deprecated_field_is_a_warning(renderer: Renderer, source: Write) -> None:
    tree = source({"kustomization.yaml": "resources: [a.yaml]\ncommonLabels: {a: b}\n", "a.yaml": config_map("a")})
    rendered = await render(renderer, tree)
    assert any("commonLabels" in warning for warning in rendered.warnings)


async def test_no_kustomize_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SandboxError, match="neither kustomize nor kubectl"):
        await start_renderer(tmp_path / "data")
