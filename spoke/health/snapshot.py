"""One object as the rules read it: typed fields out of JSON that anyone may have written.

A custom resource's status can have any shape, so every reader here returns a default instead of raising. A shape that
would make a judgement a guess is named by `Snapshot.problem`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

Json = Mapping[str, object]

_INT64_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Condition:
    """One entry of ``status.conditions``; a missing field is empty."""

    type: str
    status: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The parts of an object that rules look at. `problem` says what is malformed, and is empty where nothing is."""

    group: str
    kind: str
    metadata: Json
    spec: Json
    status: Json
    conditions: tuple[Condition, ...]
    problem: str

    def condition(self, kind: str, status: str | None = None) -> Condition | None:
        """Return the condition of this type, where `status` is given only if it has that status."""
        for condition in self.conditions:
            if condition.type == kind and status in (None, condition.status):
                return condition
        return None


def snapshot(obj: Json) -> Snapshot:
    """Read an object; never raises."""
    status = section(obj, "status")
    return Snapshot(
        group=text(obj, "apiVersion").rpartition("/")[0],
        kind=text(obj, "kind"),
        metadata=section(obj, "metadata"),
        spec=section(obj, "spec"),
        status=status,
        conditions=tuple(
            Condition(text(entry, "type"), text(entry, "status"), text(entry, "reason"), text(entry, "message"))
            for entry in entries(status, "conditions")
        ),
        problem=_problem(obj),
    )


def _problem(obj: Json) -> str:
    for key in ("metadata", "status"):
        value = obj.get(key)
        if value is not None and not isinstance(value, Mapping):
            return f"{key} is a {type(value).__name__}, not a mapping"
    for key in ("metadata.generation", "status.observedGeneration"):
        parent, _, field = key.partition(".")
        value = section(obj, parent).get(field)
        if value is not None and integer(section(obj, parent), field) is None:
            return f"{key} is not a whole number"
    conditions = section(obj, "status").get("conditions")
    if conditions is not None and not isinstance(conditions, list):
        return f"status.conditions is a {type(conditions).__name__}, not a list"
    if isinstance(conditions, list) and not all(isinstance(entry, Mapping) for entry in conditions):
        return "status.conditions has an entry that is not a mapping"
    return ""


def section(parent: Json, *path: str) -> Json:
    """Return the mapping at `path`, or an empty one."""
    for key in path:
        value = parent.get(key)
        parent = value if isinstance(value, Mapping) else {}
    return parent


def entries(parent: Json, key: str) -> Iterator[Json]:
    """Yield those entries of a list that are mappings."""
    value = parent.get(key)
    return (entry for entry in value if isinstance(entry, Mapping)) if isinstance(value, list) else iter(())


def text(parent: Json, key: str) -> str:
    """Return the text at `key`, or an empty one."""
    value = parent.get(key)
    return value if isinstance(value, str) else ""


def integer(parent: Json, key: str) -> int | None:
    """Return the int64 at `key`, or None where there is none (True is no number)."""
    value = parent.get(key)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _INT64_MAX:
        return value
    return None


def count(parent: Json, key: str, default: int = 0) -> int:
    """Return the int64 at `key`, or `default`."""
    value = integer(parent, key)
    return default if value is None else value
