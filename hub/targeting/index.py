"""Which Placements mean a cluster, found by its labels instead of by asking every Placement."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator

from hub.fleet.model import Placement
from hub.targeting.variables import ClusterView, means


class PlacementIndex:
    """The Placements of a fleet, each filed under one thing that it asks of a cluster."""

    def __init__(self, placements: Iterable[Placement]) -> None:
        self._placements = sorted(placements, key=lambda each: each.name)
        asked = Counter(clue for each in self._placements for clues in _clues(each) for clue in clues)
        self._filed: dict[Hashable, list[int]] = {}
        self._anywhere: list[int] = []
        for number, each in enumerate(self._placements):
            clues = min(_clues(each), key=lambda some: sum(asked[clue] for clue in some), default=None)
            if clues is None:
                self._anywhere.append(number)
            for clue in clues or ():
                self._filed.setdefault(clue, []).append(number)

    def of(self, view: ClusterView) -> tuple[Placement, ...]:
        """Return the Placements that mean a cluster, by name."""
        found = set(self._anywhere)
        for label in view.labels.items():
            found.update(self._filed.get(label, ()), self._filed.get(label[0], ()))
        for environment in view.environments:
            found.update(self._filed.get(("environment", environment, ""), ()))
        found.update(self._filed.get(("cluster", view.name, ""), ()))
        return tuple(each for number in sorted(found) if means(each := self._placements[number], view))


def _clues(placement: Placement) -> Iterator[frozenset[Hashable]]:
    """Yield sets of clues: a cluster that the Placement means has one of each set.

    A clue is a label with its value, the key of a label, or (of three parts) an environment or the name of a cluster.
    """
    if placement.cluster_names:
        yield frozenset(("cluster", name, "") for name in placement.cluster_names)
    if placement.environments:
        yield frozenset(("environment", name, "") for name in placement.environments)
    if placement.selector is None:
        return
    for label in placement.selector.match_labels:
        yield frozenset([label])
    for each in placement.selector.match_expressions:
        if each.operator == "In":
            yield frozenset((each.key, value) for value in each.values)
        elif each.operator not in ("NotIn", "DoesNotExist"):
            yield frozenset([each.key])
