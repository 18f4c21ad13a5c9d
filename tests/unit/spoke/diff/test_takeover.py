"""What a predecessor set and Git does not have goes when we apply, and only that."""

from __future__ import annotations

from spoke.diff.takeover import without_taken

Fields = dict[str, object]


def entry(manager: str, fields: Fields, operation: str = "Update") -> dict[str, object]:
    return {"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsV1": fields}


def obj(data: dict[str, object], *entries: dict[str, object]) -> dict[str, object]:
    return {"kind": "X", "metadata": {"name": "x", "managedFields": [*entries]}, "spec": data}


def spec(fields: Fields) -> Fields:
    return {"f:spec": fields}


OURS = entry("felloe", spec({"f:a": {}}), "Apply")


def test_fields_that_kubectl_set_go() -> None:
    by_hand = entry("kubectl-edit", spec({"f:a": {}, "f:b": {}, "f:c": {"f:d": {}}}))
    after = without_taken(obj({"a": 1, "b": 2, "c": {"d": 3, "e": 4}}, OURS, by_hand))
    assert after["spec"] == {"a": 1, "c": {"e": 4}}


def test_what_others_own_too_stays() -> None:
    by_hand = entry("kubectl-edit", spec({"f:b": {}, "f:whole": {"f:part": {}}}))
    other = entry("controller", spec({"f:b": {}, "f:whole": {}}))
    data: dict[str, object] = {"a": 1, "b": 2, "whole": {"part": 1}}
    assert without_taken(obj(data, OURS, by_hand, other))["spec"] == data


def test_what_was_made_as_a_whole_goes_as_a_whole() -> None:
    by_hand = entry("kubectl-edit", spec({"f:c": {".": {}, "f:d": {}}}))
    assert without_taken(obj({"a": 1, "c": {"d": 1}}, OURS, by_hand))["spec"] == {"a": 1}
    assert without_taken(obj({"a": 1, "c": {"d": 1, "e": 2}}, OURS, by_hand))["spec"] == {"a": 1, "c": {"e": 2}}


def test_items_of_lists_go_by_their_keys() -> None:
    ours = entry("felloe", spec({"f:l": {'k:{"name":"a"}': {".": {}, "f:name": {}}}}), "Apply")
    by_hand = entry(
        "kubectl-edit",
        spec(
            {
                "f:l": {
                    'k:{"name":"a"}': {"f:x": {}},
                    'k:{"name":"b"}': {".": {}, "f:name": {}},
                },
                "f:set": {'v:"one"': {}},
            }
        ),
    )
    data: dict[str, object] = {"l": [{"name": "a", "x": 1}, {"name": "b"}, {"name": "c"}], "set": ["one", "two"]}
    assert without_taken(obj(data, ours, by_hand))["spec"] == {"l": [{"name": "a"}, {"name": "c"}], "set": ["two"]}


def test_without_predecessors_nothing_is_looked_at() -> None:
    one = obj({"a": 1, "b": 2}, OURS, entry("controller", spec({"f:b": {}})))
    assert without_taken(one) is one
