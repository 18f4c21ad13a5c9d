"""The content of a checkout that somebody sent as a tar archive: a `SourceTree` that is in no repository.

What comes here is hostile until shown otherwise: bounded in size, number and depth, with no way out of the tree, and
read in one pass. What it shares with a revision that the hub has keeps that revision's object ids, so that nothing is
built again; but only where every byte is the same, for an id alone (SHA-1) could be made to fit.
"""

from __future__ import annotations

import hashlib
import io
import posixpath
import tarfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Final

from felloe.errors import ConfigError
from hub.sources.tree import EntryKind, SourceTree, TreeEntry

MAX_BYTES: Final = 128 * 1024 * 1024
"""Of all files together, unpacked."""
MAX_ENTRIES: Final = 50_000
MAX_DEPTH: Final = 100
MAX_PATH: Final = 4096
_CHUNK: Final = 1 << 16
_OWN: Final = "sha256:"
_GZIP: Final = b"\x1f\x8b"
_LARGEST_HEADER: Final = 16 * 1024 * 1024
_MODES: Final[Mapping[EntryKind, bytes]] = {
    EntryKind.FILE: b"100644",
    EntryKind.EXECUTABLE: b"100755",
    EntryKind.SYMLINK: b"120000",
    EntryKind.DIRECTORY: b"40000",
}
"""As Git writes them into a folder (gitformat-tree(5))."""


@dataclass(slots=True)
class _Folder:
    """A folder while it is read."""

    folders: dict[str, _Folder] = field(default_factory=dict)
    files: dict[str, tuple[EntryKind, bytes]] = field(default_factory=dict)


class ArchiveTree:
    """The `SourceTree` of an archive; all of it is in memory."""

    def __init__(self, top: _Folder, base: SourceTree | None) -> None:
        self._base = base
        self._folders: dict[str, dict[str, TreeEntry]] = {}
        self._content: dict[str, bytes] = {}
        self._top = TreeEntry("", EntryKind.DIRECTORY, self._take(top, ""))
        self._base = None

    @property
    def revision(self) -> str:
        """Return what names the content as a revision would: ``local:`` and a digest."""
        return f"local:{hashlib.sha256(self._top.oid.encode()).hexdigest()[:40]}"

    def entry(self, path: str) -> TreeEntry | None:
        """Return what is at `path`, or None."""
        if not path:
            return self._top
        folder, _, name = path.rpartition("/")
        return self._folders.get(folder, {}).get(name)

    def list(self, path: str) -> Sequence[TreeEntry]:
        """Return what a folder holds, sorted by name; empty where `path` is no folder."""
        return tuple(self._folders.get(path, {}).values())

    def read(self, entry: TreeEntry) -> bytes:
        """Return the content of a file, or the target of a symlink."""
        return self._content[entry.oid]

    def _take(self, folder: _Folder, path: str) -> str:
        """Take a folder up and return its id."""
        entries: dict[str, TreeEntry] = {}
        for name, below in folder.folders.items():
            oid = self._take(below, posixpath.join(path, name))
            if self._folders[posixpath.join(path, name)]:  # as in Git there is no empty folder
                entries[name] = TreeEntry(name, EntryKind.DIRECTORY, oid)
        for name, (kind, content) in folder.files.items():
            entry = TreeEntry(name, kind, self._id(posixpath.join(path, name), kind, content))
            self._content[entry.oid] = content
            entries[name] = entry
        self._folders[path] = dict(sorted(entries.items()))
        return _folder_id(entries.values())

    def _id(self, path: str, kind: EntryKind, content: bytes) -> str:
        known = self._base.entry(path) if self._base else None
        alike = known is not None and known.kind is kind and known.oid == _git_id(b"blob", content)
        if alike and self._base and known and self._base.read(known) == content:
            return known.oid
        return f"{_OWN}{hashlib.sha256(content).hexdigest()}"


def read_archive(packed: bytes, base: SourceTree | None = None) -> ArchiveTree:
    """Return the tree of a tar archive, compressed by gzip or not; `base` is a revision that it may share files with.

    Raise ConfigError for what is no such archive, leads out of its top folder, or is too much.
    """
    top = _Folder()
    number = size = 0
    try:
        with tarfile.open(fileobj=_Unpacked(packed), mode="r|", bufsize=_CHUNK, errorlevel=2) as archive:
            for member in archive:
                number += 1
                size += member.size
                if number > MAX_ENTRIES or size > MAX_BYTES:
                    raise _too_much()
                _add(top, member, archive)
    except (tarfile.TarError, EOFError, ValueError, OverflowError, RecursionError, zlib.error) as error:
        raise ConfigError(f"what was sent is no tar archive that can be read: {error}") from None
    return ArchiveTree(top, base)


