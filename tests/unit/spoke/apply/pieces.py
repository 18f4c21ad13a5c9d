"""An API server as far as it keeps the ConfigMaps of inventories."""

from __future__ import annotations

import json

from aiohttp import web

from tests.spoke.apiserver import status


class Pieces:
    """Keeps ConfigMaps, and counts what is written of them."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, object]] = {}
        self.written: list[str] = []

    async def __call__(self, request: web.Request) -> web.Response:
        name = request.path.rpartition("/")[2]
        if request.method == "POST":
            obj = json.loads(await request.read())
            name = obj["metadata"]["name"]
            if name in self.kept:
                return status(409, "AlreadyExists", name)
            self.kept[name] = obj
            self.written.append(name)
        elif request.method == "PATCH":
            self.kept[name] = json.loads(await request.read())
            self.written.append(name)
        elif request.method == "DELETE":
            self.kept.pop(name, None)
        elif name == "configmaps":
            return web.json_response({"items": list(self.kept.values())})
        elif name not in self.kept:
            return status(404, "NotFound", name)
        return web.json_response({"metadata": {"name": name, "uid": name, "resourceVersion": "1"}})
