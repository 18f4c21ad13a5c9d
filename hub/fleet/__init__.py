"""The fleet repository's own words: Flux' kinds and Felloe's, read, checked and made into facts.

`load_fleet` reads the whole fleet folder; `parse_object` reads one object, wherever it came from.
"""

from hub.fleet.errors import FleetError
from hub.fleet.labels import LabelSelector, Requirement
from hub.fleet.load import is_fleet_group, load_fleet, parse_object
from hub.fleet.model import (
    Cluster,
    Environment,
    Fleet,
    GitRepository,
    Kustomization,
    Placement,
    SourceRef,
    UnsupportedObject,
)
from hub.fleet.schema import UnsupportedField

__all__ = [
    "Cluster",
    "Environment",
    "Fleet",
    "FleetError",
    "GitRepository",
    "Kustomization",
    "LabelSelector",
    "Placement",
    "Requirement",
    "SourceRef",
    "UnsupportedField",
    "UnsupportedObject",
    "is_fleet_group",
    "load_fleet",
    "parse_object",
]
