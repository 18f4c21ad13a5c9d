"""What a cluster says of itself: its version and its nodes, asked for with few and small requests."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from aiohttp import web

from felloe.errors import KubernetesError
from spoke.cluster.facts import facts, keep_learning
from tests.spoke.apiserver import serving, status

REGION, ZONE = "topology.kubernetes.io/region", "topology.kubernetes.io/zone"


class Cluster:
    """An API server with nodes; `more` are those that the first page does not show."""

    def __init__(self, *nodes: dict[str, str], provider: str = "aws:///eu-1a/i-1", more: int | None = 0) -> None:
        self.nodes = nodes
        self.provider = provider
        self.more = more
        self.refused = 0
        self.asked: list[str] = []

    async def __call__(self, request: web.Request) -> web.Response:
        self.asked.append(request.path_qs)
        if request.path == "/version":
            return web.json_response({"gitVersion": "v1.34.2"})
        if self.refused:
            return status(self.refused, "Forbidden", "nodes is forbidden")
        whole = "PartialObjectMetadataList" not in request.headers["Accept"]
        items = [self._node(labels, whole=whole) for labels in self.nodes[: int(request.query["limit"])]]
        about: dict[str, Any] = {}
        if self.more != 0:
            about = {"continue": "x"} | ({"remainingItemCount": self.more} if self.more else {})
        return web.json_response({"metadata": about, "items": items})

    def _node(self, labels: Mapping[str, str], *, whole: bool) -> dict[str, Any]:
        node: dict[str, Any] = {"metadata": {"labels": dict(labels)}}
        return node | {"spec": {"providerID": self.provider} if self.provider else {}} if whole else node


async def learn(cluster: Cluster) -> dict[str, str]:
    async with serving(cluster) as client:
        return await facts(client)


async def test_a_cluster_in_one_zone_says_all_with_three_requests() -> None:
    cluster = Cluster({REGION: "eu-1", ZONE: "eu-1a"}, {REGION: "eu-1", ZONE: "eu-1a"})
    assert await learn(cluster) == {
        "kubernetes_version": "v1.34.2",
        "node_count": "2",
        "provider": "aws",
        "region": "eu-1",
        "zone": "eu-1a",
    }
    assert cluster.asked == ["/version", "/api/v1/nodes?limit=1", "/api/v1/nodes?limit=100"]


async def test_what_differs_between_nodes_is_empty() -> None:
    found = await learn(Cluster({REGION: "eu-1", ZONE: "eu-1a"}, {REGION: "eu-1", ZONE: "eu-1b"}))
    assert (found["region"], found["zone"]) == ("eu-1", "")


async def test_the_api_server_counts_the_nodes_that_are_not_looked_at() -> None:
    assert (await learn(Cluster(*[{}] * 100, more=4_900)))["node_count"] == "5000"
    assert (await learn(Cluster(*[{}] * 100, more=None)))["node_count"] == ""


@pytest.mark.parametrize(
    ("provider_id", "provider"),
    [
        ("gce://project/zone/name", "gce"),
        ("kind://docker/kind/node", "kind"),
        ("azure:///subscriptions/x", "azure"),
        ("k3s://node", "k3s"),
        ("", ""),
        ("ocid1.instance.x", ""),
    ],
)
async def test_the_provider_is_the_scheme_of_a_nodes_id(provider_id: str, provider: str) -> None:
    assert (await learn(Cluster({}, provider=provider_id)))["provider"] == provider


async def test_a_cluster_without_nodes_says_so() -> None:
    found = await learn(Cluster())
    assert (found["node_count"], found["provider"], found["region"], found["zone"]) == ("0", "", "", "")


async def test_what_may_not_be_asked_is_left_out() -> None:
    cluster = Cluster({})
    cluster.refused = 403
    assert await learn(cluster) == {"kubernetes_version": "v1.34.2"}


async def test_an_api_server_that_fails_says_nothing_rather_than_less() -> None:
    cluster = Cluster({})
    cluster.refused = 401
    with pytest.raises(KubernetesError):
        await learn(cluster)


async def test_it_is_told_at_once_and_goes_on_until_cancelled() -> None:
    told: asyncio.Queue[Mapping[str, str]] = asyncio.Queue()
    async with serving(Cluster({})) as client:
        task = asyncio.create_task(keep_learning(client, told.put_nowait))
        async with asyncio.timeout(10):
            assert (await told.get())["node_count"] == "1"
        assert not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()
