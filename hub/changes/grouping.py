"""The same change on many clusters, told once: who gets what, in as few words as are true."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from hub.changes.model import Placed, Severity, WorkloadChange

MOST_VALUES = 10
"""Values of a variable that are told one by one."""
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Seen:
    """A cluster that was compared: its labels (with its environment's), and whether Git pauses it."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    environment: str = ""
    paused: bool = False


@dataclass(frozen=True, slots=True)
class VariableValues:
    """How a variable changes: (before, after, number of clusters), the most frequent first; `more` are not told."""

    name: str
    values: tuple[tuple[str | None, str | None, int], ...]
    more: int = 0


@dataclass(frozen=True, slots=True)
class GroupedWorkload:
    """A workload's change with the values of its variables on the clusters of a group."""

    change: WorkloadChange
    variables: tuple[VariableValues, ...] = ()


@dataclass(frozen=True, slots=True)
class Group:
    """Clusters on which the same changes; `title` says which they are."""

    clusters: tuple[str, ...]
    title: str
    workloads: tuple[GroupedWorkload, ...]
    paused: int = 0


class Groups:
    """Takes what changes cluster by cluster, and gives it back grouped."""

    def __init__(self) -> None:
        self._seen: dict[str, Seen] = {}
        self._changes: dict[bytes, WorkloadChange] = {}
        self._where: dict[bytes, list[str]] = {}
        self._values: dict[tuple[bytes, str], Counter[tuple[str | None, str | None]]] = {}

    def add(self, cluster: Seen, placed: Iterable[Placed]) -> None:
        """Take what changes on a cluster."""
        self._seen[cluster.name] = cluster
        for each in placed:
            key = each.change.fingerprint
            self._changes.setdefault(key, each.change)
            self._where.setdefault(key, []).append(cluster.name)
            for name, before, after in each.variables:
                self._values.setdefault((key, name), Counter())[before, after] += 1

    @property
    def clusters(self) -> Mapping[str, Seen]:
        """Return every cluster that was compared."""
        return self._seen

    @property
    def changed(self) -> frozenset[str]:
        """Return the clusters on which something changes."""
        changing = (self._where[key] for key, change in self._changes.items() if change.changes)
        return frozenset(name for names in changing for name in names)

    def findings(self) -> Counter[Severity]:
        """Return how many different findings there are."""
        return Counter(finding.severity for change in self._changes.values() for finding in change.findings)

    def moving(self) -> Iterator[tuple[str, str]]:
        """Yield (unit, cluster) of everything that changes."""
        for key, change in self._changes.items():
            if change.changes:
                yield from ((change.unit, name) for name in self._where[key])

    def groups(self) -> list[Group]:
        """Return what changes: the group of most clusters first, in it workloads by name."""
        together: dict[tuple[str, ...], list[bytes]] = {}
        for key, names in self._where.items():
            together.setdefault(tuple(sorted(names)), []).append(key)
        titles = _Titles(self._seen)
        ordered = sorted(together.items(), key=lambda each: (-len(each[0]), each[0]))
        return [self._group(names, keys, titles) for names, keys in ordered]

    def _group(self, names: tuple[str, ...], keys: Sequence[bytes], titles: _Titles) -> Group:
        ordered = sorted(keys, key=lambda key: (self._changes[key].id, key))
        workloads = tuple(GroupedWorkload(self._changes[key], tuple(self._variables(key))) for key in ordered)
        return Group(names, titles.of(names), workloads, sum(self._seen[name].paused for name in names))

    def _variables(self, key: bytes) -> Iterator[VariableValues]:
        for name in self._changes[key].variables:
            counted = self._values.get((key, name), Counter())
            ordered = sorted(counted.items(), key=lambda each: (-each[1], each[0][0] or "", each[0][1] or ""))
            values = tuple((before, after, count) for (before, after), count in ordered[:MOST_VALUES])
            yield VariableValues(name, values, more=max(0, len(ordered) - MOST_VALUES))


class _Titles:
    """Names sets of clusters by what just they have in common."""

    def __init__(self, seen: Mapping[str, Seen]) -> None:
        self._seen = seen
        environments: dict[str, set[str]] = {}
        for each in seen.values():
            if each.environment:
                environments.setdefault(each.environment, set()).add(each.name)
        self._environments = {name: frozenset(names) for name, names in sorted(environments.items())}

    def of(self, names: Collection[str]) -> str:
        number = f"{len(names)} cluster{'' if len(names) == 1 else 's'}"
        if len(names) == 1:
            return f"cluster {next(iter(names))}"
        if len(names) == len(self._seen):
            return f"all {number}"
        members = frozenset(names)
        if alike := self._alike(members):
            return f"{number}: {alike}"
        within = [name for name, having in self._environments.items() if having <= members]
        if within and sum(len(self._environments[name]) for name in within) == len(members):
            return f"{number}: environments {', '.join(within)}"
        ordered = sorted(names)
        more = len(ordered) - _NAMED
        return f"{number}: {', '.join(ordered[:_NAMED])}" + (f" and {more} more" if more > 0 else "")

    def _alike(self, members: frozenset[str]) -> str:
        """Return the environment, else the label, that just these clusters have; empty where there is none."""
        for environment, names in self._environments.items():
            if names == members:
                return f"environment {environment}"
        common: set[tuple[str, str]] | None = None
        for name in members:
            own = self._seen[name].labels
            common = {*own.items()} if common is None else {each for each in common if own.get(each[0]) == each[1]}
            if not common:
                return ""
        for key, value in sorted(common or ()):
            if sum(each.labels.get(key) == value for each in self._seen.values()) == len(members):
                return f"{key}={value}"
        return ""
