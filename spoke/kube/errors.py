"""What the API server's refusals mean to a spoke.

Messages are the API server's own: whoever reads the status of a workload sees what kubectl would have shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import orjson

from felloe.errors import Cause, KubernetesError

UNAUTHORIZED: Final = 401
FORBIDDEN: Final = 403
NOT_FOUND: Final = 404
CONFLICT: Final = 409
GONE: Final = 410
TOO_MANY_REQUESTS: Final = 429
_INVALID: Final = 422
_NO_OBJECT: Final = "NotFound"
NO_KIND: Final = "NoMatch"
"""The reason of the error that says that a kind is not served."""
OVERLOAD: Final = frozenset({0, TOO_MANY_REQUESTS, 503, 504})
"""Statuses of an API server that has too much to do; 0 stands for no answer."""

_IN_VAIN: Final = (
    "failed calling webhook",
    "failed to create typed patch object",
    "etcdserver: request is too large",
)
"""What the API server answers with status 500 to what it will answer so again: a webhook that does not answer, each
time for as long as its timeout; a field that the schema does not know; an object above etcd's limit."""
_PASSING: Final = frozenset({TOO_MANY_REQUESTS, 500, 502, 503, 504})
_LONGEST_PAUSE_SECONDS: Final = 60.0


class RetryLaterError(KubernetesError):
    """The API server asks to be left alone for `seconds` before the same request is made again."""

    def __init__(self, refusal: KubernetesError, seconds: float) -> None:
        super().__init__(str(refusal), status=refusal.status, reason=refusal.reason)
        self.seconds = seconds


class UnreachableError(KubernetesError):
    """No request succeeds for now (see `no_request_succeeds`): there is no use in trying other ones."""


def from_answer(status: int, body: bytes, retry_after: str = "") -> KubernetesError:
    """Return the error that an answer of the API server with a failing HTTP status stands for.

    `retry_after` is the header of that name; as in client-go it counts on 429 and on every 5xx.
    """
    error, asked = _refusal(status, body)
    if status != TOO_MANY_REQUESTS and status < 500:
        return error
    seconds = _seconds(retry_after) or asked
    return RetryLaterError(error, min(seconds, _LONGEST_PAUSE_SECONDS)) if seconds > 0 else error


def _refusal(status: int, body: bytes) -> tuple[KubernetesError, float]:
    """Return the error, and the seconds that its Status object asks to wait (details.retryAfterSeconds)."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        answer = None
    if isinstance(answer, Mapping) and answer.get("kind") == "Status":
        details = answer.get("details")
        after = details.get("retryAfterSeconds") if isinstance(details, Mapping) else None
        return from_status(answer, status), float(after) if isinstance(after, int) else 0.0
    text = body[:300].decode("utf-8", "replace").strip()
    return KubernetesError(text or f"the API server answered with HTTP status {status}", status=status), 0.0


def _seconds(retry_after: str) -> float:
    """Return the seconds of a Retry-After header: a number, or a date (RFC 9110, section 10.2.3)."""
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after)
    try:
        return max(0.0, (parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return 0.0


def from_status(answer: Mapping[str, object], status: int = 0) -> KubernetesError:
    """Return the error of a Status object (https://kubernetes.io/docs/reference/kubernetes-api, Status)."""
    code = answer.get("code")
    message, reason = answer.get("message"), answer.get("reason")
    return KubernetesError(
        str(message or reason or "the API server gave no message"),
        status=code if isinstance(code, int) else status,
        reason=reason if isinstance(reason, str) else "",
        causes=tuple(_causes(answer)),
    )


def _causes(answer: Mapping[str, object]) -> Iterator[Cause]:
    details = answer.get("details")
    causes = details.get("causes") if isinstance(details, Mapping) else None
    for cause in causes if isinstance(causes, list) else ():
        if isinstance(cause, Mapping):
            yield Cause(*(str(cause.get(key) or "") for key in ("field", "reason", "message")))


def passing(error: KubernetesError) -> bool:
    """Return whether the same request may well succeed a moment later. Status 0 stands for a broken connection."""
    message = str(error)
    return (error.status == 0 or error.status in _PASSING) and not any(text in message for text in _IN_VAIN)


def is_another(error: KubernetesError) -> bool:
    """Return whether what was to be changed is not the version, or not the object, that the request named."""
    if error.status == _INVALID:
        return any(cause.field == "metadata.uid" for cause in error.causes)
    return error.status == CONFLICT


def is_gone(error: KubernetesError) -> bool:
    """Return whether an object is not there."""
    return error.status == NOT_FOUND and error.reason == _NO_OBJECT


def is_nowhere(error: KubernetesError) -> bool:
    """Return whether the API server does not know a path, its version or its kind: what would be there may exist."""
    return error.status == NOT_FOUND and error.reason != _NO_OBJECT


def unanswered(error: KubernetesError) -> bool:
    """Return whether what was asked may be done all the same: nobody said that it was not."""
    return passing(error) and error.status != TOO_MANY_REQUESTS


def no_request_succeeds(error: KubernetesError) -> bool:
    """Return whether other requests would fare no better: no API server, or one that does not know us."""
    return (error.status == 0 and not error.reason) or error.status == UNAUTHORIZED
