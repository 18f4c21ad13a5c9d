"""Two states of an object, field by field: lists with keys of their own, texts of many lines, and what is too large."""

from __future__ import annotations

from typing import Any

import pytest

from hub.changes.fields import compare
from hub.changes.model import FieldChange, Operation

ADD, REMOVE, REPLACE, REORDER = Operation.ADD, Operation.REMOVE, Operation.REPLACE, Operation.REORDER


def told(before: Any, after: Any) -> list[tuple[str, Operation, object, object]]:
    return [(each.path, each.operation, each.before, each.after) for each in compare(before, after)]


def containers(*items: dict[str, Any]) -> dict[str, Any]:
    return {"spec": {"template": {"spec": {"containers": list(items)}}}}


WEB: dict[str, Any]
LOG: dict[str, Any]
WEB, LOG = {"name": "web", "image": "web:1"}, {"name": "log", "image": "log:1"}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"a": {"b": 1}}, {"a": {"b": 1}}, []),
        ({"a": 1}, {"a": 2}, [("a", REPLACE, 1, 2)]),
        ({"a": 1}, {"a": True}, [("a", REPLACE, 1, True)]),
        ({"a": 1}, {"a": "1"}, [("a", REPLACE, 1, "1")]),
        ({"a": {"x": 1}}, {"a": [1]}, [("a", REPLACE, {"x": 1}, [1])]),
        ({}, {"a": {"b": 1}}, [("a", ADD, None, {"b": 1})]),
        ({"a": None}, {}, [("a", REMOVE, None, None)]),
        ({"labels": {"a.b/c": "1"}}, {"labels": {"a.b/c": "2"}}, [('labels["a.b/c"]', REPLACE, "1", "2")]),
        ({"args": ["a", "b"]}, {"args": ["a", "c"]}, [("args[1]", REPLACE, "b", "c")]),
        ({"args": ["a", "c"]}, {"args": ["a", "b", "c"]}, [("args[1]", ADD, None, "b")]),
        ({"args": ["a", "b", "c"]}, {"args": ["c"]}, [("args[0]", REMOVE, "a", None), ("args[1]", REMOVE, "b", None)]),
    ],
)
def test_fields(before: object, after: object, expected: list[object]) -> None:
    assert told(before, after) == expected


def test_an_item_that_comes_first_leaves_the_others_as_they_are() -> None:
    path = "spec.template.spec.containers"
    assert told(containers(WEB), containers(LOG, WEB)) == [(f"{path}[name=log]", ADD, None, LOG)]
    assert told(containers(WEB, LOG), containers({**WEB, "image": "web:2"}, LOG)) == [
        (f"{path}[name=web].image", REPLACE, "web:1", "web:2")
    ]
    assert told(containers(WEB, LOG), containers(LOG, WEB)) == [
        (path, REORDER, ["name=web", "name=log"], ["name=log", "name=web"])
    ]


@pytest.mark.parametrize(
    ("field", "before", "after", "path"),
    [
        ("volumeMounts", {"mountPath": "/a", "name": "x"}, {"mountPath": "/a", "name": "y"}, "[mountPath=/a].name"),
        ("ports", {"containerPort": 80, "hostPort": 1}, {"containerPort": 80, "hostPort": 2},
         "[containerPort=80].hostPort"),
        ("ports", {"port": 53, "protocol": "UDP", "targetPort": 1}, {"port": 53, "protocol": "UDP", "targetPort": 2},
         "[port=53,protocol=UDP].targetPort"),
        ("hostAliases", {"ip": "1.1.1.1", "hostnames": ["a"]}, {"ip": "1.1.1.1", "hostnames": ["b"]},
         "[ip=1.1.1.1].hostnames[0]"),
        ("rules", {"verbs": ["get"]}, {"verbs": ["list"]}, "[1].verbs[0]"),
    ],
)  # fmt: skip
def test_items_are_told_apart_by_the_keys_of_their_list(
    field: str, before: dict[str, Any], after: dict[str, Any], path: str
) -> None:
    other: dict[str, Any] = {
        "volumeMounts": {"mountPath": "/z"}, "hostAliases": {"ip": "9.9.9.9"}, "rules": {"verbs": ["watch"]},
    }.get(field, {"containerPort": 99, "port": 99, "protocol": "TCP"})  # type: ignore[assignment]  # fmt: skip
    (change,) = compare({field: [other, before]}, {field: [other, after]})
    assert change.path == f"{field}{path}"


def test_names_that_are_there_twice_are_no_keys() -> None:
    twice = [WEB, WEB]
    assert told({"env": twice}, {"env": [WEB, {**WEB, "image": "web:2"}]}) == [
        ("env[1].image", REPLACE, "web:1", "web:2")
    ]


def test_a_text_of_many_lines_is_told_by_the_lines_that_differ() -> None:
    before = "".join(f"line {number}\n" for number in range(100))
    (change,) = compare({"data": {"file": before}}, {"data": {"file": before.replace("line 50\n", "other\n")}})
    assert (change.path, change.before, change.after) == ("data.file", None, None)
    assert "-line 50\n+other\n" in change.diff
    assert change.diff.count("\n") == 9


def test_what_is_too_large_is_told_by_its_size() -> None:
    (change,) = compare({"a": "x"}, {"a": "y" * 100_000})
    assert change.after == "(100,002 bytes)"
    (change,) = compare({"a": "x\n"}, {"a": "\n".join(map(str, range(100_000)))})
    assert len(change.diff) < 10_000
    assert "more lines are left out" in change.diff


def test_what_nests_very_deep_is_compared_as_a_whole() -> None:
    before: Any = 1
    after: Any = 2
    for _ in range(300):
        before, after = {"a": before}, {"a": after}
    (change,) = compare(before, after)
    assert change.path.count(".") == 99


def test_steps_are_the_keys_with_a_star_for_items() -> None:
    (change,) = compare(containers(WEB), containers({**WEB, "image": "web:2"}))
    assert change == FieldChange(
        "spec.template.spec.containers[name=web].image", REPLACE, "web:1", "web:2",
        steps=("spec", "template", "spec", "containers", "*", "image"),
    )  # fmt: skip
