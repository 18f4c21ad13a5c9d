"""Rules over objects become pointers on entries."""

from __future__ import annotations

import pytest

from felloe.bundle import Entry
from felloe.digest import canonical_json, digest
from felloe.errors import ConfigError
from felloe.identity import ObjectId
from hub.fleet.model import IgnoreRule, Target
from hub.fleet.targets import matcher
from hub.targeting.ignoring import ignoring

METADATA = {"name": "web", "namespace": "shop", "labels": {"tier": "front"}, "annotations": {"a/b": "c"}}
BLOB = canonical_json({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": METADATA})
WEB = Entry(ObjectId("apps", "Deployment", "shop", "web"), "v1", digest(BLOB), 3, len(BLOB))


@pytest.mark.parametrize(
    ("target", "meant"),
    [
        (Target(), True),
        (Target(kind="Deployment", name="web", namespace="shop", group="apps", version="v1"), True),
        (Target(name="we"), False),
        (Target(name="we.*"), True),
        (Target(kind="Deployment|StatefulSet"), True),
        (Target(group="batch"), False),
        (Target(version="v2"), False),
        (Target(label_selector="tier in (front, back)"), True),
        (Target(label_selector="tier!=front"), False),
        (Target(annotation_selector="a/b=c"), True),
        (Target(annotation_selector="other"), False),
    ],
)
def test_a_target_means_what_kustomize_means(target: Target, meant: bool) -> None:
    (entry,) = ignoring([WEB], {WEB.digest: BLOB}, [IgnoreRule(("/spec/replicas",), target)])
    assert entry.ignore == (("/spec/replicas",) if meant else ())


def test_the_pointers_of_several_rules_add_up() -> None:
    deployments, others = Target(kind="Deployment"), Target(name="x")
    rules = [IgnoreRule(("/a", "/b")), IgnoreRule(("/b", "/c"), deployments), IgnoreRule(("/d",), others)]
    (entry,) = ignoring([WEB], {WEB.digest: BLOB}, rules)
    assert entry.ignore == ("/a", "/b", "/c")


def test_an_expression_of_a_tenant_takes_no_longer_than_its_text() -> None:
    means = matcher(Target(name="(a+)+b"))
    assert not means(ObjectId("", "ConfigMap", "n", "a" * 50_000), "v1", {})


@pytest.mark.parametrize("target", [Target(name="("), Target(name="(?=x)"), Target(label_selector="a=b=c")])
def test_a_bad_expression_is_refused(target: Target) -> None:
    with pytest.raises(ConfigError):
        matcher(target)
