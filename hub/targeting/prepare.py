"""Turn what an overlay renders into what a bundle holds. Done once for a render, however many clusters get it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, Generic, NamedTuple, TypeAlias, TypeVar
from weakref import ReferenceType, ref

from felloe.bundle import ApplyOptions, Entry, Workload
from felloe.digest import Digest, canonical_json, digest
from felloe.errors import ConfigError, Place, SubstitutionError
from felloe.expansion import has_expressions
from felloe.identity import ObjectId, WorkloadId, object_id, split_api_version
from felloe.k8syaml import JsonValue
from felloe.substitute import is_template, substitute, variables_used
from hub.fleet import is_fleet_group, parse_object
from hub.fleet.load import FleetObject
from hub.render.objects import RenderedObject
from hub.targeting.waves import wave_of

Manifest: TypeAlias = Mapping[str, JsonValue]
T = TypeVar("T")

_PART_OF: Final = "app.kubernetes.io/part-of"
_INSTANCE: Final = "app.kubernetes.io/instance"
_WORTH_SHARING: Final = 50
"""Objects of a render; making those of smaller ones anew costs little, and fleets have thousands of these."""


@dataclass(frozen=True, slots=True)
class FleetPart:
    """An object of Flux' or Felloe's kinds that a workload holds, and what it says or what is wrong with it.

    `says` is None for one that holds variables: it says something else to each cluster.
    """

    rendered: RenderedObject
    says: FleetObject | ConfigError | None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A render, sorted out.

    `entries` and `blobs` are what every cluster gets alike; `templates` are the objects among them that a spoke fills
    in, `variables` what they use. `unnamed` are objects whose identity holds a variable: each cluster's are its own.
    `fleet_parts` are the hub's to read and go to no cluster. `left_out` counts Flux' own controllers and CRDs.
    """

    entries: tuple[Entry, ...] = ()
    blobs: Mapping[Digest, bytes] = field(default_factory=dict)
    templates: tuple[Manifest, ...] = ()
    variables: frozenset[str] = frozenset()
    unnamed: tuple[Manifest, ...] = ()
    fleet_parts: tuple[FleetPart, ...] = ()
    left_out: int = 0


def read_part(rendered: RenderedObject, folder: str) -> FleetObject | ConfigError:
    """Return what an object of Flux' or Felloe's kinds says, or what is wrong with it; `folder` is for messages."""
    try:
        return parse_object(rendered.manifest, Place(rendered.file or folder))
    except ConfigError as error:
        return error


class Made(NamedTuple):
    """What was made of a rendered object."""

    rendered: ReferenceType[RenderedObject]
    entry: Entry
    data: bytes


def prepare(
    objects: Sequence[RenderedObject], folder: str, *, templated: bool, made: dict[ObjectId, Made] | None = None
) -> Prepared:
    """Sort out what a folder rendered to; `templated`: its objects use the cluster's variables.

    `made` is of what the folder rendered to before, with which this shares what is the same; it is brought up to date.
    Raise SubstitutionError for an expression that is none of Flux'.
    """
    plain: list[RenderedObject] = []
    unnamed: list[Manifest] = []
    fleet_parts: list[FleetPart] = []
    left_out = 0
    for each in objects:
        manifest = each.manifest
        if is_fleet_group(str(manifest.get("apiVersion"))):
            varies = templated and is_template(manifest)
            fleet_parts.append(FleetPart(each, None if varies else read_part(each, folder)))
        elif _is_flux_itself(manifest):
            left_out += 1
        elif templated and _identity_varies(manifest) and is_template(manifest):
            unnamed.append(manifest)
        else:
            plain.append(each)
    before = made or {}
    now = [_made(each, before.get(each.id), templated=templated) for each in plain]
    templates = tuple([each.manifest for each, done in zip(plain, now, strict=True) if done.entry.template])
    if made is not None:
        made.clear()
        made |= {each.entry.id: each for each in now}
    return Prepared(
        entries=_distinct(each.entry for each in now),
        blobs={each.entry.digest: each.data for each in now},
        templates=templates,
        variables=frozenset[str]().union(*map(variables_used, templates)),
        unnamed=tuple(unnamed),
        fleet_parts=tuple(fleet_parts),
        left_out=left_out,
    )


def entries_for(prepared: Prepared, variables: Mapping[str, str]) -> tuple[tuple[Entry, ...], Mapping[Digest, bytes]]:
    """Return the entries and blobs of one cluster.

    Raise SubstitutionError where a template needs a variable that the cluster has not, ConfigError where two objects
    become the same or an identity becomes none.
    """
    if not all(name in variables for name in prepared.variables):
        for template in prepared.templates:
            substitute(template, variables)
    if not prepared.unnamed:
        return prepared.entries, prepared.blobs
    named = [substitute(manifest, variables) for manifest in prepared.unnamed]
    own = [_entry(object_id(manifest), manifest, templated=False) for manifest in named]
    blobs = {entry.digest: data for entry, data in own}
    return _distinct([*prepared.entries, *(entry for entry, _ in own)]), {**prepared.blobs, **blobs}


