"""Looking for what is there already, where a kind is served no more as it was."""

from __future__ import annotations

from aiohttp import web

from felloe.identity import ObjectId
from spoke.apply.strangers import strangers
from spoke.kube.discovery import Resource
from tests.spoke.apiserver import serving

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
