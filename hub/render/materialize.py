"""Writes what one build reads, and nothing else, into a folder that only the hub can open."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from felloe.errors import RenderError
from felloe.k8syaml import JsonValue, dump
from hub.render.closure import Closure
from hub.sources.tree import EntryKind, SourceTree

MAX_BYTES = 128 * 1024 * 1024
"""How much one build may read."""


def materialize(tree: SourceTree, closure: Closure, root: Mapping[str, JsonValue], folder: Path) -> None:
    """Write the closure's files and links into `folder`, with `root` as the kustomization that is built.

    Raise RenderError when the files are more than `MAX_BYTES` together.
    """
    total = 0
    for path, entry in closure.entries.items():
        if path == closure.file:
            continue
        content = tree.read(entry)
        total += len(content)
        if total > MAX_BYTES:
            raise RenderError(
                f"{closure.folder or '.'}: the build reads more than {MAX_BYTES // 1024**2} MiB; "
                "split the Kustomization"
            )
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if entry.kind is EntryKind.SYMLINK:
            target.symlink_to(content.decode(errors="replace"))
        else:
            target.write_bytes(content)
    # A file of its own even where the source has a link here: writing through it would change another kustomization.
    start = folder / closure.file
    start.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    start.write_text(dump(dict(root)), encoding="utf-8")
