"""Git over http and https, against git's own http-backend."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from felloe.errors import SourceError
from hub.sources.git import GitSources
from hub.sources.mirror import FetchLimits
from hub.sources.spec import GitRef, GitSpec
from tests.cluster.pki import Authority
from tests.servers.git_http import GitHttpServer
from tests.servers.git_repo import GitRepo

Spec = Callable[..., GitSpec]
Secret = Callable[..., str]


@pytest.mark.parametrize("protocol_v2", [True, False])
async def test_a_branch_is_fetched_once_and_then_only_asked_for(
    git: GitSources, repo: GitRepo, http: GitHttpServer, spec: Spec, protocol_v2: bool
) -> None:
    http.behaviour.protocol_v2 = protocol_v2
    source = spec(f"{http.url}/fleet.git")
    first = await git.resolve(source)
    assert first.revision == f"main@sha1:{repo.head}"
    assert (first.commit.author, first.commit.subject) == ("Ada Author <ada@example.com>", "first")
    assert http.fetches == 1
    assert await git.resolve(source) == first
    assert http.fetches == 1

    for number in range(5):
        commit = repo.commit({"apps/app.yaml": f"kind: App{number}\n"})
        assert (await git.resolve(source)).commit.id == commit
    assert http.fetches == 6
    tree = git.tree(source, await git.resolve(source))
    entry = tree.entry("apps/app.yaml")
    assert entry is not None
    assert tree.read(entry) == b"kind: App4\n"


@pytest.mark.parametrize("protocol_v2", [True, False])
async def test_every_kind_of_ref_is_found(
    git: GitSources, repo: GitRepo, http: GitHttpServer, spec: Spec, protocol_v2: bool
) -> None:
    http.behaviour.protocol_v2 = protocol_v2
    url = f"{http.url}/fleet.git"
    tagged = repo.head
    repo.tag("v1.0.0")
    old = repo.commit({"b": "1"})
    repo.tag("v1.1.0", "annotated")
    new = repo.commit({"b": "2"})
    repo.set_ref("refs/pull/7/head", old)
    expected = {
        GitRef(branch="main"): f"main@sha1:{new}",
        GitRef(tag="v1.0.0"): f"v1.0.0@sha1:{tagged}",
        GitRef(semver="~1.1"): f"v1.1.0@sha1:{old}",
        GitRef(semver=">=1.0.0 <1.1.0"): f"v1.0.0@sha1:{tagged}",
        GitRef(name="refs/pull/7/head"): f"refs/pull/7/head@sha1:{old}",
        GitRef(commit=tagged): f"sha1:{tagged}",
        GitRef(commit=old, branch="main"): f"main@sha1:{old}",
        GitRef(short="HEAD"): f"main@sha1:{new}",
        GitRef(short="v1.1.0"): f"v1.1.0@sha1:{old}",
    }
    for ref, revision in expected.items():
        assert (await git.resolve(spec(url, ref))).revision == revision
        assert (await git.resolve(spec(url, ref))).revision == revision


@pytest.mark.parametrize("protocol_v2", [True, False])
async def test_a_commit_in_the_past_is_found_where_the_server_gives_none_by_id(
    tmp_path: Path, repo: GitRepo, http: GitHttpServer, spec: Spec, protocol_v2: bool
) -> None:
    http.behaviour.protocol_v2 = protocol_v2
    past = repo.head
    repo.commit({"b": "2"})
    for ref in (GitRef(commit=past), GitRef(commit=past, branch="main")):
        git = GitSources(tmp_path / f"mirrors-{ref.branch}")
        assert (await git.resolve(spec(f"{http.url}/fleet.git", ref))).commit.id == past
        with pytest.raises(SourceError, match=r"in none of the branches|not our ref"):
            await git.resolve(spec(f"{http.url}/fleet.git", GitRef(commit="1" * 40)))
        git.close()


async def test_a_commit_that_was_fetched_is_not_asked_for_again(
    git: GitSources, repo: GitRepo, http: GitHttpServer, spec: Spec
) -> None:
    source = spec(f"{http.url}/fleet.git", GitRef(commit=repo.head))
    await git.resolve(source)
    before = len(http.requests)
    await git.resolve(source)
    assert len(http.requests) == before


async def test_a_ref_that_is_not_there_is_named_with_those_that_are(
    git: GitSources, repo: GitRepo, http: GitHttpServer, spec: Spec
) -> None:
    repo.switch("develop")
    repo.tag("v1.0.0")
    url = f"{http.url}/fleet.git"
    with pytest.raises(SourceError, match="no branch mian; it has the branches develop, main"):
        await git.resolve(spec(url, GitRef(branch="mian")))
    with pytest.raises(SourceError, match=r"no tag v2; it has the tags v1\.0\.0"):
        await git.resolve(spec(url, GitRef(tag="v2")))
    with pytest.raises(SourceError, match=r"no tag matches semver 2\.x; it has the tags v1\.0\.0"):
        await git.resolve(spec(url, GitRef(semver="2.x")))
    with pytest.raises(SourceError, match="no ref refs/pull/1/head"):
        await git.resolve(spec(url, GitRef(name="refs/pull/1/head")))


async def test_an_empty_repository_says_so(git: GitSources, http: GitHttpServer, repo: GitRepo, spec: Spec) -> None:
    GitRepo(repo.path.with_name("empty.git"))
    for ref in (GitRef(branch="main"), GitRef(short="HEAD")):
        with pytest.raises(SourceError, match="repository is empty"):
            await git.resolve(spec(f"{http.url}/empty.git", ref))


async def test_a_rewritten_history_is_followed(git: GitSources, repo: GitRepo, http: GitHttpServer, spec: Spec) -> None:
    source = spec(f"{http.url}/fleet.git")
    old = repo.commit({"a": "1"})
    before = await git.resolve(source)
    old_tree = git.tree(source, before)
    repo.switch("other")
    repo.commit({"a": "2"})
    repo.set_ref("refs/heads/main", repo.commit({"a": "3"}))
    after = await git.resolve(source)
    assert after.commit.id != old
    entry = old_tree.entry("a")
    assert entry is not None
    assert old_tree.read(entry) == b"1"


async def test_basic_auth(git: GitSources, repo: GitRepo, http: GitHttpServer, spec: Spec, secret: Secret) -> None:
    http.behaviour.username, http.behaviour.password = "ada", "hunter2"
    url = f"{http.url}/fleet.git"
    good = spec(url, secret=secret(username="ada", password="hunter2\n"))
    assert (await git.resolve(good)).commit.id == repo.head
    with pytest.raises(SourceError, match=r"refused the credentials .* \(HTTP 401\)") as caught:
        await git.resolve(spec(url, secret=secret("bad", username="ada", password="secret-guess")))
    assert "secret-guess" not in str(caught.value)
    with pytest.raises(SourceError, match=r"refused a request without credentials .*secretRef"):
        await git.resolve(spec(url))
    with pytest.raises(SourceError, match="apps/nowhere is not there"):
        await git.resolve(spec(url, secret="nowhere"))


async def test_a_mirror_gives_nothing_to_who_has_no_credentials(
    git: GitSources, repo: GitRepo, http: GitHttpServer, spec: Spec, secret: Secret
) -> None:
    http.behaviour.username, http.behaviour.password = "ada", "hunter2"
    url = f"{http.url}/fleet.git"
    for ref in (GitRef(branch="main"), GitRef(commit=repo.head)):
        await git.resolve(spec(url, ref, secret=secret(username="ada", password="hunter2")))
        stranger = spec(url, ref, secret=secret("bad", username="eve", password="x"))
        assert git.last(stranger) is None
        with pytest.raises(SourceError, match="HTTP 401"):
            await git.resolve(stranger)


async def test_bearer_token(git: GitSources, repo: GitRepo, http: GitHttpServer, spec: Spec, secret: Secret) -> None:
    http.behaviour.bearer = "t0ken"
    url = f"{http.url}/fleet.git"
    assert (await git.resolve(spec(url, secret=secret(bearerToken="t0ken")))).commit.id == repo.head
    with pytest.raises(SourceError, match="HTTP 401"):
        await git.resolve(spec(url, secret=secret("bad", bearerToken="other")))
    with pytest.raises(SourceError, match="both a bearerToken and a username"):
        await git.resolve(spec(url, secret=secret("both", bearerToken="x", username="y", password="z")))
    with pytest.raises(SourceError, match="control character"):
        await git.resolve(spec(url, secret=secret("evil", bearerToken="x\r\nHost: y")))


async def test_own_ca(git: GitSources, repo: GitRepo, tmp_path: Path, spec: Spec, secret: Secret) -> None:
    authority = Authority("own")
    pair = authority.server("git")
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    certificate.write_bytes(pair.certificate)
    key.write_bytes(pair.key)
    with GitHttpServer(repo.path.parent, certificate=certificate, key=key) as server:
        url = f"{server.url}/fleet.git"
        assert (await git.resolve(spec(url, secret=secret(ca_crt=authority.certificate)))).commit.id == repo.head
        assert (await git.resolve(spec(url, secret=secret("old", caFile=authority.certificate)))).commit.id == repo.head
        with pytest.raises(SourceError, match=r"TLS verification failed.*ca\.crt"):
            await git.resolve(spec(url))
        with pytest.raises(SourceError, match="TLS verification failed"):
            await git.resolve(spec(url, secret=secret("wrong", ca_crt=Authority("other").certificate)))
        with pytest.raises(SourceError, match="no PEM certificate"):
            await git.resolve(spec(url, secret=secret("broken", ca_crt="garbage")))


async def test_credentials_do_not_follow_a_redirect_to_another_host(
    git: GitSources, repo: GitRepo, http: GitHttpServer, spec: Spec, secret: Secret
) -> None:
    with GitHttpServer(repo.path.parent) as other:
        http.behaviour.redirect_host = other.url
        source = spec(f"{http.url}/fleet.git", secret=secret(username="ada", password="hunter2"))
        assert (await git.resolve(source)).commit.id == repo.head
        assert all(request.authorization for request in http.requests)
        assert other.requests
        assert not any(request.authorization for request in other.requests)


async def test_a_redirect_to_what_is_no_repository_or_in_a_circle_ends(
    git: GitSources, http: GitHttpServer, spec: Spec
) -> None:
    http.behaviour.redirect_url = f"{http.url}/login"
    with pytest.raises(SourceError, match=r"redirects to .*/login, which is no Git repository"):
        await git.resolve(spec(f"{http.url}/fleet.git"))
    http.behaviour.redirect_url = None
    http.behaviour.redirect_host = http.url
    with pytest.raises(SourceError, match="more than 5 redirects"):
        await git.resolve(spec(f"{http.url}/fleet.git"))


async def test_what_is_no_git_repository_says_so(git: GitSources, http: GitHttpServer, spec: Spec) -> None:
    with pytest.raises(SourceError, match=r"no Git repository is there .*404"):
        await git.resolve(spec(f"{http.url}/nothing.git"))
    http.behaviour.answer_html = True
    with pytest.raises(SourceError, match="no Git repository: it answered with text/html"):
        await git.resolve(spec(f"{http.url}/fleet.git"))


async def test_a_host_that_is_not_reached_says_so(git: GitSources, http: GitHttpServer, spec: Spec) -> None:
    url = f"{http.url}/fleet.git"
    http.close()
    with pytest.raises(SourceError, match=r"127\.0\.0\.1:\d+.* can't be reached: Connection refused"):
        await git.resolve(spec(url))


async def test_a_server_that_hangs_ends_at_the_timeout(git: GitSources, http: GitHttpServer, spec: Spec) -> None:
    http.behaviour.hold = threading.Event()
    with pytest.raises(SourceError, match=r"within the timeout"):
        await git.resolve(spec(f"{http.url}/fleet.git", timeout=0.5))


async def test_a_fetch_beyond_the_limit_is_refused(
    tmp_path: Path, repo: GitRepo, http: GitHttpServer, spec: Spec
) -> None:
    repo.commit({"big": os.urandom(200_000)})
    git = GitSources(tmp_path / "mirrors", limits=FetchLimits(fetch_bytes=100_000))
    with pytest.raises(SourceError, match="larger than the limit"):
        await git.resolve(spec(f"{http.url}/fleet.git"))
    git.close()


async def test_a_small_fetch_that_inflates_to_a_large_file_is_refused(
    tmp_path: Path, repo: GitRepo, http: GitHttpServer, spec: Spec
) -> None:
    repo.commit({"zeros": bytes(3 << 20)})
    git = GitSources(tmp_path / "mirrors", limits=FetchLimits(object_bytes=1 << 20))
    for url in (f"{http.url}/fleet.git", repo.url):
        with pytest.raises(SourceError, match="a file larger than the limit of 1 MiB"):
            await git.resolve(spec(url))
    repo.commit({"zeros": None})
    assert (await git.resolve(spec(f"{http.url}/fleet.git"))).commit.id == repo.head
    git.close()


async def test_a_server_that_drips_bytes_ends_at_the_timeout_too(git: GitSources, spec: Spec) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\n\r\nffff")
        with suppress(ConnectionError):
            while True:
                writer.write(b".")
                await writer.drain()
                await asyncio.sleep(0.05)

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with asyncio.timeout(30):
        with pytest.raises(SourceError, match="not finished within the timeout"):
            await git.resolve(spec(f"http://127.0.0.1:{port}/fleet", timeout=0.5))
    server.close()


async def test_what_answers_but_speaks_no_git_is_an_error_of_the_source(git: GitSources, spec: Spec) -> None:
    answers = [b"", b"0", b"zzzz", b"001e# service=git-upload-pack\n0000", b"001e# service=git-upload-pack\n0000zzzz"]
    answers += [b"000eversion 2\n0000", b"000eversion 9\n0000", b"\xff" * 100]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        kind = b"application/x-git-upload-pack-advertisement"
        body = answers[0]
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b" % (kind, len(body), body))
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    while answers:
        with pytest.raises(SourceError, match=f"^http://127.0.0.1:{port}/fleet"):
            await git.resolve(spec(f"http://127.0.0.1:{port}/fleet", timeout=10.0))
        answers.pop(0)
    server.close()


async def test_a_proxy_of_the_environment_is_used_but_not_for_loopback(
    git: GitSources, repo: GitRepo, http: GitHttpServer, spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a plain http request to a proxy names the whole URL; the server takes it for one to itself
    monkeypatch.setenv("http_proxy", http.url)
    monkeypatch.setenv("no_proxy", "internal.example")
    assert (await git.resolve(spec("http://git.example/fleet.git"))).commit.id == repo.head
    assert http.requests[0].path.startswith("http://git.example/fleet.git/")
    assert (await git.resolve(spec(f"{http.url}/fleet.git"))).commit.id == repo.head
    assert http.requests[-1].path.startswith("/fleet.git/")
    with pytest.raises(SourceError, match="can't be reached"):
        await git.resolve(spec("http://internal.example/fleet.git", timeout=20.0))
