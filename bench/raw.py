"""The raw limit: server-side applies by a bare aiohttp loop, nothing around them."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp
import yaml


def apply_all(kubeconfig: Path, objects: Sequence[dict[str, Any]], *, concurrency: int) -> float:
    """Apply ConfigMaps, `concurrency` at once, and return the seconds that it took."""
    server, context = access(yaml.safe_load(kubeconfig.read_text()))
    return asyncio.run(_apply_all(server, context, objects, concurrency))


async def _apply_all(
    server: str, context: ssl.SSLContext, objects: Sequence[dict[str, Any]], concurrency: int
) -> float:
    gate = asyncio.Semaphore(concurrency)
    connector = aiohttp.TCPConnector(ssl=context, limit=concurrency)
    headers = {"Content-Type": "application/apply-patch+yaml"}
    query = {"fieldManager": "raw", "force": "true"}

    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

        async def apply(item: dict[str, Any]) -> None:
            metadata = item["metadata"]
            url = f"{server}/api/v1/namespaces/{metadata['namespace']}/configmaps/{metadata['name']}"
            async with gate, session.patch(url, data=json.dumps(item), params=query) as answer:
                await answer.read()
                answer.raise_for_status()

        begin = time.perf_counter()
        await asyncio.gather(*(apply(item) for item in objects))
        return time.perf_counter() - begin


def access(config: dict[str, Any]) -> tuple[str, ssl.SSLContext]:
    """Return the server of a kubeconfig and a TLS context with its client certificate."""
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    with tempfile.TemporaryDirectory() as folder:  # OpenSSL takes the chain from files only
        certificate, key = Path(folder) / "tls.crt", Path(folder) / "tls.key"
        certificate.write_bytes(base64.b64decode(user["client-certificate-data"]))
        key.write_bytes(base64.b64decode(user["client-key-data"]))
        context.load_cert_chain(certificate, key)
    return cluster["server"], context
