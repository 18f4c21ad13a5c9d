"""Kinds of an API server: aggregated discovery, the older way, and kinds that appear later."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web

from spoke.kube.discovery import Discovery, NoSuchKindError
from tests.spoke.apiserver import serving, status


def aggregated(group: str, *kinds: tuple[str, str, str]) -> dict[str, Any]:
    resources = [
        {"resource": plural, "responseKind": {"kind": kind}, "scope": scope, "verbs": ["get", "list"]}
        for kind, plural, scope in kinds
    ]
    return {
        "kind": "APIGroupDiscoveryList",
        "items": [{"metadata": {"name": group}, "versions": [{"version": "v1", "resources": resources}]}],
    }


async def test_aggregated_discovery_maps_kinds_to_paths() -> None:
    async def handler(request: web.Request) -> web.Response:
        if request.path == "/api":
            return web.json_response(aggregated("", ("ConfigMap", "configmaps", "Namespaced")))
        return web.json_response(aggregated("rbac.authorization.k8s.io", ("ClusterRole", "clusterroles", "Cluster")))

    async with serving(handler) as client:
        discovery = Discovery(client)
        config_map = await discovery.find("", "v1", "ConfigMap")
        role = await discovery.find("rbac.authorization.k8s.io", "v1", "ClusterRole")
    assert config_map.path("shop", "a/b") == "/api/v1/namespaces/shop/configmaps/a%2Fb"
    assert config_map.collection() == "/api/v1/configmaps"
    assert role.path("ignored", "admin") == "/apis/rbac.authorization.k8s.io/v1/clusterroles/admin"


async def test_an_older_api_server_and_one_group_that_is_broken() -> None:
    answers = {
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/apis": {
            "kind": "APIGroupList",
            "groups": [
                {"versions": [{"groupVersion": "apps/v1"}]},
                {"versions": [{"groupVersion": "metrics.k8s.io/v1beta1"}]},
            ],
        },
        "/api/v1": {"resources": [{"name": "pods", "kind": "Pod", "namespaced": True}]},
        "/apis/apps/v1": {
            "resources": [
                {"name": "deployments", "kind": "Deployment", "namespaced": True},
                {"name": "deployments/scale", "kind": "Scale", "namespaced": True},
            ]
        },
    }

    async def handler(request: web.Request) -> web.Response:
        if request.path not in answers:
            return status(404, "NotFound", "the server is away")
        return web.json_response(answers[request.path])

    async with serving(handler) as client:
        discovery = Discovery(client)
        assert (await discovery.find("apps", "v1", "Deployment")).plural == "deployments"
        assert (await discovery.find("", "v1", "Pod")).namespaced
        with pytest.raises(NoSuchKindError, match='no matches for kind "Scale" in version "apps/v1"'):
            await discovery.find("apps", "v1", "Scale")


async def test_a_kind_that_appears_is_found_and_known_kinds_cost_nothing() -> None:
    kinds = [("One", "ones", "Namespaced")]
    asked = 0
    now = 0.0

    async def handler(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return web.json_response(aggregated("x.io", *kinds) if request.path == "/apis" else aggregated(""))

    async with serving(handler) as client:
        discovery = Discovery(client, lambda: now)
        await discovery.find("x.io", "v1", "One")
        await discovery.find("x.io", "v1", "One")
        assert asked == 2
        kinds.append(("Two", "twos", "Cluster"))
        with pytest.raises(NoSuchKindError):
            await discovery.find("x.io", "v1", "Two")
        assert asked == 2
        discovery.outdated()
        assert (await discovery.find("x.io", "v1", "Two")).plural == "twos"
        assert (await discovery.find_any("x.io", "v9", "Two")).version == "v1"
        now = 60.0
        with pytest.raises(NoSuchKindError):
            await discovery.find("x.io", "v1", "Three")
    assert asked == 6
