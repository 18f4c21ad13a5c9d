"""What a request of a spoke is about: where in its work it is when it makes this one."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from felloe.labels import SYSTEM_NAMESPACE

SERVER_SIDE_APPLY = "application/apply-patch+yaml"


class Phase(Enum):
    """A kind of request, or of what comes back in a watch."""

    DISCOVER = "discovery"
    LOAD = "records read"
    RECORD = "record written"
    FORGET = "record deleted"
    LIST = "list"
    WATCH = "watch opened"
    EVENT = "watch event"
    LOOK = "object read"
    APPLY = "object applied"
    MANAGERS = "fields taken over"
    DELETE = "object deleted"
    STORE = "generation stored"
    """No request: a statement of the transaction that makes a bundle the newest one on the spoke's disk."""


def phase_of(method: str, path: str, query: Mapping[str, str], content_type: str) -> Phase:
    """Return what a request to an API server is about."""
    namespace, name = _place(path)
    if name is None:
        return Phase.DISCOVER
    own = namespace == SYSTEM_NAMESPACE
    if method == "DELETE":
        return Phase.FORGET if own else Phase.DELETE
    if method == "GET":
        if own:
            return Phase.LOAD
        if "watch" in query:
            return Phase.WATCH
        return Phase.LOOK if name else Phase.LIST
    if own:
        return Phase.RECORD
    return Phase.APPLY if content_type == SERVER_SIDE_APPLY else Phase.MANAGERS


def _place(path: str) -> tuple[str, str | None]:
    """Return namespace and name of an API path, no name for a collection, None for what is no object at all.

    A namespace is in itself.
    """
    parts = path.strip("/").split("/")
    rest = parts[2:] if parts[0] == "api" else parts[3:] if parts[0] == "apis" else []
    if not rest:
        return "", None
    if rest[0] == "namespaces" and len(rest) > 2:
        return rest[1], rest[3] if len(rest) > 3 else ""
    if rest[0] == "namespaces" and len(rest) == 2:
        return rest[1], rest[1]
    return "", rest[1] if len(rest) > 1 else ""
