"""Flux' own kinds, as their CRDs have them in every version that Flux ever served of them.

The tables follow the CRDs of kustomize-controller 1.9 (v1) and 1.2 (v1beta2, v1beta1) and of source-controller 1.9 (v1)
and 1.2 (v1beta2, v1beta1), defaults the controllers' code. One extension: a GitRepository's URL may begin with
``file://``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from felloe.bundle import (
    DELETION_POLICIES,
    DRIFT_MODES,
    PRUNE_LIMIT,
    Dependency,
    HealthCheck,
    HealthCheckExpr,
)
from felloe.errors import ConfigError
from felloe.identity import WorkloadId
from felloe.k8syaml import JsonValue
from felloe.labels import DRIFT, PRUNE, PRUNE_LIMIT_ANNOTATION
from hub.fleet.document import DEFAULT_NAMESPACE, NAMESPACE, Header, Spec, checked_spec, metadata_of
from hub.fleet.model import GitRepository, IgnoreRule, Kustomization, SourceRef, UnsupportedObject
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
    did_you_mean,
)
from hub.fleet.targets import TARGET, matcher, read_target
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
_POINTER: Final = Text(pattern=r"/(?!metadata\Z).*", hint="no JSON pointer to a field such as /spec/replicas")


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
            Record({"name": _required(_TEXT), "namespace": Field(_TEXT), "readyExpr": Field(_TEXT)}),
        )
    ),
    "force": Field(Flag()),
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
    "patches": _holds(ListOf(Record({"patch": _required(_TEXT), "target": Field(TARGET)}))),
    "path": Field(_TEXT),
    "postBuild": _holds(_POST_BUILD),
    "prune": _required(Flag()),
    "retryInterval": Field(Duration()),
    "serviceAccountName": Field(_TEXT),
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
    "deletionPolicy": Field(Text(one_of=DELETION_POLICIES)),
    "healthCheckExprs": Field(
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
    "ignore": Field(ListOf(Record({"paths": _required(ListOf(_POINTER)), "target": Field(TARGET)}))),
    "ignoreMissingComponents": _ignored(Flag(), default=False),
    "namePrefix": _holds(_TEXT),
    "nameSuffix": _holds(_TEXT),
}
_UNTIL_V1BETA2: Final[Mapping[str, Field]] = {
    "patchesJson6902": _holds(
        ListOf(Record({"patch": _required(ListOf(Anything())), "target": _required(TARGET)})),
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
            Dependency(
                WorkloadId("Kustomization", dependency.text("namespace") or namespace, dependency.text("name")),
                dependency.text("readyExpr"),
            )
            for dependency in spec.records("dependsOn")
        ),
        health_checks=tuple(
            HealthCheck(check.text("apiVersion"), check.text("kind"), check.text("namespace"), check.text("name"))
            for check in spec.records("healthChecks")
        ),
        suspend=spec.flag("suspend"),
        wait=spec.flag("wait"),
        force=spec.flag("force"),
        deletion_policy=spec.text("deletionPolicy", "MirrorPrune"),
        service_account=spec.text("serviceAccountName"),
        health_check_exprs=tuple(_health_check_expr(expr) for expr in spec.records("healthCheckExprs")),
        ignore=tuple(_ignore_rules(spec, about)),
        drift=_drift_mode(manifest, about),
        prune_limit=_prune_limit(manifest, about),
        force_prune=_force_prune(manifest, about),
        labels=tuple(sorted(metadata_of(manifest).text_map("labels").items())),
        unsupported=unsupported,
        place=about.place,
    )


def _health_check_expr(expr: Spec) -> HealthCheckExpr:
    return HealthCheckExpr(
        expr.text("apiVersion"), expr.text("kind"), expr.text("current"), expr.text("failed"), expr.text("inProgress")
    )


def _ignore_rules(spec: Spec, about: Header) -> Iterator[IgnoreRule]:
    for index, rule in enumerate(spec.records("ignore")):
        wanted = read_target(rule.record("target"))
        try:
            matcher(wanted)
        except ConfigError as error:
            raise about.error(error.message, f"spec.ignore[{index}].target") from None
        yield IgnoreRule(rule.texts("paths"), wanted)


def _drift_mode(manifest: Mapping[str, JsonValue], about: Header) -> str:
    """Return what our annotation on a Kustomization, for which Flux has no field, says about drift."""
    mode = metadata_of(manifest).text_map("annotations").get(DRIFT, "enabled")
    if mode not in DRIFT_MODES:
        raise about.error(f"must be one of {', '.join(DRIFT_MODES)}, not {mode!r}", f"metadata.annotations[{DRIFT}]")
    return mode


def _prune_limit(manifest: Mapping[str, JsonValue], about: Header) -> float:
    """Return the share of objects, 0 to 1, that our annotation on a Kustomization allows to be deleted unasked."""
    text = metadata_of(manifest).text_map("annotations").get(PRUNE_LIMIT_ANNOTATION)
    if text is None:
        return PRUNE_LIMIT
    found = re.fullmatch(r"(\d{1,3})%", text)
    if found is None or int(found[1]) > 100:
        where = f"metadata.annotations[{PRUNE_LIMIT_ANNOTATION}]"
        raise about.error(f"must be a share from 0% to 100% (100%: never ask), not {text!r}", where)
    return int(found[1]) / 100


def _force_prune(manifest: Mapping[str, JsonValue], about: Header) -> bool:
    """Return whether our annotation on a Kustomization has its Namespaces and CRDs go with whatever is in them."""
    text = metadata_of(manifest).text_map("annotations").get(PRUNE)
    if text not in (None, "force"):
        where = f"metadata.annotations[{PRUNE}]"
        raise about.error(f"must be 'force', not {text!r}; to delete nothing, set spec.prune: false", where)
    return text == "force"


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
