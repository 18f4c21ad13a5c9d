"""What a build reads is known before it runs, and whatever leads elsewhere is refused by file and field."""

from __future__ import annotations

import pytest

from felloe.errors import RenderError
from hub.render.closure import MAX_DEPTH, find_closure
from tests.unit.hub.render.conftest import Write
from tests.unit.hub.render.helpers import config_map

A = config_map("a")


def kustomization(text: str) -> dict[str, str]:
    return {"app/kustomization.yaml": text, "app/a.yaml": A, "outside.yaml": A}


EVERY_FIELD = """
resources: [a.yaml, ../base]
bases: [../old-base]
components: [../component]
crds: [crds.json]
configurations: [configuration.yaml]
openapi: {path: schema.json}
patches:
- path: patch.yaml
- patch: |-
    - {op: add, path: /x, value: y}
  target: {kind: ConfigMap}
patchesStrategicMerge:
- merge.yaml
- |-
  kind: ConfigMap
patchesJson6902: [{path: json6902.yaml, target: {kind: A, name: b, version: v1}}]
replacements: [{path: replacement.yaml}, {source: {kind: A}, targets: []}]
configMapGenerator: [{name: a, files: [plain.txt, key=sub/keyed.txt], envs: [a.env], literals: [x=y]}]
secretGenerator: [{name: b, env: b.env, files: [b.txt]}]
generators: [generator.yaml, ../plugins]
transformers:
- |-
  apiVersion: builtin
  kind: PatchTransformer
  metadata: {name: p}
  path: inline.yaml
validators: [validator.yaml]
"""


def test_every_field_is_followed(source: Write) -> None:
    builtin = "apiVersion: builtin\nmetadata:\n  name: x\n"
    listed = [
        *["crds.json", "configuration.yaml", "schema.json", "patch.yaml", "merge.yaml", "json6902.yaml"],
        *["replacement.yaml", "plain.txt", "sub/keyed.txt", "a.env", "b.env", "b.txt", "inline.yaml", "x.txt", "y.env"],
        *["validated.yaml", "merged.yaml"],
    ]
    tree = source(
        {
            **kustomization(EVERY_FIELD),
            **{f"app/{name}": "{}" for name in listed},
            "app/generator.yaml": builtin + "kind: SecretGenerator\nfiles: [k=x.txt]\nenvs: [y.env]\n",
            "app/validator.yaml": builtin + "kind: ReplacementTransformer\nreplacements: [{path: validated.yaml}]\n",
            "base/kustomization.yml": "resources: [b.yaml]",
            "base/b.yaml": A,
            "old-base/Kustomization": "{}",
            "component/kustomization.yaml": "kind: Component\npatches: [{path: c.yaml}]",
            "component/c.yaml": A,
            "plugins/kustomization.yaml": "resources: [p.yaml]",
            "plugins/p.yaml": builtin + "kind: PatchStrategicMergeTransformer\npaths: [merged.yaml]\n",
            "plugins/merged.yaml": A,
            "plugins/unused.yaml": A,
            "app/unused.yaml": A,
        }
    )
    closure = find_closure(tree, "./app")
    assert set(closure.entries) == {
        *(f"app/{name}" for name in listed if name != "merged.yaml"),
        *["app/kustomization.yaml", "app/a.yaml", "app/generator.yaml", "app/validator.yaml"],
        *["base/kustomization.yml", "base/b.yaml", "old-base/Kustomization"],
        *["component/kustomization.yaml", "component/c.yaml"],
        *["plugins/kustomization.yaml", "plugins/p.yaml", "plugins/merged.yaml"],
    }
    assert closure.read == {(path, entry.oid) for path, entry in closure.entries.items()}


def test_only_kustomizations_and_plugins_are_read(source: Write) -> None:
    tree = source(kustomization("resources: [a.yaml]\nconfigMapGenerator: [{name: a, files: [../outside.yaml]}]\n"))
    find_closure(tree, "app")
    assert tree.was_read == ["app/kustomization.yaml"]


