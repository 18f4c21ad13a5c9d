"""Bundles: equal desired state, equal root; a delta leads from any bundle to any other."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from felloe.bundle import (
    DELETION_POLICIES,
    DRIFT_MODES,
    ApplyOptions,
    Bundle,
    Delta,
    Dependency,
    Entry,
    Frame,
    HealthCheck,
    HealthCheckExpr,
    Workload,
    bundle_from_proto,
    bundle_to_pieces,
    bundle_to_proto,
    delta,
    missing,
    patch,
    workload_from_proto,
    workload_to_proto,
)
from felloe.digest import canonical_json, digest
from felloe.errors import BundleError
from felloe.identity import ObjectId, WorkloadId
from felloe.v1 import bundle_pb2 as pb


def entry(name: str, content: str = "x", *, template: bool = False) -> Entry:
    return Entry(ObjectId("apps", "Deployment", "shop", name), "v1", digest(content.encode()), 3, 7, template)


def workload(name: str, *entries: Entry, **options: object) -> Workload:
    return Workload(WorkloadId("Kustomization", "n", name), ApplyOptions(**options), entries)  # type: ignore[arg-type]


NAMES = st.sampled_from(["a", "b", "c", "d"])
IDS = st.builds(WorkloadId, st.just("Kustomization"), NAMES, NAMES)
ENTRIES = st.builds(
    lambda one, ignore: replace(one, ignore=ignore),
    st.builds(entry, NAMES, st.sampled_from("xyz"), template=st.booleans()),
    st.lists(NAMES, max_size=2).map(tuple),
)
IDS_OF_ALL_SORTS = st.sets(st.builds(WorkloadId, st.just("Kustomization"), NAMES, st.text('a%s"\\é/', max_size=4)))
SECONDS = st.floats(0, 1e6, allow_nan=False)
OPTIONS = st.builds(
    ApplyOptions,
    prune=st.booleans(),
    wait=st.booleans(),
    suspend=st.booleans(),
    timeout=SECONDS,
    interval=SECONDS,
    retry_interval=SECONDS,
    depends_on=st.lists(st.builds(Dependency, IDS, NAMES), max_size=2).map(tuple),
    health_checks=st.lists(st.builds(HealthCheck, NAMES, NAMES, NAMES, NAMES), max_size=2).map(tuple),
    requested_at=NAMES,
    force=st.booleans(),
    deletion_policy=st.sampled_from(DELETION_POLICIES),
    service_account=NAMES,
    health_check_exprs=st.lists(st.builds(HealthCheckExpr, *[NAMES] * 5), max_size=2).map(tuple),
    drift=st.sampled_from(DRIFT_MODES),
    prune_limit=st.floats(0, 1),
    force_prune=st.booleans(),
    labels=st.dictionaries(NAMES, NAMES, max_size=2).map(lambda each: tuple(sorted(each.items()))),
)
WORKLOADS = st.builds(
    Workload,
    IDS,
    OPTIONS,
    st.lists(ENTRIES, max_size=4, unique_by=lambda each: each.id).map(tuple),
    st.dictionaries(NAMES, NAMES, max_size=2),
)
BUNDLES = st.builds(
    Bundle,
    st.lists(WORKLOADS, max_size=5, unique_by=lambda each: each.id).map(tuple),
    st.lists(NAMES, max_size=2).map(tuple),
)


@given(BUNDLES | st.none(), BUNDLES)
@settings(deadline=None)
def test_a_delta_leads_from_one_bundle_to_the_other(base: Bundle | None, target: Bundle) -> None:
    change = delta(base, target)
    patched = patch(base, change)
    assert patched == target
    assert patched.root == target.root
    assert delta(patched, target) == Delta((), (), target.approved_prunes)


@given(BUNDLES)
@settings(deadline=None)
def test_a_bundle_survives_the_wire(bundle: Bundle) -> None:
    received = bundle_from_proto(pb.Bundle.FromString(bundle_to_proto(bundle).SerializeToString()))
    assert received == bundle
    assert received.root == bundle.root


@given(BUNDLES)
@settings(deadline=None)
def test_its_pieces_are_its_message(bundle: Bundle) -> None:
    assert pb.Bundle.FromString(b"".join(bundle_to_pieces(bundle))) == bundle_to_proto(bundle)


@pytest.mark.parametrize("count", [0, 1, 500, 501, 1300])
def test_a_workload_of_many_entries_is_said_piece_by_piece_as_at_once(count: int) -> None:
    many = workload("w", *(entry(f"item-{number}", str(number)) for number in range(count)))
    rows = [[*each.id, each.version, each.digest.hex(), each.wave, each.template] for each in many.entries]
    assert many.digest == digest(canonical_json([[*many.id], many.options.canonical(), {}, rows]))
    bundle = Bundle((workload("v"), many), ("approved",))
    assert bundle_from_proto(pb.Bundle.FromString(b"".join(bundle_to_pieces(bundle)))) == bundle


def test_two_states_of_a_workload_share_what_is_the_same() -> None:
    known = workload("w", entry("a"), entry("b"), entry("c"))
    newer = workload("w", entry("a"), entry("b", "other"), entry("d"))
    received = workload_from_proto(workload_to_proto(newer), known)
    assert received == newer
    assert received.entries[0] is known.entries[0]
    assert received.entries[1].id is known.entries[1].id


@given(BUNDLES, st.randoms(use_true_random=False))
@settings(deadline=None)
def test_order_does_not_matter(bundle: Bundle, random: st.DataObject) -> None:
    shuffled = [
        replace(each, entries=tuple(random.sample(each.entries, len(each.entries))))  # type: ignore[attr-defined]
        for each in random.sample(bundle.workloads, len(bundle.workloads))  # type: ignore[attr-defined]
    ]
    assert Bundle(tuple(shuffled), bundle.approved_prunes[::-1]).root == bundle.root


@pytest.mark.parametrize(
    "changed",
    [
        workload("w", entry("a", "other")),
        workload("w", entry("b")),
        workload("w", entry("a"), entry("b")),
        workload("w", entry("a", template=True)),
        workload("w", replace(entry("a"), wave=2)),
        workload("w", replace(entry("a"), version="v2")),
        workload("w", entry("a"), prune=True),
        workload("w", entry("a"), suspend=True),
        workload("w", entry("a"), requested_at="now"),
        workload("w", entry("a"), depends_on=(Dependency(WorkloadId("Kustomization", "n", "x")),)),
        workload("w", entry("a"), force=True),
        workload("w", entry("a"), deletion_policy="Orphan"),
        workload("w", entry("a"), service_account="a"),
        workload("w", entry("a"), health_check_exprs=(HealthCheckExpr("v1", "Pod", "true"),)),
        workload("w", replace(entry("a"), ignore=("/spec",))),
        workload("w", entry("a"), drift="warn"),
        workload("w", entry("a"), prune_limit=0.6),
        workload("w", entry("a"), force_prune=True),
        workload("w", entry("a"), labels=(("a", "b"),)),
        replace(workload("w", entry("a")), variables={"a": "b"}),
        workload("other", entry("a")),
    ],
)
def test_whatever_changes_what_a_spoke_does_changes_the_root(changed: Workload) -> None:
    before, after = Bundle((workload("w", entry("a")),)), Bundle((changed,))
    assert before.root != after.root
    assert [each.id for each in delta(before, after).changed] == [changed.id]


def test_the_root_of_a_known_bundle_never_changes() -> None:
    """Hub and spoke of different releases compare roots: another way to compute them is another protocol."""
    known = Bundle((workload("w", entry("a"), prune=True), workload("v")))
    assert known.root.hex() == "1798c7a051dc413b4ce95a165c148df5bccf447f0d2c9564d0b2961a1be486af"


def test_what_stands_twice_is_refused() -> None:
    with pytest.raises(BundleError, match="twice"):
        workload("w", entry("a", "x"), entry("a", "y"))
    with pytest.raises(BundleError, match="twice"):
        Bundle((workload("w"), workload("w", prune=True)))


@given(IDS_OF_ALL_SORTS)
def test_a_frame_makes_the_bundles_of_its_workloads(ids: set[WorkloadId]) -> None:
    workloads = [Workload(each, entries=(entry("a"),)) for each in sorted(ids)]
    whole, framed = Bundle(tuple(workloads)), Frame(ids).bundle(workloads)
    assert framed == whole
    assert framed.root == whole.root
    assert framed.by_id == whole.by_id


def test_a_delta_that_removes_what_is_not_there_is_refused() -> None:
    with pytest.raises(BundleError, match="Kustomization/n/w"):
        patch(None, Delta((), (WorkloadId("Kustomization", "n", "w"),)))


def test_a_digest_that_is_none_is_refused() -> None:
    message = bundle_to_proto(Bundle((workload("w", entry("a")),)))
    message.workloads[0].entries[0].digest = b"short"
    with pytest.raises(BundleError, match="5 bytes instead of 32"):
        bundle_from_proto(message)


def test_what_is_missing_is_told_once_and_in_order() -> None:
    one, two, three = sorted(digest(text) for text in (b"1", b"2", b"3"))
    assert missing([three, one, one, two], [two]) == (one, three)
