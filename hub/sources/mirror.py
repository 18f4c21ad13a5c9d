"""A bare copy of one remote repository on disk, holding just the revisions that sources asked for.

One conversation asks for the ref and, only if it moved, fetches what is new, as shallow as the server can. A mirror is
a cache and nothing else: it lives in numbered *generations* (``<folder>/<number>``), and one that turns out damaged, or
that has collected too many packs, is replaced by a fresh one. Trees that are still in use keep theirs until they go.
`tips.json` remembers what each ref came to, so that a hub that starts without its remotes still knows its revisions.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from dulwich.client import FetchPackResult, GitClient, LocalGitClient
from dulwich.errors import GitProtocolError
from dulwich.object_store import ObjectStoreGraphWalker
from dulwich.objects import ObjectID, ShaFile
from dulwich.refs import Ref
from dulwich.repo import Repo

from felloe.errors import SourceError
from hub.sources import refs as ref_choice
from hub.sources.objects import CommitInfo, DamagedRepositoryError, GitTree, ObjectReader
from hub.sources.pack import check_sizes
from hub.sources.refs import Choice
from hub.sources.spec import GitRef

_TIPS_KEPT = 64
_TIPS_FILE = "tips.json"
_PACKS_KEPT = 100
_EMPTY_PACK = 32
_COPIED_AT_ONCE = 1000
_ALL_REFS = ("refs/heads/", "refs/tags/", "HEAD")
_SHA1_DIGITS = 40
_INFINITE_DEPTH = 0x7FFFFFFF

Pinned = Callable[[], Iterable[str]]
_Wants = Callable[..., list[ObjectID]]


@dataclass(frozen=True, slots=True)
class Tip:
    """What a ref came to: the object it names, the commit behind it, and the revision as Flux writes it."""

    oid: str
    commit: str
    revision: str


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """How many bytes a fetch may bring over the wire, and how large a single object in it may be."""

    fetch_bytes: int = 1 << 30
    object_bytes: int = 64 << 20


@dataclass(frozen=True, slots=True)
class Remote:
    """An open way to one repository: the client, the path to ask it for, and the address for messages."""

    client: GitClient
    path: str
    where: str


class _Generation:
    """One bare repository of a mirror, with its tips; deleted from disk when retired and no longer in use."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not (path / "HEAD").exists():
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir(parents=True)
            Repo.init_bare(str(path)).close()
        _remove_leftovers(path)
        self.reader = ObjectReader(path)
        self._tips = _load_tips(path / _TIPS_FILE)
        self._carried = 0

    @property
    def packs(self) -> int:
        return sum(1 for _ in (self.path / "objects" / "pack").glob("*.pack"))

    @property
    def full(self) -> bool:
        """Tell whether it has had its share of fetches, each of which brought a pack."""
        return self.packs - self._carried > _PACKS_KEPT

    @property
    def commits(self) -> list[ObjectID]:
        return [ObjectID(tip.commit.encode()) for tip in self._tips.values() if self.reader.has(tip.commit)]

    def tip(self, key: str) -> Tip | None:
        tip = self._tips.get(key)
        return tip if tip and self.reader.has(tip.commit) else None

    def remember(self, key: str, tip: Tip) -> None:
        if self._tips.get(key) == tip:
            return
        self._tips.pop(key, None)
        self._tips[key] = tip
        while len(self._tips) > _TIPS_KEPT:
            del self._tips[next(iter(self._tips))]
        draft = self.path / f"{_TIPS_FILE}.new"
        draft.write_text(json.dumps({key: asdict(tip) for key, tip in self._tips.items()}))
        draft.replace(self.path / _TIPS_FILE)

    def adopt(self, commits: Iterable[tuple[str, ObjectReader]]) -> None:
        """Copy commits, and all that is in them, from other generations, into as few packs as can be.

        The commits come last, when all else is there. One that is not whole where it is read from is left out.
        """
        with closing(Repo(str(self.path))) as repo:
            copied: dict[str, ShaFile] = {}
            whole: dict[str, ShaFile] = {}

            def write(objects: dict[str, ShaFile]) -> None:
                if objects:
                    repo.object_store.add_objects([(each, None) for each in objects.values()])
                    objects.clear()

            for commit, reader in commits:
                with suppress(SourceError):
                    first, *others = (oid for oid in reader.reach(commit) if not self.reader.has(oid))
                    for oid in others:
                        if oid not in copied:
                            copied[oid] = reader.object(oid)
                        if len(copied) >= _COPIED_AT_ONCE:
                            write(copied)
                    whole[commit] = reader.object(first)
            write(copied)
            adopted = {ObjectID(commit.encode()) for commit in whole}
            write(whole)
            repo.update_shallow(adopted, set())
        self._carried = self.packs

    def retire(self) -> None:
        """Have the folder deleted when the last tree that reads from it is gone."""
        weakref.finalize(self, _discard, self.reader, self.path)


