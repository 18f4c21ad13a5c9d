from __future__ import annotations

import hashlib
import hmac
import json

import httpx
import pytest

from tests.unit.hub.api.inmemory import Served

GITHUB = {
    "ref": "refs/heads/main",
    "repository": {"clone_url": "https://github.com/o/r.git", "ssh_url": "git@github.com:o/r.git", "id": 1},
}
GITLAB = {
    "ref": "refs/heads/main",
    "project": {"git_http_url": "https://gitlab.com/o/r.git", "git_ssh_url": "git@gitlab.com:o/r.git"},
    "repository": {"url": "git@gitlab.com:o/r.git"},
}
BITBUCKET = {"repository": {"links": {"html": {"href": "https://bitbucket.org/o/r"}}}}


def signature(secret: str, body: bytes) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


async def post(client: httpx.AsyncClient, body: bytes, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await client.post("/hooks/git", content=body, headers={"Content-Type": "application/json"} | named)


@pytest.mark.parametrize(
    ("payload", "urls", "ref"),
    [
        (GITHUB, ("git@github.com:o/r.git", "https://github.com/o/r.git"), "refs/heads/main"),
        (GITLAB, ("git@gitlab.com:o/r.git", "https://gitlab.com/o/r.git"), "refs/heads/main"),
        (BITBUCKET, ("https://bitbucket.org/o/r",), ""),
        ({"url": "https://git.example.com/r", "ref": "main"}, ("https://git.example.com/r",), "main"),
        ({"urls": ["b", "a", 1]}, ("a", "b"), ""),
    ],
)
async def test_a_push_is_announced(
    anyone: httpx.AsyncClient, running: Served, payload: dict[str, object], urls: tuple[str, ...], ref: str
) -> None:
    body = json.dumps(payload).encode()
    answer = await post(anyone, body, Authorization=f"Bearer {running.secrets.webhook_secret}")
    assert answer.status_code == 202
    assert answer.json()["announced"] == ["GitRepository/flux-system/fleet"]
    assert running.hub.calls == [("announce", urls, ref)]


async def test_every_way_to_prove_the_secret(anyone: httpx.AsyncClient, running: Served) -> None:
    body, secret = json.dumps(GITHUB).encode(), running.secrets.webhook_secret
    right = signature(secret, body)
    for proof in (
        {"X_Hub_Signature_256": f"sha256={right}"},
        {"X_Gitea_Signature": right},
        {"X_Gitea_Signature": right, "X_Hub_Signature_256": f"sha256={right}"},
        {"X_Gitlab_Token": secret},
    ):
        assert (await post(anyone, body, **proof)).status_code == 202


async def test_a_wrong_proof_is_refused_even_beside_a_right_one(anyone: httpx.AsyncClient, running: Served) -> None:
    body, secret = json.dumps(GITHUB).encode(), running.secrets.webhook_secret
    right = signature(secret, body)
    for proof in (
        {},
        {"X_Hub_Signature_256": f"sha256={signature('other', body)}"},
        {"X_Hub_Signature_256": f"sha256={signature(secret, body + b' ')}"},
        {"X_Hub_Signature_256": right},
        {"X_Hub_Signature_256": ""},
        {"X_Hub_Signature": "sha1=00"},
        {"X_Gitlab_Token": "other"},
        {"X_Gitlab_Token": ""},
        {"Authorization": "Bearer other"},
        {"Authorization": f"Basic {secret}"},
        {"X_Gitea_Signature": right, "X_Hub_Signature_256": "sha256=00"},
    ):
        assert (await post(anyone, body, **proof)).status_code == 401, proof
    assert not running.hub.calls


async def test_the_admin_token_is_no_webhook_secret(admin: httpx.AsyncClient) -> None:
    assert (await post(admin, b"{}")).status_code == 401


async def test_a_body_of_more_than_a_mebibyte_is_refused(anyone: httpx.AsyncClient, running: Served) -> None:
    secret = running.secrets.webhook_secret
    large = b" " * (1024 * 1024 + 1)
    assert (await post(anyone, large, X_Gitlab_Token=secret)).status_code == 413

    async def chunks() -> object:
        for _ in range(20):
            yield b" " * 65536

    streamed = await anyone.post("/hooks/git", content=chunks(), headers={"X-Gitlab-Token": secret})  # type: ignore[arg-type]
    assert streamed.status_code == 413


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'"text"'])
async def test_a_body_that_is_no_json_object_is_refused(
    anyone: httpx.AsyncClient, running: Served, body: bytes
) -> None:
    assert (await post(anyone, body, X_Gitlab_Token=running.secrets.webhook_secret)).status_code == 400


async def test_a_ping_announces_nothing(anyone: httpx.AsyncClient, running: Served) -> None:
    answer = await post(anyone, b'{"zen": "hi", "repository": null}', X_Gitlab_Token=running.secrets.webhook_secret)
    assert (answer.status_code, answer.json()["announced"]) == (202, [])
    assert not running.hub.calls


async def test_github_may_also_send_a_form(anyone: httpx.AsyncClient, running: Served) -> None:
    body = httpx.QueryParams({"payload": json.dumps(GITHUB)}).__str__().encode()
    proof = f"sha256={signature(running.secrets.webhook_secret, body)}"
    headers = {"Content-Type": "application/x-www-form-urlencoded", "X-Hub-Signature-256": proof}
    assert (await anyone.post("/hooks/git", content=body, headers=headers)).status_code == 202
    assert running.hub.calls
