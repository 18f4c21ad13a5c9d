"""The folder that a Kustomization's ``spec.path`` means inside its source."""

from __future__ import annotations

from posixpath import normpath
from typing import Final

from felloe.errors import ConfigError
from felloe.k8syaml import load_all
from hub.sources.tree import EntryKind, SourceTree

KUSTOMIZATION_FILES: Final = ("kustomization.yaml", "kustomization.yml", "Kustomization")


def folder_of(path: str) -> str | None:
    """Return a path normalized and relative to the top of the source, or None where it leads out of it.

    As in Flux an absolute path begins at the top of the source.
    """
    folder = normpath(path.strip().lstrip("/") or ".")
    if folder == ".." or folder.startswith("../") or "\0" in folder:
        return None
    return "" if folder == "." else folder


def is_folder(tree: SourceTree, folder: str) -> bool:
    """Tell whether there is a folder at a normalized path."""
    if not folder:
        return True
    entry = tree.entry(folder)
    return entry is not None and entry.kind is EntryKind.DIRECTORY


def is_empty_on_purpose(tree: SourceTree, folder: str) -> bool:
    """Tell whether a folder says itself that it holds nothing: a kustomization file with ``resources: []``."""
    for name in KUSTOMIZATION_FILES:
        entry = tree.entry(f"{folder}/{name}" if folder else name)
        if entry is None or entry.kind not in (EntryKind.FILE, EntryKind.EXECUTABLE):
            continue
        try:
            documents = load_all(tree.read(entry), file=name)
        except ConfigError:
            return False
        return any(isinstance(each.value, dict) and each.value.get("resources") == [] for each in documents)
    return False
