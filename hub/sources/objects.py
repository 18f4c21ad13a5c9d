"""Reading revisions out of a repository on disk: trees and files by object id, safely from several threads.

Nothing is checked out. Parsed folders are kept (bounded), because every look at a path walks them from the top; the
files are not, because rendering reads each only when its id is new.
"""

from __future__ import annotations

import threading
import zlib
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from stat import S_ISDIR, S_ISLNK

from dulwich.errors import ChecksumMismatch, NotCommitError, ObjectFormatException
from dulwich.objects import S_ISGITLINK, Commit, ObjectID, ShaFile, Tag, parse_tree
from dulwich.repo import Repo

from felloe.errors import SourceError
from hub.sources.tree import EntryKind, TreeEntry

_FOLDERS_KEPT = 8192
_TREE, _BLOB = 2, 3
_TAGS_IN_TAGS = 8
_BODY_KEPT = 4096
MAX_PATHS = 1_000_000
MAX_FOLDERS = 100_000
MAX_DEPTH = 200
"""What a commit may have of paths and folders, each counted as often as it can be reached, and how deep they nest."""


class DamagedRepositoryError(SourceError):
    """An object that has to be in the mirror is missing or broken; the mirror is to be fetched anew."""


@dataclass(frozen=True, slots=True)
class CommitInfo:
    """What people see of a commit: id, author as ``Name <mail>``, first line of the message, committer time (UTC).

    `body` is the rest of the message, its last 4 KiB: where trailers are. `parents` are ids, empty where nobody asked.
    """

    id: str
    author: str
    subject: str
    committed_at: datetime
    body: str = ""
    parents: tuple[str, ...] = ()


class ObjectReader:
    """Reads the objects of one bare repository. dulwich seeks in shared files, so one lock serves all readers."""

    def __init__(self, path: Path) -> None:
        self._repo = Repo(str(path))
        self._lock = threading.Lock()
        self._folders: OrderedDict[str, dict[str, TreeEntry]] = OrderedDict()

    def close(self) -> None:
        """Close the files of the repository."""
        with self._lock:
            self._repo.close()

    def has(self, oid: str) -> bool:
        """Say whether an object is there."""
        with self._lock:
            return ObjectID(oid.encode()) in self._repo.object_store

    def folder(self, oid: str) -> dict[str, TreeEntry]:
        """Return the entries of a folder, sorted by name.

        Raises `SourceError` for a folder with a name that no file system should ever see (as git's fsckObjects does),
        and `DamagedRepositoryError`.
        """
        with self._lock:
            found = self._folders.get(oid)
            if found is not None:
                self._folders.move_to_end(oid)
                return found
            raw = self._raw(oid, _TREE)
            try:
                entries = [_entry(name, mode, sha) for name, mode, sha in parse_tree(raw, 20)]
            except ObjectFormatException as error:
                raise SourceError(f"folder {oid} of the repository is malformed: {error}") from error
            found = {entry.name: entry for entry in sorted(entries, key=lambda entry: entry.name)}
            self._folders[oid] = found
            if len(self._folders) > _FOLDERS_KEPT:
                self._folders.popitem(last=False)
            return found

    def blob(self, oid: str) -> bytes:
        """Return the content of a file; raises `DamagedRepositoryError`."""
        with self._lock:
            return self._raw(oid, _BLOB)

    def commit(self, oid: str) -> CommitInfo:
        """Return what people see of a commit; raises `SourceError`."""
        commit = self._commit(oid)
        message = commit.message.decode(errors="replace").strip()
        subject, _, body = message.partition("\n")
        return CommitInfo(
            id=oid,
            author=commit.author.decode(errors="replace"),
            subject=subject.rstrip(),
            committed_at=datetime.fromtimestamp(commit.commit_time, UTC),
            body=body.strip()[-_BODY_KEPT:],
            parents=tuple(str(each, "ascii") for each in commit.parents),
        )

    def tree_of(self, commit: str) -> str:
        """Return the id of the top folder of a commit; raises `SourceError`."""
        return str(self._commit(commit).tree, "ascii")

    def peel(self, oid: str) -> str:
        """Follow annotated tags to the commit they name; raises `SourceError` if they name something else."""
        for _ in range(_TAGS_IN_TAGS):
            with self._lock:
                found = self._object(oid)
            if isinstance(found, Commit):
                return oid
            if not isinstance(found, Tag):
                break
            oid = found.object[1].decode()
        raise SourceError(f"the ref names {oid}, which is no commit")

    def check_complete(self, commit: str) -> None:
        """Raise unless all folders of a commit are sound, all its files are there, and its paths are not absurdly many.

        Blobs are only looked up, not read. Folders read here stay in the cache for the render that follows. A few
        folders that hold each other many times over are more paths than anybody can walk, so paths are counted.
        """
        level = Counter([self.tree_of(commit)])
        seen: set[str] = set()
        paths = folders = depth = 0
        while level:
            below: Counter[str] = Counter()
            for oid, times in level.items():
                for entry in self.folder(oid).values():
                    paths += times
                    if entry.kind is EntryKind.DIRECTORY:
                        below[entry.oid] += times
                    elif entry.kind is not EntryKind.SUBMODULE and entry.oid not in seen:
                        seen.add(entry.oid)
                        self._require(entry.oid, commit)
            level, folders, depth = below, folders + below.total(), depth + 1
            if paths > MAX_PATHS or folders > MAX_FOLDERS or depth > MAX_DEPTH:
                raise SourceError(
                    f"commit {commit} is larger than a source may be: {MAX_PATHS:,} paths, {MAX_FOLDERS:,} folders,"
                    f" {MAX_DEPTH} folders deep"
                )

    def reach(self, commit: str) -> Iterator[str]:
        """Yield the ids of a commit and of everything in it, each once; raises what `folder` raises."""
        top = self.tree_of(commit)
        yield commit
        seen, open_ = {top}, [top]
        while open_:
            oid = open_.pop()
            yield oid
            for entry in self.folder(oid).values():
                if entry.kind is EntryKind.SUBMODULE or entry.oid in seen:
                    continue
                seen.add(entry.oid)
                if entry.kind is EntryKind.DIRECTORY:
                    open_.append(entry.oid)
                else:
                    yield entry.oid

    def object(self, oid: str) -> ShaFile:
        """Return an object as Git has it; raises `DamagedRepositoryError`."""
        with self._lock:
            return self._object(oid)

    def _require(self, oid: str, commit: str) -> None:
        if not self.has(oid):
            raise DamagedRepositoryError(f"object {oid} of commit {commit} is missing in the mirror")

    def _commit(self, oid: str) -> Commit:
        with self._lock:
            found = self._object(oid)
        if not isinstance(found, Commit):
            raise SourceError(f"{oid} is no commit")
        return found

    def _object(self, oid: str) -> ShaFile:
        try:
            return self._repo.object_store[ObjectID(oid.encode())]
        except (KeyError, ValueError, OSError, AssertionError, zlib.error, ChecksumMismatch, NotCommitError) as error:
            raise DamagedRepositoryError(f"object {oid} is missing or broken in the mirror") from error

    def _raw(self, oid: str, kind: int) -> bytes:
        try:
            found, raw = self._repo.object_store.get_raw(ObjectID(oid.encode()))
        except (KeyError, ValueError, OSError, AssertionError, zlib.error, ChecksumMismatch) as error:
            raise DamagedRepositoryError(f"object {oid} is missing or broken in the mirror") from error
        if found != kind:
            raise SourceError(f"object {oid} of the repository is not of the kind that its folder says")
        return raw


