"""What the API server's refusals mean to a spoke.

Messages are the API server's own: whoever reads the status of a workload sees what kubectl would have shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import orjson

from felloe.errors import KubernetesError

FORBIDDEN: Final = 403
NOT_FOUND: Final = 404
CONFLICT: Final = 409
GONE: Final = 410
TOO_MANY_REQUESTS: Final = 429
_PASSING: Final = frozenset({TOO_MANY_REQUESTS, 500, 502, 503, 504})


def from_answer(status: int, body: bytes) -> KubernetesError:
    """Return the error that an answer of the API server with a failing HTTP status stands for."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        answer = None
    if isinstance(answer, Mapping) and answer.get("kind") == "Status":
        return from_status(answer, status)
    text = body[:300].decode("utf-8", "replace").strip()
    return KubernetesError(text or f"the API server answered with HTTP status {status}", status=status)


def from_status(answer: Mapping[str, object], status: int = 0) -> KubernetesError:
    """Return the error of a Status object (https://kubernetes.io/docs/reference/kubernetes-api, Status)."""
    code = answer.get("code")
    message, reason = answer.get("message"), answer.get("reason")
    return KubernetesError(
        str(message or reason or "the API server gave no message"),
        status=code if isinstance(code, int) else status,
        reason=reason if isinstance(reason, str) else "",
    )


def passing(error: KubernetesError) -> bool:
    """Return whether the same request may well succeed a moment later. Status 0 stands for a broken connection."""
    return error.status == 0 or error.status in _PASSING
