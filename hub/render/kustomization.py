"""Which files a kustomization names, and what of it a confined build refuses: a table over kustomize's own fields."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from felloe.errors import ConfigError, Place, RenderError
from felloe.k8syaml import JsonValue, load_all
from hub.render.paths import Reference

FILE_NAMES = ("kustomization.yaml", "kustomization.yml", "Kustomization")
"""What kustomize calls its file; a folder may have one of them only."""

_REMOTE = re.compile(
    r"[A-Za-z][A-Za-z0-9+.-]*:(//|:)"  # https://, ssh://, file://, git::, ext::
    r"|[^/\s]+@[^/\s]+:"  # git@example.com:org/repository
    r"|(www\.)?github\.com[/:]"  # kustomize takes this for Git without any scheme
    r"|.*\?(ref|version|timeout|submodules)="
)
_HELM = "charts are not rendered by builds; use a HelmRelease for it, or commit the manifests that the chart renders to"
_FUNCTION_ANNOTATIONS = ("config.kubernetes.io/function", "config.k8s.io/function")


class Wanted(Enum):
    """What a field may point to."""

    FILE = "a file"
    FOLDER = "a folder with a kustomization.yaml"
    EITHER = "a file or a folder with a kustomization.yaml"
    PLUGIN = "a file or a folder with generators or transformers"


@dataclass(frozen=True, slots=True)
class Use:
    """A reference, and what has to be at its end."""

    reference: Reference
    wanted: Wanted


def is_remote(value: str) -> bool:
    """Whether kustomize would take a path for something to fetch."""
    return _REMOTE.match(value) is not None


def parse(content: bytes, file: str) -> list[JsonValue]:
    """Return the documents of a YAML file. Raise RenderError, naming file and line."""
    try:
        return [document.value for document in load_all(content, file=file)]
    except ConfigError as error:
        raise RenderError(str(error)) from None


def uses(kustomization: Mapping[str, JsonValue], file: str) -> Iterator[Use]:
    """Yield every file and folder that a kustomization reads.

    Raise RenderError for Helm charts, plugins and fields that don't have the form that kustomize documents.
    """
    for field in ("helmCharts", "helmChartInflationGenerator"):
        if kustomization.get(field):
            raise _refused(file, field, _HELM)
    for field, wanted in (
        ("resources", Wanted.EITHER),
        ("bases", Wanted.FOLDER),
        ("components", Wanted.FOLDER),
        ("crds", Wanted.FILE),
        ("configurations", Wanted.FILE),
    ):
        for place, value in _items(kustomization, field, file):
            yield Use(Reference(file, place, _text(value, file, place)), wanted)
    yield from _patches(kustomization, file)
    for field in ("configMapGenerator", "secretGenerator"):
        for place, value in _items(kustomization, field, file):
            yield from _generator(_mapping(value, file, place), file, f"{place}.")
    yield from _path(kustomization.get("openapi"), file, "openapi")
    for field in ("generators", "transformers", "validators"):
        for place, value in _items(kustomization, field, file):
            text = _text(value, file, place)
            if (inline := _inline(text)) is None:
                yield Use(Reference(file, place, text), Wanted.PLUGIN)
            else:
                for document in inline:
                    yield from plugin_uses(document, file, f"{place}.")


def plugin_uses(document: JsonValue, file: str, prefix: str = "") -> Iterator[Use]:
    """Yield what the configuration of a built-in generator or transformer reads; refuse every other plugin."""
    if not isinstance(document, dict):
        return
    metadata = document.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    kind = document.get("kind")
    if kind == "HelmChartInflationGenerator":
        raise _refused(file, f"{prefix}kind", _HELM)
    if isinstance(annotations, dict) and any(name in annotations for name in _FUNCTION_ANNOTATIONS):
        raise _refused(
            file, f"{prefix}metadata.annotations", "KRM functions are not run by builds; commit their output"
        )
    if document.get("apiVersion") != "builtin":
        raise _refused(
            file, f"{prefix}apiVersion", f"{kind} is no built-in plugin of kustomize, and others are not run by builds"
        )
    yield from _path(document, file, prefix.removesuffix("."))
    for place, value in _items(document, "paths", file, prefix):
        if _inline(text := _text(value, file, place)) is None:
            yield Use(Reference(file, place, text), Wanted.FILE)
    target_file = document.get("targetFilePath")
    if isinstance(target_file, str) and target_file:
        yield Use(Reference(file, f"{prefix}targetFilePath", target_file), Wanted.FILE)
    for place, value in _items(document, "replacements", file, prefix):
        yield from _path(value, file, place)
    yield from _generator(document, file, prefix)


def _patches(kustomization: Mapping[str, JsonValue], file: str) -> Iterator[Use]:
    for field in ("patches", "patchesStrategicMerge", "patchesJson6902", "replacements"):
        for place, value in _items(kustomization, field, file):
            if not isinstance(value, str):
                yield from _path(value, file, place)
            elif _inline(value) is None:
                yield Use(Reference(file, place, value), Wanted.FILE)


def _path(value: JsonValue, file: str, place: str) -> Iterator[Use]:
    path = value.get("path") if isinstance(value, dict) else None
    if isinstance(path, str) and path:
        yield Use(Reference(file, f"{place}.path" if place else "path", path), Wanted.FILE)


def _generator(value: Mapping[str, JsonValue], file: str, prefix: str) -> Iterator[Use]:
    """Yield the files of a generator: ``files`` (``path`` or ``key=path``), ``envs`` and the old ``env``."""
    for place, item in _items(value, "files", file, prefix):
        text = _text(item, file, place)
        path = text.partition("=")[2]
        whole = not path or (is_remote(text) and not is_remote(path))  # the = of a query
        yield Use(Reference(file, place, text if whole else path), Wanted.FILE)
    for place, item in _items(value, "envs", file, prefix):
        yield Use(Reference(file, place, _text(item, file, place)), Wanted.FILE)
    env = value.get("env")
    if isinstance(env, str) and env:
        yield Use(Reference(file, f"{prefix}env", env), Wanted.FILE)


def _inline(text: str) -> list[JsonValue] | None:
    """Return the documents of a field that holds YAML itself, None where it holds a path."""
    try:
        documents = [document.value for document in load_all(text, file="")]
    except ConfigError:
        return [] if "\n" in text else None
    return documents if documents and all(isinstance(one, dict | list) for one in documents) else None


def _items(value: Mapping[str, JsonValue], field: str, file: str, prefix: str = "") -> Iterator[tuple[str, JsonValue]]:
    items = value.get(field)
    if items is None:
        return
    if not isinstance(items, list):
        raise _refused(file, f"{prefix}{field}", "must be a list")
    for index, item in enumerate(items):
        yield f"{prefix}{field}[{index}]", item


def _text(value: JsonValue, file: str, place: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _refused(file, place, "must be a path, written as text")
    return value


def _mapping(value: JsonValue, file: str, place: str) -> dict[str, JsonValue]:
    if not isinstance(value, dict):
        raise _refused(file, place, "must be a mapping")
    return value


def _refused(file: str, field: str, message: str) -> RenderError:
    return RenderError(f"{Place(file, field=field)}: {message}")
