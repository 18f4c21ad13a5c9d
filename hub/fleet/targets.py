"""Which objects a target means: kustomize's selectors (the target of a patch), as Flux uses them.

The expressions come from tenants, so they are RE2's, whose time grows with the text alone. The hub resolves them: no
spoke ever runs one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Protocol

import re2

from felloe.errors import ConfigError
from felloe.identity import ObjectId
from hub.fleet.document import Spec
from hub.fleet.model import Target
from hub.fleet.schema import Field, Record, Text
from hub.fleet.selector import parse_selector

TARGET: Final = Record(
    {
        name: Field(Text())
        for name in ("annotationSelector", "group", "kind", "labelSelector", "name", "namespace", "version")
    }
)
"""How an object writes a target."""

Matcher = Callable[[ObjectId, str, Mapping[str, object]], bool]
"""Says whether an object is meant: its identity, its version and its metadata."""


class _Expression(Protocol):
    def fullmatch(self, text: str) -> object: ...


def read_target(target: Spec) -> Target:
    """Return what a checked target says."""
    return Target(
        group=target.text("group"),
        version=target.text("version"),
        kind=target.text("kind"),
        name=target.text("name"),
        namespace=target.text("namespace"),
        label_selector=target.text("labelSelector"),
        annotation_selector=target.text("annotationSelector"),
    )


def matcher(target: Target) -> Matcher:
    """Return what tells the objects that a target means. Raise ConfigError for a bad expression or selector."""
    names = ("group", "version", "kind", "namespace", "name")
    expressions = [(name, _expression(name, text)) for name in names if (text := getattr(target, name))]
    labels, annotations = parse_selector(target.label_selector), parse_selector(target.annotation_selector)

    def means(identity: ObjectId, version: str, metadata: Mapping[str, object]) -> bool:
        found = {**identity._asdict(), "version": version}
        return (
            all(expression.fullmatch(found[name]) for name, expression in expressions)
            and labels(_texts(metadata.get("labels")))
            and annotations(_texts(metadata.get("annotations")))
        )

    return means


def _expression(name: str, text: str) -> _Expression:
    options = re2.Options()
    options.log_errors = False
    try:
        compiled: _Expression = re2.compile(text, options)
    except re2.error as error:
        raise ConfigError(f"{name}: {text!r} is no regular expression (RE2): {error}") from None
    return compiled


def _texts(value: object) -> dict[str, str]:
    return {str(key): str(text) for key, text in value.items()} if isinstance(value, Mapping) else {}
