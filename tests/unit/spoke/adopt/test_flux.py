"""Flux's Kustomizations as they are read from the API server."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from felloe.errors import ConfigError
from felloe.identity import ObjectId
from spoke.adopt.flux import read
from tests.unit.spoke.adopt.samples import entry

NAMES = st.from_regex(r"[a-z]([a-z0-9:.-]{0,20}[a-z0-9])?", fullmatch=True)


@given(
    st.one_of(st.just(""), NAMES.filter(lambda name: ":" not in name)), NAMES, st.sampled_from(["", "apps", "a.b.c"])
)
def test_every_entry_names_the_object_it_was_written_for(namespace: str, name: str, group: str) -> None:
    identity = ObjectId(group, "Role", namespace, name)
    assert entry(identity.inventory_id) == identity


@pytest.mark.parametrize("text", ["", "a_b", "a_b_c", "__Namespace", "a_b_c_"])
def test_an_entry_that_names_nothing_is_no_empty_inventory(text: str) -> None:
    with pytest.raises(ConfigError, match="flux-system/apps"):
        entry(text)


def reconciling(reason: str, message: str) -> dict[str, object]:
    return {"conditions": [{"type": "Reconciling", "status": "True", "reason": reason, "message": message}]}


@pytest.mark.parametrize(
    ("status", "busy"),
    [
        ({}, False),
        (reconciling("Progressing", "Building manifests for revision main@sha1:1 with a timeout of 5m0s"), True),
        (reconciling("Progressing", "Running health checks for revision main@sha1:1 with a timeout of 5m0s"), False),
        (reconciling("ProgressingWithRetry", "Building manifests for revision main@sha1:1"), False),
    ],
)
def test_flux_is_busy_while_it_may_still_apply(status: dict[str, object], busy: bool) -> None:
    assert bool(read({"metadata": {"name": "apps"}, "status": status}).busy) is busy


def test_it_has_seen_the_suspension_once_it_has_observed_that_generation() -> None:
    def seen(generation: int, observed: int) -> bool:
        metadata = {"name": "apps", "generation": generation}
        return read({"metadata": metadata, "status": {"observedGeneration": observed}}).observed

    assert seen(3, 3)
    assert not seen(3, 2)
