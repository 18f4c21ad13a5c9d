"""What the API answers when it can't do what was asked: Kubernetes' ``metav1.Status``, which clients know."""

from __future__ import annotations

import logging
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from felloe.errors import ConfigError, FelloeError, SourceError

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
    500: "InternalError",
    502: "BadGateway",
    503: "ServiceUnavailable",
}


class ApiError(FelloeError):
    """A request that is answered with an error; `code` is the HTTP status."""

    def __init__(self, code: int, message: str) -> None:
        self.code = code
        super().__init__(message)


def failure(code: int, message: str) -> Response:
    """Return an error as a Status object."""
    status = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": _REASONS.get(code, "Unknown"),
        "code": code,
    }
    headers = {"WWW-Authenticate": "Bearer"} if code == 401 else None
    return JSONResponse(status, code, headers)


async def on_felloe_error(request: Request, error: Exception) -> Response:
    """Answer an error that Felloe raised on purpose: its message is for people."""
    if isinstance(error, ApiError):
        return failure(error.code, str(error))
    if isinstance(error, ConfigError):
        return failure(422, str(error))
    if isinstance(error, SourceError):
        return failure(502, str(error))
    return failure(500, str(error))


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
