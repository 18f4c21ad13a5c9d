"""What stands in the way of deleting a Namespace or a definition."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from aiohttp import web

from felloe.identity import ObjectId
from spoke.apply.occupants import Occupants
from spoke.kube.discovery import Discovery
from tests.spoke.apiserver import serving, status

SHOP = ObjectId("", "Namespace", "", "shop")
DEPLOYMENT = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "u"}
NODE = {"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "u"}
CORE = ("ConfigMap", "Event", "Pod", "Secret", "ServiceAccount")
KINDS = {"": {f"{kind.lower()}s": kind for kind in CORE}, "apps": {"deployments": "Deployment"}}


def discovery(group: str, freshness: str = "Current") -> dict[str, Any]:
    scopes = {kind: (plural, "Namespaced") for plural, kind in KINDS[group].items()}
    scopes |= {} if group else {"Node": ("nodes", "Cluster")}
    resources = [
        {"resource": plural, "responseKind": {"kind": kind}, "scope": scope, "verbs": ["list"]}
        for kind, (plural, scope) in scopes.items()
    ]
    resources.append({"resource": "reviews", "responseKind": {"kind": "R"}, "scope": "Namespaced", "verbs": ["create"]})
    versions = [{"version": "v1", "resources": resources, "freshness": freshness}]
    return {"kind": "APIGroupDiscoveryList", "items": [{"metadata": {"name": group}, "versions": versions}]}


async def refusal(listed: Mapping[str, Any], identity: ObjectId = SHOP, freshness: str = "Current") -> str:
    """Return what is said about deleting an object, where `listed` are the metadata (or answers) by plural."""

    async def handler(request: web.Request) -> web.Response:
        if request.path in ("/api", "/apis"):
            return web.json_response(discovery("" if request.path == "/api" else "apps", freshness))
        found = listed.get(request.path.rpartition("/")[2], [])
        if isinstance(found, int):
            return status(found, "Forbidden", f"{request.path} is forbidden")
        if isinstance(found, dict):
            return web.json_response(found)
        assert request.path.rpartition("/")[2] not in ("events", "reviews")
        items = [{"metadata": {"uid": f"{request.path} {number}"} | each} for number, each in enumerate(found)]
        return web.json_response({"kind": "List", "metadata": {}, "items": items})

    async with serving(handler) as client:
        return await Occupants(client, Discovery(client)).refusal(identity, "/definition")


@pytest.mark.parametrize(
    ("plural", "metadata"),
    [
        ("configmaps", {"name": "kube-root-ca.crt"}),
        ("serviceaccounts", {"name": "default"}),
        ("secrets", {"name": "default-token-x", "annotations": {"kubernetes.io/service-account.name": "default"}}),
        ("pods", {"name": "web-1", "ownerReferences": [DEPLOYMENT]}),
        ("configmaps", {"name": "going", "deletionTimestamp": "2026-01-01T00:00:00Z"}),
    ],
)
async def test_what_kubernetes_makes_itself_is_not_in_the_way(plural: str, metadata: dict[str, Any]) -> None:
    assert await refusal({plural: [metadata]}) == ""


@pytest.mark.parametrize(
    ("plural", "metadata", "named"),
    [
        ("configmaps", {"name": "theirs"}, "ConfigMap shop/theirs"),
        ("configmaps", {"name": "default"}, "ConfigMap shop/default"),
        ("secrets", {"name": "t", "annotations": {"kubernetes.io/service-account.name": "robot"}}, "Secret shop/t"),
        ("deployments", {"name": "web"}, "Deployment.apps shop/web"),
        ("pods", {"name": "static", "ownerReferences": [NODE]}, "Pod shop/static"),
    ],
)
async def test_what_somebody_else_made_is_named(plural: str, metadata: dict[str, Any], named: str) -> None:
    said = await refusal({plural: [metadata]})
    assert f"would go with it: {named};" in said
    assert "fleet.felloe.io/prune: force" in said


async def test_of_many_three_are_named() -> None:
    said = await refusal({"configmaps": [{"name": f"theirs-{number}"} for number in range(9)]})
    assert "ConfigMap shop/theirs-0, ConfigMap shop/theirs-1, ConfigMap shop/theirs-2 and more;" in said


async def test_what_can_not_be_looked_at_is_not_proven_to_be_empty() -> None:
    assert "not proven" in await refusal({"secrets": 403})
    more = {"kind": "List", "metadata": {"continue": "x"}, "items": []}
    assert "too many to look through" in await refusal({"pods": more})
    assert "apps/v1 can't be told" in await refusal({}, freshness="Stale")


async def test_a_definition_is_asked_for_its_objects_and_other_kinds_for_nothing() -> None:
    definition = ObjectId("apiextensions.k8s.io", "CustomResourceDefinition", "", "gizmos.example.com")
    spec = {
        "group": "example.com",
        "names": {"kind": "Gizmo", "plural": "gizmos"},
        "versions": [{"name": "v1alpha1", "served": False}, {"name": "v1", "served": True}],
    }
    listed = {"definition": {"spec": spec}, "gizmos": [{"name": "a", "namespace": "b"}]}
    assert "Gizmo.example.com b/a" in await refusal(listed, definition)
    assert await refusal(listed | {"gizmos": []}, definition) == ""
    unserved = {"definition": {"spec": spec | {"versions": []}}}
    assert "no version of it is served" in await refusal(unserved, definition)
    assert await refusal({"configmaps": 403}, ObjectId("", "ConfigMap", "shop", "a")) == ""
