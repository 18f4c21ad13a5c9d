"""Plain HTTP to one API server with all rights: what the harness itself needs, without a client's cost and retries."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import urllib3

from tests.cluster.errors import HarnessError

TIMEOUT_SECONDS = 10.0


class Api:
    """Requests with a client certificate; every connection problem and unexpected answer is a `HarnessError`."""

    def __init__(self, server: str, certificate: Path, key: Path, authority: Path) -> None:
        self.server = server
        self._pool = urllib3.PoolManager(
            cert_file=str(certificate), key_file=str(key), ca_certs=str(authority), retries=False
        )

    def get(self, path: str, *, timeout: float = TIMEOUT_SECONDS) -> bytes:
        """Return the body at `path`."""
        return self._request("GET", path, timeout=timeout)

    def get_json(self, path: str, accept: str = "application/json", *, missing: Collection[int] = ()) -> Any:
        """Return the decoded body at `path` as `accept` asks for it; None where the status is one of `missing`."""
        body = self._request("GET", path, missing=missing, headers={"Accept": accept})
        return json.loads(body) if body else None

    def delete(self, path: str) -> None:
        """Delete an object, its dependents later; nothing happens where it is gone."""
        self._request("DELETE", f"{path}?propagationPolicy=Background", missing=(404,))

    def drop_finalizers(self, path: str) -> None:
        """Take all finalizers from an object; nothing happens where it is gone."""
        body = json.dumps({"metadata": {"finalizers": None}}).encode()
        self._request(
            "PATCH", path, missing=(404,), body=body, headers={"Content-Type": "application/merge-patch+json"}
        )

    def close(self) -> None:
        """Close its connections."""
        self._pool.clear()

    def _request(
        self,
        method: str,
        path: str,
        *,
        missing: Collection[int] = (),
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = TIMEOUT_SECONDS,
    ) -> bytes:
        try:
            response = self._pool.request(method, self.server + path, body=body, headers=headers, timeout=timeout)
        except urllib3.exceptions.HTTPError as error:
            raise HarnessError(f"{method} {self.server}{path}: {error}") from error
        if response.status in missing:
            return b""
        if response.status >= 300:
            raise HarnessError(f"{method} {self.server}{path}: {response.status} {response.data[:500]!r}")
        return response.data
