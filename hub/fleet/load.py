"""Read the fleet folder: every object below it, or every mistake in it.

A fleet that fails to load changes nothing anywhere, so there is no half of a fleet: either all of it is right, or
`FleetError` tells all that is wrong with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from posixpath import normpath
from typing import Final, TypeAlias

from felloe.errors import ConfigError, Place
from felloe.k8syaml import JsonValue, load_all
from felloe.labels import GROUP
from hub.fleet.document import Header, header
from hub.fleet.errors import FleetError
from hub.fleet.flux import KINDS, parse_flux
from hub.fleet.model import (
    Cluster,
    Environment,
    Fleet,
    GitRepository,
    Kustomization,
    Placement,
    UnsupportedObject,
)
from hub.fleet.own import parse_own
from hub.fleet.relations import relation_mistakes
from hub.fleet.schema import did_you_mean
from hub.fleet.strategy import Strategy
from hub.sources.tree import EntryKind, SourceTree

FleetObject: TypeAlias = (
    "Cluster | Environment | Placement | Strategy | GitRepository | Kustomization | UnsupportedObject"
)

MAX_FILE: Final = 16 * 1024 * 1024
"""The largest file that is read, in bytes."""
MAX_DEPTH: Final = 64
"""How deep folders may nest."""


def is_fleet_group(api_version: str) -> bool:
    """Tell whether objects of this apiVersion are the hub's to read: Flux' kinds and Felloe's own."""
    group = api_version.rpartition("/")[0]
    return group == GROUP or group in KINDS


def parse_object(manifest: Mapping[str, JsonValue], place: Place) -> FleetObject:
    """Return what one object of Flux' or Felloe's groups says.

    Raise ConfigError for another kind, and ConfigError or FleetError with every mistake in it.
    """
    about = header(dict(manifest), place)
    if about.group == GROUP:
        return parse_own(manifest, about)
    if about.group in KINDS:
        return parse_flux(manifest, about)
    hint = did_you_mean(about.group, (GROUP, *KINDS))
    raise about.error(
        f"{about.api_version} {about.kind} does not belong in the fleet folder, which holds only Flux' kinds and those "
        f"of {GROUP} ({hint}); move it to a folder that a Kustomization applies",
        "apiVersion",
    )


def load_fleet(tree: SourceTree, fleet_path: str) -> Fleet:
    """Return what the YAML files below `fleet_path` declare; an absent folder is an empty fleet.

    Raise FleetError with every mistake: in files, in objects, and between objects.
    """
    folder = normpath(fleet_path.strip("/"))
    folder = "" if folder == "." else folder
    reader = _Reader()
    for path, content in _files(tree, folder, reader):
        reader.read(path, content)
    fleet = reader.fleet()
    # What one mistake hides would only be called missing by the next.
    mistakes = reader.errors or list(relation_mistakes(fleet))
    if mistakes:
        raise FleetError(mistakes)
    return fleet


@dataclass(slots=True)
class _Reader:
    objects: dict[tuple[str, str, str], FleetObject] = field(default_factory=dict)
    places: dict[tuple[str, str, str], Place] = field(default_factory=dict)
    errors: list[ConfigError] = field(default_factory=list)

    def read(self, path: str, content: bytes) -> None:
        """Take up the objects of one file."""
        try:
            documents = load_all(content, file=path)
        except ConfigError as error:
            self.errors.append(error)
            return
        for document in documents:
            line = Place(path, f"line {document.line}")
            try:
                about = header(document.value, line)
                manifest = document.value if isinstance(document.value, dict) else {}
                self._add(about, parse_object(manifest, line))
            except FleetError as error:
                self.errors.extend(error.errors)
            except ConfigError as error:
                self.errors.append(error)

    def _add(self, about: Header, found: FleetObject) -> None:
        key = (about.kind, _namespace(found), about.name)
        before = self.places.get(key)
        if before is not None:
            raise about.error(f"is there twice; the other one is in {before.file}")
        self.objects[key] = found
        self.places[key] = about.place

    def fleet(self) -> Fleet:
        """Return the objects by kind and name."""
        found = [self.objects[key] for key in sorted(self.objects)]
        return Fleet(
            clusters={each.name: each for each in found if isinstance(each, Cluster)},
            environments={each.name: each for each in found if isinstance(each, Environment)},
            placements={each.name: each for each in found if isinstance(each, Placement)},
            kustomizations={each.id: each for each in found if isinstance(each, Kustomization)},
            repositories={
                (each.spec.namespace, each.spec.name): each for each in found if isinstance(each, GitRepository)
            },
            strategies={each.name: each for each in found if isinstance(each, Strategy)},
            unsupported=tuple(each for each in found if isinstance(each, UnsupportedObject)),
        )


def _namespace(found: FleetObject) -> str:
    match found:
        case Kustomization():
            return found.id.namespace
        case GitRepository():
            return found.spec.namespace
        case UnsupportedObject():
            return found.namespace
        case _:
            return ""


def _files(tree: SourceTree, folder: str, reader: _Reader, depth: int = 0) -> Iterator[tuple[str, bytes]]:
    """Yield every YAML file below a folder, sorted by path."""
    if depth > MAX_DEPTH:
        reader.errors.append(ConfigError(f"folders nest deeper than {MAX_DEPTH} levels", Place(folder)))
        return
    for entry in tree.list(folder):
        path = f"{folder}/{entry.name}" if folder else entry.name
        if entry.kind is EntryKind.DIRECTORY:
            yield from _files(tree, path, reader, depth + 1)
        elif entry.name.endswith((".yaml", ".yml")):
            if entry.kind is EntryKind.SYMLINK:
                reader.errors.append(ConfigError("is a symlink, which the fleet folder may not hold", Place(path)))
                continue
            if entry.kind is EntryKind.SUBMODULE:
                continue
            content = tree.read(entry)
            if len(content) > MAX_FILE:
                reader.errors.append(ConfigError(f"is larger than {MAX_FILE // 1024 // 1024} MiB", Place(path)))
                continue
            yield path, content
