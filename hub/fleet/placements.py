"""The kind `Placement`: which workloads go to which clusters, and what is different on some of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from felloe.digest import canonical_json
from felloe.errors import ConfigError
from felloe.expansion import VARIABLE_NAME, has_expressions
from felloe.identity import WorkloadId
from felloe.k8syaml import JsonValue, load_all
from hub.fleet.document import DEFAULT_NAMESPACE, NAME, NAMESPACE, Header, Spec, checked_spec
from hub.fleet.errors import FleetError
from hub.fleet.model import Image, Override, Patch, Placement
from hub.fleet.schema import Anything, Field, ListOf, Record, Support, Text, TextMap, UnsupportedField
from hub.fleet.selectors import SELECTOR, read_selector, selector_mistakes
from hub.fleet.targets import TARGET, matcher, read_target

VARIABLES: Final = Field(
    TextMap(VARIABLE_NAME.pattern, "is no name of a variable: letters, digits and '_', no digit first")
)
_TAKEN: Final = "sync"
_CONDITIONS: Final = ("clusterSelector", "environments", "clusterNames")
_WHICH: Final = {
    "clusterSelector": Field(SELECTOR),
    "environments": Field(ListOf(NAME)),
    "clusterNames": Field(ListOf(NAME)),
}
_IMAGE: Final = Record(
    {"name": Field(Text(blank=False), required=True)}
    | {name: Field(Text(blank=False)) for name in ("newName", "newTag", "digest")}
)
_OVERRIDE: Final = Record(
    _WHICH
    | {
        "variables": VARIABLES,
        "patches": Field(ListOf(Record({"patch": Field(Text(blank=False), required=True), "target": Field(TARGET)}))),
        "images": Field(ListOf(_IMAGE)),
        "values": Field(Anything(), support=Support.HOLDS),
    }
)
_PLACEMENT: Final = Record(
    _WHICH
    | {
        "workloads": Field(
            ListOf(
                Record(
                    {
                        "kind": Field(Text(one_of=("Kustomization", "HelmRelease")), required=True),
                        "name": Field(NAME, required=True),
                        "namespace": Field(NAMESPACE),
                    }
                )
            ),
            required=True,
        ),
        "overrides": Field(ListOf(_OVERRIDE)),
        "rollout": Field(NAME),
    }
)


def parse_placement(manifest: Mapping[str, JsonValue], about: Header) -> Placement:
    """Return what a Placement says. Raise FleetError (a ConfigError) with every mistake."""
    spec, unsupported = checked_spec(manifest, about, _PLACEMENT)
    mistakes = list(_which_mistakes(spec, "spec"))
    if about.name == _TAKEN:
        mistakes.append(
            ("metadata.name", f"{_TAKEN!r} is what rollouts call all that sync paths give; choose another name")
        )
    for index, override in enumerate(spec.records("overrides")):
        mistakes += _override_mistakes(override, f"spec.overrides[{index}]")
    if mistakes:
        raise FleetError(about.error(message, field) for field, message in mistakes)
    return Placement(
        about.name,
        workloads=tuple(
            WorkloadId(workload.text("kind"), workload.text("namespace") or DEFAULT_NAMESPACE, workload.text("name"))
            for workload in spec.records("workloads")
        ),
        selector=read_selector(spec.record("clusterSelector")) if "clusterSelector" in spec else None,
        environments=spec.texts("environments"),
        cluster_names=spec.texts("clusterNames"),
        rollout=spec.text("rollout"),
        overrides=tuple(
            _override(override, _below(unsupported, f"spec.overrides[{index}]."))
            for index, override in enumerate(spec.records("overrides"))
        ),
        place=about.place,
    )


def _override(override: Spec, unsupported: tuple[UnsupportedField, ...]) -> Override:
    return Override(
        selector=read_selector(override.record("clusterSelector")) if "clusterSelector" in override else None,
        environments=override.texts("environments"),
        cluster_names=override.texts("clusterNames"),
        variables=tuple(sorted(override.text_map("variables").items())),
        patches=tuple(
            Patch(_normal(patch.text("patch")), read_target(patch.record("target")) if "target" in patch else None)
            for patch in override.records("patches")
        ),
        images=tuple(
            Image(image.text("name"), image.text("newName"), image.text("newTag"), image.text("digest"))
            for image in override.records("images")
        ),
        unsupported=unsupported,
    )


def _normal(patch: str) -> str:
    """Return a patch as kustomize takes it: a JSON patch in YAML's short form, which it refuses, becomes plain JSON."""
    documents = [document.value for document in load_all(patch, file="")]
    return canonical_json(documents[0]).decode() if len(documents) == 1 and isinstance(documents[0], list) else patch


