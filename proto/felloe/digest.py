"""Canonical JSON and its digest: the same object has the same bytes on the hub and on every spoke."""

from __future__ import annotations

import hashlib
from typing import NewType

import orjson

Digest = NewType("Digest", bytes)
"""A sha256, 32 bytes."""


def canonical_json(value: object) -> bytes:
    """Return the one JSON text of a value: keys sorted by code point, no blanks, UTF-8.

    orjson over-allocates what it returns; the copy lets a kept result hold only its own size.
    """
    return bytes(memoryview(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)))


def digest(data: bytes) -> Digest:
    """Return the sha256 of some bytes."""
    return Digest(hashlib.sha256(data).digest())


def short(value: bytes) -> str:
    """Return a digest as people see it: its first twelve hexadecimal digits."""
    return value.hex()[:12]
