"""Division: what can be built apart is, so that a change to one file doesn't build its neighbours again.

A folder without a kustomization is the union of what its files hold, and a build that only unites gives each object as
a build of its file alone would. That is worth it: kustomize's time grows with the square of the objects of one build
(125 ConfigMaps 50 ms, 1,000 of them 1 s). A kustomization that somebody wrote, or a target namespace, can relate any
object to any other: it is built whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from felloe.errors import RenderError
from felloe.identity import ObjectId
from felloe.k8syaml import JsonValue
from hub.render.closure import Closure
from hub.render.objects import RenderedObject
from hub.render.paths import join
from hub.sources.tree import EntryKind, SourceTree

_LARGE = 16 * 1024
"""Bytes from which on a file is a part of its own."""
_FILES = 16
"""How many small files share a part, on average."""


def divide(tree: SourceTree, closure: Closure) -> tuple[Closure, ...]:
    """Return the parts that can be built apart: the closure itself where there are none."""
    resources = closure.kustomization.get("resources")
    if not closure.generated or not isinstance(resources, list) or len(resources) < 2:
        return (closure,)
    plain = [path for path in resources if isinstance(path, str) and _is_plain(closure, path)]
    others = [path for path in resources if path not in set(plain)]
    parts = [_part(closure, group, only=group) for group in _grouped(tree, closure, plain)]
    if others:  # folders with kustomizations, links: whatever they read
        parts.append(_part(closure, others))
    return tuple(parts) if len(parts) > 1 else (closure,)


def unite(parts: Iterable[Sequence[RenderedObject]], folder: str) -> tuple[RenderedObject, ...]:
    """Return the objects of all parts, sorted by identity. Raise RenderError where two are the same object."""
    found: dict[ObjectId, RenderedObject] = {}
    for one in (one for part in parts for one in part):
        twin = found.setdefault(one.id, one)
        if twin is not one:
            files = " and ".join(sorted({one.file, twin.file} - {""}))
            raise RenderError(f"{folder or '.'}: {one.id} is there twice (in {files}); keep one of the two")
    return tuple(found[identity] for identity in sorted(found))


def _is_plain(closure: Closure, path: str) -> bool:
    entry = closure.entries.get(join(closure.folder, path))
    return entry is not None and entry.kind in (EntryKind.FILE, EntryKind.EXECUTABLE)


def _grouped(tree: SourceTree, closure: Closure, paths: Sequence[str]) -> Iterator[list[str]]:
    """Yield groups of files. Where one ends depends on names and sizes alone, so that an edit moves no other file."""
    group: list[str] = []
    for path in paths:
        if len(tree.read(closure.entries[join(closure.folder, path)])) >= _LARGE:
            yield [path]
            continue
        group.append(path)
        if hashlib.sha256(path.encode()).digest()[0] % _FILES == 0:
            yield group
            group = []
    if group:
        yield group


def _part(closure: Closure, resources: Sequence[JsonValue], only: Sequence[str] | None = None) -> Closure:
    paths = None if only is None else {join(closure.folder, path) for path in only}
    return replace(
        closure,
        kustomization={**closure.kustomization, "resources": list(resources)},
        entries={path: entry for path, entry in closure.entries.items() if paths is None or path in paths},
        generated=False,
    )
