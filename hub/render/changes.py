"""What is changed in a folder's objects on the way: patches and images, as Flux' Kustomization has them.

They become part of the kustomization that is built, after its own, as Flux writes them there (fluxcd/pkg/kustomize,
`WriteFile`): kustomize itself applies them, with its own meaning of targets and in its own order (patches, then
images). Of two that name one image the later one counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from felloe.k8syaml import JsonValue
from hub.fleet.model import Image, Patch, Target


@dataclass(frozen=True, slots=True)
class Changes:
    """Patches and images, in the order in which they are applied."""

    patches: tuple[Patch, ...] = ()
    images: tuple[Image, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.patches or self.images)

    def canonical(self) -> JsonValue:
        """Return them as JSON, so that what is built can be named by it."""
        return [[_patch(each) for each in self.patches], [_image(each) for each in self.images]]


def changed(kustomization: Mapping[str, JsonValue], changes: Changes) -> dict[str, JsonValue]:
    """Return a kustomization with changes added to its own."""
    result = dict(kustomization)
    if changes.patches:
        result["patches"] = [*_list(kustomization.get("patches")), *map(_patch, changes.patches)]
    if changes.images:
        own = {image.name: _image(image) for image in changes.images}
        others = [
            one for one in _list(kustomization.get("images")) if not (isinstance(one, dict) and one.get("name") in own)
        ]
        result["images"] = [*others, *own.values()]
    return result


def _list(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else []


def _patch(patch: Patch) -> JsonValue:
    return {"patch": patch.patch} | ({"target": _target(patch.target)} if patch.target else {})


def _target(target: Target) -> JsonValue:
    fields = {
        "group": target.group,
        "version": target.version,
        "kind": target.kind,
        "name": target.name,
        "namespace": target.namespace,
        "labelSelector": target.label_selector,
        "annotationSelector": target.annotation_selector,
    }
    return {name: value for name, value in fields.items() if value}


def _image(image: Image) -> JsonValue:
    fields = {"name": image.name, "newName": image.new_name, "newTag": image.new_tag, "digest": image.digest}
    return {name: value for name, value in fields.items() if value}
