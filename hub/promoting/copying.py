"""The commit that makes one folder of a repository what another one was: new folders along one path, nothing else.

Files are not read: Git names them by their content, and the repository has them all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from dulwich.objects import Commit, ObjectID, ShaFile, Tree

from felloe.errors import SourceError
from hub.sources.tree import EntryKind, SourceTree, TreeEntry

_MODES: Final = {
    EntryKind.FILE: 0o100644,
    EntryKind.EXECUTABLE: 0o100755,
    EntryKind.SYMLINK: 0o120000,
    EntryKind.DIRECTORY: 0o040000,
    EntryKind.SUBMODULE: 0o160000,
}


@dataclass(frozen=True, slots=True)
class Signature:
    """Who makes a commit, and when (seconds since the epoch)."""

    name: str
    email: str
    at: float


def copy_folder(verified: SourceTree, source: str, onto: SourceTree, target: str) -> Sequence[Tree] | None:
    """Return the new folders of `onto`, the top one last, in which `target` is what `source` is in `verified`.

    None where it is so already. Raise `SourceError` where there is no such folder, or something else is in the way.
    """
    found = verified.entry(source)
    if found is None or found.kind is not EntryKind.DIRECTORY:
        raise SourceError(f"there is no folder {source} at {verified.revision}, so nothing can be copied from it")
    there = onto.entry(target)
    if there is not None and (there.kind, there.oid) == (EntryKind.DIRECTORY, found.oid):
        return None
    parents, _, name = target.rpartition("/")
    path, folders, put = parents, [], TreeEntry(name, EntryKind.DIRECTORY, found.oid)
    while True:
        tree = _with(onto, path, put)
        folders.append(tree)
        if not path:
            return folders
        path, _, name = path.rpartition("/")
        put = TreeEntry(name, EntryKind.DIRECTORY, tree.id.decode())


def commit(folders: Sequence[Tree], parent: str, message: str, author: Signature) -> tuple[str, Sequence[ShaFile]]:
    """Return the id of a commit of `folders` (the top one last), and all objects that are new with it."""
    made = Commit()
    made.tree = folders[-1].id
    made.parents = [ObjectID(parent.encode())]
    made.author = made.committer = f"{author.name} <{author.email}>".encode()
    made.author_time = made.commit_time = int(author.at)
    made.author_timezone = made.commit_timezone = 0
    made.encoding = b"UTF-8"
    made.message = message.encode()
    return made.id.decode(), [*folders, made]


def _with(onto: SourceTree, path: str, put: TreeEntry) -> Tree:
    """Return the folder at `path` with one entry put into it; a new folder where there is none."""
    here = onto.entry(path)
    if here is not None and here.kind is not EntryKind.DIRECTORY:
        raise SourceError(f"{path} is no folder at {onto.revision}, so nothing can be put into it")
    entries = {each.name: each for each in onto.list(path)} if here else {}
    if here is not None and _tree(entries.values()).id.decode() != here.oid:
        raise SourceError(
            f"folder {path or '/'} at {onto.revision} has entries as Git does not write them any more, and they would "
            "be changed with it (`git fsck` names them): commit it anew with a current Git"
        )
    there = entries.get(put.name)
    if there is not None and there.kind is not EntryKind.DIRECTORY:
        where = f"{path}/{put.name}".removeprefix("/")
        raise SourceError(f"{where} is no folder at {onto.revision}, so none can be put in its place; remove it")
    return _tree([*(each for each in entries.values() if each.name != put.name), put])


def _tree(entries: Iterable[TreeEntry]) -> Tree:
    tree = Tree()
    for each in entries:
        tree.add(each.name.encode("utf-8", "surrogateescape"), _MODES[each.kind], ObjectID(each.oid.encode()))
    return tree
