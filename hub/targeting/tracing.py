"""What a piece of work reads of one cluster, so that others of which it would read the same can share what comes out.

Work is pure, so this is exact: it reads one thing after the other, and while every answer is the same, so is the next
question, and in the end the result. What is not read at all (most labels, most variables) keeps no two clusters apart.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from felloe.identity import WorkloadId
from hub.targeting.variables import ClusterView

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Asked:
    """One cluster, and what people asked of its workloads."""

    view: ClusterView
    suspended: AbstractSet[WorkloadId] = frozenset()
    requested_at: Mapping[WorkloadId, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reads:
    """What was read: the values of variables, whether others are there, what people asked of workloads, the name.

    `all_variables` and `all_asked`: it went through all of them.
    """

    values: tuple[str, ...] = ()
    there: tuple[str, ...] = ()
    suspended: tuple[WorkloadId, ...] = ()
    requested_at: tuple[WorkloadId, ...] = ()
    all_variables: bool = False
    all_asked: bool = False
    name: bool = False

    def answers(self, asked: Asked) -> Hashable:
        """Return what a cluster answers: equal for those that can share a result."""
        variables = asked.view.variables
        return (
            tuple([variables.get(name) for name in self.values]),
            tuple([name in variables for name in self.there]),
            tuple([each in asked.suspended for each in self.suspended]),
            tuple([asked.requested_at.get(each) for each in self.requested_at]),
            tuple(variables.items()) if self.all_variables else (),
            (frozenset(asked.suspended), frozenset(asked.requested_at.items())) if self.all_asked else (),
            asked.view.name if self.name else "",
        )


class Tracer:
    """A cluster that notes what is read of it: what a walk sees of one (`Seen`), and what people asked of it."""

    def __init__(self, asked: Asked) -> None:
        self._view = asked.view
        self._read_name = False
        self._there: dict[str, None] = {}
        self._variables = _Noted(asked.view.variables)
        self._suspended = _Noted(dict.fromkeys(asked.suspended, True))
        self._requested_at = _Noted(asked.requested_at)

    @property
    def name(self) -> str:
        """Return the cluster's name."""
        self._read_name = True
        return self._view.name

    @property
    def variables(self) -> Mapping[str, str]:
        """Return all of its variables."""
        return self._variables

    @property
    def suspended(self) -> AbstractSet[WorkloadId]:
        """Return the workloads that people suspended."""
        return self._suspended.keys()

    @property
    def requested_at(self) -> Mapping[WorkloadId, str]:
        """Return when people last asked for workloads."""
        return self._requested_at

    def values(self, names: Iterable[str]) -> dict[str, str]:
        """Return the values that the spoke is to fill in. Each cluster has its own; only which there are is read."""
        names = sorted(names)
        self._there.update(dict.fromkeys(names))
        return self._view.values(names)

    def reads(self) -> Reads:
        """Return what was read so far."""
        there = self._there | self._variables.there
        return Reads(
            values=tuple(self._variables.values_of),
            there=tuple(name for name in there if name not in self._variables.values_of),
            suspended=tuple(self._suspended.values_of | self._suspended.there),
            requested_at=tuple(self._requested_at.values_of | self._requested_at.there),
            all_variables=self._variables.all,
            all_asked=self._suspended.all or self._requested_at.all,
            name=self._read_name,
        )


T = TypeVar("T")


class _Noted(Mapping[Key, T], Generic[Key, T]):
    """A mapping that notes what is asked of it."""

    def __init__(self, of: Mapping[Key, T]) -> None:
        self.values_of: dict[Key, None] = {}
        self.there: dict[Key, None] = {}
        self.all = False
        self._of = of

    def __getitem__(self, key: Key) -> T:
        self.values_of[key] = None
        return self._of[key]

    def __contains__(self, key: object) -> bool:
        self.there[key] = None  # type: ignore[index]  # what is asked for is a key
        return key in self._of

    def __iter__(self) -> Iterator[Key]:
        self.all = True
        return iter(self._of)

    def __len__(self) -> int:
        self.all = True
        return len(self._of)
