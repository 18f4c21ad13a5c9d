"""Which files a build reads: nothing else is given to it, and while none of them changes its result holds.

Found by following kustomizations through the tree of a commit; nothing is checked out. A folder without a
kustomization is read as Flux does (fluxcd/pkg/kustomize, `scanManifests`): every .yaml and .yml below it, where a
subfolder with a kustomization of its own is one resource.
"""

from __future__ import annotations

import posixpath
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from felloe.errors import RenderError
from felloe.k8syaml import JsonValue
from hub.render.kustomization import FILE_NAMES, Use, Wanted, is_remote, parse, plugin_uses, uses
from hub.render.paths import Found, Reference, find, join
from hub.sources.tree import EntryKind, SourceTree, TreeEntry

MAX_DEPTH = 50
"""How deep kustomizations may include each other."""
MAX_FILES = 10_000
"""How many files one build may read."""
MAX_KUSTOMIZATION = 4 * 1024 * 1024
"""Bytes of a file that has to be understood in order to find others."""

_FILES = (EntryKind.FILE, EntryKind.EXECUTABLE)


@dataclass(frozen=True, slots=True)
class Closure:
    """What a build reads: `entries` by path (files and the links on the way to them), and where it starts.

    `generated`: nobody wrote the kustomization, it unites what the folder's files hold.
    """

    folder: str
    file: str
    kustomization: dict[str, JsonValue]
    entries: dict[str, TreeEntry]
    generated: bool = False

    @property
    def read(self) -> frozenset[tuple[str, str]]:
        """Path and object id of everything that was read."""
        return frozenset((path, entry.oid) for path, entry in self.entries.items())


class ClosureCache:
    """Closures found before, by the path that was asked for.

    One still holds when every folder it reads from has the id it had: then nothing in it can have changed, and nothing
    has to be followed. A commit to one overlay leaves the folders of all others as they were.
    """

    def __init__(self, capacity: int = 2048) -> None:
        """Hold at most `capacity` closures."""
        self._capacity = capacity
        self._known: OrderedDict[str, tuple[dict[str, str], Closure]] = OrderedDict()
        self._lock = threading.Lock()  # closures are found in worker threads

    def get(self, tree: SourceTree, path: str) -> Closure | None:
        """Return the closure of `path` if it is known and still holds for `tree`."""
        known = self._known.get(path)
        if known is None:
            return None
        folders, closure = known
        return closure if all(_folder_id(tree, folder) == oid for folder, oid in folders.items()) else None

    def put(self, tree: SourceTree, path: str, closure: Closure) -> None:
        """Remember a closure that was found in `tree`."""
        folders: dict[str, str] = {}
        for folder in sorted({closure.folder, *map(posixpath.dirname, closure.entries)}):
            if any(not above or folder.startswith(f"{above}/") for above in folders):
                continue
            oid = _folder_id(tree, folder)
            if oid is None:
                return
            folders[folder] = oid
        with self._lock:
            self._known[path] = folders, closure
            self._known.move_to_end(path)
            if len(self._known) > self._capacity:
                self._known.popitem(last=False)


def _folder_id(tree: SourceTree, folder: str) -> str | None:
    entry = tree.entry(folder)
    return entry.oid if entry is not None and entry.kind is EntryKind.DIRECTORY and entry.oid else None


class ParseCache:
    """The YAML of files that were understood before, by object id; a fleet's overlays share most of theirs."""

    def __init__(self, capacity: int = 4096) -> None:
        """Hold at most `capacity` files."""
        self._capacity = capacity
        self._known: OrderedDict[str, list[JsonValue]] = OrderedDict()

    def load(self, tree: SourceTree, found: Found) -> list[JsonValue]:
        """Return a file's documents, which nobody may change. Raise RenderError for what isn't YAML."""
        oid = found.entry.oid
        known = self._known.get(oid)
        if known is None:
            content = tree.read(found.entry)
            if len(content) > MAX_KUSTOMIZATION:
                raise RenderError(f"{found.path}: is larger than {MAX_KUSTOMIZATION // 1024**2} MiB")
            known = self._known[oid] = parse(content, found.path)
            if len(self._known) > self._capacity:
                self._known.popitem(last=False)
        return known


def find_closure(tree: SourceTree, path: str, cache: ParseCache | None = None) -> Closure:
    """Return what building `path` reads.

    A path may begin with ``./`` or ``/``, both for the source's top, as with Flux. Raise RenderError, naming file and
    field, for what is missing, remote, outside of the source, in a circle, a plugin or a Helm chart, or too much.
    """
    asked = Reference("", "spec.path", path)
    found = find(tree, "", Reference("", "spec.path", path.lstrip("/")))
    if not found.is_folder:
        raise asked.error("is a file; a Kustomization builds a folder")
    return _Follower(tree, cache or ParseCache()).start(found)


