"""What the API answers when it can't do what was asked: Kubernetes' ``metav1.Status``, which clients know."""

from __future__ import annotations

import logging
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from felloe.errors import ConfigError, FelloeError, LinkError, SourceError
from hub.link.queries import AwayError, BusyError

_log = logging.getLogger(__name__)

_REASONS: Final = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    408: "Timeout",
    409: "Conflict",
    413: "RequestEntityTooLarge",
    415: "UnsupportedMediaType",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    502: "BadGateway",
    503: "ServiceUnavailable",
}


class ApiError(FelloeError):
    """A request that is answered with an error; `code` is the HTTP status."""

    def __init__(self, code: int, message: str) -> None:
        self.code = code
        super().__init__(message)


def status(code: int, message: str) -> dict[str, object]:
    """Return an error as a Status object."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": _REASONS.get(code, "Unknown"),
        "code": code,
    }


def failure(code: int, message: str) -> Response:
    """Return an error as an answer."""
    headers = {"WWW-Authenticate": "Bearer"} if code == 401 else None
    return JSONResponse(status(code, message), code, headers)


def status_of(error: FelloeError) -> dict[str, object]:
    """Return an error that Felloe raised on purpose as a Status object."""
    return status(_code(error), str(error))


async def on_felloe_error(request: Request, error: Exception) -> Response:
    """Answer an error that Felloe raised on purpose: its message is for people."""
    return failure(_code(error), str(error))


def _code(error: Exception) -> int:
    if isinstance(error, ApiError):
        return error.code
    codes = ((ConfigError, 422), (AwayError, 503), (BusyError, 429), ((SourceError, LinkError), 502))
    return next((code for kind, code in codes if isinstance(error, kind)), 500)


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Answer what the router refuses."""
    if not isinstance(error, HTTPException):
        return failure(500, "the hub failed")
    if error.status_code == 404:
        return failure(404, f"the hub has nothing at {request.url.path}")
    return failure(error.status_code, f"{request.method} {request.url.path}: {error.detail}")


async def on_bug(request: Request, error: Exception) -> Response:
    """Answer what should not have happened; the details are in the hub's log, not in the answer."""
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return failure(500, "the hub failed at this request; its log says why")