class Mirror:
    """The revisions of one remote, safe from any thread; fetches take turns."""

    def __init__(self, folder: Path, limits: FetchLimits, pinned: Pinned = tuple) -> None:
        """`pinned` returns the commits that have to outlive a generation although no ref comes to them any more."""
        self._folder = folder
        self._pinned = pinned
        self._limits = limits
        self._damaged = threading.Event()
        self._turn = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        numbers = sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit())
        for number in numbers[:-1]:
            shutil.rmtree(folder / str(number), ignore_errors=True)
        self._current = self._open(numbers[-1] if numbers else 1)
        self._previous: _Generation | None = None

    def close(self) -> None:
        """Close its files; trees can't be read any more."""
        for generation in (self._current, self._previous):
            if generation is not None:
                generation.reader.close()

    def tip(self, key: str) -> Tip | None:
        """Return what was last fetched under `key`, if it is still there."""
        return self._current.tip(key)

    def commit(self, commit: str) -> CommitInfo:
        """Return the metadata of a commit that was fetched; raises `SourceError`."""
        return self._holder(commit).reader.commit(commit)

    def tree(self, commit: str, revision: str) -> GitTree:
        """Return the content of a commit that was fetched; raises `SourceError`."""
        generation = self._holder(commit)
        return GitTree(generation.reader, commit, revision, keep=generation)

    def report_damage(self) -> None:
        """Have the next fetch start anew, because something that was read is broken."""
        self._damaged.set()

    def fetch(self, remote: Remote, ref: GitRef, key: str) -> Tip:
        """Ask what `ref` is now, fetch it if it is not here, remember it under `key`, and return it.

        Blocks; raises `SourceError`. Trees and tips of before stay as they are when it fails.
        """
        with self._turn:
            if not self._damaged.is_set() and not self._current.full:
                try:
                    return self._fetch_into(self._current, remote, ref, key)
                except DamagedRepositoryError:
                    self._damaged.set()
            return self._fetch_anew(remote, ref, key)

    def _fetch_anew(self, remote: Remote, ref: GitRef, key: str) -> Tip:
        number = int(self._current.path.name) + 1
        shutil.rmtree(self._folder / str(number), ignore_errors=True)
        fresh = self._open(number)
        try:
            tip = self._fetch_into(fresh, remote, ref, key)
        except BaseException:
            fresh.retire()
            raise
        self._carry_over(fresh)
        if self._previous is not None:
            self._previous.retire()
        self._previous, self._current = self._current, fresh
        self._damaged.clear()
        return tip

    def _carry_over(self, fresh: _Generation) -> None:
        """Copy the commits that are pinned to a fresh generation; what is damaged here can't be carried over."""
        found = []
        for commit in self._pinned():
            with suppress(SourceError):
                if not fresh.reader.has(commit):
                    found.append((commit, self._holder(commit).reader))
        fresh.adopt(found)

    def _fetch_into(self, generation: _Generation, remote: Remote, ref: GitRef, key: str) -> Tip:
        fetch = _Fetch(generation, remote, ref, self._limits)
        choice = fetch.run()
        commit = generation.reader.peel(choice.oid)
        known = generation.tip(key)
        if known is None or known.commit != commit:
            generation.reader.check_complete(commit)
        tip = Tip(choice.oid, commit, choice.revision(commit))
        generation.remember(key, tip)
        return tip

    def _holder(self, commit: str) -> _Generation:
        for generation in (self._current, self._previous):
            if generation is not None and generation.reader.has(commit):
                return generation
        raise SourceError(f"commit {commit} is not in the hub's mirror of the repository; it has to be fetched first")

    def _open(self, number: int) -> _Generation:
        path = self._folder / str(number)
        try:
            return _Generation(path)
        except (OSError, ValueError, KeyError, AssertionError):
            shutil.rmtree(path, ignore_errors=True)
            return _Generation(path)


