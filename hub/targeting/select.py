"""Label selectors, matched as Kubernetes does (``metav1.LabelSelector``), and the operators that compare."""

from __future__ import annotations

from collections.abc import Mapping

from hub.fleet.labels import LabelSelector, Requirement, compares


def matches(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    """Tell whether labels satisfy all of a selector; an empty one is satisfied by any."""
    return all(labels.get(key) == value for key, value in selector.match_labels) and all(
        satisfies(requirement, labels) for requirement in selector.match_expressions
    )


def satisfies(requirement: Requirement, labels: Mapping[str, str]) -> bool:
    """Tell whether labels satisfy one requirement; a label that is missing or no version compares to nothing."""
    value = labels.get(requirement.key)
    match requirement.operator:
        case "In":
            return value in requirement.values
        case "NotIn":
            return value not in requirement.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case operator:
            return compares(value, operator, requirement.values[0])
