"""Who changed what, read from managedFields."""

from __future__ import annotations

from typing import Any

import pytest

from spoke.drift.fields import change, fingerprint, handed_over, taken_over

OURS = {
    "f:data": {"f:kept": {}},
    "f:metadata": {"f:labels": {"f:app": {}}},
    "f:spec": {
        "f:containers": {'k:{"name":"web"}': {".": {}, "f:image": {}, "f:name": {}}},
        "f:ports": {'k:{"port":80,"protocol":"TCP"}': {".": {}, "f:port": {}}},
        "f:finalizers": {'v:"one"': {}},
        "f:selector": {},
    },
}


def metadata(own: object, *others: dict[str, Any]) -> dict[str, Any]:
    entry = {"manager": "felloe", "operation": "Apply", "apiVersion": "v1", "time": "1", "fieldsV1": own}
    return {"managedFields": [*others, entry]}


def other(manager: str, time: str, fields: object, **more: str) -> dict[str, Any]:
    return {"manager": manager, "operation": "Update", "apiVersion": "v1", "time": time, "fieldsV1": fields} | more


def test_the_fingerprint_is_of_our_fields_only() -> None:
    alone = fingerprint(metadata(OURS))
    assert fingerprint(metadata(OURS, other("controller", "9", {"f:spec": {"f:replicas": {}}}))) == alone
    assert fingerprint(metadata(OURS | {"f:data": {}})) != alone


@pytest.mark.parametrize("broken", [{}, {"managedFields": None}, {"managedFields": [{"manager": "felloe"}]}])
def test_an_object_of_which_we_own_nothing_has_no_fingerprint(broken: dict[str, Any]) -> None:
    assert fingerprint(broken) == b""


def test_our_updates_by_another_way_are_not_our_apply() -> None:
    assert fingerprint({"managedFields": [other("felloe", "1", OURS)]}) == b""
    scaled = {**other("felloe", "1", OURS, subresource="scale"), "operation": "Apply"}
    assert fingerprint({"managedFields": [scaled]}) == b""


@pytest.mark.parametrize(
    ("desired", "paths"),
    [
        ({"data": {"kept": "1", "lost": "2"}}, ("data.lost",)),
        ({"metadata": {"name": "a", "labels": {"app": "x", "tier": "y"}}}, ("metadata.labels.tier",)),
        ({"spec": {"containers": [{"name": "web", "image": "i", "args": []}]}}, ("spec.containers[web].args",)),
        ({"spec": {"containers": [{"name": "gone", "image": "i"}]}}, ("spec.containers[gone]",)),
        ({"spec": {"ports": [{"port": 80}]}}, ()),
        ({"spec": {"finalizers": ["one", "two"]}}, ("spec.finalizers[]",)),
        ({"spec": {"selector": {"anything": "inside what is owned whole"}}}, ()),
        ({"apiVersion": "v1", "kind": "X", "data": {"kept": "1"}}, ()),
    ],
)
def test_what_was_lost(desired: dict[str, Any], paths: tuple[str, ...]) -> None:
    assert change(desired, metadata(OURS)).paths == paths


def test_who_took_a_field_is_named_even_if_another_wrote_later() -> None:
    taker = other("kubectl-edit", "2026-01-01T00:00:00Z", {"f:data": {"f:lost": {}}})
    later = other("autoscaler", "2026-01-02T00:00:00Z", {"f:spec": {"f:replicas": {}}})
    status = other("controller", "2026-01-03T00:00:00Z", {"f:status": {}}, subresource="status")
    found = change({"data": {"lost": "secret"}}, metadata(OURS, taker, later, status))
    assert str(found) == "kubectl-edit changed data.lost at 2026-01-01T00:00:00Z"


def test_who_removed_a_field_is_who_wrote_last() -> None:
    first, last = other("first", "1", {}), other("last", "2", {})
    assert change({"data": {"lost": "x"}}, metadata(OURS, last, first)).manager == "last"


def test_without_an_entry_of_ours_everything_is_lost() -> None:
    assert change({"data": {"a": "1", "b": "2"}}, {}).paths == ("data.a", "data.b")


