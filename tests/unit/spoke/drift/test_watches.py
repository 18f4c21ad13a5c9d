"""Watches of a spoke that may see single namespaces only."""

from __future__ import annotations

import asyncio
from unittest.mock import Mock

from aiohttp import web

from spoke.drift.live import LiveObjects
from spoke.drift.watches import Watches
from spoke.kube.discovery import Discovery, Resource
from tests.spoke.apiserver import serving, status

CONFIG_MAPS = Resource("", "v1", "ConfigMap", "configmaps", namespaced=True)


async def test_two_workloads_that_find_out_at_the_same_time_that_a_kind_is_seen_in_namespaces_only() -> None:
    async def handler(request: web.Request) -> web.Response:
        if "/namespaces/" not in request.path:
            return status(403, "Forbidden", "configmaps is forbidden at the cluster scope")
        if "watch" in request.query:
            await asyncio.sleep(5)
        return web.json_response({"kind": "ConfigMapList", "metadata": {"resourceVersion": "1"}, "items": []})

    live = LiveObjects(lambda _: None, lambda _: (), lambda *_: None, lambda _: None, lambda *_: False, Mock())
    async with serving(handler) as client:
        background = asyncio.TaskGroup()
        async with background:
            watches = Watches(live, Discovery(client), background)
            problems = await asyncio.gather(
                *(watches.ensure(client, CONFIG_MAPS, {name}) for name in ("shop", "apps")), return_exceptions=True
            )
            watches.retain([])
    assert problems == [None, None]
