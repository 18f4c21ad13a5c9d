"""Label selectors as facts; `hub.targeting.select` matches them.

Beside Kubernetes' own operators there are four that compare (`COMPARISONS`), so that a selector can say "1.34 and
newer" of the version that a spoke reports. Kubernetes' node selectors compare whole numbers alone (``Gt``, ``Lt``);
here a value is read as a version, of which a whole number is the simplest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from felloe.labels import FACTS_PREFIX

COMPARISONS: Final = ("Gt", "Gte", "Lt", "Lte")
RESERVED_LABEL: Final = f"is a label that spokes report ({FACTS_PREFIX}…); nobody else may set it, so rename it"
OPERATORS: Final = ("In", "NotIn", "Exists", "DoesNotExist", *COMPARISONS)

_VERSION: Final = re.compile(r"v?([0-9]{1,9}(?:\.[0-9]{1,9}){0,7})(?:[-+_][-+_.A-Za-z0-9]*)?")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One of a selector's ``matchExpressions``; `operator` is one of `OPERATORS`."""

    key: str
    operator: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """Kubernetes' label selector: all of it must match, an empty one matches everything."""

    match_labels: tuple[tuple[str, str], ...] = ()
    match_expressions: tuple[Requirement, ...] = ()


def version_of(text: str) -> tuple[int, ...] | None:
    """Return a dotted version or a whole number in a form that compares, None for anything else.

    A leading ``v`` and what follows ``-``, ``+`` or ``_`` don't count, nor do zeros at the end: 1.34, v1.34.0 and
    1.34.0-eks-1 are one version, and 1.34.2 is later.
    """
    found = _VERSION.fullmatch(text)
    if found is None:
        return None
    parts = [int(part) for part in found[1].split(".")]
    while len(parts) > 1 and not parts[-1]:
        parts.pop()
    return tuple(parts)


def compares(value: str | None, operator: str, to: str) -> bool:
    """Tell whether a label's value is to another as one of `COMPARISONS` says; what is missing or no version is not."""
    left, right = version_of(value or ""), version_of(to)
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
