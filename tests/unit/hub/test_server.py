"""The hub as a process: who may start it, what it says where it can't, and what it leaves behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import yaml

from hub.store import SqliteStore
from tests.cluster.processes import ProcessKeeper
from tests.fleet.manifests import cluster, config_map, documents
from tests.fleet.processes import FELLOE, Hub, Resource, eventually
from tests.servers.git_repo import GitRepo

FILES = {
    "fleet/a.yaml": documents(cluster("a", "dev", syncPath="clusters/a")),
    "clusters/a/settings.yaml": documents(config_map("settings", "default", v="1")),
}


@pytest.fixture
def keeper() -> Iterator[ProcessKeeper]:
    keeper = ProcessKeeper()
    yield keeper
    keeper.close()


@pytest.fixture
def repository(tmp_path: Path) -> GitRepo:
    repository = GitRepo(tmp_path / "fleet.git")
    repository.commit(FILES)
    return repository


@pytest.fixture
def hub(keeper: ProcessKeeper, tmp_path: Path, repository: GitRepo, kustomize_binary: Path) -> Hub:
    """A hub that was not started yet."""
    return Hub(keeper, tmp_path / "hub", f"{repository.url}@main", options=[f"--kustomize={kustomize_binary}"])


def refused(hub: Hub, *options: str, path: str | None = None) -> str:
    """Return what a start says that must fail; the last of several equal options counts."""
    argv: Sequence[str] = [
        *FELLOE,
        "hub",
        "serve",
        f"--data={hub.data}",
        f"--fleet={hub._fleet}",
        "--grpc=127.0.0.1:0",
        "--http=127.0.0.1:0",
        *options,
    ]
    environment = os.environ if path is None else os.environ | {"PATH": path}
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return next(line for line in done.stderr.splitlines() if line.startswith("error: "))


def planned(hub: Hub) -> list[Resource]:
    return [one for one in hub.get("clusters") if one["status"]["workloads"]]


def test_one_data_folder_has_one_hub(hub: Hub) -> None:
    hub.start()
    credential = hub.data / "admin.yaml"
    assert credential.stat().st_mode & 0o777 == 0o600
    before = (hub.data / "hub.json").read_text()
    assert f"another hub runs on the data folder {hub.data}" in refused(hub, *hub.options)
    assert (hub.data / "hub.json").read_text() == before
    eventually(lambda: planned(hub), "it is planned")
    hub.process.signal(signal.SIGTERM)
    assert hub.process._popen.wait(15) == 0
    assert "Traceback" not in hub.process.log.read_text()
    assert not (hub.data / "hub.json").exists()


def test_a_killed_hub_comes_back_as_it_was_with_a_higher_epoch(hub: Hub) -> None:
    hub.start()
    eventually(lambda: planned(hub), "it is planned")
    first = json.loads((hub.data / "hub.json").read_text())
    (manifests,) = [hub.felloe("render", "--cluster", "a")]
    credential = hub.data / "admin.yaml"
    elsewhere = credential.rename(hub.folder / "moved.yaml")
    hub.kill()
    assert (hub.data / "hub.json").exists(), "nobody was there to remove it"
    hub.start()
    assert json.loads((hub.data / "hub.json").read_text())["pid"] != first["pid"]
    assert not credential.exists(), "who moved it away does not want it here"
    assert set(yaml.safe_load(elsewhere.read_text())) == {"server", "ca", "token"}
    elsewhere.rename(credential)
    eventually(lambda: planned(hub), "it is planned again")
    assert hub.felloe("render", "--cluster", "a") == manifests
    hub.kill()
    store = SqliteStore(hub.data / "hub.db")
    assert store.epoch == 3
    store.close()


def test_what_the_hub_keeps_is_for_nobody_else_also_in_a_folder_that_all_may_read(hub: Hub) -> None:
    hub.data.mkdir(parents=True)
    hub.data.chmod(0o755)
    hub.start()
    eventually(lambda: planned(hub), "it is planned")
    found = list(hub.data.iterdir())
    assert {"git", "blobs", "hub.db", "hub.json", "pki"} <= {path.name for path in found}
    assert [path for path in found if path.stat().st_mode & 0o077] == []


def test_a_port_that_is_taken_is_named(hub: Hub) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert f"can't listen on {address}" in refused(hub, *hub.options, f"--http={address}")
        said = refused(hub, *hub.options, f"--grpc={address}")
        assert f"can't listen on {address} for spokes" in said
        assert len(said) < 300


def test_a_hub_without_kustomize_says_what_to_install(hub: Hub, tmp_path: Path) -> None:
    assert "neither kustomize nor kubectl" in refused(hub, path=str(tmp_path))


@pytest.mark.parametrize("url", ["nonsense", "ftp://git.example.com/fleet.git", "https://u:p@git.example.com/f.git"])
def test_a_fleet_that_is_no_repository_is_refused_at_once(hub: Hub, url: str) -> None:
    said = refused(hub, f"--fleet={url}")
    assert "--fleet" in said
    assert not hub.data.exists()


def test_a_data_folder_that_can_not_be_one_is_named(hub: Hub) -> None:
    hub.folder.mkdir()
    hub.data.write_text("a file")
    assert f"the hub's data folder {hub.data} can't be used" in refused(hub, *hub.options)


def test_who_did_what_and_who_may_is_the_same_after_a_kill(hub: Hub) -> None:
    hub.start()
    eventually(lambda: planned(hub), "it is planned")
    credential = hub.folder / "anna.yaml"
    credential.write_text(hub.felloe("credential", "create", "anna", "--reason", "new here"))
    as_anna = {**hub.client_environment(), "FELLOE_CREDENTIAL": str(credential)}

    def anna(*arguments: str) -> subprocess.CompletedProcess[str]:
        argv = [*FELLOE, *arguments]
        return subprocess.run(argv, env=as_anna, capture_output=True, text=True, timeout=60, check=False)

    assert anna("suspend", "workload", "flux-system", "--cluster", "a", "--reason", "a test").returncode == 0
    token = hub.token("a")
    hub.kill()
    hub.start()
    assert anna("whoami").stdout == "anna\n"
    entries = [json.loads(line) for line in hub.felloe("audit", "-o", "json").splitlines()]
    assert [(one["who"], one["action"], one.get("reason", "")) for one in entries] == [
        ("admin", "CredentialCreated", "new here"),
        ("anna", "WorkloadSuspended", "a test"),
        ("admin", "TokenCreated", ""),
    ]
    assert hub.felloe("audit", "verify").startswith("entries 1 to 3 follow on each other")
    hub.felloe("credential", "revoke", "anna")
    refused = anna("audit")
    assert (refused.returncode, "refuses the token" in refused.stderr) == (1, True)
    hub.kill()
    secret = yaml.safe_load(credential.read_text())["token"]
    kept = b"".join(path.read_bytes() for path in hub.data.glob("hub.db*")) + hub.process.log.read_bytes()
    assert b"CredentialRevoked" in kept
    assert secret.encode() not in kept
    assert token.encode() not in kept


def test_a_hub_that_lost_its_database_and_not_its_ca_does_not_start(hub: Hub) -> None:
    hub.start().stop()
    for path in hub.data.glob("hub.db*"):
        path.unlink()
    said = refused(hub)
    assert "Restore hub.db from a backup" in said
    assert not (hub.data / "hub.db").exists(), "the next start is refused, too"
    (hub.data / "pki").rename(hub.data / "pki.old")
    hub.start()
    assert hub.get("clusters"), "who has the new CA gets on"


def test_a_hub_of_a_backup_starts_with_a_later_epoch(hub: Hub) -> None:
    hub.options.append("--epoch=41")
    hub.start().stop()
    store = SqliteStore(hub.data / "hub.db")
    assert store.epoch == 42
    store.close()
    assert "--epoch: 'x' is no whole number" in refused(hub, "--epoch=x")
