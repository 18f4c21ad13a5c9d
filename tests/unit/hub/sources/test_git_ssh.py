"""Git over ssh, against OpenSSH's own server."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from felloe.errors import SourceError
from hub.sources.git import GitSources
from hub.sources.spec import GitRef, GitSpec
from tests.servers.git_http import GitHttpServer
from tests.servers.git_repo import GitRepo
from tests.servers.sshd import SshdUnavailableError, SshServer, generate_key

Spec = Callable[..., GitSpec]
Secret = Callable[..., str]
PASSPHRASE = "open sesame"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("keys")
    made = {kind: generate_key(folder / kind, kind) for kind in ("ed25519", "ecdsa", "rsa")}
    made["passphrase"] = generate_key(folder / "passphrase", "ed25519", PASSPHRASE)
    made["stranger"] = generate_key(folder / "stranger")
    pem = generate_key(folder / "pem", "rsa")
    subprocess.run(
        ["ssh-keygen", "-p", "-q", "-N", "", "-m", "PEM", "-f", str(pem)], check=True, capture_output=True, timeout=30
    )
    return made | {"pem": pem}


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory, keys: dict[str, Path]) -> Iterator[SshServer]:
    try:
        server = SshServer(tmp_path_factory.mktemp("sshd"), [k for name, k in keys.items() if name != "stranger"])
        server.start()
    except SshdUnavailableError as error:
        pytest.skip(str(error))
    yield server
    server.close()


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa", "pem", "passphrase"])
async def test_a_deploy_key_of_every_kind(
    git: GitSources, repo: GitRepo, sshd: SshServer, keys: dict[str, Path], spec: Spec, secret: Secret, kind: str
) -> None:
    more = {"password": PASSPHRASE} if kind == "passphrase" else {}
    name = secret(identity=keys[kind].read_bytes(), known_hosts=sshd.known_hosts, **more)
    source = spec(f"{sshd.url}{repo.path}", secret=name)
    assert (await git.resolve(source)).revision == f"main@sha1:{repo.head}"
    commit = repo.commit({"a": "1"})
    assert (await git.resolve(source)).commit.id == commit


async def test_every_kind_of_ref_is_found(
    git: GitSources, repo: GitRepo, sshd: SshServer, keys: dict[str, Path], spec: Spec, secret: Secret
) -> None:
    name = secret(identity=keys["ed25519"].read_bytes(), known_hosts=sshd.known_hosts)
    past = repo.head
    repo.tag("v1.0.0", "annotated")
    repo.commit({"a": "1"})
    refs = (GitRef(tag="v1.0.0"), GitRef(semver="1.x"), GitRef(commit=past), GitRef(name="refs/tags/v1.0.0"))
    for ref in refs:
        assert (await git.resolve(spec(f"{sshd.url}{repo.path}", ref, secret=name))).commit.id == past
    with pytest.raises(SourceError, match="no branch gone; it has the branches main"):
        await git.resolve(spec(f"{sshd.url}{repo.path}", GitRef(branch="gone"), secret=name))


async def test_a_key_that_is_not_allowed_is_refused(
    git: GitSources, repo: GitRepo, sshd: SshServer, keys: dict[str, Path], spec: Spec, secret: Secret
) -> None:
    name = secret(identity=keys["stranger"].read_bytes(), known_hosts=sshd.known_hosts)
    with pytest.raises(SourceError, match=r"refused the key ssh-ed25519 SHA256:.*deploy key"):
        await git.resolve(spec(f"{sshd.url}{repo.path}", secret=name))


async def test_a_changed_and_an_unknown_host_key_are_refused(
    git: GitSources, repo: GitRepo, sshd: SshServer, keys: dict[str, Path], spec: Spec, secret: Secret
) -> None:
    identity = keys["ed25519"].read_bytes()
    other = " ".join(keys["stranger"].with_suffix(".pub").read_text().split()[:2])
    changed = secret("changed", identity=identity, known_hosts=f"[127.0.0.1]:{sshd.port} {other}\n")
    unknown = secret("unknown", identity=identity, known_hosts=f"github.com {other}\n")
    url = f"{sshd.url}{repo.path}"
    with pytest.raises(SourceError, match="host key verification failed: the host shows ssh-ed25519 SHA256:"):
        await git.resolve(spec(url, secret=changed))
    with pytest.raises(SourceError, match=r"host key verification failed: known_hosts .* has no key for"):
        await git.resolve(spec(url, secret=unknown))


@pytest.fixture
def hashed_known_hosts(sshd: SshServer, keys: dict[str, Path], tmp_path: Path) -> bytes:
    """Two keys for the server, the first of them not its own, with names as ssh-keygen -H hashes them."""
    other = " ".join(keys["stranger"].with_suffix(".pub").read_text().split()[:2])
    known = tmp_path / "known_hosts"
    known.write_text(f"# a comment\n[127.0.0.1]:{sshd.port} {other}\n{sshd.known_hosts}")
    subprocess.run(["ssh-keygen", "-H", "-f", str(known)], check=True, capture_output=True, timeout=30)
    assert "127.0.0.1" not in known.read_text()
    return known.read_bytes()


async def test_hashed_names_and_several_keys_in_known_hosts(
    git: GitSources,
    repo: GitRepo,
    sshd: SshServer,
    keys: dict[str, Path],
    spec: Spec,
    secret: Secret,
    hashed_known_hosts: bytes,
) -> None:
    name = secret(identity=keys["ed25519"].read_bytes(), known_hosts=hashed_known_hosts)
    assert (await git.resolve(spec(f"{sshd.url}{repo.path}", secret=name))).commit.id == repo.head


async def test_a_secret_that_lacks_something_says_what(
    git: GitSources, repo: GitRepo, sshd: SshServer, keys: dict[str, Path], spec: Spec, secret: Secret
) -> None:
    url = f"{sshd.url}{repo.path}"
    open_key, locked = keys["ed25519"].read_bytes(), keys["passphrase"].read_bytes()
    for number, (values, says) in enumerate(
        (
            ({"identity": open_key}, "no known_hosts"),
            ({"known_hosts": sshd.known_hosts}, "no identity"),
            ({"identity": locked, "known_hosts": sshd.known_hosts}, "needs a passphrase"),
            ({"identity": locked, "known_hosts": sshd.known_hosts, "password": "guess"}, "passphrase .* is wrong"),
            ({"identity": "garbage", "known_hosts": sshd.known_hosts}, "no private key that can be read"),
        )
    ):
        with pytest.raises(SourceError, match=says) as caught:
            await git.resolve(spec(url, secret=secret(f"s{number}", **values)))  # type: ignore[arg-type]
        assert "guess" not in str(caught.value)
    with pytest.raises(SourceError, match="secretRef"):
        await git.resolve(spec(url))


async def test_a_path_without_a_repository_says_so(
    git: GitSources, tmp_path: Path, sshd: SshServer, keys: dict[str, Path], spec: Spec, secret: Secret
) -> None:
    name = secret(identity=keys["ed25519"].read_bytes(), known_hosts=sshd.known_hosts)
    with pytest.raises(SourceError, match="no Git repository is there"):
        await git.resolve(spec(f"{sshd.url}{tmp_path}/nothing.git", secret=name))


async def test_a_host_that_is_not_reached_says_so(
    git: GitSources, keys: dict[str, Path], spec: Spec, secret: Secret
) -> None:
    name = secret(identity=keys["ed25519"].read_bytes(), known_hosts="x")
    with pytest.raises(SourceError, match="can't be reached: Connection refused"):
        await git.resolve(spec("ssh://git@127.0.0.1:1/fleet.git", secret=name))


async def test_what_speaks_no_ssh_is_an_error_of_the_source_and_prints_nothing(
    git: GitSources,
    http: GitHttpServer,
    keys: dict[str, Path],
    spec: Spec,
    secret: Secret,
    capfd: pytest.CaptureFixture[str],
) -> None:
    port = http.url.rpartition(":")[2]
    public = " ".join(keys["stranger"].with_suffix(".pub").read_text().split()[:2])
    name = secret(identity=keys["ed25519"].read_bytes(), known_hosts=f"[127.0.0.1]:{port} {public}")
    with pytest.raises(SourceError, match="no ssh connection"):
        await git.resolve(spec(f"ssh://git@127.0.0.1:{port}/fleet.git", secret=name))
    assert capfd.readouterr().err == ""
