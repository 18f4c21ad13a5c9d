"""Flux' own kinds, as their CRDs have them in every version that Flux ever served of them.

The tables follow the CRDs of kustomize-controller 1.9 (v1) and 1.2 (v1beta2, v1beta1) and of source-controller 1.9 (v1)
and 1.2 (v1beta2, v1beta1), defaults the controllers' code. One extension: a GitRepository's URL may begin with
``file://``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from felloe.bundle import HealthCheck
from felloe.errors import ConfigError
from felloe.identity import WorkloadId
from felloe.k8syaml import JsonValue
from hub.fleet.document import DEFAULT_NAMESPACE, NAMESPACE, Header, Spec, checked_spec
from hub.fleet.model import GitRepository, Kustomization, SourceRef, UnsupportedObject
from hub.fleet.schema import (
    Anything,
    Duration,
    Field,
    Flag,
    ListOf,
    Record,
    Shape,
    Support,
    Text,
    TextMap,
    UnsupportedField,
    did_you_mean,
)
from hub.sources.spec import DEFAULT_INTERVAL, DEFAULT_TIMEOUT, GitRef, GitSpec

SOURCE_GROUP: Final = "source.toolkit.fluxcd.io"
KUSTOMIZE_GROUP: Final = "kustomize.toolkit.fluxcd.io"

KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    SOURCE_GROUP: ("Bucket", "ExternalArtifact", "GitRepository", "HelmChart", "HelmRepository", "OCIRepository"),
    "source.extensions.fluxcd.io": ("ArtifactGenerator",),
    KUSTOMIZE_GROUP: ("Kustomization",),
    "helm.toolkit.fluxcd.io": ("HelmRelease",),
    "notification.toolkit.fluxcd.io": ("Alert", "Provider", "Receiver"),
    "image.toolkit.fluxcd.io": ("ImagePolicy", "ImageRepository", "ImageUpdateAutomation"),
}
"""Every kind of Flux, by group."""

_VERSIONS: Final = ("v1", "v1beta2", "v1beta1")
_TEXT: Final = Text()
_TARGET: Final = Record(
    {
        name: Field(_TEXT)
        for name in ("annotationSelector", "group", "kind", "labelSelector", "name", "namespace", "version")
    }
)


def _required(shape: Shape) -> Field:
    return Field(shape, required=True)


def _holds(shape: Shape, default: JsonValue = None) -> Field:
    return Field(shape, support=Support.HOLDS, default=default)


def _ignored(shape: Shape, default: JsonValue = None) -> Field:
    return Field(shape, support=Support.IGNORED, default=default)


def _reference() -> Record:
    return Record({"name": _required(_TEXT)})


_POST_BUILD: Final = Record(
    {
        "substitute": Field(TextMap()),
        "substituteFrom": Field(
            ListOf(
                Record(
                    {
                        "kind": _required(Text(one_of=("Secret", "ConfigMap"))),
                        "name": _required(_TEXT),
                        "optional": Field(Flag()),
                    }
                )
            )
        ),
        "substituteStrategy": Field(Text(one_of=("WithVariables", "Always"))),
    }
)
_KUSTOMIZATION_ALL: Final[Mapping[str, Field]] = {
    "decryption": _holds(
        Record(
            {
                "provider": _required(Text(one_of=("sops",))),
                "secretRef": Field(_reference()),
                "serviceAccountName": Field(_TEXT),
            }
        )
    ),
    "dependsOn": Field(
        ListOf(
            Record({"name": _required(_TEXT), "namespace": Field(_TEXT), "readyExpr": _ignored(_TEXT)}),
        )
    ),
    "force": _ignored(Flag(), default=False),
    "healthChecks": Field(
        ListOf(
            Record(
                {
                    "apiVersion": Field(_TEXT),
                    "kind": _required(_TEXT),
                    "name": _required(_TEXT),
                    "namespace": Field(_TEXT),
                }
            )
        )
    ),
    "images": _holds(
        ListOf(
            Record(
                {
                    "name": _required(_TEXT),
                    "newName": Field(_TEXT),
                    "newTag": Field(_TEXT),
                    "digest": Field(_TEXT),
                }
            )
        )
    ),
    "interval": _required(Duration()),
    "kubeConfig": _holds(
        Record(
            {
                "configMapRef": Field(_reference()),
                "secretRef": Field(Record({"name": _required(_TEXT), "key": Field(_TEXT)})),
            }
        )
    ),
    "patches": _holds(ListOf(Record({"patch": _required(_TEXT), "target": Field(_TARGET)}))),
    "path": Field(_TEXT),
    "postBuild": _holds(_POST_BUILD),
    "prune": _required(Flag()),
    "retryInterval": Field(Duration()),
    "serviceAccountName": _holds(_TEXT),
    "sourceRef": _required(
        Record(
            {
                "apiVersion": Field(_TEXT),
                "kind": _required(Text(one_of=("GitRepository", "OCIRepository", "Bucket", "ExternalArtifact"))),
                "name": _required(_TEXT),
                "namespace": Field(NAMESPACE),
            }
        )
    ),
    "suspend": Field(Flag()),
    "targetNamespace": Field(Text(longest=63)),
    "timeout": Field(Duration()),
}
_SINCE_V1BETA2: Final[Mapping[str, Field]] = {
    "commonMetadata": _holds(Record({"annotations": Field(TextMap()), "labels": Field(TextMap())})),
    "components": _holds(ListOf(_TEXT)),
    "wait": Field(Flag()),
}
_ONLY_V1: Final[Mapping[str, Field]] = {
    "buildMetadata": _holds(ListOf(_TEXT)),
    "deletionPolicy": _ignored(
        Text(one_of=("MirrorPrune", "Delete", "WaitForTermination", "Orphan")), default="MirrorPrune"
    ),
    "healthCheckExprs": _ignored(
        ListOf(
            Record(
                {
                    "apiVersion": _required(_TEXT),
                    "kind": Field(_TEXT),
                    "current": _required(_TEXT),
                    "failed": Field(_TEXT),
                    "inProgress": Field(_TEXT),
                }
            )
        )
    ),
    "ignore": _holds(ListOf(Record({"paths": _required(ListOf(_TEXT)), "target": Field(_TARGET)}))),
    "ignoreMissingComponents": _ignored(Flag(), default=False),
    "namePrefix": _holds(_TEXT),
    "nameSuffix": _holds(_TEXT),
}
_UNTIL_V1BETA2: Final[Mapping[str, Field]] = {
    "patchesJson6902": _holds(
        ListOf(Record({"patch": _required(ListOf(Anything())), "target": _required(_TARGET)})),
    ),
    "patchesStrategicMerge": _holds(ListOf(Anything())),
    "validation": _ignored(Text(one_of=("none", "client", "server"))),
}
_KUSTOMIZATION: Final[Mapping[str, Record]] = {
    "v1": Record({**_KUSTOMIZATION_ALL, **_SINCE_V1BETA2, **_ONLY_V1}),
    "v1beta2": Record({**_KUSTOMIZATION_ALL, **_SINCE_V1BETA2, **_UNTIL_V1BETA2}),
    "v1beta1": Record({**_KUSTOMIZATION_ALL, **_UNTIL_V1BETA2}),
}

_REPOSITORY_ALL: Final[Mapping[str, Field]] = {
    "ignore": Field(_TEXT),
    "include": _holds(
        ListOf(Record({"repository": _required(_reference()), "fromPath": Field(_TEXT), "toPath": Field(_TEXT)})),
    ),
    "interval": _required(Duration()),
    "recurseSubmodules": _holds(Flag(), default=False),
    "ref": Field(Record({name: Field(_TEXT) for name in ("branch", "commit", "name", "semver", "tag")})),
    "secretRef": Field(_reference()),
    "suspend": Field(Flag()),
    "timeout": Field(Duration()),
    "url": _required(_TEXT),
    "verify": _holds(
        Record(
            {
                "mode": Field(Text(one_of=("head", "HEAD", "Tag", "TagAndHEAD"))),
                "secretRef": Field(_reference()),
                "provider": Field(_TEXT),
            }
        )
    ),
}
_REPOSITORY_V1: Final[Mapping[str, Field]] = {
    "provider": _ignored(Text(one_of=("generic", "aws", "azure", "github")), default="generic"),
    "proxySecretRef": _holds(_reference()),
    "serviceAccountName": _ignored(_TEXT),
    "sparseCheckout": _ignored(ListOf(_TEXT)),
}
_REPOSITORY_BETA: Final[Mapping[str, Field]] = {
    "accessFrom": _ignored(
        Record({"namespaceSelectors": _required(ListOf(Record({"matchLabels": Field(TextMap())})))}),
    ),
    "gitImplementation": _ignored(Text(one_of=("go-git", "libgit2")), default="go-git"),
}
_REPOSITORY: Final[Mapping[str, Record]] = {
    "v1": Record({**_REPOSITORY_ALL, **_REPOSITORY_V1}),
    "v1beta2": Record({**_REPOSITORY_ALL, **_REPOSITORY_BETA}),
    "v1beta1": Record({**_REPOSITORY_ALL, **_REPOSITORY_BETA}),
}


def parse_flux(manifest: Mapping[str, JsonValue], about: Header) -> GitRepository | Kustomization | UnsupportedObject:
    """Return what an object of one of Flux' groups says.

    Raise FleetError (a ConfigError) with every mistake: unknown kind, version or field, wrong type, missing field.
    """
    kinds = KINDS[about.group]
    if about.kind not in kinds:
        raise about.error(f"{about.group} has no kind {about.kind}; {did_you_mean(about.kind, kinds)}", "kind")
    if about.kind not in {"GitRepository", "Kustomization"}:
        return UnsupportedObject(about.kind, about.namespace or DEFAULT_NAMESPACE, about.name, about.place)
    if about.version not in _VERSIONS:
        raise about.error(
            f"{about.kind} has no version {about.version}; known are {', '.join(_VERSIONS)}",
            "apiVersion",
        )
    if about.kind == "Kustomization":
        return _kustomization(manifest, about)
    return _repository(manifest, about)


def _kustomization(manifest: Mapping[str, JsonValue], about: Header) -> Kustomization:
    spec, unsupported = checked_spec(manifest, about, _KUSTOMIZATION[about.version])
    namespace = about.namespace or DEFAULT_NAMESPACE
    source = spec.record("sourceRef")
    interval = spec.seconds("interval", 0.0)
    return Kustomization(
        id=WorkloadId("Kustomization", namespace, about.name),
        source=SourceRef(source.text("kind"), source.text("namespace") or namespace, source.text("name")),
        path=spec.text("path", "./"),
        prune=spec.flag("prune"),
        interval=interval,
        retry_interval=spec.seconds("retryInterval", interval),
        timeout=max(30.0, spec.seconds("timeout", interval - 30.0)),
        target_namespace=spec.text("targetNamespace"),
        depends_on=tuple(
            WorkloadId("Kustomization", dependency.text("namespace") or namespace, dependency.text("name"))
            for dependency in spec.records("dependsOn")
        ),
        health_checks=tuple(
            HealthCheck(check.text("apiVersion"), check.text("kind"), check.text("namespace"), check.text("name"))
            for check in spec.records("healthChecks")
        ),
        suspend=spec.flag("suspend"),
        wait=spec.flag("wait"),
        unsupported=tuple(_weighed(each, spec) for each in unsupported),
        place=about.place,
    )


def _weighed(unsupported: UnsupportedField, spec: Spec) -> UnsupportedField:
    """Hold back what says Orphan: going on without it, a later removal would delete what was to stay."""
    orphans = spec.text("deletionPolicy") == "Orphan" and spec.flag("prune")
    return replace(unsupported, holds=True) if unsupported.field == "spec.deletionPolicy" and orphans else unsupported


def _repository(manifest: Mapping[str, JsonValue], about: Header) -> GitRepository:
    spec, unsupported = checked_spec(manifest, about, _REPOSITORY[about.version])
    try:
        wanted = GitSpec(
            namespace=about.namespace or DEFAULT_NAMESPACE,
            name=about.name,
            url=spec.text("url"),
            ref=_ref(spec.record("ref")),
            secret=spec.record("secretRef").text("name") or None,
            interval=spec.seconds("interval", DEFAULT_INTERVAL),
            timeout=spec.seconds("timeout", DEFAULT_TIMEOUT),
            ignore=spec.text("ignore") or None,
            suspend=spec.flag("suspend"),
        )
    except ConfigError as error:
        raise about.error(error.message, "spec") from None
    return GitRepository(wanted, unsupported, about.place)


def _ref(ref: Spec) -> GitRef:
    return GitRef(
        branch=ref.text("branch") or None,
        tag=ref.text("tag") or None,
        semver=ref.text("semver") or None,
        name=ref.text("name") or None,
        commit=ref.text("commit") or None,
    )
