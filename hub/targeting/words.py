"""Selectors in a person's words, as they can be typed after ``-l``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from hub.fleet.labels import LabelSelector, Requirement
from hub.fleet.model import Override, Placement

_SIGNS: Final = {"Gt": ">", "Gte": ">=", "Lt": "<", "Lte": "<="}


def selection(some: Placement | Override) -> str:
    """Return which clusters are meant: ``env=prod, environments staging and production, clusters a and b``."""
    return "; ".join(_conditions(some)) or "every cluster"


def requirement(one: Requirement) -> str:
    """Return one of a selector's expressions: ``tier in (a, b)``, ``!legacy``, ``version >= 1.34``."""
    match one.operator:
        case "In" | "NotIn":
            return f"{one.key} {one.operator.lower()} ({', '.join(one.values)})"
        case "Exists":
            return one.key
        case "DoesNotExist":
            return f"!{one.key}"
        case operator:
            return f"{one.key} {_SIGNS[operator]} {one.values[0]}"


def listed(names: tuple[str, ...]) -> str:
    """Return names as a sentence has them: ``a``, ``a and b``, ``a, b and c``."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1]))) if names else ""


def _conditions(some: Placement | Override) -> Iterator[str]:
    if some.selector is not None:
        yield _selector(some.selector)
    if some.environments:
        yield f"environments {listed(some.environments)}"
    if some.cluster_names:
        yield f"clusters {listed(some.cluster_names)}"


def _selector(selector: LabelSelector) -> str:
    labels = [f"{key}={value}" for key, value in selector.match_labels]
    return ", ".join([*labels, *map(requirement, selector.match_expressions)]) or "every cluster"
