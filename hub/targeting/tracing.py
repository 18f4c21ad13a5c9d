"""What a piece of work reads of one cluster, so that others of which it would read the same can share what comes out.

Work is pure, so this is exact: it reads one thing after the other, and while every answer is the same, so is the next
question, and in the end the result. What is not read at all (most labels, most variables) keeps no two clusters apart.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from felloe.identity import WorkloadId
from hub.targeting.variables import ClusterView

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Asked:
    """One cluster, and what people asked of its workloads."""

    view: ClusterView
    suspended: AbstractSet[WorkloadId] = frozenset()
    requested_at: Mapping[WorkloadId, str] = field(default_factory=dict)


class Variables(NamedTuple):
    """Which variables were read: the values of some, whether others are there; `all`: it went through all of them."""

    values: tuple[str, ...] = ()
    there: tuple[str, ...] = ()
    all: bool = False

    def answers(self, view: ClusterView) -> Hashable:
        """Return what a cluster answers."""
        variables = view.variables
        if self.all:
            return tuple(variables.items())
        return (*[variables.get(name) for name in self.values], *[name in variables for name in self.there])


class Reads(NamedTuple):
    """What was read: variables, what people asked of some workloads (`all_asked`: of all), and the name."""

    variables: Variables = Variables()
    asked: tuple[WorkloadId, ...] = ()
    all_asked: bool = False
    name: bool = False

    def answers(self, asked: Asked) -> Hashable:
        """Return what a cluster answers besides its variables, in few words where nobody asked for anything."""
        if not (asked.suspended or asked.requested_at):
            return asked.view.name if self.name else None
        about = {*asked.suspended, *asked.requested_at} if self.all_asked else self.asked
        said = [(each, each in asked.suspended, asked.requested_at.get(each)) for each in about]
        return (frozenset(one for one in said if one[1] or one[2] is not None), asked.view.name if self.name else None)

    def within(self, other: Reads) -> bool:
        """Tell whether clusters that answer alike what the other one read do so for this one."""
        mine, others = self.variables, other.variables
        return (
            (others.all or (not mine.all and {*mine.values} <= {*others.values}))
            and (others.all or {*mine.there} <= {*others.there, *others.values})
            and (other.all_asked or (not self.all_asked and {*self.asked} <= {*other.asked}))
            and (other.name or not self.name)
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
        values = self._variables.values_of
        there = [name for name in self._there | self._variables.there if name not in values]
        suspended, requested_at = self._suspended, self._requested_at
        asked = suspended.values_of | suspended.there | requested_at.values_of | requested_at.there
        return Reads(
            Variables(tuple(values), tuple(there), self._variables.all),
            tuple(asked),
            suspended.all or requested_at.all,
            self._read_name,
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
