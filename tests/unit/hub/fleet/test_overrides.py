"""Overrides of a Placement as Git writes them, and selectors that compare."""

from __future__ import annotations

import pytest

from hub.fleet import Fleet, FleetError, LabelSelector, Requirement, load_fleet
from hub.fleet.labels import version_of
from hub.fleet.model import Image, Override, Patch, Target
from hub.fleet.schema import UnsupportedField
from hub.targeting.select import matches
from tests.unit.hub.targeting.world import MemoryTree

OVERRIDES = """
apiVersion: fleet.felloe.io/v1alpha1
kind: Placement
metadata: {name: shop}
spec:
  clusterSelector: {}
  workloads: []
  overrides:
"""


def load(overrides: str) -> Fleet:
    return load_fleet(MemoryTree({"fleet/a.yaml": OVERRIDES + overrides}), "fleet")


def test_every_field_of_an_override_is_read() -> None:
    found = load("""
    - clusterSelector: {matchLabels: {a: b}}
      clusterNames: [one]
      variables: {replicas: "3"}
      patches:
        - patch: "[{op: replace, path: /spec/replicas, value: '${replicas}'}]"
          target: {kind: Deployment, name: web.*}
      images: [{name: nginx, newName: mirror/nginx, newTag: "1.29", digest: "sha256:ab"}]
      values: {a: b}
    """)
    assert found.placements["shop"].overrides == (
        Override(
            LabelSelector((("a", "b"),)),
            (),
            ("one",),
            (("replicas", "3"),),
            (
                Patch(
                    '[{"op":"replace","path":"/spec/replicas","value":"${replicas}"}]',
                    Target(kind="Deployment", name="web.*"),
                ),
            ),
            (Image("nginx", "mirror/nginx", "1.29", "sha256:ab"),),
            (UnsupportedField("spec.overrides[0].values", holds=True),),
        ),
    )


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ("variables: {a: b}", "spec.overrides[0]: says of no cluster that it is meant"),
        ("clusterNames: []", "spec.overrides[0].clusterNames: is an empty list"),
        ("environments: [prd]", "spec.overrides[0].environments[0]: there is no Environment prd"),
        ("clusterNames: [a], variables: {a-b: x}", "spec.overrides[0].variables.a-b: is no name of a variable"),
        ("clusterNames: [a], images: [{name: x}]", "overrides[0].images[0]: changes nothing"),
        ("clusterNames: [a], patches: [{patch: ''}]", "overrides[0].patches[0].patch: must not be empty"),
        ("clusterNames: [a], patches: [{patch: '# only words'}]", "overrides[0].patches[0].patch: is empty"),
        ("clusterNames: [a], patches: [{patch: 'a: ['}]", "overrides[0].patches[0].patch: is not valid YAML"),
        ("clusterNames: [a], patches: [{patch: 'just text'}]", "overrides[0].patches[0].patch: is no patch"),
        ("clusterNames: [a], patches: [{patch: '[{op: add}]'}]", "a JSON patch (RFC 6902), which needs a target"),
        ("clusterNames: [a], patches: [{patch: '{spec: {a: 1}}'}]", "give it a target, or kind and metadata.name"),
        (
            "clusterNames: [a], patches: [{target: {kind: X, name: 'a('}, patch: '{spec: {a: 1}}'}]",
            "overrides[0].patches[0].target: name: 'a(' is no regular expression",
        ),
        (
            "clusterNames: [a], patches: [{target: {kind: X}, patch: '[{op: add, path: \"/spec/${x}\", value: 1}]'}]",
            "has a variable in '/spec/${x}'; a patch may use variables only in values",
        ),
        (
            "clusterNames: [a], patches: [{target: {kind: X}, patch: '{spec: {\"${x}\": 1}}'}]",
            "has a variable in '${x}'; a patch may use variables only in values",
        ),
        (
            "clusterSelector: {matchExpressions: [{key: v, operator: Gte, values: [new]}]}",
            "overrides[0].clusterSelector.matchExpressions[0].values: operator Gte compares versions and numbers",
        ),
        (
            "clusterSelector: {matchExpressions: [{key: v, operator: Gt, values: ['1', '2']}]}",
            "operator Gt needs exactly one value",
        ),
    ],
)
def test_a_mistake_names_the_field(fields: str, says: str) -> None:
    with pytest.raises(FleetError) as caught:
        load(f"    - {{{fields}}}")
    (error,) = caught.value.errors
    assert says in str(error)


@pytest.mark.parametrize(
    ("operator", "to", "value", "expected"),
    [
        ("Gte", "1.34", "1.34", True),
        ("Gte", "1.34", "1.34.0", True),
        ("Gte", "1.34", "1.33.9", False),
        ("Gte", "1.9", "1.34", True),
        ("Gte", "1.34", "v1.35.1-eks-5", True),
        ("Gt", "1.34", "1.34.0+k3s1", False),
        ("Gt", "1.34", "1.34.1", True),
        ("Lt", "100", "99", True),
        ("Lt", "100", "100", False),
        ("Lte", "100", "100", True),
        ("Lte", "100", "101", False),
        ("Gte", "1.34", "latest", False),
        ("Lt", "1.34", "", False),
    ],
)
def test_values_compare_as_versions(operator: str, to: str, value: str, expected: bool) -> None:
    selector = LabelSelector(match_expressions=(Requirement("v", operator, (to,)),))
    assert matches(selector, {"v": value}) is expected
    assert not matches(selector, {})


def test_a_version_with_zeros_at_its_end_is_the_one_without() -> None:
    assert version_of("1.34.0") == version_of("v1.34") == (1, 34)
    assert version_of("0") == version_of("0.0") == (0,)
    assert version_of("1.x") is version_of("") is version_of("-1") is None
