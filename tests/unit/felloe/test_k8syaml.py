"""YAML means to Felloe what it means to kubectl, Flux and the API server.

`vectors/sigs-yaml.json` was printed by `vectors/main.go` (sigs.k8s.io/yaml 1.6.0):
``go run . < texts.json > sigs-yaml.json``, texts.json being a JSON list of the texts.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from felloe.errors import ConfigError
from felloe.k8syaml import MAX_ALIASED, MAX_DEPTH, JsonValue, dump, dump_all, load_all, load_scalar

VECTORS: list[dict[str, str]] = json.loads((Path(__file__).parent / "vectors" / "sigs-yaml.json").read_text())

# Where we differ on purpose: an explicit key always wins over a merged one (as YAML and kustomize have it); libyaml
# knows two more things than Go's parser, and a text that is valid JSON should load.
BETTER: dict[str, JsonValue] = {
    "a: &x {p: 1, q: 2}\nb:\n  q: 3\n  <<: *x\n": {"a": {"p": 1, "q": 2}, "b": {"p": 1, "q": 3}},
    'a: "x\\ty\\u00e9\\/"\n': {"a": "x\tyé/"},
    "%YAML 1.2\n---\na: y\n": {"a": True},
}


def value(text: str | bytes) -> JsonValue:
    documents = load_all(text, file="a.yaml")
    assert len(documents) <= 1
    return documents[0].value if documents else None


def as_go_reads_json(found: JsonValue) -> JsonValue:
    """Go's JSON takes an integer beyond 64 bits for a float."""
    match found:
        case bool():
            return found
        case int():
            return found if -(2**63) <= found < 2**63 else float(found)
        case list():
            return [as_go_reads_json(item) for item in found]
        case dict():
            return {key: as_go_reads_json(item) for key, item in found.items()}
        case _:
            return found


def same(left: JsonValue, right: JsonValue) -> bool:
    """Equal with types: 1, 1.0 and True are three values."""
    return json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)


@pytest.mark.parametrize("vector", [v for v in VECTORS if v["yaml"] not in BETTER], ids=lambda v: repr(v["yaml"]))
def test_reads_as_sigs_yaml_does(vector: dict[str, str]) -> None:
    if "error" in vector:
        with pytest.raises(ConfigError, match=r"^a\.yaml: line \d+: "):
            value(vector["yaml"])
    else:
        assert same(value(vector["yaml"]), as_go_reads_json(json.loads(vector["json"])))


@pytest.mark.parametrize("text", BETTER)
def test_reads_better_than_sigs_yaml(text: str) -> None:
    assert value(text) == BETTER[text]


def test_documents_know_their_lines_and_empty_ones_are_left_out() -> None:
    found = load_all("# a comment\n---\na: 1\n---\n---\n# nothing\n---\n\nb: 2\n...\n---\nnull\n", file="a.yaml")
    assert [(document.value, document.line) for document in found] == [({"a": 1}, 3), ({"b": 2}, 9)]


def test_anchors_do_not_reach_into_the_next_document() -> None:
    with pytest.raises(ConfigError, match=r"line 3: .*no anchor &x"):
        load_all("a: &x 1\n---\nb: *x\n", file="a.yaml")


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n", 5, "'c' is there twice"),
        ("true: 1\nyes: 2\n", 2, "'true' is there twice"),
        ("1: a\n'1': b\n", 2, "'1' is there twice"),
        ("a: [1, 2\nb: 3\n", 2, "not valid YAML"),
        ("a: 1\n\tb: 2\n", 2, "not valid YAML"),
        ("a: b\nc: \x00\n", 2, "not valid YAML"),
        ("a: .inf\n", 1, "no form in JSON"),
        ("x: &a [1]\ny: *b\n", 2, "alias \\*b has no anchor"),
        ("x: &a\n- *a\n", 2, "contains itself"),
        ("a: " + "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), 1, f"deeper than {MAX_DEPTH} levels"),
        ("? {a: 1}\n: 2\n", 1, "a key is a list or a mapping"),
    ],
)
def test_errors_name_file_and_line(text: str, line: int, says: str) -> None:
    with pytest.raises(ConfigError, match=rf"^apps/a\.yaml: line {line}: .*{says}") as caught:
        load_all(text, file="apps/a.yaml")
    assert caught.value.place.file == "apps/a.yaml"