REFERENCES = {
    "resources[0]": "resources: ['{}']",
    "bases[0]": "bases: ['{}']",
    "components[0]": "components: ['{}']",
    "crds[0]": "crds: ['{}']",
    "configurations[0]": "configurations: ['{}']",
    "openapi.path": "openapi: {{path: '{}'}}",
    "patches[0].path": "patches: [{{path: '{}'}}]",
    "patches[0]": "patches: ['{}']",
    "patchesStrategicMerge[0]": "patchesStrategicMerge: ['{}']",
    "patchesJson6902[0].path": "patchesJson6902: [{{path: '{}', target: {{kind: A}}}}]",
    "replacements[0].path": "replacements: [{{path: '{}'}}]",
    "configMapGenerator[0].files[0]": "configMapGenerator: [{{name: a, files: ['{}']}}]",
    "configMapGenerator[1].files[1]": "configMapGenerator: [{{name: a}}, {{name: b, files: [a.yaml, 'k={}']}}]",
    "secretGenerator[0].envs[0]": "secretGenerator: [{{name: a, envs: ['{}']}}]",
    "secretGenerator[0].env": "secretGenerator: [{{name: a, env: '{}'}}]",
    "generators[0]": "generators: ['{}']",
    "transformers[0]": "transformers: ['{}']",
    "transformers[0].path": "transformers: ['{{apiVersion: builtin, kind: PatchTransformer, path: \"{}\"}}']",
    "validators[0]": "validators: ['{}']",
}
ASTRAY = {
    "/etc/passwd": "absolute path",
    "/proc/self/environ": "absolute path",
    "../../etc/passwd": "leads out of the source",
    "../app/../../x": "leads out of the source",
    "absolute-link": "symbolic link app/absolute-link to an absolute path",
    "out-link": "symbolic link out of the source",
    "chain": "symbolic link out of the source",
    "circle": "symbolic links in a circle",
    "folder-link/out-link": "symbolic link out of the source",
    "missing.yaml": "is not there: the source has no app/missing.yaml",
    "a.yaml/x": "is a file, not a folder",
    "module/x.yaml": "Git submodule app/module",
    "https://127.0.0.1/a.yaml": "is remote",
    "http://127.0.0.1/a.yaml?ref=x": "is remote",
    "git::https://127.0.0.1/a": "is remote",
    "ext::sh -c id": "is remote",
    "ssh://git@127.0.0.1/a": "is remote",
    "git@127.0.0.1:a/b": "is remote",
    "file:///etc/passwd": "is remote",
    "github.com/a/b": "is remote",
    "a/b?ref=main": "is remote",
}


@pytest.mark.parametrize("field", REFERENCES)
@pytest.mark.parametrize("path", ASTRAY)
def test_what_leads_elsewhere_is_refused_by_file_and_field(source: Write, field: str, path: str) -> None:
    tree = source(
        {
            **kustomization(REFERENCES[field].format(path)),
            "app/absolute-link": "-> /etc/passwd",
            "app/out-link": "-> ../../etc/passwd",
            "app/chain": "-> ../one",
            "one": "-> two",
            "two": "-> ../../etc",
            "app/circle": "-> ../round",
            "round": "-> app/circle",
            "app/folder-link": "-> .",
            "app/module/.gitmodule": "",
        }
    )
    with pytest.raises(RenderError) as caught:
        find_closure(tree, "app")
    assert str(caught.value).startswith(f"app/kustomization.yaml: {field}: '{path}' ")
    assert ASTRAY[path] in str(caught.value)


@pytest.mark.parametrize(
    ("text", "field", "says"),
    [
        ("helmCharts: [{name: a}]", "helmCharts", "use a HelmRelease"),
        ("helmChartInflationGenerator: [{chartName: a}]", "helmChartInflationGenerator", "use a HelmRelease"),
        (
            "generators: ['{apiVersion: builtin, kind: HelmChartInflationGenerator}']",
            "generators[0].kind",
            "HelmRelease",
        ),
        ("transformers: ['{apiVersion: example.com/v1, kind: X}']", "transformers[0].apiVersion", "no built-in plugin"),
        (
            "validators: ['{kind: X, metadata: {annotations: {config.kubernetes.io/function: a}}}']",
            "validators[0].metadata.annotations",
            "KRM functions are not run",
        ),
        ("resources: a.yaml", "resources", "must be a list"),
        ("resources: [1]", "resources[0]", "must be a path"),
        ("configMapGenerator: [x]", "configMapGenerator[0]", "must be a mapping"),
        ("components: [a.yaml]", "components[0]", "is a file"),
        ("patches: [{path: ../folder}]", "patches[0].path", "is a folder"),
        ("resources: [../folder]", "resources[0]", "folder without a kustomization.yaml"),
        ("resources: [.]", "resources[0]", "a circle"),
        ("resources: [..]", "resources[0]", "a circle"),
        ("resources: [a.yaml]\nresources: []", "line 2", "'resources' is there twice"),
        ("resources: [\n", "line 2", "not valid YAML"),
    ],
)
def test_what_no_build_does_is_refused(source: Write, text: str, field: str, says: str) -> None:
    tree = source({**kustomization(text), "folder/x.txt": ""})
    with pytest.raises(RenderError) as caught:
        find_closure(tree, "app")
    assert str(caught.value).startswith(f"app/kustomization.yaml: {field}: ")
    assert says in str(caught.value)


def test_a_plugin_in_a_file_is_looked_into(source: Write) -> None:
    tree = source({**kustomization("transformers: [t.yaml]"), "app/t.yaml": "apiVersion: x/v1\nkind: Exec\n"})
    with pytest.raises(RenderError, match=r"^app/t\.yaml: apiVersion: Exec is no built-in plugin"):
        find_closure(tree, "app")


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("../x", "leads out of the source"),
        ("apps/../../x", "leads out of the source"),
        ("missing", "is not there"),
        ("/etc", "is not there: the source has no etc"),
        ("outside.yaml", "is a file; a Kustomization builds a folder"),
        ("link", "symbolic link out of the source"),
    ],
)
def test_a_path_that_is_no_folder_of_the_source_is_refused(source: Write, path: str, says: str) -> None:
    tree = source({**kustomization(""), "link": "-> ../../"})
    with pytest.raises(RenderError, match=rf"^spec\.path: .*{says}"):
        find_closure(tree, path)


