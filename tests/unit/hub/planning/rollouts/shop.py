"""A shop that every cluster gets by a Rollout: what the tests of rollouts start from, and what they look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from felloe.identity import WorkloadId
from hub.status.fleet import fleet_view
from hub.status.resource import Collection, Key, Resource
from tests.fleet.manifests import config_map, documents, git_repository, kustomization, placement
from tests.unit.hub.composition import Inside, World

SHOP = WorkloadId("Kustomization", "flux-system", "shop")
CANARY: Sequence[Mapping[str, object]] = (
    {"name": "canary", "clusterSelector": {"matchLabels": {"canary": "yes"}}},
    {"name": "rest", "maxConcurrent": 1},
)


def rollout(name: str, stages: Sequence[Mapping[str, object]] = CANARY, **spec: object) -> dict[str, object]:
    return {
        "apiVersion": "fleet.felloe.io/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": name},
        "spec": {"stages": list(stages), **spec},
    }


def shop(world: World, *more: Mapping[str, object]) -> dict[str, str]:
    """The files of a fleet in which every cluster gets one ConfigMap, by a Rollout."""
    objects = (git_repository("config", world.repository.url), kustomization("shop", "./shop"), *more)
    named = {"rollout": "careful"} if any(each["kind"] == "Rollout" for each in more) else {}
    placed = placement("shop", "shop", clusterSelector={}, **named)
    return {"fleet/all.yaml": documents(*objects, placed)} | version("1")


def version(number: str, **data: str) -> dict[str, str]:
    return {"shop/map.yaml": documents(config_map("settings", "default", v=number, **data))}


async def fleet_of(hub: Inside, **labels: dict[str, str]) -> None:
    """Have clusters join, and be healthy with what they get."""
    for name, own in labels.items():
        hub.join(name, **own)
    hub.connect(*labels)
    await hub.look()
    await converge(hub, *labels)


async def converge(hub: Inside, *clusters: str) -> None:
    """Say of clusters, again and again, that they are healthy with what they were given, until nothing moves."""
    for _ in range(2 * len(clusters) + 2):
        before = {name: hub.plans.clusters[name].bundle.root for name in clusters}
        for name in clusters:
            hub.report(name)
        await hub.planner.settled()
        if before == {name: hub.plans.clusters[name].bundle.root for name in clusters}:
            return


def value(hub: Inside, cluster: str) -> object:
    data = hub.objects(cluster, SHOP)["settings"]
    assert isinstance(data, dict)
    return data["v"]


def values(hub: Inside, *clusters: str) -> list[object]:
    return [value(hub, name) for name in clusters]


def shown(hub: Inside, name: str = "shop") -> Resource:
    posted = hub.board.get(Collection.ROLLOUTS, Key("", "Rollout", "", name))
    assert posted is not None
    return posted.resource


def waits(hub: Inside) -> list[dict[str, object]]:
    """What the view of the whole fleet says that is waited for."""
    shown = (Collection.ENVIRONMENTS, Collection.CLUSTERS, Collection.ROLLOUTS)
    found = fleet_view(*(hub.board.resources(each).values() for each in shown))["waits"]
    assert isinstance(found, list)
    return found
