"""Which revision a digest stood for.

A spoke tells only digests. What it has applied may be older than what is desired now, so the hub remembers the revision
of the digests that it wanted lately. The newest revision wins: a commit that changes nothing for a workload moves its
revision on without anything being sent.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Mapping
from types import MappingProxyType
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)

_NOTHING: Mapping[bytes, str] = MappingProxyType({})


class Revisions(Generic[Key]):
    """The newest revision of the last `depth` digests of each key (a cluster, or a workload on a cluster)."""

    def __init__(self, depth: int = 16) -> None:
        self._depth = depth
        self._known: dict[Key, OrderedDict[bytes, str]] = {}

    def note(self, key: Key, digest: bytes, revision: str) -> None:
        """Remember that `revision` is the newest that means `digest`; the digest longest not noted is forgotten."""
        digests = self._known.setdefault(key, OrderedDict())
        digests[digest] = revision
        digests.move_to_end(digest)
        while len(digests) > self._depth:
            digests.popitem(last=False)

    def known(self, key: Key) -> Mapping[bytes, str]:
        """Return the revisions by digest of one key, oldest first: what the facts ask for, and what can be stored."""
        return MappingProxyType(self._known[key]) if key in self._known else _NOTHING

    def forget(self, key: Key) -> None:
        """Forget a key that is gone."""
        self._known.pop(key, None)
