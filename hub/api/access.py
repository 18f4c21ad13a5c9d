"""Credentials of people: who am I, who else is there, a new one, one less."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from hub.api.auth import only_admin, principal_of, who
from hub.api.body import read_object, reason_of
from hub.api.errors import ApiError
from hub.api.people import People
from hub.status.resource import timestamp
from hub.store import Person

_NO_STORE: Final = {"Cache-Control": "no-store"}
_SHORTEST: Final = 60
_LONGEST: Final = 10 * 366 * 86400


class Access:
    """The handlers."""

    def __init__(self, people: People) -> None:
        self._people = people

    async def whoami(self, request: Request) -> Response:
        """Answer ``GET /api/v1/whoami``: by which name the hub knows who asks."""
        principal = principal_of(request)
        answer = {
            "kind": "Person",
            "apiVersion": "v1",
            "name": principal.name,
            "expiresAt": _time(principal.expires_at),
        }
        return JSONResponse(answer, headers=_NO_STORE)

    async def listed(self, request: Request) -> Response:
        """Answer ``GET /api/v1/credentials``."""
        items = [_shown(person) for person in self._people.listed()]
        return JSONResponse({"kind": "List", "apiVersion": "v1", "items": items}, headers=_NO_STORE)

    async def create(self, request: Request) -> Response:
        """Answer ``POST /api/v1/credentials`` {name, [ttlSeconds, reason]}; the token is told this once."""
        asked = await read_object(request, frozenset({"name", "ttlSeconds", "reason"}))
        by = only_admin(request, "make credentials")
        name = asked.get("name")
        if not isinstance(name, str):
            raise ApiError(422, "name: the name of a person is needed, as a text")
        person, token = self._people.create(name, _ttl(asked), who=by, reason=reason_of(asked))
        return JSONResponse({**_shown(person), "token": token}, 201, _NO_STORE)

    async def revoke(self, request: Request) -> Response:
        """Answer ``POST /api/v1/credentials/{name}/revoke`` [{reason}]; everybody may revoke their own."""
        asked = await read_object(request, frozenset({"reason"}))
        name = request.path_params["name"]
        by = who(request) if name == who(request) else only_admin(request, "revoke credentials of others")
        if not self._people.revoke(name, who=by, reason=reason_of(asked)):
            names = ", ".join(person.name for person in self._people.listed()) or "none"
            hint = f"there is no credential of {name!r} to revoke; there are: {names}"
            raise ApiError(404, f"{hint} (the admin's is made anew by deleting admin-token.sha256 in the data folder)")
        return JSONResponse({"kind": "Person", "apiVersion": "v1", "name": name}, headers=_NO_STORE)


def _ttl(asked: Mapping[str, object]) -> float | None:
    seconds = asked.get("ttlSeconds")
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not _SHORTEST <= seconds <= _LONGEST:
        raise ApiError(422, "ttlSeconds: must be a number of seconds between one minute and ten years")
    return float(seconds)


def _shown(person: Person) -> dict[str, object]:
    return {
        "kind": "Person",
        "apiVersion": "v1",
        "name": person.name,
        "createdAt": _time(person.created_at),
        "createdBy": person.created_by,
        "expiresAt": _time(person.expires_at),
    }


def _time(at: float | None) -> str | None:
    return None if at is None else timestamp(datetime.fromtimestamp(at, UTC))
