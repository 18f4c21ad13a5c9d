"""Refusals without what a Secret holds: the API server may quote it, and so may the webhooks and policies that it asks.

What was sent is known. What is in the cluster is not, for of a Secret the spoke watches the metadata alone: it is read
where somebody refused who was shown it.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Final

import orjson

from felloe.errors import KubernetesError
from spoke.kube.errors import NOT_FOUND

Json = Mapping[str, object]

_OF_A_SECRET: Final = re.compile(r"/api/v1/namespaces/[^/]+/secrets(/[^/]+)?")
_DENIED: Final = re.compile(r"denied (the )?request\b")
"""In what words the API server tells that a webhook, or a policy of its own, refused; what they say comes after."""


async def discreet(
    error: KubernetesError, path: str, body: bytes | None, read: Callable[[str], Awaitable[Json]]
) -> KubernetesError:
    """Return the refusal of a request, or where that is about a Secret, one that quotes no value of it.

    `read` returns what is at a path.
    """
    about = _OF_A_SECRET.fullmatch(path)
    if about is None:
        return error
    message = without_values(str(error), _sent(body))
    denied = _DENIED.search(message) if about[1] else None
    if denied is not None:
        try:
            message = without_values(message, await read(path))
        except KubernetesError as unread:
            if unread.status != NOT_FOUND:
                message = f"{message[: denied.end()]} (its words may quote the Secret, which can't be read: {unread})"
    if message == str(error):
        return error
    return KubernetesError(message, status=error.status, reason=error.reason, causes=error.causes)


def _sent(body: bytes | None) -> Json:
    sent = orjson.loads(body) if body else None
    return sent if isinstance(sent, dict) else {}


def without_values(message: str, secret: Json) -> str:
    """Return a message without the values of a Secret: as they are, decoded, or as Go writes them (%q)."""
    texts: set[str] = set()
    for value in (*_leaves(secret.get("data")), *_leaves(secret.get("stringData"))):
        for text in (value, _decoded(value)):
            texts |= {text, orjson.dumps(text).decode()[1:-1]}
    for text in sorted(texts - {""}, key=len, reverse=True):
        message = message.replace(text, "***")
    return message


def _leaves(value: object) -> Iterator[str]:
    """Yield all that a value holds, but for the names of its fields, as text."""
    if isinstance(value, dict):
        for below in value.values():
            yield from _leaves(below)
    elif isinstance(value, list):
        for below in value:
            yield from _leaves(below)
    elif value is not None:
        yield value if isinstance(value, str) else orjson.dumps(value).decode()


def _decoded(value: str) -> str:
    try:
        return base64.b64decode(value, validate=True).decode()
    except ValueError:
        return ""
