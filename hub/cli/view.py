"""Reading the hub's JSON: what is missing, or is of another type, counts as empty.

A command line may be older or newer than the hub; a field that it doesn't find is a blank, not a crash.
"""

from __future__ import annotations

from collections.abc import Mapping

from felloe.k8syaml import JsonValue

Json = Mapping[str, JsonValue]
"""A JSON object."""

_NOTHING: Json = {}
_CONTROL = dict.fromkeys([*range(0x09), *range(0x0B, 0x20), *range(0x7F, 0xA0)], "\ufffd")
"""All control characters but tab and line break: commits, API servers and spokes must not steer a terminal."""


def harmless(shown: str) -> str:
    """Return a text without what a terminal would obey."""
    return shown.translate(_CONTROL)


def dig(value: JsonValue | Json, *path: str) -> JsonValue | Json:
    """Return what is at the end of a path of keys, None where it breaks off."""
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def text(value: JsonValue | Json, *path: str) -> str:
    """Return the text at a path, harmless for a terminal; empty where there is none."""
    found = dig(value, *path)
    return harmless(found) if isinstance(found, str) else ""


def number(value: JsonValue | Json, *path: str) -> int:
    """Return the whole number at a path, 0 where there is none."""
    found = dig(value, *path)
    return found if isinstance(found, int) and not isinstance(found, bool) else 0


def flag(value: JsonValue | Json, *path: str) -> bool:
    """Say whether true is at a path."""
    return dig(value, *path) is True


def mapping(value: JsonValue | Json, *path: str) -> Json:
    """Return the object at a path, an empty one where there is none."""
    found = dig(value, *path)
    return found if isinstance(found, Mapping) else _NOTHING


def objects(value: JsonValue | Json, *path: str) -> list[Json]:
    """Return the objects of the list at a path."""
    found = dig(value, *path)
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def texts(value: JsonValue | Json, *path: str) -> list[str]:
    """Return the texts of the list at a path, harmless for a terminal."""
    found = dig(value, *path)
    return [harmless(one) for one in found if isinstance(one, str)] if isinstance(found, list) else []


def condition(resource: Json, kind: str) -> Json:
    """Return a resource's condition of one type."""
    return next((one for one in objects(resource, "status", "conditions") if one.get("type") == kind), _NOTHING)


def full_name(resource: Json) -> str:
    """Return NAMESPACE/NAME, or NAME for what has no namespace."""
    namespace, name = text(resource, "metadata", "namespace"), text(resource, "metadata", "name")
    return f"{namespace}/{name}" if namespace else name
