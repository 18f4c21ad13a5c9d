"""Felloe's own kinds (``fleet.felloe.io/v1alpha1``): which of them an object is, and the short ones, read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from felloe.k8syaml import JsonValue
from felloe.labels import FACTS_PREFIX, GROUP
from hub.fleet.document import NAME, Header, checked_spec, metadata_of
from hub.fleet.errors import FleetError
from hub.fleet.labels import RESERVED_LABEL
from hub.fleet.model import Cluster, Environment, Placement, UnsupportedObject
from hub.fleet.placements import VARIABLES, parse_placement
from hub.fleet.promotions import PROMOTION, promotion_mistakes, read_promotion
from hub.fleet.rollouts import parse_rollout
from hub.fleet.schema import Field, Flag, Record, Text, did_you_mean
from hub.fleet.selectors import SELECTOR, read_selector, selector_mistakes
from hub.fleet.strategy import Strategy

VERSION: Final = "v1alpha1"
KINDS: Final = ("Cluster", "Environment", "Placement", "Rollout", "Tenant")

_CLUSTER: Final = Record(
    {"variables": VARIABLES, "syncPath": Field(Text(blank=False)), "paused": Field(Flag())},
)
_ENVIRONMENT: Final = Record(
    {
        "clusterSelector": Field(SELECTOR, required=True),
        "variables": VARIABLES,
        "promotesFrom": PROMOTION,
        "rollout": Field(NAME),
    }
)


def parse_own(
    manifest: Mapping[str, JsonValue], about: Header
) -> Cluster | Environment | Placement | Strategy | UnsupportedObject:
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
            return parse_placement(manifest, about)
        case "Rollout":
            return parse_rollout(manifest, about)
        case _:
            return UnsupportedObject(about.kind, "", about.name, about.place)


def _cluster(manifest: Mapping[str, JsonValue], about: Header) -> Cluster:
    spec, unsupported = checked_spec(manifest, about, _CLUSTER, required=False)
    labels = metadata_of(manifest).text_map("labels")
    reserved = [name for name in labels if name.startswith(FACTS_PREFIX)]
    if reserved:
        raise FleetError(about.error(RESERVED_LABEL, f"metadata.labels.{name}") for name in reserved)
    return Cluster(
        about.name,
        labels=labels,
        variables=spec.text_map("variables"),
        sync_path=spec.text("syncPath") if "syncPath" in spec else None,
        paused=spec.flag("paused"),
        unsupported=unsupported,
        place=about.place,
    )


def _environment(manifest: Mapping[str, JsonValue], about: Header) -> Environment:
    spec, unsupported = checked_spec(manifest, about, _ENVIRONMENT)
    selector = spec.record("clusterSelector")
    mistakes = [*selector_mistakes(selector, "spec.clusterSelector"), *promotion_mistakes(spec)]
    if mistakes:
        raise FleetError(about.error(message, field) for field, message in mistakes)
    return Environment(
        about.name,
        read_selector(selector),
        spec.text_map("variables"),
        promotes_from=read_promotion(spec),
        rollout=spec.text("rollout"),
        unsupported=unsupported,
        place=about.place,
    )
