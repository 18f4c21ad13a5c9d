"""What a cluster is to the rest of targeting: its labels, its environment and the variables that it fills in.

Later wins: labels, the built-in names, the Environment, the Cluster (and, in the objects of a Placement, its overrides:
`hub.targeting.overriding`). Line breaks are taken out of values, as in Flux.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from felloe.expansion import VARIABLE_NAME
from hub.fleet.model import Cluster, Environment, Fleet, Override, Placement
from hub.targeting.select import matches


class Seen(Protocol):
    """What a walk asks about a cluster."""

    @property
    def name(self) -> str:
        """Return its name."""
        ...

    @property
    def variables(self) -> Mapping[str, str]:
        """Return all of its variables."""
        ...

    def values(self, names: Iterable[str]) -> dict[str, str]:
        """Return the values that its spoke is to fill in, of those of these variables that it has, sorted by name."""
        ...


@dataclass(frozen=True, slots=True)
class ClusterView:
    """One cluster as the fleet sees it. `environments` are all that select it: more than one is a mistake."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    environments: tuple[str, ...] = ()
    declared: Cluster | None = None

    def values(self, names: Iterable[str]) -> dict[str, str]:
        """Return the values of those variables that it has, sorted by name."""
        return {name: self.variables[name] for name in sorted(names) if name in self.variables}

    @property
    def environment(self) -> str:
        """Return the name of its environment; empty where there is none or no single one."""
        return self.environments[0] if len(self.environments) == 1 else ""


def view_cluster(name: str, joined_labels: Mapping[str, str], fleet: Fleet) -> ClusterView:
    """Return what the fleet says of a cluster that joined with some labels; labels in Git win over them."""
    declared = fleet.clusters.get(name)
    labels = {**joined_labels, **(declared.labels if declared else {})}
    selecting = [each for _, each in sorted(fleet.environments.items()) if matches(each.selector, labels)]
    return ClusterView(
        name=name,
        labels=labels,
        variables=_variables(name, labels, selecting[0] if len(selecting) == 1 else None, declared),
        environments=tuple(each.name for each in selecting),
        declared=declared,
    )


def means(some: Placement | Override, view: ClusterView) -> bool:
    """Tell whether a Placement, or one of its overrides, means a cluster: every condition that it gives must match."""
    return (
        (some.selector is None or matches(some.selector, view.labels))
        and (not some.environments or any(name in some.environments for name in view.environments))
        and (not some.cluster_names or view.name in some.cluster_names)
    )


def label_variables(labels: Mapping[str, str]) -> dict[str, str]:
    """Return labels as variables: ``-``, ``.`` and ``/`` in a key become ``_``; an exact name wins over such a one.

    A key that is no name of a variable even so (one that begins with a digit) is left out.
    """
    found: dict[str, str] = {}
    for key, value in sorted(labels.items()):
        name = re.sub(r"[-./]", "_", key)
        if VARIABLE_NAME.match(name) and (name == key or name not in labels):
            found[name] = value
    return found


def without_line_breaks(value: str) -> str:
    """Return a value as Flux fills it in."""
    return value.replace("\n", "")


def _variables(
    name: str, labels: Mapping[str, str], environment: Environment | None, declared: Cluster | None
) -> dict[str, str]:
    merged = label_variables(labels) | {"cluster_name": name}
    if environment:
        merged["cluster_env"] = environment.name
        merged |= environment.variables
    if declared:
        merged |= declared.variables
    return {key: without_line_breaks(value) for key, value in sorted(merged.items())}