@pytest.mark.parametrize("path", ["app", "./app", "/app", "./app/", "x/../app", "linked"])
def test_ways_to_write_a_path(source: Write, path: str) -> None:
    tree = source({**kustomization("resources: [a.yaml]"), "linked": "-> app"})
    assert set(find_closure(tree, path).entries) == {"app/kustomization.yaml", "app/a.yaml"}


def test_links_inside_the_source_are_followed_and_remembered(source: Write) -> None:
    tree = source(
        {
            "app/kustomization.yaml": "resources: [a.yaml, ../lib/x/b.yaml]",
            "app/a.yaml": "-> ../lib/x/b.yaml",
            "lib": "-> shared",
            "shared/x": "-> real",
            "shared/real/b.yaml": A,
        }
    )
    assert set(find_closure(tree, "app").entries) == {
        *["app/kustomization.yaml", "app/a.yaml", "lib", "shared/x", "shared/real/b.yaml"]
    }


def test_a_folder_without_kustomization_is_all_its_manifests(source: Write) -> None:
    tree = source(
        {
            "app/b.yml": A,
            "app/a.yaml": A,
            "app/readme.md": "",
            "app/deep/er/c.yaml": A,
            "app/own/kustomization.yaml": "resources: [d.yaml]",
            "app/own/d.yaml": A,
            "app/own/unused.yaml": A,
            "app/linked.yaml": "-> ../other/e.yaml",
            "app/linked-folder": "-> ../other",
            "other/e.yaml": A,
        }
    )
    closure = find_closure(tree, "app")
    assert closure.kustomization["resources"] == ["a.yaml", "b.yml", "deep/er/c.yaml", "linked.yaml", "own"]
    assert "app/own/unused.yaml" not in closure.entries
    assert {"app/own/d.yaml", "app/linked.yaml", "other/e.yaml"} <= set(closure.entries)


def test_a_dangling_link_in_a_folder_without_kustomization_is_named(source: Write) -> None:
    tree = source({"app/a.yaml": "-> gone.yaml"})
    with pytest.raises(RenderError, match=r"^app/kustomization\.yaml \(generated\): resources\[0\]: 'a\.yaml' is not"):
        find_closure(tree, "app")


@pytest.mark.parametrize("name", ["a\udcff.yaml", "a\n.yaml"])
def test_a_file_whose_name_is_no_text_is_refused(source: Write, name: str) -> None:
    with pytest.raises(RenderError, match="rename it"):
        find_closure(source({f"app/{name}": A}), "app")


def test_two_kustomizations_in_a_folder_are_one_too_many(source: Write) -> None:
    tree = source({"app/kustomization.yaml": "{}", "app/Kustomization": "{}"})
    with pytest.raises(RenderError, match=r"^app: has Kustomization and kustomization\.yaml"):
        find_closure(tree, "app")


def test_a_folder_named_like_kustomizes_file_is_refused(source: Write) -> None:
    with pytest.raises(RenderError, match=r"^app/kustomization\.yaml: is a folder"):
        find_closure(source({"app/kustomization.yaml/a.yaml": A}), "app")


def test_a_zero_byte_is_refused(source: Write) -> None:
    with pytest.raises(RenderError, match=r"resources\[0\]: .* zero byte"):
        find_closure(source(kustomization('resources: ["a\\0b"]')), "app")


def test_circles_are_named(source: Write) -> None:
    tree = source(
        {
            "a/kustomization.yaml": "resources: [../b]",
            "b/kustomization.yaml": "components: [../c]",
            "c/kustomization.yaml": "resources: [../link]",
            "link": "-> a",
        }
    )
    with pytest.raises(RenderError, match=r"^c/kustomization\.yaml: resources\[0\]: '../link' includes a, .*circle"):
        find_closure(tree, "a")


def test_depth_is_limited(source: Write) -> None:
    deep = {f"k{n}/kustomization.yaml": f"resources: [../k{n + 1}]" for n in range(MAX_DEPTH + 1)}
    with pytest.raises(RenderError, match=f"more than {MAX_DEPTH} kustomizations deep"):
        find_closure(source(deep), "k0")


def test_diamonds_are_followed_once(source: Write) -> None:
    layers = 40  # 2^40 ways from top to bottom
    tree = source(
        {
            **{
                f"k{n}{s}/kustomization.yaml": f"resources: [../k{n + 1}a, ../k{n + 1}b]"
                for n in range(layers)
                for s in "ab"
            },
            **{f"k{layers}{s}/kustomization.yaml": "{}" for s in "ab"},
        }
    )
    assert len(find_closure(tree, "k0a").entries) == 2 * layers + 1


def test_the_same_files_elsewhere_are_the_same_closure(source: Write) -> None:
    tree = source(kustomization("resources: [a.yaml]"))
    before = find_closure(tree, "app").read
    source({"app/unrelated.yaml": A, "README.md": "new"})
    assert find_closure(tree, "app").read == before
    source({"app/a.yaml": config_map("changed")})
    assert find_closure(tree, "app").read != before
