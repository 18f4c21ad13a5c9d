"""An admission webhook that answers as a test tells it to: HTTPS on 127.0.0.1, called by the real API server."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.spoke.manifests import Manifest

Answer = Callable[[dict[str, Any]], Awaitable[dict[str, object]]]
"""Gets an AdmissionReview's request and returns what its response says beside the uid."""


async def allow(request: dict[str, Any]) -> dict[str, object]:
    return {"allowed": True}


def deny(message: str, code: int = 403) -> Answer:
    async def answer(request: dict[str, Any]) -> dict[str, object]:
        return {"allowed": False, "status": {"message": message, "code": code}}

    return answer


def patch(*operations: dict[str, object]) -> Answer:
    """Return an answer that changes each object by a JSON patch."""
    data = base64.b64encode(json.dumps(operations).encode()).decode()

    async def answer(request: dict[str, Any]) -> dict[str, object]:
        return {"allowed": True, "patchType": "JSONPatch", "patch": data}

    return answer


class Webhook:
    """A running webhook: `answer` may be exchanged, `calls` counts. `url` and `bundle` are for its configuration."""

    def __init__(self) -> None:
        self.answer: Answer = allow
        self.calls = 0
        self.url = ""
        self.bundle = ""

    def configuration(self, name: str, namespace: str, kind: str = "Validating", **more: object) -> Manifest:
        """Return a configuration that sends ConfigMaps of one namespace here."""
        hook = {
            "name": f"{name}.test.example.com",
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "failurePolicy": "Fail",
            "timeoutSeconds": 1,
            "clientConfig": {"url": self.url, "caBundle": self.bundle},
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "rules": [
                {
                    "apiGroups": [""],
                    "apiVersions": ["v1"],
                    "operations": ["CREATE", "UPDATE"],
                    "resources": ["configmaps"],
                }
            ],
            **more,
        }
        return {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": f"{kind}WebhookConfiguration",
            "metadata": {"name": name},
            "webhooks": [hook],
        }

    async def handle(self, request: web.Request) -> web.Response:
        review = await request.json()
        self.calls += 1
        response = {"uid": review["request"]["uid"], **await self.answer(review["request"])}
        return web.json_response({"apiVersion": review["apiVersion"], "kind": review["kind"], "response": response})


@asynccontextmanager
async def webhook(folder: Path) -> AsyncIterator[Webhook]:
    """Run a webhook for as long as the context."""
    context, certificate = serving_context(folder / "webhook.pem")
    hook = Webhook()
    application = web.Application()
    application.router.add_post("/", hook.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        hook.url = f"https://127.0.0.1:{runner.addresses[0][1]}/"
        hook.bundle = base64.b64encode(certificate).decode()
        yield hook
    finally:
        await runner.cleanup()


def serving_context(file: Path) -> tuple[ssl.SSLContext, bytes]:
    """Return what a server on 127.0.0.1 serves TLS with, and its certificate, PEM, both kept in a file."""
    certificate, key = _certificate()
    file.write_bytes(certificate + key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context, certificate


def _certificate() -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "webhook of a test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return (
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
