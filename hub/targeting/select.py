"""Label selectors, matched as Kubernetes does (``metav1.LabelSelector``), and the operators that compare."""

from __future__ import annotations

from collections.abc import Mapping

from hub.fleet.labels import LabelSelector, Requirement, version_of


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
            return value is not None and _compares(value, operator, requirement.values[0])


def _compares(value: str, operator: str, to: str) -> bool:
    left, right = version_of(value), version_of(to)
    if left is None or right is None:
        return False
    match operator:
        case "Gt":
            return left > right
        case "Gte":
            return left >= right
        case "Lt":
            return left < right
        case _:
            return left <= right
