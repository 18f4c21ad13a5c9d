"""What annotations and labels of an object mean, as in Flux."""

from __future__ import annotations

import pytest

from felloe.annotations import ORDINARY, Policy, policy

FLUX, OURS = "kustomize.toolkit.fluxcd.io", "fleet.felloe.io"


@pytest.mark.parametrize("place", ["annotations", "labels"])
@pytest.mark.parametrize("group", [FLUX, OURS])
@pytest.mark.parametrize(
    ("name", "value", "means"),
    [
        ("ssa", "Merge", Policy(merged=True)),
        ("ssa", "ifnotpresent", Policy(once=True)),
        ("ssa", "IGNORE", Policy(left_alone=True)),
        ("ssa", "Override", ORDINARY),
        ("force", "Enabled", Policy(forced=True)),
        ("force", "disabled", ORDINARY),
        ("reconcile", "Disabled", Policy(left_alone=True)),
        ("reconcile", "enabled", ORDINARY),
        ("prune", "disabled", Policy(kept=True)),
        ("prune", "", ORDINARY),
        ("checksum", "disabled", ORDINARY),
    ],
)
def test_a_mark_in_any_place_case_and_group(place: str, group: str, name: str, value: str, means: Policy) -> None:
    assert policy({place: {f"{group}/{name}": value, "other.example.com/ssa": "Ignore"}}) == means


@pytest.mark.parametrize("metadata", [{}, {"annotations": None}, {"labels": {"reconcile": "disabled"}}])
def test_what_says_nothing_is_ordinary(metadata: dict[str, object]) -> None:
    assert policy(metadata) == ORDINARY


def test_a_value_that_means_nothing_is_named_with_those_that_do() -> None:
    (unknown,) = policy({"annotations": {f"{FLUX}/prune": "false"}}).unknown
    assert unknown == f"{FLUX}/prune is 'false', which means nothing: use enabled or disabled or force"


def test_what_may_be_deleted() -> None:
    assert ORDINARY.prunable
    assert not policy({"annotations": {f"{OURS}/prune": "disabled"}}).prunable
    assert not policy({"labels": {f"{FLUX}/reconcile": "disabled"}}).prunable
