"""What every kind has in common: apiVersion, kind and metadata, and how a document is checked and read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from felloe.errors import ConfigError, Place
from felloe.k8syaml import JsonValue
from hub.fleet.durations import parse_duration
from hub.fleet.errors import FleetError
from hub.fleet.schema import (
    Anything,
    Field,
    Findings,
    Record,
    Shape,
    Text,
    TextMap,
    UnsupportedField,
    check,
    kind_of,
    number,
    portion,
)
from hub.fleet.strategy import Share

DEFAULT_NAMESPACE: Final = "default"
"""Where an object without a namespace goes, as with kubectl."""

NAME: Final = Text(
    pattern=r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?",
    hint="no valid name: lower-case letters, digits, '-' and '.', at most 253",
)
NAMESPACE: Final = Text(
    pattern=r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?",
    hint="no valid namespace: lower-case letters, digits and '-', at most 63",
)
_ANYTHING: Final = Field(Anything())
_SET_BY_THE_API_SERVER: Final = (
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
)
_METADATA: Final = Record(
    {
        "name": Field(NAME, required=True),
        "namespace": Field(NAMESPACE),
        "labels": Field(TextMap()),
        "annotations": Field(TextMap()),
        **dict.fromkeys(_SET_BY_THE_API_SERVER, _ANYTHING),
    }
)


@dataclass(frozen=True, slots=True)
class Header:
    """Who a document says it is, before anything of it has been checked."""

    api_version: str
    kind: str
    namespace: str
    name: str
    place: Place

    @property
    def group(self) -> str:
        """Return the group of its apiVersion."""
        return self.api_version.rpartition("/")[0]

    @property
    def version(self) -> str:
        """Return the version of its apiVersion."""
        return self.api_version.rpartition("/")[2]

    def error(self, message: str, field: str = "") -> ConfigError:
        """Return an error about this document."""
        return ConfigError(message, Place(self.place.file, self.place.object, field))


def header(manifest: JsonValue, place: Place) -> Header:
    """Return who a document is. Raise ConfigError where it is no object, or has no apiVersion, kind or name."""
    if not isinstance(manifest, dict):
        raise ConfigError("is no Kubernetes object: a mapping with apiVersion, kind and metadata is needed", place)
    api_version, kind, metadata = manifest.get("apiVersion"), manifest.get("kind"), manifest.get("metadata")
    for key, value in (("apiVersion", api_version), ("kind", kind)):
        if not isinstance(value, str) or not value:
            raise ConfigError("is required and missing or no text", Place(place.file, place.object, key))
    name, namespace = (metadata.get("name"), metadata.get("namespace")) if isinstance(metadata, dict) else (None, None)
    if not isinstance(name, str) or not name:
        raise ConfigError("is required and missing or no text", Place(place.file, str(kind), "metadata.name"))
    if namespace is not None and not isinstance(namespace, str):
        where = Place(place.file, f"{kind} {name}", "metadata.namespace")
        raise ConfigError(f"must be a text, not {kind_of(namespace)}; put it in quotes", where)
    space = namespace or ""
    shown = f"{kind} {space}/{name}" if space else f"{kind} {name}"
    return Header(str(api_version), str(kind), space, name, Place(place.file, shown))


def checked_spec(
    manifest: Mapping[str, JsonValue], about: Header, spec: Record, *, required: bool = True
) -> tuple[Spec, tuple[UnsupportedField, ...]]:
    """Return the spec of a document that holds no mistake, and its fields that are not supported yet.

    Raise FleetError with every mistake.
    """
    text: Shape = Text()
    table = Record(
        {
            "apiVersion": Field(text, required=True),
            "kind": Field(text, required=True),
            "metadata": Field(_METADATA, required=True),
            "spec": Field(spec, required=required),
            "status": _ANYTHING,
        }
    )
    findings = Findings()
    check(table, dict(manifest), "", findings)
    if findings.mistakes:
        raise FleetError(about.error(message, field) for field, message in findings.mistakes)
    value = manifest.get("spec")
    return Spec(value if isinstance(value, dict) else {}), tuple(findings.unsupported)


def metadata_of(manifest: Mapping[str, JsonValue]) -> Spec:
    """Return the metadata of a checked document."""
    return Spec(manifest).record("metadata")


class Spec:
    """A checked mapping, read field by field with its types; what is missing or null has the default."""

    def __init__(self, values: Mapping[str, JsonValue]) -> None:
        self._values = values

    def __contains__(self, name: str) -> bool:
        return self._values.get(name) is not None

    def text(self, name: str, default: str = "") -> str:
        """Return a text."""
        value = self._values.get(name)
        return value if isinstance(value, str) else default

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Return true or false."""
        value = self._values.get(name)
        return value if isinstance(value, bool) else default

    def seconds(self, name: str, default: float) -> float:
        """Return a duration in seconds."""
        value = self._values.get(name)
        return parse_duration(value) if isinstance(value, str) else default

    def whole(self, name: str, default: int = 0) -> int:
        """Return a whole number."""
        value = self._values.get(name)
        return value if isinstance(value, int) else default

    def number(self, name: str, default: float = 0.0) -> float:
        """Return a number, however it is written."""
        value = number(self._values.get(name))
        return default if value is None else value

    def share(self, name: str) -> Share | None:
        """Return a number or a percentage of clusters, None where it is missing."""
        found = portion(self._values.get(name))
        return Share(*found) if found else None

    def record(self, name: str) -> Spec:
        """Return a mapping; an empty one where it is missing."""
        value = self._values.get(name)
        return Spec(value if isinstance(value, dict) else {})

    def records(self, name: str) -> Iterator[Spec]:
        """Yield the mappings of a list."""
        value = self._values.get(name)
        for item in value if isinstance(value, list) else []:
            yield Spec(item if isinstance(item, dict) else {})

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of texts."""
        value = self._values.get(name)
        return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()

    def wholes(self, name: str) -> tuple[int, ...]:
        """Return a list of whole numbers."""
        value = self._values.get(name)
        return tuple(item for item in value if isinstance(item, int)) if isinstance(value, list) else ()

    def text_map(self, name: str) -> dict[str, str]:
        """Return a mapping from text to text."""
        value = self._values.get(name)
        return {k: v for k, v in value.items() if isinstance(v, str)} if isinstance(value, dict) else {}
