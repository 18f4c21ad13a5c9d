"""``POST /hooks/git``: a Git server says that something was pushed, so that nobody waits for an interval.

GitHub, Gitea and Forgejo sign the body with the secret (HMAC-SHA256), GitLab and everything else send the secret
itself. A push only makes the hub look: what it then finds it fetches and verifies as always.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Iterator, Mapping
from typing import Final
from urllib.parse import parse_qs

import orjson
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from hub.api.auth import bearer
from hub.api.body import read_body
from hub.api.control import Control
from hub.api.errors import ApiError

BODY_LIMIT: Final = 1024 * 1024

_URL_FIELDS: Final = (
    "clone_url",
    "ssh_url",
    "git_url",
    "html_url",
    "url",
    "git_http_url",
    "git_ssh_url",
    "http_url",
    "homepage",
    "web_url",
)


class GitHook:
    """The handler of Git webhooks."""

    def __init__(self, control: Control, secret: str) -> None:
        self._control = control
        self._secret = secret.encode()

    async def receive(self, request: Request) -> Response:
        """Answer a webhook: 401 unless it knows the secret, else which sources are looked at now."""
        body = await read_body(request, BODY_LIMIT)
        if not self._is_authentic(request, body):
            raise ApiError(401, "the webhook's signature or token is missing or wrong")
        payload = _payload(request, body)
        urls = sorted(set(_urls(payload)))
        announced = await self._control.announce_urls(urls, _text(payload, "ref")) if urls else ()
        return JSONResponse({"announced": list(announced), "urls": urls}, 202)

    def _is_authentic(self, request: Request, body: bytes) -> bool:
        """Say whether any proof is there and every proof that is there is right."""
        signed = hmac.new(self._secret, body, hashlib.sha256).hexdigest()
        secret = self._secret.decode()
        proofs = [
            (request.headers.get("x-hub-signature-256"), f"sha256={signed}"),
            (request.headers.get("x-gitea-signature"), signed),
            (request.headers.get("x-gitlab-token"), secret),
            (bearer(request) or None, secret),
        ]
        given = [hmac.compare_digest(proof.encode(), right.encode()) for proof, right in proofs if proof is not None]
        return bool(given) and all(given)


def _payload(request: Request, body: bytes) -> Mapping[str, object]:
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type == "application/x-www-form-urlencoded":
        body = "".join(parse_qs(body.decode("utf-8", "replace")).get("payload", [])).encode()
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ApiError(400, f"the webhook's body is no JSON: {error}") from error
    if not isinstance(payload, dict):
        raise ApiError(400, "the webhook's body is no JSON object")
    return payload


def _urls(payload: Mapping[str, object]) -> Iterator[str]:
    """Find every URL of the repository in a payload of GitHub, Gitea, GitLab, Bitbucket, or in a plain one."""
    plain = payload.get("urls")
    if isinstance(plain, list):
        yield from _texts(plain)
    for place in (payload, payload.get("repository"), payload.get("project")):
        if isinstance(place, dict):
            fields = _URL_FIELDS if place is not payload else ("url",)
            yield from _texts(place.get(field) for field in fields)
            yield from _bitbucket(place.get("links"))


def _bitbucket(links: object) -> Iterator[str]:
    if isinstance(links, dict):
        for link in links.values():
            for one in link if isinstance(link, list) else [link]:
                if isinstance(one, dict):
                    yield from _texts([one.get("href")])


def _texts(values: Iterable[object]) -> Iterator[str]:
    return (value for value in values if isinstance(value, str) and value)


def _text(payload: Mapping[str, object], field: str) -> str:
    value = payload.get(field)
    return value if isinstance(value, str) else ""
