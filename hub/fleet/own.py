"""Felloe's own kinds: Cluster, Environment and Placement (``fleet.felloe.io/v1alpha1``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from felloe.errors import ConfigError
from felloe.expansion import VARIABLE_NAME
from felloe.identity import WorkloadId
from felloe.k8syaml import JsonValue
from felloe.labels import GROUP
from hub.fleet.document import DEFAULT_NAMESPACE, NAME, NAMESPACE, Header, Spec, checked_spec
from hub.fleet.errors import FleetError
from hub.fleet.labels import LabelSelector, Requirement
from hub.fleet.model import Cluster, Environment, Placement, UnsupportedObject
from hub.fleet.schema import Anything, Field, Flag, ListOf, Record, Support, Text, TextMap, did_you_mean

VERSION: Final = "v1alpha1"
KINDS: Final = ("Cluster", "Environment", "Placement", "Rollout", "Tenant")
_UNSUPPORTED_KINDS: Final = ("Rollout", "Tenant")

_VARIABLES: Final = Field(
    TextMap(VARIABLE_NAME.pattern, "is no name of a variable: letters, digits and '_', no digit first")
)
_SELECTOR: Final = Record(
    {
        "matchLabels": Field(TextMap()),
        "matchExpressions": Field(
            ListOf(
                Record(
                    {
                        "key": Field(Text(blank=False), required=True),
                        "operator": Field(Text(one_of=("In", "NotIn", "Exists", "DoesNotExist")), required=True),
                        "values": Field(ListOf(Text())),
                    }
                )
            )
        ),
    }
)
_CLUSTER: Final = Record(
    {"variables": _VARIABLES, "syncPath": Field(Text(blank=False)), "paused": Field(Flag())},
)
_ENVIRONMENT: Final = Record(
    {
        "clusterSelector": Field(_SELECTOR, required=True),
        "variables": _VARIABLES,
        "promotesFrom": Field(Anything(), support=Support.IGNORED),
    }
)
_PLACEMENT: Final = Record(
    {
        "clusterSelector": Field(_SELECTOR),
        "environments": Field(ListOf(NAME)),
        "clusterNames": Field(ListOf(NAME)),
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
        "overrides": Field(Anything(), support=Support.HOLDS),
        "rollout": Field(Anything(), support=Support.IGNORED),
    }
)


def parse_own(
    manifest: Mapping[str, JsonValue], about: Header
) -> Cluster | Environment | Placement | UnsupportedObject:
    """Return what an object of Felloe's group says.

    Raise ConfigError (FleetError where there are several) with every mistake.
    """
    if about.kind not in KINDS:
        raise about.error(f"{GROUP} has no kind {about.kind}; {did_you_mean(about.kind, KINDS)}", "kind")
    if about.version != VERSION:
        raise about.error(f"{about.kind} has no version {about.version}; known is {VERSION}", "apiVersion")
    if about.namespace:
        raise about.error(f"a {about.kind} belongs to no namespace; remove this field", "metadata.namespace")
    match about.kind:
        case "Cluster":
            return _cluster(manifest, about)
        case "Environment":
            return _environment(manifest, about)
        case "Placement":
            return _placement(manifest, about)
        case _:
            return UnsupportedObject(about.kind, "", about.name, about.place)


def _cluster(manifest: Mapping[str, JsonValue], about: Header) -> Cluster:
    spec, unsupported = checked_spec(manifest, about, _CLUSTER, required=False)
    return Cluster(
        about.name,
        labels=Spec(manifest).record("metadata").text_map("labels"),
        variables=spec.text_map("variables"),
        sync_path=spec.text("syncPath") if "syncPath" in spec else None,
        paused=spec.flag("paused"),
        unsupported=unsupported,
        place=about.place,
    )


def _environment(manifest: Mapping[str, JsonValue], about: Header) -> Environment:
    spec, unsupported = checked_spec(manifest, about, _ENVIRONMENT)
    selector = _selector(spec.record("clusterSelector"), about)
    return Environment(about.name, selector, spec.text_map("variables"), unsupported=unsupported, place=about.place)


def _placement(manifest: Mapping[str, JsonValue], about: Header) -> Placement:
    spec, unsupported = checked_spec(manifest, about, _PLACEMENT)
    if not any(condition in spec for condition in ("clusterSelector", "environments", "clusterNames")):
        raise about.error(
            "says of no cluster that it is meant: give clusterSelector, environments or clusterNames "
            "(clusterSelector: {} selects every cluster)",
            "spec",
        )
    for condition in ("environments", "clusterNames"):
        if condition in spec and not spec.texts(condition):
            raise about.error(
                "is an empty list, which no cluster can match; remove it or name some", f"spec.{condition}"
            )
    return Placement(
        about.name,
        workloads=tuple(
            WorkloadId(workload.text("kind"), workload.text("namespace") or DEFAULT_NAMESPACE, workload.text("name"))
            for workload in spec.records("workloads")
        ),
        selector=_selector(spec.record("clusterSelector"), about) if "clusterSelector" in spec else None,
        environments=spec.texts("environments"),
        cluster_names=spec.texts("clusterNames"),
        unsupported=unsupported,
        place=about.place,
    )


def _selector(selector: Spec, about: Header) -> LabelSelector:
    requirements = tuple(
        Requirement(expression.text("key"), expression.text("operator"), expression.texts("values"))
        for expression in selector.records("matchExpressions")
    )
    mistakes: list[ConfigError] = []
    for index, requirement in enumerate(requirements):
        needs_values = requirement.operator in {"In", "NotIn"}
        if needs_values != bool(requirement.values):
            what = "needs at least one value" if needs_values else "takes no values"
            field = f"spec.clusterSelector.matchExpressions[{index}].values"
            mistakes.append(about.error(f"operator {requirement.operator} {what}", field))
    if mistakes:
        raise FleetError(mistakes)
    return LabelSelector(tuple(sorted(selector.text_map("matchLabels").items())), requirements)
