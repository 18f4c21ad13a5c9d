"""How an object writes a label selector: its fields, what can be wrong with it, and the fact that it becomes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from hub.fleet.document import Spec
from hub.fleet.labels import COMPARISONS, OPERATORS, LabelSelector, Requirement, version_of
from hub.fleet.schema import Field, ListOf, Record, Text, TextMap

SELECTOR: Final = Record(
    {
        "matchLabels": Field(TextMap()),
        "matchExpressions": Field(
            ListOf(
                Record(
                    {
                        "key": Field(Text(blank=False), required=True),
                        "operator": Field(Text(one_of=OPERATORS), required=True),
                        "values": Field(ListOf(Text())),
                    }
                )
            )
        ),
    }
)


def read_selector(selector: Spec) -> LabelSelector:
    """Return what a checked selector says."""
    return LabelSelector(tuple(sorted(selector.text_map("matchLabels").items())), tuple(_requirements(selector)))


def selector_mistakes(selector: Spec, path: str) -> Iterator[tuple[str, str]]:
    """Yield, as (field, message), what its fields have against each other; `path` is where the selector stands."""
    for index, requirement in enumerate(_requirements(selector)):
        message = _mistake(requirement)
        if message:
            yield f"{path}.matchExpressions[{index}].values", f"operator {requirement.operator} {message}"


def _requirements(selector: Spec) -> Iterator[Requirement]:
    for expression in selector.records("matchExpressions"):
        yield Requirement(expression.text("key"), expression.text("operator"), expression.texts("values"))


def _mistake(requirement: Requirement) -> str:
    values = requirement.values
    if requirement.operator in COMPARISONS:
        if len(values) != 1:
            return "needs exactly one value"
        return "" if version_of(values[0]) else f"compares versions and numbers such as 1.34, not {values[0][:60]!r}"
    if requirement.operator in {"In", "NotIn"}:
        return "" if values else "needs at least one value"
    return "takes no values" if values else ""
