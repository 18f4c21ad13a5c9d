"""The lists that the command line shows, and the columns of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final

from hub.cli.human import age, labels, revision, shortened
from hub.cli.table import Row, one_line
from hub.cli.view import Json, condition, dig, flag, mapping, number, objects, text, texts


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its head, and how a resource fills it."""

    head: str
    cell: Callable[[Json, datetime], str]
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Kind:
    """One list: its name in the API, what people may call it, its columns (the last one takes what is left)."""

    plural: str
    singular: str
    aliases: tuple[str, ...]
    columns: tuple[Column, ...]

    def head(self, *, wide: bool) -> Row:
        """Return the table's header."""
        return [column.head for column in self.columns if wide or not column.wide]

    def row(self, resource: Json, now: datetime, *, wide: bool) -> Row:
        """Return the table's row of one resource."""
        return [column.cell(resource, now) or "-" for column in self.columns if wide or not column.wide]


_HELD: Final = {"suspended": "suspend", "paused": "paused"}


def _at(*path: str) -> Callable[[Json, datetime], str]:
    return lambda resource, now: text(resource, *path)


def _state(kind: str) -> Callable[[Json, datetime], str]:
    return lambda resource, now: text(condition(resource, kind), "status")


def _since(resource: Json, now: datetime) -> str:
    return age(text(condition(resource, "Ready"), "lastTransitionTime"), now)


def message(resource: Json, now: datetime) -> str:
    """Return the message of Ready, or of Healthy where Ready is fine and Healthy is not; first, that it is held."""
    ready, healthy = condition(resource, "Ready"), condition(resource, "Healthy")
    shown = healthy if text(ready, "status") == "True" and text(healthy, "status") in {"False", "Unknown"} else ready
    said = shortened(one_line(text(shown, "message")))
    if text(resource, "cluster") and dig(resource, "status", "connected") is False:
        said = f"the spoke is not connected, its last word: {said}"
    held = next((word for word, key in _HELD.items() if flag(resource, "spec", key)), "")
    return said if not held or said.startswith(held) else f"{held}; {said}"


def _revision(*path: str) -> Callable[[Json, datetime], str]:
    return lambda resource, now: revision(text(resource, *path))


def _age(*path: str) -> Callable[[Json, datetime], str]:
    return lambda resource, now: age(text(resource, *path), now)


def _connected(resource: Json, now: datetime) -> str:
    return "yes" if flag(resource, "status", "connected") else "no"


def _workloads(resource: Json, now: datetime) -> str:
    workloads = objects(resource, "status", "workloads")
    return f"{sum(1 for one in workloads if one.get('ready') == 'True')}/{len(workloads)}"


def _clusters(resource: Json, now: datetime) -> str:
    return f"{number(resource, 'status', 'readyClusters')}/{len(texts(resource, 'status', 'clusters'))}"


def _labels(resource: Json, now: datetime) -> str:
    return labels(mapping(resource, "metadata", "labels"))


def _objects(resource: Json, now: datetime) -> str:
    return str(number(resource, "status", "objects"))


def _healed(resource: Json, now: datetime) -> str:
    return str(number(resource, "status", "healed"))


def _placed(resource: Json, now: datetime) -> str:
    return ",".join(texts(resource, "spec", "workloads"))


def _done(resource: Json, now: datetime) -> str:
    stages = objects(resource, "status", "stages")
    return f"{sum(number(one, 'done') for one in stages)}/{sum(number(one, 'clusters') for one in stages)}"


def _release(resource: Json, now: datetime) -> str:
    return str(number(resource, "status", "release"))


_NAMESPACE = Column("NAMESPACE", _at("metadata", "namespace"))
_NAME = Column("NAME", _at("metadata", "name"))
_READY = Column("READY", _state("Ready"))
_SINCE = Column("SINCE", _since)
_MESSAGE = Column("MESSAGE", message)

KINDS: Final = (
    Kind(
        "clusters",
        "cluster",
        (),
        (
            _NAME,
            _READY,
            Column("CONNECTED", _connected),
            Column("REVISION", _revision("status", "revision")),
            Column("WORKLOADS", _workloads),
            _SINCE,
            Column("ENVIRONMENT", _at("spec", "environment"), wide=True),
            Column("ATTEMPTED", _revision("status", "attemptedRevision"), wide=True),
            Column("SPOKE", _at("status", "spokeVersion"), wide=True),
            Column("KUBERNETES", _at("status", "facts", "kubernetes_version"), wide=True),
            Column("LABELS", _labels, wide=True),
            _MESSAGE,
        ),
    ),
    Kind(
        "sources",
        "source",
        ("gitrepository", "gitrepositories"),
        (
            _NAMESPACE,
            _NAME,
            _READY,
            Column("REVISION", _revision("status", "artifact", "revision")),
            _SINCE,
            Column("KIND", _at("kind"), wide=True),
            Column("URL", _at("spec", "url"), wide=True),
            Column("REF", _at("spec", "ref"), wide=True),
            _MESSAGE,
        ),
    ),
    Kind(
        "environments",
        "environment",
        ("env", "envs"),
        (
            _NAME,
            _READY,
            Column("CLUSTERS", _clusters),
            Column("PROMOTED-FROM", _at("spec", "promotedFrom")),
            _SINCE,
            Column("LABELS", _labels, wide=True),
            _MESSAGE,
        ),
    ),
    Kind(
        "placements",
        "placement",
        (),
        (
            _NAMESPACE,
            _NAME,
            _READY,
            Column("CLUSTERS", _clusters),
            Column("WORKLOADS", _placed),
            _SINCE,
            _MESSAGE,
        ),
    ),
    Kind(
        "workloads",
        "workload",
        ("ks", "kustomization", "kustomizations"),
        (
            Column("CLUSTER", _at("cluster")),
            _NAMESPACE,
            _NAME,
            _READY,
            Column("HEALTHY", _state("Healthy")),
            Column("REVISION", _revision("status", "lastAppliedRevision")),
            Column("OBJECTS", _objects),
            _SINCE,
            Column("KIND", _at("kind"), wide=True),
            Column("ATTEMPTED", _revision("status", "lastAttemptedRevision"), wide=True),
            Column("HEALED", _healed, wide=True),
            Column("SOURCE", _at("spec", "source"), wide=True),
            Column("PATH", _at("spec", "path"), wide=True),
            _MESSAGE,
        ),
    ),
    Kind(
        "rollouts",
        "rollout",
        ("ro",),
        (
            _NAME,
            Column("PHASE", _at("status", "phase")),
            Column("RELEASE", _release),
            Column("REVISION", _revision("status", "revision")),
            Column("DONE", _done),
            Column("AGE", _age("status", "beganAt")),
            Column("STRATEGY", _at("spec", "strategy"), wide=True),
            Column("BEFORE", _revision("status", "baseRevision"), wide=True),
            Column("AUTHOR", _at("status", "author"), wide=True),
            _MESSAGE,
        ),
    ),
)

BY_WORD: Final = MappingProxyType(
    {word: kind for kind in KINDS for word in (kind.plural, kind.singular, *kind.aliases)}
)
"""The kinds by every word that people may use for them."""
