"""What a promotion does to a branch of a remote: look where it is, and move it forward, never anywhere else.

Git's protocol knows no force: a server moves a ref to whatever it is told, unless it was configured otherwise. So it is
the one who pushes that has to know that nothing is lost. A branch is moved only from the commit that was looked at, and
only to one that has that commit in its history.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import closing
from dataclasses import dataclass
from enum import Enum
from heapq import heappop, heappush
from pathlib import Path
from typing import IO, Final

from dulwich.client import LocalGitClient
from dulwich.errors import GitProtocolError
from dulwich.object_store import ObjectStoreGraphWalker
from dulwich.objects import Commit, ObjectID, ShaFile
from dulwich.pack import UnpackedObject, pack_objects_to_data
from dulwich.protocol import ZERO_SHA
from dulwich.refs import Ref
from dulwich.repo import Repo

from felloe.errors import SourceError
from hub.sources.mirror import Remote

_DEPTHS: Final = (64, 4096)
"""How far back is looked, one after the other."""
_HISTORY_BYTES: Final = 1 << 30
_EMPTY_PACK: Final = 32


class MovedError(SourceError):
    """The branch is not where it was looked at any more: somebody else pushed. To be looked at again."""


class Relation(Enum):
    """How a branch is to a commit."""

    MISSING = "missing"
    SAME = "same"
    BEHIND = "behind"
    """The commit has the branch in its history: the branch can follow."""
    AHEAD = "ahead"
    """The branch has the commit in its history."""
    DIVERGED = "diverged"


def tip(remote: Remote, branch: str) -> str | None:
    """Return the commit of a branch, None where there is no such branch."""
    ref = _ref(branch)
    found = remote.client.get_refs(remote.path.encode(), ref_prefix=[ref]).refs.get(ref)
    return found.decode() if found else None


def relation(remote: Remote, branch: str | None, commit: str) -> Relation:
    """Return how the tip of a branch (None: there is no such branch) is to a commit of the same repository."""
    if branch is None:
        return Relation.MISSING
    if branch == commit:
        return Relation.SAME
    for depth in (*_DEPTHS, None):
        history = _history(remote, (branch, commit), depth)
        if history.has(branch, of=commit):
            return Relation.BEHIND
        if history.has(commit, of=branch):
            return Relation.AHEAD
        if history.whole:
            break
    return Relation.DIVERGED


def newest_with(remote: Remote, commit: str, trailers: Collection[str]) -> tuple[str, str] | None:
    """Return id and message of the newest commit in the history of one (some thousands of it) with all these lines."""
    for depth in _DEPTHS:
        history = _history(remote, (commit,), depth)
        for each in history.newest_first(commit):
            message = each.message.decode(errors="replace")
            if set(trailers) <= set(message.splitlines()):
                return each.id.decode(), message
        if history.whole:
            break
    return None


def push(remote: Remote, branch: str, old: str | None, new: str, objects: Sequence[ShaFile] = ()) -> None:
    """Move a branch from `old` (None: it is made) to `new`, sending `objects`, which the remote has not.

    Raise `MovedError` where it is not at `old` any more, `SourceError` where the server refuses.
    """
    ref = _ref(branch)

    def update(refs: dict[Ref, ObjectID]) -> dict[Ref, ObjectID]:
        if refs.get(ref, ZERO_SHA) != (old.encode() if old else ZERO_SHA):
            raise MovedError(f"{remote.where}: branch {branch} was moved meanwhile")
        return {ref: ObjectID(new.encode())}

    def pack(
        have: AbstractSet[ObjectID], want: AbstractSet[ObjectID], *, ofs_delta: bool = False, progress: object = None
    ) -> tuple[int, Iterator[UnpackedObject]]:
        return pack_objects_to_data(list(objects))

    result = remote.client.send_pack(remote.path.encode(), update, pack)
    said = (result.ref_status or {}).get(ref, "it did not say why") if result.ref_status != {} else None
    if said is not None:
        raise SourceError(f"{remote.where} refused the push to branch {branch}: {said}")


@dataclass(frozen=True, slots=True)
class _History:
    """Commits by id, as far back as was asked; `whole` where that is all there is."""

    commits: Mapping[str, Commit]
    whole: bool

    def has(self, commit: str, *, of: str) -> bool:
        """Tell whether a commit is in the history of another one, as far as it is known."""
        return any(commit == parent.decode() for each in self.newest_first(of) for parent in each.parents)

    def newest_first(self, commit: str) -> Iterator[Commit]:
        """Yield a commit and those before it, by their time."""
        seen = {commit}
        queue = [(-self.commits[commit].commit_time, commit)] if commit in self.commits else []
        while queue:
            each = self.commits[heappop(queue)[1]]
            yield each
            for parent in map(bytes.decode, each.parents):
                if parent in self.commits and parent not in seen:
                    seen.add(parent)
                    heappush(queue, (-self.commits[parent].commit_time, parent))


def _history(remote: Remote, commits: Collection[str], depth: int | None) -> _History:
    if isinstance(remote.client, LocalGitClient):
        with closing(Repo(remote.path)) as repo:
            return _History(_commits(repo, commits), whole=True)
    with tempfile.TemporaryDirectory(prefix="felloe-history-") as folder, closing(Repo.init_bare(folder)) as repo:
        try:
            cut = _fetch(remote, repo, commits, depth)
        except GitProtocolError:  # not every server hands out a commit by its id, or a part of a history
            cut = _fetch(remote, repo, (), None)
        return _History(_commits(repo, commits), whole=not cut)


def _fetch(remote: Remote, repo: Repo, commits: Collection[str], depth: int | None) -> bool:
    """Fetch the history of commits (none: of all branches), without files where the server can; tell if it is cut."""
    walker = ObjectStoreGraphWalker([], lambda _commit: [], shallow=set(), update_shallow=None)

    def wants(refs: Mapping[Ref, ObjectID], depth: int | None = None) -> list[ObjectID]:
        if commits:
            return [ObjectID(commit.encode()) for commit in commits]
        return sorted({oid for name, oid in refs.items() if name.startswith(b"refs/heads/")})

    with tempfile.TemporaryFile(dir=Path(repo.path)) as pack:
        result = remote.client.fetch_pack(
            remote.path,
            wants,
            walker,
            _bounded(remote, pack),
            depth=depth,
            ref_prefix=[b"refs/heads/"],
            filter_spec=b"tree:0",
        )
        if pack.tell() > _EMPTY_PACK:
            pack.seek(0)
            repo.object_store.add_thin_pack(pack.read, None)
    return bool(result.new_shallow)


def _bounded(remote: Remote, pack: IO[bytes]) -> Callable[[bytes], int]:
    def write(data: bytes) -> int:
        if pack.tell() + len(data) > _HISTORY_BYTES:
            raise SourceError(f"{remote.where}: its history is larger than the limit of {_HISTORY_BYTES >> 20} MiB")
        return pack.write(data)

    return write


def _commits(repo: Repo, starts: Iterable[str]) -> Mapping[str, Commit]:
    """Return every commit that is there of the history of `starts`."""
    found: dict[str, Commit] = {}
    todo = [ObjectID(start.encode()) for start in starts]
    while todo:
        oid = todo.pop()
        if oid.decode() in found or oid not in repo.object_store:
            continue
        each = repo.object_store[oid]
        if isinstance(each, Commit):
            found[oid.decode()] = each
            todo += each.parents
    return found


def _ref(branch: str) -> Ref:
    return Ref(f"refs/heads/{branch}".encode())
