"""Pointers into objects, and into the sets of fields that managers own."""

from __future__ import annotations

import pytest

from spoke.drift.ignore import carried_over, without

CONTAINERS = [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]


@pytest.mark.parametrize(
    ("desired", "live", "pointer", "expected"),
    [
        ({"s": {"n": 2, "x": 1}}, {"s": {"n": 5, "x": 9}}, "/s/n", {"s": {"n": 5, "x": 1}}),
        ({"s": {"n": 2, "x": 1}}, {"s": {}}, "/s/n", {"s": {"x": 1}}),
        ({"spec": {"x": 1}}, {"spec": {"replicas": 5}}, "/spec/replicas", {"spec": {"x": 1}}),
        ({"data": {"a": "1"}}, {"data": {"a": "2"}}, "/data", {"data": {"a": "2"}}),
        ({"a": {"b/c~d": 1}}, {"a": {"b/c~d": 2}}, "/a/b~1c~0d", {"a": {"b/c~d": 2}}),
        (
            {"c": CONTAINERS},
            {"c": [{"name": "injected", "image": "9"}, {"name": "b", "image": "5"}]},
            "/c/1/image",
            {"c": [{"name": "a", "image": "1"}, {"name": "b", "image": "5"}]},
        ),
        ({"l": [{"v": 1}]}, {"l": [{"v": 2}]}, "/l/0/v", {"l": [{"v": 2}]}),
        ({"l": [1]}, {"l": [2]}, "/l/7/v", {"l": [1]}),
        ({"l": "text"}, {"l": {"x": 1}}, "/l/x", {"l": "text"}),
    ],
)
def test_what_is_live_is_carried_over(
    desired: dict[str, object], live: dict[str, object], pointer: str, expected: dict[str, object]
) -> None:
    assert carried_over(desired, live, [pointer]) == expected


def test_several_pointers_are_all_followed() -> None:
    assert carried_over({"a": 1, "b": 1, "c": 1}, {"a": 2, "b": 2, "c": 2}, ["/a", "/c"]) == {"a": 2, "b": 1, "c": 2}


A, B = 'k:{"name":"a"}', 'k:{"name":"b"}'
OWNED: dict[str, object] = {"f:s": {"f:n": {}, "f:c": {A: {".": {}, "f:image": {}}, B: {"f:image": {}}}}}


@pytest.mark.parametrize(
    ("pointer", "expected"),
    [
        ("/s/n", {"f:s": {"f:c": {A: {".": {}, "f:image": {}}, B: {"f:image": {}}}}}),
        ("/s/c/0/image", {"f:s": {"f:n": {}, "f:c": {A: {".": {}}, B: {"f:image": {}}}}}),
        ("/s/c/1/image", {"f:s": {"f:n": {}, "f:c": {A: {".": {}, "f:image": {}}}}}),
        ("/s", {}),
        ("/status", OWNED),
    ],
)
def test_an_owned_field_is_not_counted(pointer: str, expected: dict[str, object]) -> None:
    assert without(OWNED, {"s": {"n": 1, "c": CONTAINERS}}, [pointer]) == expected