class _Unpacked(io.RawIOBase):
    """What is in gzip, or not, as a stream that can't go on forever."""

    def __init__(self, packed: bytes) -> None:
        self._packed = memoryview(packed)
        self._unpack = zlib.decompressobj(wbits=31) if packed[:2] == _GZIP else None
        self._at = self._out = 0
        self._left = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        size = _CHUNK if size < 0 else size
        data = self._more(size)
        self._out += len(data)
        if self._out > MAX_BYTES + _LARGEST_HEADER:
            raise _too_much()
        return data

    def _more(self, size: int) -> bytes:
        if self._unpack is None:
            data = bytes(self._packed[self._at : self._at + size])
            self._at += len(data)
            return data
        while not self._unpack.eof:
            feed = self._left or bytes(self._packed[self._at : self._at + _CHUNK])
            if not self._left:
                self._at += len(feed)
            data = self._unpack.decompress(feed, size)
            self._left = self._unpack.unconsumed_tail
            if data:
                return data
            if not feed:
                raise EOFError("it ends in the middle")
        return b""


def _add(top: _Folder, member: tarfile.TarInfo, archive: tarfile.TarFile) -> None:
    path = _path(member.name)
    if member.isdir():
        if path:
            _folder(top, path.split("/"), path)
        return
    if not path:
        raise ConfigError("the archive holds a file without a name")
    if member.issym():
        kind, content = EntryKind.SYMLINK, _target(path, member.linkname)
    elif member.isreg() and not member.issparse():
        file = archive.extractfile(member)
        content = _read(file, member.size) if file else b""
        kind = EntryKind.EXECUTABLE if member.mode & 0o111 else EntryKind.FILE
    else:
        raise ConfigError(f"{path!r} is neither a file nor a folder nor a symbolic link: leave it out")
    *folders, name = path.split("/")
    folder = _folder(top, folders, path)
    if name in folder.folders:
        raise ConfigError(f"{path!r} is in the archive both as a file and as a folder")
    folder.files[name] = kind, content


def _folder(top: _Folder, names: Sequence[str], path: str) -> _Folder:
    here = top
    for name in names:
        if name in here.files:
            raise ConfigError(f"{path!r} is in the archive below a file")
        here = here.folders.setdefault(name, _Folder())
    return here


def _path(name: str) -> str:
    """Return a name in the archive as a path of a tree; empty for the top folder."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    bad = name.startswith("/") or ".." in parts or "\0" in name or any(part.casefold() == ".git" for part in parts)
    if bad:
        raise ConfigError(f"{name[:200]!r} in the archive is no path inside of a checkout (.git is to be left out)")
    if len(name) > MAX_PATH or len(parts) > MAX_DEPTH:
        raise ConfigError(f"{name[:200]!r} … in the archive is too long or too deep")
    return "/".join(parts)


def _target(path: str, target: str) -> bytes:
    """Return the target of a symbolic link; one that leads out of the tree is refused."""
    reached = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    if target.startswith("/") or reached == ".." or reached.startswith("../") or "\0" in target:
        raise ConfigError(f"{path!r} is a symbolic link out of the checkout: leave it out")
    return target.encode(errors="surrogateescape")


def _read(file: IO[bytes], size: int) -> bytes:
    content = file.read()
    if len(content) != size:
        raise tarfile.ReadError("it ends in the middle of a file")
    return content


def _too_much() -> ConfigError:
    return ConfigError(
        f"the archive is larger than a checkout may be: {MAX_ENTRIES:,} files, {MAX_BYTES // 1024**2} MiB unpacked"
    )


def _git_id(kind: bytes, content: bytes) -> str:
    return hashlib.sha1(kind + b" %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _folder_id(entries: Iterable[TreeEntry]) -> str:
    """Return Git's id of a folder where all in it is known by Git's ids, else one of its own."""
    listed = sorted(entries, key=_git_order)
    if any(entry.oid.startswith(_OWN) for entry in listed):
        shown = "".join(f"{entry.kind.value} {entry.oid} {entry.name}\0" for entry in listed)
        return _OWN + hashlib.sha256(shown.encode(errors="surrogateescape")).hexdigest()
    return _git_id(b"tree", b"".join(map(_git_row, listed)))


def _git_order(entry: TreeEntry) -> bytes:
    return _name(entry) + (b"/" if entry.kind is EntryKind.DIRECTORY else b"")


def _git_row(entry: TreeEntry) -> bytes:
    return _MODES[entry.kind] + b" " + _name(entry) + b"\0" + bytes.fromhex(entry.oid)


def _name(entry: TreeEntry) -> bytes:
    return entry.name.encode(errors="surrogateescape")
