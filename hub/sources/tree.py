"""The content of one revision of a source, as every later step sees it.

A tree is read-only and lazy: nothing is checked out. Rendering copies just the files that a build needs, and knows by
their object ids whether any of them changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol


class EntryKind(Enum):
    """What a path is; anything else that Git can hold (a submodule) counts as `SUBMODULE` and is never followed."""

    FILE = "file"
    EXECUTABLE = "executable"
    SYMLINK = "symlink"
    DIRECTORY = "directory"
    SUBMODULE = "submodule"


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """One path of a tree. `oid` names its content: equal ids, equal content (for a directory, of all below it)."""

    name: str
    kind: EntryKind
    oid: str


class SourceTree(Protocol):
    """Read-only content of one revision. Paths are relative, ``/``-separated, normalized; ``""`` is the top folder."""

    @property
    def revision(self) -> str:
        """The revision as Flux writes it: ``main@sha1:<commit>``, ``v1.2.0@sha1:<commit>`` or ``sha1:<commit>``."""
        ...

    def entry(self, path: str) -> TreeEntry | None:
        """Return what is at `path` (symlinks are not followed), or None."""
        ...

    def list(self, path: str) -> Sequence[TreeEntry]:
        """Return what a folder holds, sorted by name; empty where `path` is no folder."""
        ...

    def read(self, entry: TreeEntry) -> bytes:
        """Return the content of a file, or the target of a symlink."""
        ...