class GitTree:
    """The `SourceTree` of one commit."""

    __slots__ = ("_keep", "_reader", "_revision", "_top")

    def __init__(self, reader: ObjectReader, commit: str, revision: str, keep: object = None) -> None:
        self._reader = reader
        self._revision = revision
        self._keep = keep
        self._top = TreeEntry("", EntryKind.DIRECTORY, reader.tree_of(commit))

    @property
    def revision(self) -> str:
        """The revision as Flux writes it."""
        return self._revision

    def entry(self, path: str) -> TreeEntry | None:
        """Return what is at `path`; a path with empty parts, ``.`` or ``..`` is nowhere, and no symlink is followed."""
        entry: TreeEntry | None = self._top
        for part in path.split("/") if path else ():
            if entry is None or entry.kind is not EntryKind.DIRECTORY:
                return None
            entry = self._reader.folder(entry.oid).get(part)
        return entry

    def list(self, path: str) -> Sequence[TreeEntry]:
        """Return what a folder holds, sorted by name; empty where `path` is no folder."""
        entry = self.entry(path)
        if entry is None or entry.kind is not EntryKind.DIRECTORY:
            return ()
        return tuple(self._reader.folder(entry.oid).values())

    def read(self, entry: TreeEntry) -> bytes:
        """Return the content of a file, or the target of a symlink; raises `SourceError` for a folder or submodule."""
        if entry.kind in (EntryKind.DIRECTORY, EntryKind.SUBMODULE):
            raise SourceError(f"{entry.name!r} is a {entry.kind.value}, not a file")
        return self._reader.blob(entry.oid)


def _entry(raw_name: bytes, mode: int, sha: bytes) -> TreeEntry:
    name = raw_name.decode("utf-8", "surrogateescape")
    if name in ("", ".", "..") or "/" in name or name.casefold() == ".git":
        raise SourceError(
            f"the repository holds a file named {name!r}, which git itself refuses; remove it from the repository"
        )
    if S_ISGITLINK(mode):
        kind = EntryKind.SUBMODULE
    elif S_ISDIR(mode):
        kind = EntryKind.DIRECTORY
    elif S_ISLNK(mode):
        kind = EntryKind.SYMLINK
    else:
        kind = EntryKind.EXECUTABLE if mode & 0o111 else EntryKind.FILE
    return TreeEntry(name, kind, sha.decode())
