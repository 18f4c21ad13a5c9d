"""As what a cluster is planned by an older release: as what it was then, or as what it is now. Pure.

The labels that Git gives a cluster, and whom an Environment selects, are part of a release like all else in it: a
commit that changes them for a thousand clusters comes to these by their rollouts, stage by stage, and an undo takes it
back. Who can't be planned so is planned as what it is now: who was no cluster of the fleet then, and who came to an
environment with rollouts of its own, which has releases of its own for it. What a join token and a spoke say of a
cluster is no part of any release: it holds at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from hub.fleet import Fleet
from hub.planning.rollouts.tracks import stands_alone
from hub.targeting import view_cluster


@dataclass(frozen=True)
class Belonging:
    """What a release is planned by: `then` is its fleet, `at` when it came (seconds since 1970), `now` today's."""

    then: Fleet
    now: Fleet
    at: float

    @cached_property
    def as_then(self) -> Fleet:
        """Return the release's fleet; only a pause is never one of before."""
        clusters = {
            name: replace(each, paused=self.now.clusters[name].paused) if name in self.now.clusters else each
            for name, each in self.then.clusters.items()
        }
        return replace(self.then, clusters=clusters)

    @cached_property
    def as_now(self) -> Fleet:
        """Return the release's fleet, in which every cluster has the labels and the environment that it has now."""
        then = self.then
        clusters = {
            name: replace(then.clusters.get(name, cluster), labels=cluster.labels, paused=cluster.paused)
            for name, cluster in self.now.clusters.items()
        }
        environments = {
            name: replace(then.environments.get(name, environment), selector=environment.selector)
            for name, environment in self.now.environments.items()
        }
        return replace(then, clusters=clusters, environments=environments)

    def fleet_for(self, cluster: str, joined: Mapping[str, str], enrolled_at: float | None) -> Fleet:
        """Return the fleet by which a cluster is planned; `joined` are the labels that it has from elsewhere than Git.

        `enrolled_at` is when it became a member, None where it is none.
        """
        if cluster not in self.then.clusters and cluster in self.now.clusters:
            if enrolled_at is None or enrolled_at > self.at:
                return self.as_now
        elif self._selectors_stand and self._labels_stand(cluster):
            return self.as_then
        here = self._own_environment(cluster, joined, self.now)
        came = bool(here) and here != self._own_environment(cluster, joined, self.then)
        return self.as_now if came else self.as_then

    @cached_property
    def _selectors_stand(self) -> bool:
        then, now = self.then.environments, self.now.environments
        return {name: each.selector for name, each in then.items()} == {
            name: each.selector for name, each in now.items()
        }

    def _labels_stand(self, cluster: str) -> bool:
        then, now = self.then.clusters.get(cluster), self.now.clusters.get(cluster)
        return (then.labels if then else {}) == (now.labels if now else {})

    def _own_environment(self, cluster: str, joined: Mapping[str, str], fleet: Fleet) -> str:
        found = view_cluster(cluster, joined, fleet).environment
        return found if stands_alone(self.now, found) else ""
