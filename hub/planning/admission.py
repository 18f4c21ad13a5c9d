"""Admission: from what every cluster would have by the newest release to what it is to have now.

A cluster that is paused keeps everything; a unit that its rollout holds back stays as the conductor says; nothing is
deleted that is only on its way from one unit to another which may not come yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from hub.planning.plans import Plans
from hub.planning.resolving import Resolver, Round
from hub.targeting import ClusterPlan
from hub.targeting.holding import Held, moving_away

_MOVES: Final = "an object of it goes to a unit that its rollout holds back; it stays until that one may have it"


@dataclass(slots=True)
class Admitted:
    """Plans to publish, and by cluster why there is none."""

    plans: list[ClusterPlan] = field(default_factory=list)
    troubles: dict[str, str] = field(default_factory=dict)


class Admission:
    """Composes what is published. `held` is what the conductor said last."""

    def __init__(self, plans: Plans, resolver: Resolver) -> None:
        self._plans = plans
        self._resolver = resolver
        self._held: Mapping[str, Mapping[str, Held]] = {}

    def changed(self, held: Mapping[str, Mapping[str, Held]]) -> set[str]:
        """Return the clusters of which other units, or the same ones otherwise, are held than at the last admission."""
        names = held.keys() | self._held.keys()
        return {name for name in names if _key(held.get(name, {})) != _key(self._held.get(name, {}))}

    async def admit(
        self,
        newest: Mapping[str, ClusterPlan],
        held: Mapping[str, Mapping[str, Held]],
        this: Round,
        only: Collection[str] | None = None,
    ) -> Admitted:
        """Return what clusters (all, or `only` some) are to have now; `newest` is what that release has for them."""
        found = Admitted()
        for name in newest if only is None else sorted(only & newest.keys()):
            plan = newest[name]
            if plan.paused:
                before = self._plans.clusters.get(name) or ClusterPlan(name)
                self._plans.clusters[name] = replace(
                    before, paused=True, labels=plan.labels, environment=plan.environment
                )
            elif held.get(name):
                await asyncio.sleep(0)  # thousands of clusters must not hold up the link
                composed = self._composed(plan, dict(held[name]), this)
                if isinstance(composed, str):
                    found.troubles[name] = composed
                else:
                    found.plans.append(composed)
            else:
                found.plans.append(plan)
        self._held = held
        return found

    def _composed(self, newest: ClusterPlan, held: dict[str, Held], this: Round) -> ClusterPlan | str:
        name = newest.cluster
        before = self._plans.clusters.get(name)
        while True:
            found = self._resolver.composed(name, this, held)
            if isinstance(found, str) or before is None:
                return found
            more = moving_away(before, found, newest) - held.keys()
            if not more:
                return found
            held |= {unit: Held(unit, before, _MOVES) for unit in more}


def _key(held: Mapping[str, Held]) -> dict[str, tuple[str, str]]:
    return {unit: (each.slice.digest, each.note) for unit, each in held.items()}