@dataclass(slots=True)
class _Follower:
    """Follows one build's references; holds what was read so far."""

    tree: SourceTree
    cache: ParseCache
    entries: dict[str, TreeEntry] = field(default_factory=dict)
    done: set[tuple[str, bool]] = field(default_factory=set)

    def start(self, found: Found) -> Closure:
        folder = found.path
        name = self._kustomization_name(folder)
        if name is not None:
            content = self._kustomization(folder, name)
            self._follow(folder, join(folder, name), content, chain=(folder,), plugins=False)
        else:
            content = self._generate(folder)
        written = name is not None
        return Closure(folder, join(folder, name or FILE_NAMES[0]), content, self.entries, generated=not written)

    def _kustomization_name(self, folder: str) -> str | None:
        found = [entry for entry in self.tree.list(folder) if entry.name in FILE_NAMES]
        names = [entry.name for entry in found]
        if any(entry.kind not in {*_FILES, EntryKind.SYMLINK} for entry in found):
            raise RenderError(f"{join(folder, names[0])}: is a folder; kustomize wants a file of this name")
        if len(names) > 1:
            raise RenderError(f"{folder or '.'}: has {' and '.join(names)}; kustomize takes one of them only")
        return names[0] if names else None

    def _kustomization(self, folder: str, name: str) -> dict[str, JsonValue]:
        found = find(self.tree, folder, Reference(join(folder, name), "", name))
        self._add(found)
        documents = self.cache.load(self.tree, found)
        content = documents[0] if documents else {}
        if len(documents) > 1 or not isinstance(content, dict):
            raise RenderError(f"{join(folder, name)}: must hold one kustomization and nothing else")
        return content

    def _add(self, found: Found) -> None:
        self.entries.update(found.links)
        if not found.is_folder:
            self.entries[found.path] = found.entry
        if len(self.entries) > MAX_FILES:
            raise RenderError(f"{found.path}: the build reads more than {MAX_FILES:,} files; split the Kustomization")

    def _follow(
        self, folder: str, file: str, content: dict[str, JsonValue], *, chain: tuple[str, ...], plugins: bool
    ) -> None:
        for use in uses(content, file):
            self._use(folder, use, chain, plugins=plugins)

    def _use(self, folder: str, use: Use, chain: tuple[str, ...], *, plugins: bool) -> None:
        reference, wanted = use.reference, use.wanted
        if is_remote(reference.value):
            raise reference.error(
                "is remote, and builds have no network; declare it as a GitRepository with a Kustomization of its own, "
                "or copy it into this repository"
            )
        found = find(self.tree, folder, reference)
        if found.is_folder and wanted is Wanted.FILE:
            raise reference.error("is a folder; this field takes a file")
        if not found.is_folder and wanted is Wanted.FOLDER:
            raise reference.error(f"is a file; this field takes {wanted.value}")
        self._add(found)
        as_plugins = wanted is Wanted.PLUGIN or (plugins and wanted is Wanted.EITHER)
        if found.is_folder:
            self._enter(found.path, reference, chain, plugins=as_plugins)
        elif as_plugins:
            for document in self.cache.load(self.tree, found):
                for inner in plugin_uses(document, found.path):
                    self._use(folder, inner, chain, plugins=False)

    def _enter(self, folder: str, reference: Reference, chain: tuple[str, ...], *, plugins: bool) -> None:
        """Follow an included folder; kustomize refuses one that holds, or is, a folder which includes it."""
        for including in chain:
            if including == folder or not folder or including.startswith(f"{folder}/"):
                raise reference.error(f"includes {folder or '.'}, which is being built already: a circle")
        if len(chain) >= MAX_DEPTH:
            raise reference.error(f"is more than {MAX_DEPTH} kustomizations deep")
        if (folder, plugins) in self.done:
            return
        name = self._kustomization_name(folder)
        if name is None:
            raise reference.error("is a folder without a kustomization.yaml; name its files, or add one")
        content = self._kustomization(folder, name)
        self._follow(folder, join(folder, name), content, chain=(*chain, folder), plugins=plugins)
        self.done.add((folder, plugins))

    def _generate(self, folder: str) -> dict[str, JsonValue]:
        """Return the kustomization that Flux would write into a folder without one."""
        file = join(folder, FILE_NAMES[0])
        resources: list[JsonValue] = []
        for path in self._manifests(folder, ""):
            reference = Reference(f"{file} (generated)", f"resources[{len(resources)}]", path)
            self._use(folder, Use(reference, Wanted.EITHER), (folder,), plugins=False)
            resources.append(path)
        return {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": resources,
        }

    def _manifests(self, folder: str, prefix: str, depth: int = 0) -> Iterator[str]:
        if depth > MAX_DEPTH:
            raise RenderError(f"{folder}: is more than {MAX_DEPTH} folders deep")
        for entry in self.tree.list(folder):
            path = join(prefix, entry.name)
            if not path.isprintable():
                shown = ascii(join(folder, entry.name))
                raise RenderError(f"{shown}: has a name that is no printable text; rename it")
            if entry.kind is EntryKind.DIRECTORY:
                if self._kustomization_name(join(folder, entry.name)) is not None:
                    yield path
                else:
                    yield from self._manifests(join(folder, entry.name), path, depth + 1)
            elif entry.name.endswith((".yaml", ".yml")) and entry.kind in {*_FILES, EntryKind.SYMLINK}:
                yield path