def _below(unsupported: tuple[UnsupportedField, ...], path: str) -> tuple[UnsupportedField, ...]:
    return tuple(each for each in unsupported if each.field.startswith(path))


def _which_mistakes(spec: Spec, path: str) -> Iterator[tuple[str, str]]:
    if not any(condition in spec for condition in _CONDITIONS):
        message = (
            "says of no cluster that it is meant: give clusterSelector, environments or clusterNames "
            "(clusterSelector: {} selects every cluster)"
        )
        yield path, message
    for condition in ("environments", "clusterNames"):
        if condition in spec and not spec.texts(condition):
            yield f"{path}.{condition}", "is an empty list, which no cluster can match; remove it or name some"
    yield from selector_mistakes(spec.record("clusterSelector"), f"{path}.clusterSelector")


def _override_mistakes(override: Spec, path: str) -> Iterator[tuple[str, str]]:
    yield from _which_mistakes(override, path)
    for index, patch in enumerate(override.records("patches")):
        yield from _patch_mistakes(patch, f"{path}.patches[{index}]")
    for index, image in enumerate(override.records("images")):
        if not any(name in image for name in ("newName", "newTag", "digest")):
            yield f"{path}.images[{index}]", "changes nothing: give newName, newTag or digest"


def _patch_mistakes(patch: Spec, path: str) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a patch by itself; whether it applies only a build can tell."""
    if "target" in patch:
        try:
            matcher(read_target(patch.record("target")))
        except ConfigError as error:
            yield f"{path}.target", error.message
    try:
        documents = [document.value for document in load_all(patch.text("patch"), file="")]
    except ConfigError as error:
        yield f"{path}.patch", error.message
        return
    if not documents:
        yield f"{path}.patch", "is empty"
    for document in documents:
        message = _document_mistake(document, targeted="target" in patch)
        if message:
            yield f"{path}.patch", message


def _document_mistake(document: JsonValue, *, targeted: bool) -> str:
    if isinstance(document, list):
        if not targeted:
            return "is a JSON patch (RFC 6902), which needs a target"
        fixed = [each.get(key) for each in document if isinstance(each, dict) for key in ("op", "path", "from")]
    elif isinstance(document, dict):
        metadata = document.get("metadata")
        named = metadata.get("name") if isinstance(metadata, dict) else None
        if not targeted and not (document.get("kind") and named):
            return "does not say what it patches: give it a target, or kind and metadata.name"
        namespace = metadata.get("namespace") if isinstance(metadata, dict) else None
        fixed = [document.get("apiVersion"), document.get("kind"), named, namespace, *_keys(document)]
    else:
        return "is no patch: neither a part of an object nor a list of operations"
    varying = next((text for text in fixed if isinstance(text, str) and has_expressions(text)), None)
    if varying is not None:
        return f"has a variable in {varying[:60]!r}; a patch may use variables only in values"
    return ""


def _keys(value: JsonValue) -> Iterator[JsonValue]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _keys(item)
    elif isinstance(value, list):
        for item in value:
            yield from _keys(item)
