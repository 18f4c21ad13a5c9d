"""Variables in manifests, as Flux fills them in, and never out of their place."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from felloe.errors import SubstitutionError
from felloe.k8syaml import JsonValue, load_all
from felloe.substitute import is_template, json_path, substitute, substitute_text, variables_used

VALUES = {
    "var": "abcdEFGH28ij",
    "path": "/home/bozo/ideas",
    "file": "bash.string.txt",
    "empty": "",
    "z": "abcABC123abc",
}


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("plain $var and $(var)", "plain $var and $(var)"),
        ("${var}", "abcdEFGH28ij"),
        ("a-${var}-b", "a-abcdEFGH28ij-b"),
        ("${#var}", "12"),
        ("${var^} ${var^^}", "AbcdEFGH28ij ABCDEFGH28IJ"),
        ("${z,} ${var,,}", "abcABC123abc abcdefgh28ij"),
        ("${path:6}", "bozo/ideas"),
        ("${path:6:4}", "bozo"),
        ("${path: -5}", "/home/bozo/ideas"),
        ("${path:${none:=6}:4}", "bozo"),
        ("${var:1:-1}", "bcdEFGH28i"),
        ("${var:99}|${var:3:0}", "|"),
        ("${none=x} ${none:=x} ${none:-x} ${none-x}", "x x x x"),
        ("${empty:=x} ${empty:-x} ${empty-x}|", "x x |"),
        ("${none:=a ${var} b}", "a abcdEFGH28ij b"),
        ("${none:=${nothing:-deep}}", "deep"),
        ("${none:=}", ""),
        ("${z/%abc/X}", "abcABC123X"),
        ("${z/#abc/X}", "XABC123abc"),
        ("${z/#/pre-} ${z/%/-suf}", "pre-abcABC123abc abcABC123abc-suf"),
        ("${z/abc/X} ${z//abc/X} ${z//abc/}", "XABC123abc XABC123X ABC123"),
        (r"${path//\//-}", "-home-bozo-ideas"),
        ("${file#*.} ${file##*.}", "string.txt txt"),
        ("${file%.*} ${file%%.*}", "bash.string bash"),
        ("${path##*/} ${file#x} ${file#b?s[a-h].}", "ideas bash.string.txt string.txt"),
        ("$${var} $$ $${none=${var}}", "${var} $ ${none=abcdEFGH28ij}"),
    ],
)
def test_every_expression_that_flux_documents(text: str, filled: str) -> None:
    assert substitute_text(text, VALUES) == filled


@pytest.mark.parametrize(
    "text", ["${none}", "${#none}", "${none^^}", "${none:1}", "${none/a/b}", "${none#a}", "${var:=x} ${none}"]
)
def test_a_variable_without_a_value_is_an_error_even_inside_a_function(text: str) -> None:
    with pytest.raises(SubstitutionError, match="'none' has no value"):
        substitute_text(text, VALUES)


@pytest.mark.parametrize(
    "text",
    [
        "${",
        "${}",
        "${var",
        "${1a}",
        "${a.b}",
        "${var:+x}",
        "${var+x}",
        "${var:?x}",
        "${var/a}",
        "${var!}",
        "${a:=" * 99,
    ],
)
def test_what_is_no_expression_of_fluxs_is_an_error_and_not_a_guess(text: str) -> None:
    with pytest.raises(SubstitutionError, match="can't be filled in"):
        substitute_text(text, VALUES)


def test_a_costly_pattern_is_refused_or_cheap() -> None:
    assert substitute_text("${a##" + "*a" * 200 + "b}", {"a": "a" * 200}) == "a" * 200
    assert substitute_text("${a##*" + "a" * 2000 + "b}", {"a": "a" * 4096}) == "a" * 4096
    assert substitute_text("${a%%b" + "a" * 2000 + "*}", {"a": "a" * 4096}) == "a" * 4096
    with pytest.raises(SubstitutionError, match="too long for %%"):
        substitute_text("${a%%*b}", {"a": "a" * 5000})


def obj(kind: str = "Thing", **fields: JsonValue) -> dict[str, JsonValue]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": "web", "namespace": "shop"}, **fields}


@pytest.mark.parametrize(
    ("leaf", "value", "result"),
    [
        ("${v}", "3", 3),
        ("${v}", "true", True),
        ("${v}", "on", True),
        ("${v}", "", None),
        ("${v}", "1.5", 1.5),
        ("${v}", "1.2.3", "1.2.3"),
        ("${v}", '"3"', "3"),
        ("${v}0", "3", 30),
        ("${v}", "[1, 2]", "[1, 2]"),
        ("${v}", "a: b", "a: b"),
        ("key: ${v}", "3", "key: 3"),
        ("'${v}", "3", "'3"),
        ("line\n${v}", "3", "line\n3"),
        ("- ${v}", "3", "- 3"),
    ],
)
def test_a_plain_scalar_is_read_again_and_only_ever_becomes_a_scalar(leaf: str, value: str, result: JsonValue) -> None:
    assert substitute(obj(spec={"x": [leaf]}), {"v": value})["spec"] == {"x": [result]}


@pytest.mark.parametrize(
    "manifest",
    [
        obj("ConfigMap", data={"k": "${v}"}),
        obj("Secret", stringData={"k": "${v}"}),
        obj("Pod", spec={"containers": [{"env": [{"name": "A", "value": "${v}"}], "args": ["${v}"]}]}),
        obj("Pod", spec={"nodeSelector": {"zone": "${v}"}}),
        obj("Deployment", spec={"template": {"metadata": {"annotations": {"a": "${v}"}, "labels": {"l": "${v}"}}}}),
        obj("Deployment", spec={"selector": {"matchLabels": {"l": "${v}"}}}),
        obj("Service", spec={"selector": {"l": "${v}"}}),
    ],
)
def test_where_kubernetes_takes_only_text_a_number_stays_text(manifest: dict[str, JsonValue]) -> None:
    filled = substitute(manifest, {"v": "3"})
    assert "'3'" in str(filled)
    assert "${v}" not in str(filled)


def test_keys_are_filled_in_and_stay_text() -> None:
    assert substitute(obj(data={"k${v}": "x", "${v}": "y"}), {"v": "1"})["data"] == {"k1": "x", "1": "y"}
    with pytest.raises(SubstitutionError, match="two keys become the same"):
        substitute(obj(data={"${v}": "x", "1": "y"}), {"v": "1"})


@pytest.mark.parametrize("mark", ["annotations", "labels"])
def test_an_object_can_opt_out(mark: str) -> None:
    manifest = obj(data={"k": "${none} ${"})
    metadata = manifest["metadata"]
    assert isinstance(metadata, dict)
    metadata[mark] = {"kustomize.toolkit.fluxcd.io/substitute": "disabled"}
    assert substitute(manifest, {}) == manifest
    assert not is_template(manifest)
    assert variables_used(manifest) == frozenset()


def test_an_error_names_variable_object_path_and_the_ways_out() -> None:
    manifest = obj("Deployment", spec={"template": {"spec": {"containers": [{"image": "web:${tag}"}]}}})
    with pytest.raises(SubstitutionError) as caught:
        substitute(manifest, {})
    message = str(caught.value)
    for part in (
        "Deployment shop/web: spec.template.spec.containers[0].image: variable 'tag' has no value",
        "${tag:=…}",
        "$${tag}",
        "kustomize.toolkit.fluxcd.io/substitute: disabled",
    ):
        assert part in message


@pytest.mark.parametrize("read", [lambda secret: substitute(secret, VALUES), variables_used])
def test_an_error_quotes_nothing_of_a_secret(read: Callable[[dict[str, JsonValue]], object]) -> None:
    secret = obj("Secret", stringData={"password": "horse${!battery}"})
    with pytest.raises(SubstitutionError, match=r"Secret shop/web: stringData.password: .*a variable") as caught:
        read(secret)
    assert "battery" not in str(caught.value)
    assert "horse" not in str(caught.value)


def test_the_variables_of_an_object_are_known_beforehand() -> None:
    manifest = obj(data={"a": "${one} $${not} ${two:=${three}}", "${key}": "${four/x/${five}}"})
    assert variables_used(manifest) == {"one", "two", "three", "four", "five", "key"}
    assert is_template(manifest)
    assert is_template(obj(data={"a": "$${escaped}"})), "it becomes another text once filled in"
    assert not is_template(obj(data={"a": "$5 {x}"}))


def test_a_path_is_written_as_people_do() -> None:
    assert json_path(("spec", "a", 0, "b.c/d", "e")) == 'spec.a[0]["b.c/d"].e'


SCALARS = st.none() | st.booleans() | st.integers() | st.text("abc${}:=v\n \"'[]#", max_size=12)
MANIFESTS = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3)
)


def shape(value: JsonValue) -> JsonValue:
    """Return a value with its scalars taken out: where collections are, and under which keys."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    return [shape(item) for item in value] if isinstance(value, list) else None


