"""What is there already: where a kind is served no more as it was, and where it changes while it is taken over."""

from __future__ import annotations

from aiohttp import web

from felloe.identity import ObjectId
from spoke.apply.strangers import strangers, take_over
from spoke.kube.discovery import Resource
from tests.spoke.apiserver import serving, status

FORMER = Resource("test.example.com", "v1alpha1", "Aged", "ageds", namespaced=True)
CONFIG_MAPS = Resource("", "v1", "ConfigMap", "configmaps", namespaced=True)


async def test_a_kind_that_is_served_no_more_does_not_hide_what_there_is_of_others() -> None:
    async def handler(request: web.Request) -> web.Response:
        if "/ageds" in request.path:
            return web.Response(status=404, text="404 page not found\n")
        items = [{"metadata": {"name": "a0", "namespace": "shop", "resourceVersion": "7"}}]
        return web.json_response({"kind": "ConfigMapList", "metadata": {"resourceVersion": "9"}, "items": items})

    former = [(ObjectId(FORMER.group, "Aged", "shop", f"a{number}"), FORMER) for number in range(6)]
    others = [(ObjectId("", "ConfigMap", "shop", f"a{number}"), CONFIG_MAPS) for number in range(6)]
    async with serving(handler) as client:
        found = await strangers(client, [*former, *others])
    assert list(found) == [others[0][0]]


WEB = ObjectId("apps", "Deployment", "shop", "web")
DEPLOYMENTS = Resource("apps", "v1", "Deployment", "deployments", namespaced=True)


async def taken(conflicts: int, *, goes: bool = False) -> list[str]:
    """Take over an object that changes so many times meanwhile, and return the versions that were asked for."""
    version = 1
    asked: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        nonlocal version
        if request.method == "GET":
            if goes and asked:
                return status(404, "NotFound", "gone")
            by_hand = {"manager": "kubectl-edit", "operation": "Update", "apiVersion": "apps/v1"}
            managers = [{**by_hand, "fieldsV1": {"f:spec": {"f:minReadySeconds": {}}}}]
            return web.json_response({"metadata": {"resourceVersion": str(version), "managedFields": managers}})
        operations = await request.json()
        asked.append(operations[-1]["value"])
        if version <= conflicts:
            version += 1
            return status(409, "Conflict", "the object has been modified")
        return web.json_response({"metadata": {}})

    async with serving(handler) as client:
        found = (await strangers(client, [(WEB, DEPLOYMENTS)]))[WEB]
        assert not isinstance(found, Exception)
        await take_over(client, DEPLOYMENTS.path("shop", "web"), found)
    return asked


async def test_one_that_changes_meanwhile_is_looked_at_again_and_taken_over() -> None:
    assert await taken(2) == ["1", "2", "3"]


async def test_one_that_changes_all_the_time_is_left_for_later() -> None:
    assert await taken(100) == ["1", "2", "3", "4"]


async def test_one_that_goes_meanwhile_is_left() -> None:
    assert await taken(1, goes=True) == ["1"]
