"""Where a path of a kustomization leads inside a source: no further than the source's top folder, links included."""

from __future__ import annotations

import posixpath
from collections import deque
from dataclasses import dataclass, field

from felloe.errors import Place, RenderError
from hub.sources.tree import EntryKind, SourceTree, TreeEntry

_MAX_LINKS = 40
_TOP = TreeEntry("", EntryKind.DIRECTORY, "")


@dataclass(frozen=True, slots=True)
class Reference:
    """A path that somebody wrote: in which file, in which field (``resources[0]``)."""

    file: str
    field: str
    value: str

    def error(self, message: str) -> RenderError:
        """Return the error that names this place; `message` goes on after the path."""
        return RenderError(f"{Place(self.file, field=self.field)}: {self.value!r} {message}")


@dataclass(frozen=True, slots=True)
class Found:
    """What is at the end of a path: its real place, and the links that were followed on the way there."""

    path: str
    entry: TreeEntry
    links: dict[str, TreeEntry] = field(default_factory=dict)

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder (otherwise a file)."""
        return self.entry.kind is EntryKind.DIRECTORY


def join(folder: str, name: str) -> str:
    """Return the path of something in a folder; the top folder is ``""``."""
    return f"{folder}/{name}" if folder else name


def find(tree: SourceTree, folder: str, reference: Reference) -> Found:
    """Follow what `reference` says, seen from `folder`, as kustomize would: ``..`` as text first, then links.

    Raise RenderError for an absolute or impossible path, one that leaves the source, one that isn't there, a link in
    circles or out of the source, and a submodule.
    """
    if posixpath.isabs(reference.value):
        raise reference.error("is an absolute path; a build reads only its own source: write a relative path")
    if "\0" in reference.value:
        raise reference.error("holds a zero byte, which no path can")
    path = posixpath.normpath(posixpath.join(folder, reference.value))
    if path == ".." or path.startswith("../"):
        raise reference.error("leads out of the source; a build reads only its own source")
    return _Walk(tree, reference).walk(path)


class _Walk:
    """One path, followed part by part."""

    def __init__(self, tree: SourceTree, reference: Reference) -> None:
        self._tree = tree
        self._reference = reference
        self._links: dict[str, TreeEntry] = {}
        self._followed = 0

    def walk(self, path: str) -> Found:
        """Return what is there."""
        here, entry = "", _TOP
        parts = deque(path.split("/"))
        while parts:
            part = parts.popleft()
            if part in {"", "."}:
                continue
            if part == "..":
                here, entry = self._up(here)
                continue
            if entry.kind is not EntryKind.DIRECTORY:
                raise self._reference.error(f"is not there: {here} is a file, not a folder")
            child = join(here, part)
            found = self._tree.entry(child)
            if found is None:
                raise self._reference.error(f"is not there: the source has no {child}")
            if found.kind is EntryKind.SYMLINK:
                parts.extendleft(reversed(self._target(child, found).split("/")))
                continue
            if found.kind is EntryKind.SUBMODULE:
                raise self._reference.error(
                    f"is in the Git submodule {child}, which is not fetched; make it a GitRepository of its own"
                )
            here, entry = child, found
        return Found(here, entry, self._links)

    def _up(self, here: str) -> tuple[str, TreeEntry]:
        if not here:
            raise self._reference.error("follows a symbolic link out of the source")
        parent = posixpath.dirname(here)
        return parent, (self._tree.entry(parent) if parent else None) or _TOP

    def _target(self, path: str, entry: TreeEntry) -> str:
        self._followed += 1
        if self._followed > _MAX_LINKS:
            raise self._reference.error(f"follows symbolic links in a circle (at {path})")
        target = self._tree.read(entry).decode(errors="replace")
        if posixpath.isabs(target):
            raise self._reference.error(f"follows the symbolic link {path} to an absolute path; make it relative")
        self._links[path] = entry
        return target
