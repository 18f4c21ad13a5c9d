"""From an object as it travelled to the one that is sent to the API server: variables, spelling and our labels."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import orjson

from felloe.bundle import Entry, Workload
from felloe.digest import canonical_json
from felloe.errors import BundleError
from felloe.identity import WorkloadId, object_id
from felloe.labels import RENEWED, WORKLOAD_KIND, WORKLOAD_NAME, WORKLOAD_NAMESPACE
from spoke.apply.normalize import normalize
from spoke.drift.ignore import carried_over

if TYPE_CHECKING:
    from felloe.k8syaml import JsonValue

KEY_BYTES: Final = 16


def variables_digest(workload: Workload) -> bytes:
    """Return what names the values that a workload's templates are filled in with."""
    return hashlib.sha256(canonical_json(dict(workload.variables))).digest()


def applied_key(entry: Entry, variables: bytes) -> bytes:
    """Return what names an object as it is applied: its content, what is filled in, and what is left to others."""
    if not entry.template and not entry.ignore:
        return entry.digest[:KEY_BYTES]
    parts = [entry.digest, variables if entry.template else b"", "\0".join(entry.ignore).encode()]
    return hashlib.sha256(b"".join(parts)).digest()[:KEY_BYTES]


def desired(blob: bytes, entry: Entry, workload: Workload) -> dict[str, JsonValue]:
    """Return the object that a workload wants, from the bytes that travelled.

    Raise BundleError where it is not the object that its entry names, SubstitutionError where a variable is missing.
    """
    content = orjson.loads(blob)
    if not isinstance(content, dict):
        raise BundleError(f"what the bundle holds for {entry.id} is no object")
    obj: dict[str, JsonValue] = _filled_in(content, workload) if entry.template else content
    if object_id(obj) != entry.id:
        raise BundleError(f"what the bundle holds for {entry.id} is {object_id(obj)}")
    normalize(obj, entry.id)
    return obj


def _filled_in(content: dict[str, JsonValue], workload: Workload) -> dict[str, JsonValue]:
    from felloe.substitute import substitute  # brings a YAML parser, which a spoke without templates does not need

    return substitute(content, workload.variables)


def manifest(obj: dict[str, JsonValue], owner: WorkloadId, over: Mapping[str, str] = MappingProxyType({})) -> bytes:
    """Return the bytes to apply: the object with our labels, set last, so that nothing in Git claims another owner.

    `over` is the uid, and mostly the resourceVersion, of what it is to be applied to, empty where it may be made.
    """
    metadata = obj["metadata"]
    if not isinstance(metadata, dict):
        raise BundleError("an object has no metadata")
    labels = metadata.get("labels")
    labels = dict(labels) if isinstance(labels, dict) else {}
    labels |= {WORKLOAD_KIND: owner.kind, WORKLOAD_NAMESPACE: owner.namespace, WORKLOAD_NAME: owner.name}
    metadata["labels"] = labels
    return orjson.dumps({**obj, "metadata": {**metadata, **over}} if over else obj)


def marked(obj: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Return an object with an annotation that it never had before."""
    metadata = obj["metadata"]
    if not isinstance(metadata, dict):
        raise BundleError("an object has no metadata")
    annotations = metadata.get("annotations")
    known = annotations if isinstance(annotations, dict) else {}
    return {**obj, "metadata": {**metadata, "annotations": {**known, RENEWED: str(time.time_ns())}}}


def on_top_of(obj: dict[str, JsonValue], seen: Mapping[str, object], ignore: Sequence[str]) -> dict[str, JsonValue]:
    """Return an object with the fields that are left to others as they are, to be applied to just what was seen."""
    carried: dict[str, JsonValue] = {**carried_over(obj, seen, ignore)}  # type: ignore[dict-item]
    metadata, there = carried["metadata"], seen.get("metadata")
    version = there.get("resourceVersion") if isinstance(there, Mapping) else None
    if not isinstance(metadata, dict) or not isinstance(version, str):
        raise BundleError("an object has no metadata")
    return carried | {"metadata": metadata | {"resourceVersion": version}}


def expires(obj: dict[str, JsonValue]) -> bool:
    """Return whether the cluster removes this object by itself: its absence is then no drift."""
    spec = obj.get("spec")
    return obj.get("kind") == "Job" and isinstance(spec, dict) and spec.get("ttlSecondsAfterFinished") is not None