def test_bytes_that_are_no_utf8_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^a\.yaml: is not UTF-8"):
        value(b"a: \xff\xfe\n")


def test_aliases_that_explode_are_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    with pytest.raises(ConfigError, match=f"aliases add up to more than {MAX_ALIASED:,} values"):
        value("\n".join(lines))


@pytest.mark.parametrize("anchored", ["long: &a {text}", "? &a {text}\n: key", "long: &b [{text}]\nagain: &a [*b, *b]"])
def test_a_long_text_that_aliases_repeat_is_refused(anchored: str) -> None:
    text = anchored.replace("{text}", "x" * 100_000)
    assert value(f"{text}\nall: [{'*a, ' * 50}]")
    with pytest.raises(ConfigError, match="aliases add up to more than 16,777,216 characters"):
        value(f"{text}\nall: [{'*a, ' * 300}]")


def test_merges_that_explode_are_refused() -> None:
    lines = ["a0: &a0 {" + ", ".join(f"k{n}: {n}" for n in range(100)) + "}"]
    lines += [f"a{n}: &a{n} {{x: *a{n - 1}, y: *a{n - 1}, <<: *a{n - 1}}}" for n in range(1, 40)]
    with pytest.raises(ConfigError, match="aliases add up"):
        value("\n".join(lines))


def test_an_alias_is_a_copy() -> None:
    found = value("a: &x {p: [1]}\nb: *x\n")
    assert isinstance(found, dict)
    first, second = found["a"], found["b"]
    assert isinstance(first, dict)
    first["p"] = 2
    assert second == {"p": [1]}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("123", 123),
        ("yes", True),
        ("", None),
        ("0777", 511),
        ("1:30", "1:30"),
        (" 7 ", 7),
        (".inf", ".inf"),
        ("a b", "a b"),
        ("1e3", 1000),
    ],
)
def test_a_scalar_alone(text: str, wanted: JsonValue) -> None:
    assert same(load_scalar(text), wanted)


TRICKY = [v["yaml"].removeprefix("a: ").removesuffix("\n") for v in VECTORS if v["yaml"].startswith("a: ")]
TEXTS = st.one_of(
    st.text(),
    st.sampled_from(TRICKY),
    st.from_regex(r"[-+.]?[0-9a-fxob_.:eE+-]{1,12}", fullmatch=True),
    st.text(alphabet="ab\n \t-:#'\"|>%@&*!?[]{},\u0085\u2028\ufeff\x07é😀"),
)
NUMBERS = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False).filter(lambda f: not f.is_integer() or abs(f) >= 2**63),
)
VALUES: st.SearchStrategy[JsonValue] = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=12,
)


@settings(deadline=None)
@given(VALUES)
@example("y")
@example("0o17")
@example("-.0")
@example("1:30")
@example("2020-01-01")
@example("  two\nlines ")
@example("\n")
@example("a\n\n")
@example({"<<": {"=": "~"}})
def test_what_is_dumped_reads_back(found: JsonValue) -> None:
    text = dump(found)
    assert same(value(text), found)


@settings(deadline=None)
@given(VALUES)
def test_other_loaders_read_the_same(found: JsonValue) -> None:
    assert yaml.safe_load(dump(found)) == found


def test_a_dump_is_for_people() -> None:
    manifest: JsonValue = {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "data": {"script": "#!/bin/sh\necho hi\n", "on": "yes", "version": "1.10", "plain": "a text, with: colon"},
        "list": [{"a": 1, "b": [True, None]}],
    }
    assert dump(manifest) == (
        "apiVersion: v1\n"
        "data:\n"
        '  "on": "yes"\n'
        "  plain: 'a text, with: colon'\n"
        "  script: |\n"
        "    #!/bin/sh\n"
        "    echo hi\n"
        '  version: "1.10"\n'
        "kind: ConfigMap\n"
        "list:\n"
        "- a: 1\n"
        "  b:\n"
        "  - true\n"
        "  - null\n"
    ).replace('"on": "yes"', "'on': 'yes'")
    assert load_all(dump_all([manifest, {"a": 1}]), file="")[1].value == {"a": 1}


def test_what_loads_at_its_deepest_dumps() -> None:
    deepest = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert same(value(dump(value(deepest))), json.loads(deepest))


def test_a_dump_refuses_what_json_cannot_hold() -> None:
    with pytest.raises(ValueError, match="no form in JSON"):
        dump(math.inf)