def test_what_was_written_by_hand_becomes_ours_and_the_rest_stays_with_its_owners() -> None:
    by_hand = other("kubectl-client-side-apply", "1", {"f:data": {"f:kept": {}, "f:old": {}}, "f:spec": {"f:x": {}}})
    flux = {**other("kustomize-controller", "1", {"f:data": {"f:flux": {}}}), "operation": "Apply"}
    stays = [
        other("autoscaler", "1", {"f:spec": {"f:replicas": {}}}),
        other("kubectl", "1", {"f:status": {}}, subresource="status"),
        other("kubectl-rollout", "1", {"f:spec": {"f:restarted": {}}}),
    ]
    found = taken_over(metadata({"f:data": {"f:kept": {}}}, by_hand, flux, *stays))
    assert found is not None
    assert found[:-1] == stays
    own: Any = found[-1]
    assert own["manager"] == "felloe"
    assert own["fieldsV1"] == {"f:data": {"f:kept": {}, "f:old": {}, "f:flux": {}}, "f:spec": {"f:x": {}}}
    assert taken_over({"managedFields": found}) is None
    assert fingerprint(metadata(OURS, by_hand)) != fingerprint(metadata(OURS))


def test_what_was_taken_over_is_handed_back_without_our_labels() -> None:
    labels: dict[str, Any] = {"f:app": {}, "f:fleet.felloe.io/workload-name": {}, "f:fleet.felloe.io/workload-kind": {}}
    ours = {"f:data": {"f:kept": {}}, "f:metadata": {"f:labels": labels}}
    scaler = other("scaler", "2", {"f:spec": {"f:replicas": {}}})
    (first, back) = handed_over(metadata(ours, scaler), "kustomize-controller")
    assert first == scaler
    assert (back["manager"], back["operation"]) == ("kustomize-controller", "Apply")
    assert back["fieldsV1"] == {"f:data": {"f:kept": {}}, "f:metadata": {"f:labels": {"f:app": {}}}}


def test_what_the_former_manager_owns_already_is_joined_and_nothing_is_invented() -> None:
    theirs = other("kustomize-controller", "1", {"f:data": {"f:more": {}}}) | {"operation": "Apply"}
    only_labels = {"f:metadata": {"f:labels": {"f:fleet.felloe.io/workload-name": {}}}, "f:data": {"f:kept": {}}}
    (back,) = handed_over(metadata(only_labels, theirs), "kustomize-controller")
    assert back["fieldsV1"] == {"f:data": {"f:kept": {}, "f:more": {}}}
    assert handed_over({"managedFields": [theirs]}, "kustomize-controller") == [theirs]


def test_what_the_cluster_sets_is_not_taken_from_those_who_wrote_last_unless_git_sets_it() -> None:
    theirs = {
        "f:metadata": {"f:finalizers": {".": {}}, "f:labels": {"f:x": {}}},
        "f:spec": {"f:replicas": {}, "f:paused": {}},
        "f:status": {"f:phase": {}},
    }
    found = taken_over(metadata({"f:data": {}}, other("kubectl-edit", "1", theirs)))
    assert found is not None
    left, own = found
    kept = {"f:metadata": {"f:finalizers": {".": {}}}, "f:spec": {"f:replicas": {}}, "f:status": {"f:phase": {}}}
    assert (left["manager"], left["fieldsV1"]) == ("kubectl-edit", kept)
    assert own["fieldsV1"] == {"f:data": {}, "f:metadata": {"f:labels": {"f:x": {}}}, "f:spec": {"f:paused": {}}}
    assert taken_over({"managedFields": found}) is None, "what stays is no reason to try again"
    ours = metadata({"f:spec": {"f:replicas": {}}}, other("kubectl-edit", "1", {"f:spec": {"f:replicas": {}}}))
    assert taken_over(ours) == [metadata({"f:spec": {"f:replicas": {}}})["managedFields"][0]]


@pytest.mark.parametrize("manager", ["helm", "argocd-controller", "before-first-apply", "kubectl-client-side-apply"])
def test_an_object_that_is_not_ours_yet_becomes_ours(manager: str) -> None:
    entry = other(manager, "1", {"f:data": {"f:a": {}}})
    found = taken_over({"managedFields": [entry]})
    assert found == [{**entry, "manager": "felloe", "operation": "Apply"}]


def test_merged_nothing_is_taken_over() -> None:
    merged = {"annotations": {"kustomize.toolkit.fluxcd.io/ssa": "Merge"}}
    by_hand = other("kubectl-edit", "1", {"f:data": {"f:more": {}}})
    assert taken_over(metadata(OURS, by_hand) | merged) is None
    assert fingerprint(metadata(OURS, by_hand) | merged) == fingerprint(metadata(OURS))
