"""What is told of a refusal that quotes a Secret."""

from __future__ import annotations

import json
from typing import Any

import pytest

from felloe.errors import KubernetesError
from spoke.kube.discretion import discreet

SECRET = "/api/v1/namespaces/shop/secrets/login"
SENT: dict[str, Any] = {"kind": "Secret", "data": {"password": "aHVudGVyMg==", "number": 12345, "empty": ""}}
LIVE: dict[str, object] = {"kind": "Secret", "data": {"password": "YmF0dGVyeQ=="}}


async def told(message: str, path: str = SECRET, unread: KubernetesError | None = None) -> str:
    """Return what is told of a refusal; `unread` is what keeps us from reading what is live."""

    async def read(asked: str) -> dict[str, object]:
        assert asked == path
        if unread is not None:
            raise unread
        return LIVE

    error = KubernetesError(message, status=403, reason="Forbidden")
    found = await discreet(error, path, json.dumps(SENT).encode(), read)
    assert (found.status, found.reason) == (403, "Forbidden")
    return str(found)


async def test_what_was_sent_is_left_out_in_every_spelling() -> None:
    message = "data.number: expected string, got 12345; hunter2 or aHVudGVyMg== is wrong"
    assert await told(message) == "data.number: expected string, got ***; *** or *** is wrong"
    assert await told(message, "/api/v1/namespaces/shop/secrets") == await told(message)
    assert await told(message, "/api/v1/namespaces/shop/configmaps/secrets") == message


@pytest.mark.parametrize("says", ["denied the request", "denied request"])
async def test_what_is_live_is_left_out_where_somebody_was_shown_it(says: str) -> None:
    assert await told(f"the hook {says}: battery, YmF0dGVyeQ== or hunter2") == f"the hook {says}: ***, *** or ***"


async def test_where_what_is_live_can_not_be_read_nothing_is_quoted() -> None:
    refused = await told("the hook denied the request: battery", unread=KubernetesError("no right to get", status=403))
    assert refused == (
        "the hook denied the request (its words may quote the Secret, which can't be read: no right to get)"
    )
    gone = await told("the hook denied the request: a Secret needs an owner", unread=KubernetesError("", status=404))
    assert gone == "the hook denied the request: a Secret needs an owner"
