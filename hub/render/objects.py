"""What kustomize printed, as objects that can go into a bundle: checked, flattened, each knowing its file."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass

from felloe.digest import canonical_json
from felloe.errors import ConfigError, RenderError
from felloe.identity import ObjectId, object_id, split_api_version
from felloe.k8syaml import JsonValue, load_all

ORIGIN = "config.kubernetes.io/origin"
"""The annotation in which kustomize says which file an object comes from (``buildMetadata: [originAnnotations]``)."""

MAX_OBJECT = 1536 * 1024
"""Bytes of one object: etcd's limit on a request, and so the API server's."""


@dataclass(frozen=True, slots=True, weakref_slot=True)
class RenderedObject:
    """One object of a workload. `file` is where it was written, relative to the source; empty where nobody knows."""

    id: ObjectId
    manifest: dict[str, JsonValue]
    file: str = ""


def read_objects(output: bytes, folder: str, *, keep_origin: bool) -> tuple[RenderedObject, ...]:
    """Return the objects in kustomize's output, sorted by identity.

    Lists are flattened, ``status`` is dropped (but on CRDs, as in Flux). Raise RenderError for an object without
    apiVersion, kind or name, one too large for the API server, and two that are the same object.
    """
    try:
        documents = load_all(output, file="kustomize's output")
    except ConfigError as error:
        raise RenderError(f"{folder or '.'}: {error}") from None
    found: dict[ObjectId, RenderedObject] = {}
    for document in documents:
        for manifest in _flatten(document.value, folder):
            one = _object(manifest, folder, keep_origin=keep_origin)
            twin = found.get(one.id)
            if twin is not None:
                files = " and ".join(sorted({one.file, twin.file} - {""})) or "the same file"
                raise RenderError(f"{folder or '.'}: {one.id} is there twice (in {files}); keep one of the two")
            found[one.id] = one
    return tuple(found[key] for key in sorted(found))


def _flatten(value: JsonValue, folder: str) -> Iterator[dict[str, JsonValue]]:
    if not isinstance(value, dict):
        raise RenderError(f"{folder or '.'}: kustomize printed something that is no Kubernetes object")
    items, kind = value.get("items"), value.get("kind")
    if isinstance(items, list) and isinstance(kind, str) and kind.endswith("List"):
        for item in items:
            yield from _flatten(item, folder)
    else:
        yield value


def _object(manifest: dict[str, JsonValue], folder: str, *, keep_origin: bool) -> RenderedObject:
    file = _take_origin(manifest, folder, keep=keep_origin)
    where = file or folder or "."
    try:
        identity = object_id(manifest)
    except ConfigError as error:
        raise RenderError(f"{where}: {error.message}") from None
    if identity.kind != "CustomResourceDefinition":
        manifest.pop("status", None)
    size = len(canonical_json(manifest))
    if size > MAX_OBJECT:
        raise RenderError(
            f"{where}: {identity}: is {size:,} bytes; the API server takes at most {MAX_OBJECT:,}: split it up"
        )
    return RenderedObject(identity, manifest, file)


def _take_origin(manifest: dict[str, JsonValue], folder: str, *, keep: bool) -> str:
    """Return the file that the origin annotation names, and take the annotation off."""
    metadata = manifest.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    if not isinstance(metadata, dict) or not isinstance(annotations, dict):
        return ""
    origin = annotations.get(ORIGIN)
    if not keep:
        annotations.pop(ORIGIN, None)
        if not annotations:
            del metadata["annotations"]
    try:
        parsed = load_all(origin, file="") if isinstance(origin, str) else []
    except ConfigError:
        return ""
    value = parsed[0].value if parsed else None
    path = (value.get("path") or value.get("configuredIn")) if isinstance(value, dict) else None
    return posixpath.normpath(posixpath.join(folder, path)) if isinstance(path, str) else ""


def is_namespace(one: RenderedObject) -> bool:
    """Whether it is a Namespace of Kubernetes itself."""
    return one.id.kind == "Namespace" and split_api_version(str(one.manifest.get("apiVersion")))[0] == ""