def _made(rendered: RenderedObject, before: Made | None, *, templated: bool) -> Made:
    if before is not None and before.rendered() is rendered:
        return before
    entry, data = _entry(rendered.id, rendered.manifest, templated=templated)
    if before is not None and before.entry == entry:
        entry, data = before.entry, before.data
    return Made(ref(rendered), entry, data)


def _entry(identity: ObjectId, manifest: Manifest, *, templated: bool) -> tuple[Entry, bytes]:
    data = canonical_json(manifest)
    template = templated and b"$" in data and is_template(manifest)
    _, version = split_api_version(str(manifest["apiVersion"]))
    return Entry(identity, version, digest(data), wave_of(identity, manifest), len(data), template), data


def _distinct(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    ordered = sorted(entries, key=lambda entry: entry.id)
    for before, after in pairwise(ordered):
        if before.id == after.id:
            raise ConfigError(f"{before.id} is there twice once variables are filled in; rename one of the two")
    return tuple(ordered)


def _identity_varies(manifest: Manifest) -> bool:
    metadata = manifest.get("metadata")
    parts = [manifest.get("apiVersion"), manifest.get("kind")]
    if isinstance(metadata, Mapping):
        parts += [metadata.get("name"), metadata.get("namespace")]
    return any(isinstance(part, str) and has_expressions(part) for part in parts)


def _is_flux_itself(manifest: Manifest) -> bool:
    """Tell Flux' own controllers and CRDs (gotk-components.yaml) by their labels; the Namespace around them stays."""
    metadata = manifest.get("metadata")
    labels = metadata.get("labels") if isinstance(metadata, Mapping) else None
    return (
        isinstance(labels, Mapping)
        and labels.get(_PART_OF) == "flux"
        and _INSTANCE in labels
        and manifest.get("kind") != "Namespace"
    )


class RenderCache:
    """Remembers what a render was prepared into, and the workloads made of it: those that were used last.

    It only saves work: with it or without it, the same comes out. Failures are remembered as well. Memory grows with
    objects, not with renders, so that is what is bounded: `objects` of the renders, and as many of the workloads
    (about 1.5 KiB each, or their size where that is more). The renders of a large folder, commit after commit, share
    what is the same in them: each takes a hundred bytes for such an object.
    """

    def __init__(self, objects: int = 50_000) -> None:
        self._renders = _Recent[Prepared | SubstitutionError](objects)
        self._workloads = _Recent[Workload](objects)
        self._made = _Recent[dict[ObjectId, Made]](objects)

    def prepare(self, key: Hashable, objects: Sequence[RenderedObject], folder: str, *, templated: bool) -> Prepared:
        """Return `prepare` of a render whose content `key` names. Raise what it raises."""
        found = self._renders.get((key, templated))
        if found is None:
            try:
                found = prepare(
                    objects, folder, templated=templated, made=self._made_of((folder, templated), len(objects))
                )
            except SubstitutionError as error:
                found = error
            self._renders.put((key, templated), found, 1 + len(objects))
        if isinstance(found, SubstitutionError):
            raise SubstitutionError(str(found))
        return found

    def _made_of(self, what: Hashable, count: int) -> dict[ObjectId, Made] | None:
        """Return what was made of a folder's objects, None where there are too few of them to share."""
        if count < _WORTH_SHARING:
            return None
        made = self._made.get(what) or {}
        self._made.put(what, made, count)
        return made

    def workload(
        self,
        key: Hashable,
        identity: WorkloadId,
        options: ApplyOptions,
        entries: Callable[[], tuple[Entry, ...]],
        variables: Mapping[str, str],
    ) -> Workload:
        """Return a workload; clusters that get the same share one, and its entries and digest are made once.

        `key` must name the entries.
        """
        name = (key, identity, options, tuple(variables.items()))
        found = self._workloads.get(name)
        if found is None:
            found = Workload(identity, options, entries(), dict(variables))
            self._workloads.put(name, found, 1 + len(found.entries))
        return found


class _Recent(Generic[T]):
    """The values that were used last, as many as weigh at most `capacity` together, and always the newest."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._weight = 0
        self._values: OrderedDict[Hashable, tuple[T, int]] = OrderedDict()

    def get(self, key: Hashable) -> T | None:
        found = self._values.get(key)
        if found is None:
            return None
        self._values.move_to_end(key)
        return found[0]

    def put(self, key: Hashable, value: T, weight: int) -> None:
        if (before := self._values.pop(key, None)) is not None:
            self._weight -= before[1]
        self._values[key] = value, weight
        self._weight += weight
        while self._weight > self._capacity and len(self._values) > 1:
            self._weight -= self._values.popitem(last=False)[1][1]
