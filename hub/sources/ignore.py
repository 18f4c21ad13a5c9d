"""Leaving out what a source is told to ignore: Flux's ``spec.ignore``, ``.sourceignore`` files, and its defaults.

The order is Flux's (fluxcd/pkg/sourceignore): files of version control are always left out; then ``.sourceignore``
files from the top downwards, each for its own folder; then ``spec.ignore``; the last rule that matches wins. The
default list (pictures, archives, CI files) holds only where nobody wrote any rule. Unlike git, a rule may take back a
file out of an ignored folder.

The view is lazy: only what is asked for is matched. Ids of folders in it are made from the folder's own id, its path
and the rules, so equal ids still mean equal content when only a rule was changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pathspec import GitIgnoreSpec

from felloe.errors import SourceError
from hub.sources.tree import EntryKind, SourceTree, TreeEntry

IGNORE_FILE = ".sourceignore"

_VERSION_CONTROL = (".git/", ".gitignore", ".gitmodules", ".gitattributes")
_DEFAULTS = (
    *("*.jpg", "*.jpeg", "*.gif", "*.png", "*.wmv", "*.flv", "*.tar.gz", "*.zip"),
    *(".github/", ".circleci/", ".travis.yml", ".gitlab-ci.yml", "appveyor.yml", ".drone.yml", "cloudbuild.yaml"),
    *("codeship-services.yml", "codeship-steps.yml"),
    *("**/.goreleaser.yml", "**/.goreleaser.brew.yml", "**/.sops.yaml", "**/.flux.yaml"),
)
_LARGEST_FILE = 1 << 20


@dataclass(frozen=True, slots=True)
class _Rules:
    """Rules for a folder and what is below it."""

    folder: str
    matcher: GitIgnoreSpec
    text: str

    @classmethod
    def of(cls, folder: str, text: str, origin: str) -> _Rules:
        try:
            return cls(folder, GitIgnoreSpec.from_lines(text.splitlines()), text)
        except ValueError as error:
            raise SourceError(f"{origin}: a rule is not valid .gitignore syntax: {error}") from error

    @property
    def takes_back(self) -> bool:
        """Whether a rule begins with ``!``."""
        return any(line.lstrip().startswith("!") for line in self.text.splitlines())

    def verdict(self, path: str) -> bool | None:
        """Say whether `path` (with a slash at its end for a folder) is left out; None where no rule matches."""
        return self.matcher.check_file(path[len(self.folder) + 1 :] if self.folder else path).include


class IgnoringTree:
    """A `SourceTree` without the paths that the rules leave out."""

    __slots__ = ("_always", "_below", "_last", "_tree", "_visible")

    def __init__(self, tree: SourceTree, ignore: str | None) -> None:
        self._tree = tree
        self._last = _Rules.of("", ignore, "spec.ignore") if ignore else None
        self._always: tuple[_Rules, ...] | None = None
        self._below: dict[str, tuple[_Rules, ...]] = {}
        self._visible: dict[str, bool] = {}

    @property
    def revision(self) -> str:
        """The revision as Flux writes it."""
        return self._tree.revision

    def entry(self, path: str) -> TreeEntry | None:
        """Return what is at `path`, or None if nothing is there or it is left out."""
        entry = self._tree.entry(path)
        if entry is None or not (path == "" or self._is_visible(path, entry)):
            return None
        return self._labelled(path, entry)

    def list(self, path: str) -> Sequence[TreeEntry]:
        """Return what a folder holds and is not left out, sorted by name."""
        shown = []
        for entry in self._tree.list(path):
            below = f"{path}/{entry.name}" if path else entry.name
            if self._is_visible(below, entry):
                shown.append(self._labelled(below, entry))
        return tuple(shown)

    def read(self, entry: TreeEntry) -> bytes:
        """Return the content of a file, or the target of a symlink."""
        return self._tree.read(entry)

    def _labelled(self, path: str, entry: TreeEntry) -> TreeEntry:
        if entry.kind is not EntryKind.DIRECTORY:
            return entry
        label = hashlib.sha256(f"{path}\0{entry.oid}".encode(errors="surrogateescape"))
        for rules in self._rules_in(path):
            label.update(f"\0{rules.folder}\0{rules.text}".encode(errors="surrogateescape"))
        return replace(entry, oid=label.hexdigest())

    def _is_visible(self, path: str, entry: TreeEntry) -> bool:
        known = self._visible.get(path)
        if known is None:
            known = self._visible[path] = self._look(path, entry)
        return known

    def _look(self, path: str, entry: TreeEntry) -> bool:
        parent = path.rpartition("/")[0]
        rules = self._rules_in(parent)
        is_folder = entry.kind is EntryKind.DIRECTORY
        subject = f"{path}/" if is_folder else path
        verdict = next((v for layer in reversed(rules) if (v := layer.verdict(subject)) is not None), False)
        if not verdict:
            return True
        if not is_folder or not any(layer.takes_back for layer in rules):
            return False
        return any(self._is_visible(f"{path}/{child.name}", child) for child in self._tree.list(path))

    def _rules_in(self, folder: str) -> tuple[_Rules, ...]:
        """Return the rules for what lies in a folder, the decisive ones last."""
        own = self._files_down_to(folder)
        return self._first() + own + ((self._last,) if self._last else ())

    def _first(self) -> tuple[_Rules, ...]:
        if self._always is None:
            defaults = () if self._last or self._has_rules("") else _DEFAULTS
            self._always = (_Rules.of("", "\n".join(_VERSION_CONTROL + defaults), "the default rules"),)
        return self._always

    def _files_down_to(self, folder: str) -> tuple[_Rules, ...]:
        known = self._below.get(folder)
        if known is not None:
            return known
        above = self._files_down_to(folder.rpartition("/")[0]) if folder else ()
        path = f"{folder}/{IGNORE_FILE}" if folder else IGNORE_FILE
        entry = self._tree.entry(path)
        if entry is not None and entry.kind in (EntryKind.FILE, EntryKind.EXECUTABLE):
            content = self._tree.read(entry)
            if len(content) > _LARGEST_FILE:
                raise SourceError(f"{path} is larger than {_LARGEST_FILE >> 20} MiB")
            above = (*above, _Rules.of(folder, content.decode(errors="replace"), path))
        self._below[folder] = above
        return above

    def _has_rules(self, folder: str) -> bool:
        """Say whether a file with rules lies anywhere at or below a folder: then the default list does not hold."""
        entries = self._tree.list(folder)
        if any(entry.name == IGNORE_FILE and entry.kind is not EntryKind.DIRECTORY for entry in entries):
            return True
        folders = (entry.name for entry in entries if entry.kind is EntryKind.DIRECTORY)
        return any(self._has_rules(f"{folder}/{name}" if folder else name) for name in folders)
