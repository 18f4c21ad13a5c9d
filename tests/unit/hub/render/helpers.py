"""What the tests of rendering share: a source in a folder, and manifests."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from hub.render.kustomize import find_kustomize
from hub.render.memo import Memo
from hub.render.render import Renderer
from hub.render.sandbox import Sandbox
from hub.sources.tree import EntryKind, TreeEntry


class FolderTree:
    """A SourceTree over a folder on disk, with the object ids that its content would have."""

    revision = "main@sha1:0000000000000000000000000000000000000000"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.was_read: list[str] = []

    def entry(self, path: str) -> TreeEntry | None:
        file = self.folder / path
        if not file.is_symlink() and not file.exists():
            return None
        kind = EntryKind.FILE
        if file.is_symlink():
            kind = EntryKind.SYMLINK
        elif file.is_dir():
            kind = EntryKind.SUBMODULE if (file / ".gitmodule").exists() else EntryKind.DIRECTORY
        elif os.access(file, os.X_OK):
            kind = EntryKind.EXECUTABLE
        if kind in {EntryKind.DIRECTORY, EntryKind.SUBMODULE}:
            content = repr([(one.name, one.kind, one.oid) for one in self.list(path)]).encode()
        else:
            content = self._content(file)
        return TreeEntry(file.name, kind, f"{hashlib.sha1(content).hexdigest()}:{path}")  # noqa: S324

    def list(self, path: str) -> list[TreeEntry]:
        folder = self.folder / path
        names = sorted(file.name for file in folder.iterdir()) if folder.is_dir() and not folder.is_symlink() else []
        entries = (self.entry(f"{path}/{name}" if path else name) for name in names)
        return [entry for entry in entries if entry is not None]

    def read(self, entry: TreeEntry) -> bytes:
        path = entry.oid.partition(":")[2]
        self.was_read.append(path)
        return self._content(self.folder / path)

    @staticmethod
    def _content(file: Path) -> bytes:
        return os.fsencode(file.readlink()) if file.is_symlink() else file.read_bytes()


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Write files; ``-> target`` makes a symbolic link."""
    for path, content in files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if content.startswith("-> "):
            file.symlink_to(content.removeprefix("-> "))
        else:
            file.write_text(content)


def config_map(name: str, **data: str) -> str:
    """A ConfigMap as YAML."""
    lines = "".join(f"  {key}: '{value}'\n" for key, value in data.items())
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n{lines or '  a: b'}\n"


async def make_renderer(data: Path, binary: Path) -> Renderer:
    """A renderer as `start_renderer` returns it, without the check that takes as long as some builds."""
    kustomize = await find_kustomize(Sandbox(), data / "builds", binary)
    return Renderer(kustomize, Memo(data / "renders"))
