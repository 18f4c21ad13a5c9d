"""Credentials that change under a running spoke: tokens, authorities and certificates, as kubelets swap them."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest
from aiohttp import web

from felloe.errors import KubernetesError
from spoke.kube.access import Access, Credentials, Reading
from spoke.kube.client import connect
from spoke.kube.config import in_cluster, load_kubeconfig
from tests.cluster.pki import Authority
from tests.spoke.apiserver import Handler, status


class Folder:
    """A service account as a kubelet mounts it: files behind a symlink that is swapped as a whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._number = 0
        for name in ("ca.crt", "token"):
            (path / name).symlink_to(Path("..data", name))

    def put(self, ca: bytes, token: str) -> None:
        self._number += 1
        made = self.path / f"..{self._number}"
        made.mkdir()
        (made / "ca.crt").write_bytes(ca)
        (made / "token").write_text(token)
        swapped = self.path / "..data_tmp"
        swapped.symlink_to(made.name)
        swapped.rename(self.path / "..data")


@asynccontextmanager
async def https(authority: Authority, handler: Handler, folder: Path) -> AsyncIterator[tuple[int, ssl.SSLContext]]:
    """Serve with a certificate of an authority; whoever changes the context that is yielded rotates it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serve_as(context, authority, folder)
    runner = web.ServerRunner(web.Server(handler), shutdown_timeout=0.1)  # type: ignore[arg-type]
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        yield runner.addresses[0][1], context
    finally:
        await runner.cleanup()


def serve_as(context: ssl.SSLContext, authority: Authority, folder: Path) -> None:
    pair = authority.server("apiserver")
    (folder / "server.pem").write_bytes(pair.certificate + pair.key)
    context.load_cert_chain(folder / "server.pem")


def access_of(folder: Path, port: int) -> Access:
    environ = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(port)}
    return in_cluster(environ, folder)


def mounted(tmp_path: Path) -> Folder:
    path = tmp_path / "account"
    path.mkdir()
    return Folder(path)


async def test_a_token_that_is_not_good_any_more_is_read_again_before_anything_is_told(tmp_path: Path) -> None:
    good = "one"

    async def handler(request: web.Request) -> web.Response:
        if request.headers["Authorization"] != f"Bearer {good}":
            return status(401, "Unauthorized", "Unauthorized")
        return web.json_response({"ok": True})

    authority = Authority("ca")
    account = mounted(tmp_path)
    account.put(authority.certificate, "one")
    async with https(authority, handler, tmp_path) as (port, _), connect(access_of(account.path, port)) as client:
        await client.get("/version")
        good = "two"
        account.put(authority.certificate, "two")
        answers = await asyncio.gather(*(client.get("/version") for _ in range(10)))
        assert answers == [{"ok": True}] * 10
        good = "three"
        with pytest.raises(KubernetesError, match="Unauthorized") as caught:
            await client.get("/version")
        assert caught.value.status == 401


async def test_a_certificate_of_a_new_authority_is_trusted_as_soon_as_the_file_names_it(tmp_path: Path) -> None:
    async def handler(request: web.Request) -> web.Response:
        response = web.json_response({"ok": True})
        response.force_close()  # so that every request shakes hands
        return response

    old, new = Authority("old"), Authority("new")
    account = mounted(tmp_path)
    account.put(old.certificate, "token")
    async with https(old, handler, tmp_path) as (port, context), connect(access_of(account.path, port)) as client:
        await client.get("/version")
        serve_as(context, old, tmp_path)  # another certificate of the same authority
        await client.get("/version")
        serve_as(context, new, tmp_path)
        account.put(new.certificate, "token")
        assert await client.get("/version") == {"ok": True}
        serve_as(context, old, tmp_path)  # the old one is not trusted any more
        with pytest.raises(KubernetesError, match="certificate"):
            await client.get("/version")


def kubeconfig(path: Path, server: str, token: str) -> None:
    path.write_bytes(
        orjson.dumps(
            {
                "current-context": "a",
                "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
                "clusters": [{"name": "a", "cluster": {"server": server}}],
                "users": [{"name": "a", "user": {"token": token}}],
            }
        )
    )


def test_a_kubeconfig_is_read_again_but_leads_to_no_other_cluster(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    kubeconfig(path, "https://one", "first")
    access = load_kubeconfig(path)
    kubeconfig(path, "https://one", "second")
    assert access.look()
    assert access.credentials().token == "second"
    kubeconfig(path, "https://other", "third")
    assert not access.look()
    assert (access.server, access.credentials().token) == ("https://one", "second")


def test_what_is_half_written_changes_nothing_until_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    kubeconfig(path, "https://one", "first")
    access = load_kubeconfig(path)
    path.write_text("current-context: a\nusers: [")
    assert not access.look()
    path.unlink()
    assert not access.look()
    assert access.credentials().token == "first"
    kubeconfig(path, "https://one", "second")
    assert access.look()
    assert access.credentials().token == "second"


def test_files_are_looked_at_every_ten_seconds_and_not_with_each_request(tmp_path: Path) -> None:
    now = 0.0
    path = tmp_path / "token"
    path.write_text("one")

    def read() -> Reading:
        return Reading("https://one", Credentials(None, path.read_text()), files=(path,))

    access = Access(read, lambda: now)
    path.write_text("other")
    assert access.credentials().token == "one"
    now = 10.0
    assert access.credentials().token == "other"


def test_a_token_that_is_renewed_leaves_connections_as_they_are(tmp_path: Path) -> None:
    authority = Authority("ca")
    account = mounted(tmp_path)
    account.put(authority.certificate, "one")
    access = access_of(account.path, 443)
    before = access.credentials()
    account.put(authority.certificate, "two")
    assert access.look()
    assert access.credentials().token == "two"
    assert access.credentials().tls is before.tls
    os.utime(account.path / "ca.crt")
    assert not access.look()
