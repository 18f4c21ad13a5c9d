"""Which fields of which objects a workload leaves to others: rules over objects become pointers on entries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import orjson

from felloe.bundle import Entry
from felloe.digest import Digest
from hub.fleet.model import IgnoreRule
from hub.fleet.targets import matcher


def ignoring(entries: Iterable[Entry], blobs: Mapping[Digest, bytes], rules: Iterable[IgnoreRule]) -> tuple[Entry, ...]:
    """Return entries that carry the pointers of every rule that means them."""
    compiled = [(matcher(rule.target), rule.paths) for rule in rules]

    def pointers(entry: Entry) -> tuple[str, ...]:
        metadata = orjson.loads(blobs[entry.digest])["metadata"]
        paths = (paths for means, paths in compiled if means(entry.id, entry.version, metadata))
        return tuple(dict.fromkeys(path for some in paths for path in some))

    return tuple(replace(entry, ignore=pointers(entry)) for entry in entries) if compiled else tuple(entries)
