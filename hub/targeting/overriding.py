"""What a Placement's overrides make different on one cluster: its variables, and the build of its workloads.

Overrides hold in the order of the list: of two that say something of one variable or image, the later one counts, and
patches are applied one after another. Clusters that the same ones mean share one build.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import NamedTuple

from felloe.errors import RenderError
from hub.fleet.model import Override, Placement
from hub.render.changes import Changes
from hub.render.render import Rendered
from hub.targeting.inputs import RenderWant
from hub.targeting.variables import ClusterView, means, without_line_breaks


class Numbered(NamedTuple):
    """An override, and where it stands in its Placement's list."""

    position: int
    override: Override


def overrides_of(placement: Placement, view: ClusterView) -> tuple[Numbered, ...]:
    """Return the overrides of a Placement that mean a cluster."""
    return tuple(Numbered(position, one) for position, one in enumerate(placement.overrides) if means(one, view))


def overridden(variables: Mapping[str, str], overrides: Iterable[Numbered]) -> Mapping[str, str]:
    """Return variables with those that overrides set over them."""
    own = variables_of(overrides)
    return _Over(own, variables) if own else variables


def variables_of(overrides: Iterable[Numbered]) -> dict[str, str]:
    """Return the variables that overrides set."""
    return {name: without_line_breaks(value) for _, one in overrides for name, value in one.variables}


class _Over(Mapping[str, str]):
    """Some variables over others, of which only those are read that are asked for."""

    def __init__(self, own: Mapping[str, str], others: Mapping[str, str]) -> None:
        self._own = own
        self._others = others

    def __getitem__(self, name: str) -> str:
        return self._own[name] if name in self._own else self._others[name]

    def __contains__(self, name: object) -> bool:
        return name in self._own or name in self._others

    def __iter__(self) -> Iterator[str]:
        return iter({**self._others, **self._own})

    def __len__(self) -> int:
        return len({**self._others, **self._own})


def changes_of(overrides: Sequence[Numbered]) -> Changes:
    """Return what overrides change in the objects of a workload."""
    return Changes(
        tuple(chain.from_iterable(one.patches for _, one in overrides)),
        tuple(chain.from_iterable(one.images for _, one in overrides)),
    )


def culprit(
    want: RenderWant, overrides: Sequence[Numbered], renders: Mapping[RenderWant, Rendered | RenderError]
) -> RenderWant | Numbered | None:
    """Return which override keeps a build that failed from working, None where it fails without any as well.

    Found by building with ever more of them, so this may be a build that has to be made first.
    """
    changing = [one for one in overrides if changes_of([one])]
    for count in range(len(changing)):
        tried = replace(want, changes=changes_of(changing[:count]))
        result = renders.get(tried)
        if result is None:
            return tried
        if isinstance(result, RenderError):
            return changing[count - 1] if count else None
    return changing[-1] if changing else None