class _Fetch:
    """One conversation with a remote: what it has, what we want of it, and the pack it sends."""

    def __init__(self, generation: _Generation, remote: Remote, ref: GitRef, limits: FetchLimits) -> None:
        self._generation = generation
        self._remote = remote
        self._ref = ref
        self._limits = limits
        self._advertised: dict[str, str] = {}
        self._choice: Choice | None = None

    def run(self) -> Choice:
        """Return what the ref is, with its objects in the repository."""
        prefixes = ref_choice.prefixes(self._ref)
        # A local repository is read in-process, where dulwich sends a shallow reader everything again each time.
        depth = None if isinstance(self._remote.client, LocalGitClient) else 1
        refused = False
        try:
            result = self._converse(self._wants_choice, prefixes, depth)
            self._choice = ref_choice.choose(self._ref, self._advertised, _text(result.symrefs))
        except (GitProtocolError, KeyError) as error:
            if self._choice is None or not self._may_ask_otherwise(self._choice, error):
                raise
            refused = True
        if self._choice is None:
            everything = self._remote.client.get_refs(self._remote.path.encode(), ref_prefix=_bytes(_ALL_REFS))
            raise ref_choice.missing(self._remote.where, self._ref, _text(everything.refs))
        if refused:
            self._fetch_history(self._choice, prefixes)
        if not self._generation.reader.has(self._choice.oid):
            raise DamagedRepositoryError(f"{self._remote.where}: the server did not send {self._choice.oid}")
        return self._choice

    def _may_ask_otherwise(self, choice: Choice, error: Exception) -> bool:
        """Say whether a refusal is one that whole histories help against.

        Not every server hands out a commit by its id (``uploadpack.allowAnySHA1InWant``), or a shallow copy.
        """
        return choice.oid not in self._advertised.values() or "shallow" in str(error)

    def _fetch_history(self, choice: Choice, prefixes: Sequence[str]) -> None:
        by_id = choice.oid not in self._advertised.values()
        if by_id and not self._ref.branch:
            prefixes = ("refs/heads/", "refs/tags/")

        def wants(refs: Mapping[Ref, ObjectID], depth: int | None = None) -> list[ObjectID]:
            if not by_id:
                return [ObjectID(choice.oid.encode())]
            return [
                oid for name, oid in refs.items() if not name.endswith(b"^{}") and name.startswith(_bytes(prefixes))
            ]

        self._converse(wants, prefixes, _INFINITE_DEPTH if by_id else None)
        if not self._generation.reader.has(choice.oid):
            raise SourceError(f"{self._remote.where}: commit {choice.oid} is in none of the branches and tags there")

    def _wants_choice(self, refs: Mapping[Ref, ObjectID], depth: int | None = None) -> list[ObjectID]:
        self._advertised = _text(refs)
        self._choice = ref_choice.choose(self._ref, self._advertised, {})
        if self._choice is None or self._generation.reader.has(self._choice.oid):
            return []
        if len(self._choice.oid) != _SHA1_DIGITS:
            raise SourceError(f"{self._remote.where}: repositories with SHA-256 object ids are not supported")
        return [ObjectID(self._choice.oid.encode())]

    def _converse(self, wants: _Wants, prefixes: Sequence[str], depth: int | None) -> FetchPackResult:
        """Have one conversation, and keep the pack that it brings."""
        repo = Repo(str(self._generation.path))
        with closing(repo), tempfile.TemporaryFile(dir=self._generation.path) as pack:
            walker = ObjectStoreGraphWalker(
                self._generation.commits,
                lambda _commit: [],
                shallow=set(repo.get_shallow()),
                update_shallow=repo.update_shallow,
            )
            result = self._remote.client.fetch_pack(
                self._remote.path,
                wants,
                walker,
                self._bounded(pack),
                depth=depth,
                ref_prefix=_bytes(prefixes),
            )
            repo.update_shallow(result.new_shallow, result.new_unshallow)
            if pack.tell() > _EMPTY_PACK:
                self._check(pack)
                pack.seek(0)
                repo.object_store.add_thin_pack(pack.read, None)
            return result

    def _check(self, pack: IO[bytes]) -> None:
        try:
            check_sizes(pack, self._limits.object_bytes)
        except SourceError as error:
            raise SourceError(f"{self._remote.where}: {error}") from error

    def _bounded(self, pack: IO[bytes]) -> Callable[[bytes], int]:
        def write(data: bytes) -> int:
            if pack.tell() + len(data) > self._limits.fetch_bytes:
                limit = f"{self._limits.fetch_bytes >> 20} MiB"
                raise SourceError(f"{self._remote.where}: the fetch is larger than the limit of {limit}")
            return pack.write(data)

        return write


def _bytes(names: Sequence[str]) -> tuple[bytes, ...]:
    return tuple(name.encode() for name in names)


def _text(names: Mapping[Ref, ObjectID | None] | Mapping[Ref, Ref]) -> dict[str, str]:
    return {name.decode(errors="replace"): value.decode(errors="replace") for name, value in names.items() if value}


def _load_tips(path: Path) -> dict[str, Tip]:
    try:
        return {key: Tip(**tip) for key, tip in json.loads(path.read_bytes()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _remove_leftovers(path: Path) -> None:
    """Delete what a process that was killed in the middle of a fetch left behind."""
    for pattern in ("tmp*", "objects/tmp_pack_*", "objects/pack/tmp*", "*.lock", "objects/pack/*.lock"):
        for leftover in path.glob(pattern):
            leftover.unlink(missing_ok=True)
    for pack in (path / "objects" / "pack").glob("*.pack"):
        if not pack.with_suffix(".idx").exists():
            pack.unlink()


def _discard(reader: ObjectReader, path: Path) -> None:
    reader.close()
    shutil.rmtree(path, ignore_errors=True)
