"""Which deletions are many: what a spoke asks a person about, and what the hub foretells of a commit."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Final

from felloe.identity import ObjectId

FEW: Final = 10
"""Fewer objects than this are deleted without a question."""

_GENERATED: Final = re.compile(r"-[2456789bcdfghkmt]{10}\Z")
"""The suffix that kustomize gives to what its generators make, by its content (kustomize, api/hasher)."""


def too_many(count: int, total: int, limit: float) -> bool:
    """Tell whether `count` of a workload's `total` objects are more than the share `limit` allows at once."""
    return count >= FEW and count > limit * total


def replaced(doomed: Collection[ObjectId], wanted: Collection[ObjectId]) -> dict[ObjectId, ObjectId]:
    """Return the generated ConfigMaps and Secrets that go because their content changed, with who follows each."""
    successors = {_base(identity): identity for identity in _generated(wanted)}
    return {each: successors[_base(each)] for each in _generated(doomed) if _base(each) in successors}


def _base(identity: ObjectId) -> ObjectId:
    return identity._replace(name=_GENERATED.sub("", identity.name))


def _generated(identities: Collection[ObjectId]) -> Iterator[ObjectId]:
    for identity in identities:
        if identity[:2] in (("", "ConfigMap"), ("", "Secret")) and _GENERATED.search(identity.name):
            yield identity
