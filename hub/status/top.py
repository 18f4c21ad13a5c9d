"""What to look at first: the workloads that took longest to get healthy, that drift most, and that fail."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from heapq import nlargest
from itertools import islice
from typing import Final

from hub.status.resource import Resource

AT_ONCE: Final = 1000
"""How many workloads are looked at before others may go on: a fleet has hundreds of thousands."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """A workload and what it is ranked by."""

    value: float
    workload: Resource
    going_on: bool = False


@dataclass(frozen=True, slots=True)
class Top:
    """The first few of each."""

    slowest: Sequence[Ranked] = ()
    drifted: Sequence[Ranked] = ()
    failing: Sequence[Ranked] = ()

    def as_json(self) -> dict[str, object]:
        """Return it as the API shows it."""
        return {
            "kind": "Top",
            "apiVersion": "v1",
            "slowest": [{**_who(one), "seconds": one.value, "goingOn": one.going_on} for one in self.slowest],
            "drifted": [{**_who(one), "healed": int(one.value)} for one in self.drifted],
            "failing": [{**_who(one), "problems": int(one.value)} for one in self.failing],
        }


def top(workloads: Iterable[Resource], number: int, now: datetime, before: Top | None = None) -> Top:
    """Return the first `number` of each, of these and of what was found `before`.

    Slowest is the time from when a spoke received a workload's newest content until it was healthy with that, or until
    now where it is not yet; failing is by the number of objects that are a problem.
    """
    before = before or Top()
    all_ = list(workloads)
    return Top(
        _first(number, [*before.slowest, *_ranked(all_, lambda one: _took(one, now))]),
        _first(number, [*before.drifted, *_ranked(all_, lambda one: Ranked(_number(one, "healed"), one))]),
        _first(number, [*before.failing, *_ranked(all_, _failing)]),
    )


def batches(workloads: Iterable[Resource]) -> Iterable[list[Resource]]:
    """Return workloads in portions of `AT_ONCE`."""
    left = iter(workloads)
    while portion := list(islice(left, AT_ONCE)):
        yield portion


def _first(number: int, ranked: Iterable[Ranked]) -> Sequence[Ranked]:
    return nlargest(number, ranked, key=lambda one: (one.value, one.workload.key))


def _ranked(workloads: Iterable[Resource], rank: Callable[[Resource], Ranked | None]) -> Iterable[Ranked]:
    return (ranked for one in workloads if (ranked := rank(one)) is not None and ranked.value > 0)


def _took(workload: Resource, now: datetime) -> Ranked | None:
    status = workload.status
    received = _moment(status.get("receivedAt"))
    if received is None or workload.spec.get("suspend") is True:
        return None
    healthy = _moment(status.get("healthyAt"))
    if status.get("healthy") is True and healthy is not None and healthy >= received:
        return Ranked(round((healthy - received).total_seconds(), 3), workload)
    if status.get("healthy") is True:
        return None
    return Ranked(round((now - received).total_seconds(), 3), workload, going_on=True)


def _failing(workload: Resource) -> Ranked | None:
    states = [condition.status for name in ("Ready", "Healthy") if (condition := workload.condition(name)) is not None]
    return Ranked(max(_number(workload, "problemCount"), 1), workload) if "False" in states else None


def _who(ranked: Ranked) -> dict[str, object]:
    one = ranked.workload
    bad = next((own for own in one.conditions if own.status == "False"), one.condition("Ready"))
    return {
        "cluster": one.cluster,
        "kind": one.kind,
        "namespace": one.namespace,
        "name": one.name,
        "revision": one.status.get("lastAppliedRevision", ""),
        "message": bad.message if bad else "",
    }


def _number(workload: Resource, name: str) -> float:
    value = workload.status.get(name)
    return value if isinstance(value, int) else 0


def _moment(value: object) -> datetime | None:
    return datetime.fromisoformat(value) if isinstance(value, str) and value else None
