"""A conversion webhook for a kind with two versions: HTTPS on 127.0.0.1, called by the real API server.

What v1 calls `spec.count`, v1alpha1 calls `spec.replicas`.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.spoke.manifests import Manifest, definition
from tests.spoke.webhooks import serving_context

_FIELDS = {"v1": "count", "v1alpha1": "replicas"}


class Conversion:
    """A running webhook; while `broken` it converts nothing."""

    def __init__(self) -> None:
        self.broken = False
        self.calls = 0
        self._client_config: Manifest = {}

    def definition(
        self, plural: str, kind: str, stored: str = "v1", served: tuple[str, ...] = tuple(_FIELDS)
    ) -> Manifest:
        """Return the definition of a kind with both versions that is converted here."""
        defined: Any = definition(plural, kind)
        newest = defined["spec"]["versions"][0]
        defined["spec"]["versions"] = [
            {**newest, "name": name, "served": name in served, "storage": name == stored, "schema": _schema(field)}
            for name, field in _FIELDS.items()
        ]
        webhook = {"conversionReviewVersions": ["v1"], "clientConfig": self._client_config}
        defined["spec"]["conversion"] = {"strategy": "Webhook", "webhook": webhook}
        result: Manifest = defined
        return result

    def take(self, url: str, certificate: bytes) -> None:
        """Take where it is served."""
        self._client_config = {"url": url, "caBundle": base64.b64encode(certificate).decode()}

    async def handle(self, request: web.Request) -> web.Response:
        self.calls += 1
        review = await request.json()
        asked = review["request"]
        version = asked["desiredAPIVersion"].partition("/")[2]
        result = {"status": "Failed", "message": "out of order"} if self.broken else {"status": "Success"}
        converted = [] if self.broken else [_converted(obj, version) for obj in asked["objects"]]
        response = {"uid": asked["uid"], "result": result, "convertedObjects": converted}
        return web.json_response({"apiVersion": review["apiVersion"], "kind": review["kind"], "response": response})


def _schema(field: str) -> Manifest:
    spec = {"type": "object", "properties": {field: {"type": "integer"}, "color": {"type": "string"}}}
    return {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}


def _converted(obj: dict[str, Any], version: str) -> dict[str, Any]:
    group, _, before = obj["apiVersion"].partition("/")
    converted = {**obj, "apiVersion": f"{group}/{version}"}
    if spec := obj.get("spec"):  # the API server also has objects converted of which it has taken fields, or all
        converted["spec"] = {_FIELDS[version] if name == _FIELDS[before] else name: spec[name] for name in spec}
    return converted


@asynccontextmanager
async def converting(folder: Path) -> AsyncIterator[Conversion]:
    """Run a conversion webhook for as long as the context."""
    context, certificate = serving_context(folder / "conversion.pem")
    conversion = Conversion()
    application = web.Application()
    application.router.add_post("/", conversion.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        conversion.take(f"https://127.0.0.1:{runner.addresses[0][1]}/", certificate)
        yield conversion
    finally:
        await runner.cleanup()
