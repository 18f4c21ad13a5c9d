"""An aggregated API: one kind of a group of its own, kept by a server of the test and not by the API server.

The API server finds it by a Service without a cluster address, and passes on what is asked of its group.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from aiohttp import web

from tests.spoke.manifests import Manifest
from tests.spoke.webhooks import serving_context

GROUP = "aggregated.example.com"
_VERSION = f"{GROUP}/v1"
_THINGS = {"name": "things", "singularName": "thing", "namespaced": True, "kind": "Thing"}


def thing(namespace: str, name: str) -> Manifest:
    return {"apiVersion": _VERSION, "kind": "Thing", "metadata": {"name": name, "namespace": namespace}}


class AggregatedApi:
    """A server of Things: `things` are there, by namespace and name. While `away` it answers nobody."""

    def __init__(self) -> None:
        self.things: dict[tuple[str, str], dict[str, Any]] = {}
        self.away = False
        self.port = 0
        self._version = 1

    @property
    def service(self) -> Manifest:
        """Return the Service that leads the API server here."""
        spec = {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": self.port}]}
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "aggregated", "namespace": "default"},
            "spec": spec,
        }

    @property
    def registration(self) -> Manifest:
        """Return the APIService."""
        return {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": f"v1.{GROUP}"},
            "spec": {
                "group": GROUP,
                "version": "v1",
                "groupPriorityMinimum": 1000,
                "versionPriority": 10,
                "insecureSkipTLSVerify": True,
                "service": {"name": "aggregated", "namespace": "default", "port": self.port},
            },
        }

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if self.away:
            return web.Response(status=503, text="away")
        _, _, rest = request.path.partition(f"/apis/{_VERSION}")
        match [request.method, *rest.strip("/").split("/")]:
            case ["GET", ""] if request.path.endswith(_VERSION):
                kind = {**_THINGS, "verbs": ["get", "list", "watch", "patch", "delete"]}
                body = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": _VERSION, "resources": [kind]}
                return web.json_response(body)
            case ["GET", "things"] if "watch" in request.query:
                return web.Response()  # ends at once
            case ["GET", "things"]:
                metadata = {"resourceVersion": str(self._version)}
                items = [*self.things.values()]
                return web.json_response(
                    {"kind": "ThingList", "apiVersion": _VERSION, "metadata": metadata, "items": items}
                )
            case [method, "namespaces", namespace, "things", name]:
                return self._one(method, (namespace, name), await request.read())
        return web.Response(status=404, text="404 page not found")

    def _one(self, method: str, key: tuple[str, str], body: bytes) -> web.Response:
        known = self.things.get(key)
        if method == "PATCH":
            self._version += 1
            obj = json.loads(body)
            ours = {"manager": "felloe", "operation": "Apply", "apiVersion": _VERSION, "fieldsV1": {"f:metadata": {}}}
            uid = known["metadata"]["uid"] if known else str(uuid4())
            obj["metadata"] |= {"uid": uid, "resourceVersion": str(self._version), "managedFields": [ours]}
            self.things[key] = obj
            return web.json_response(obj, status=200 if known else 201)
        if known is None:
            status = {"kind": "Status", "apiVersion": "v1", "reason": "NotFound", "code": 404, "message": "not found"}
            return web.json_response(status, status=404)
        if method == "DELETE":
            del self.things[key]
            return web.json_response({"kind": "Status", "apiVersion": "v1", "status": "Success"})
        return web.json_response(known)


@asynccontextmanager
async def aggregated_api(folder: Path) -> AsyncIterator[AggregatedApi]:
    """Run an aggregated API for as long as the context; it is for its caller to register it."""
    context: ssl.SSLContext = serving_context(folder / "aggregated.pem")[0]
    api = AggregatedApi()
    runner = web.ServerRunner(web.Server(api.handle), shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        api.port = runner.addresses[0][1]
        yield api
    finally:
        await runner.cleanup()