@given(spec=MANIFESTS, value=st.text(max_size=30))
@settings(deadline=None)
def test_no_value_breaks_out_of_its_place_and_the_input_is_never_changed(spec: JsonValue, value: str) -> None:
    manifest = obj(spec=spec)
    before = copy.deepcopy(manifest)
    try:
        filled = substitute(manifest, dict.fromkeys("abcv", value))
    except SubstitutionError:
        return
    finally:
        assert manifest == before
    assert shape(filled) == shape(manifest)


@given(value=st.from_regex(r"[a-z0-9.:/+-]{1,12}", fullmatch=True))
@settings(deadline=None)
def test_a_harmless_value_gives_what_substitution_in_the_yaml_text_would(value: str) -> None:
    assume(": " not in f"{value} " and not value.startswith("-"))
    (document,) = load_all(f"x: {value}", file="")
    assert substitute(obj(spec={"x": "${v}"}), {"v": value})["spec"] == document.value


def nested(depth: int) -> str:
    """Return an expression that puts itself, for every ``e`` of ``v``, into itself."""
    text = "e"
    for _ in range(depth):
        text = f"${{v//e/{text}}}"
    return text


def test_a_short_text_that_grows_without_end_is_refused() -> None:
    variables = {"v": "eeee", "long": "x" * 2000}
    assert len(substitute_text(nested(8), variables)) == 4**8
    with pytest.raises(SubstitutionError, match="more than 2,097,152"):
        substitute_text(nested(15), variables)
    with pytest.raises(SubstitutionError, match="more than 2,097,152"):
        substitute_text("${long}" * 2000, variables)
    manifest: dict[str, JsonValue] = {"kind": "ConfigMap", "data": {f"k{n}": nested(9) for n in range(20)}}
    with pytest.raises(SubstitutionError, match=r"data\.k\d+: the object becomes too large"):
        substitute(manifest, variables)
