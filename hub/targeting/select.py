"""Label selectors, matched as Kubernetes does (``metav1.LabelSelector``)."""

from __future__ import annotations

from collections.abc import Mapping

from hub.fleet.labels import LabelSelector, Requirement


def matches(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    """Tell whether labels satisfy all of a selector; an empty one is satisfied by any."""
    return all(labels.get(key) == value for key, value in selector.match_labels) and all(
        _satisfies(requirement, labels) for requirement in selector.match_expressions
    )


def _satisfies(requirement: Requirement, labels: Mapping[str, str]) -> bool:
    value = labels.get(requirement.key)
    match requirement.operator:
        case "In":
            return value in requirement.values
        case "NotIn":
            return value not in requirement.values
        case "Exists":
            return value is not None
        case _:
            return value is None
