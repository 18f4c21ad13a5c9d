"""Every error that Felloe raises on purpose, in one tree.

A message says what was tried, on what (file, object, field, cluster), what went wrong and what to do about it; it is
shown to people as it is and therefore never holds a secret. Whatever is not a `FelloeError` is a bug.

    FelloeError
    ├── ConfigError          a file of the fleet repository, a flag or a configuration file says something impossible
    ├── SourceError          a source can't be reached, refuses us, or lacks the ref
    ├── RenderError          an overlay does not build
    │   └── SandboxError     the confinement of rendering is not available, or was hit
    ├── SubstitutionError    a variable has no value, or a value does not fit its place
    ├── BundleError          a manifest or an object is not what its digest says
    ├── LinkError            hub and spoke can't talk, or said something that the protocol forbids
    │   └── EnrolmentError   a join token or a certificate was refused
    ├── KubernetesError      the API server refused a request
    ├── ExpressionError      a CEL expression can't be read, or fails on what it is asked about
    ├── AdoptionError        a cluster can't be taken over, or given back, as it is
    └── StoreError           the hub's state can't be read or written
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Place:
    """Where in somebody's files an error is, shown as ``apps.yaml: Kustomization flux-system/apps: spec.path``."""

    file: str = ""
    object: str = ""
    field: str = ""

    def __str__(self) -> str:
        return ": ".join(part for part in (self.file, self.object, self.field) if part)


class FelloeError(Exception):
    """The root of the tree."""


class ConfigError(FelloeError):
    """Something that a person wrote is impossible; `place` says where."""

    def __init__(self, message: str, place: Place | None = None) -> None:
        self.message = message
        self.place = place or Place()
        where = str(self.place)
        super().__init__(f"{where}: {message}" if where else message)


class SourceError(FelloeError):
    """A source can't be reached, refuses us, or lacks what was asked for."""


class RenderError(FelloeError):
    """An overlay does not build."""


class SandboxError(RenderError):
    """The confinement of rendering is not available on this machine, or a build ran into one of its limits."""


class SubstitutionError(FelloeError):
    """A variable has no value, or its value does not fit its place."""


class BundleError(FelloeError):
    """A manifest or an object is not what its digest says."""


class LinkError(FelloeError):
    """Hub and spoke can't talk, or one said what the protocol forbids."""


class EnrolmentError(LinkError):
    """A join token or a certificate was refused."""


class Cause(NamedTuple):
    """One of the causes that a Status object names: a field, and what is wrong with it."""

    field: str
    reason: str
    message: str


class KubernetesError(FelloeError):
    """The API server refused a request.

    `status` is its HTTP status, `reason` and `causes` are those of its Status object.
    """

    def __init__(self, message: str, *, status: int = 0, reason: str = "", causes: tuple[Cause, ...] = ()) -> None:
        self.status = status
        self.reason = reason
        self.causes = causes
        super().__init__(message)


class ExpressionError(FelloeError):
    """A CEL expression can't be read, or fails on what it is asked about."""


class AdoptionError(FelloeError):
    """A cluster can't be taken over from another controller, or given back, as it is now."""


class StoreError(FelloeError):
    """The hub's state can't be read or written."""
