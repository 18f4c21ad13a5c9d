"""Credentials of people, and the end of a cluster's membership, from the command line."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import yaml

from tests.unit.hub.api.inmemory import Threaded, cluster
from tests.unit.hub.cli.conftest import Felloe


@pytest.fixture
def anna(hub: Threaded, felloe: Felloe, tmp_path: Path) -> Path:
    """A credential file as `felloe credential create anna > anna.yaml` makes it."""
    felloe("credential", "revoke", "anna")
    done = felloe("credential", "create", "anna", "--ttl", "1h", "--reason", "new here")
    assert (done.code, done.err) == (0, "")
    file = tmp_path / "anna.yaml"
    file.write_text(done.out)
    return file


def test_a_person_works_with_a_credential_of_their_own(hub: Threaded, felloe: Felloe, anna: Path) -> None:
    assert set(yaml.safe_load(anna.read_text())) == {"server", "ca", "token"}
    assert felloe("whoami").out == "admin\n"
    as_anna = {"FELLOE_CREDENTIAL": str(anna)}
    done = felloe("whoami", **as_anna)
    assert done.out == "anna\n"
    assert done.err.startswith("until 20")
    assert felloe("suspend", "workload", "apps", "--cluster", "dev-1", "--reason", "a test", **as_anna).code == 0
    assert hub.hub.told == [("anna", "a test")]
    refused = felloe("credential", "create", "carl", **as_anna)
    assert (refused.code, "only admin may" in refused.err) == (1, True)


def test_a_credential_is_a_context_as_the_admins_is(
    hub: Threaded, felloe: Felloe, anna: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FELLOE_CREDENTIAL")
    assert felloe("config", "import", "production", "--credential", str(anna)).code == 0
    assert felloe("whoami").out == "anna\n"
    config = next(anna.parent.rglob("config.yaml"))
    assert stat.S_IMODE(config.stat().st_mode) == 0o600


def test_who_is_revoked_is_out(hub: Threaded, felloe: Felloe, anna: Path) -> None:
    listed = felloe("credential", "list").out.splitlines()
    assert listed[0].split() == ["NAME", "AGE", "BY", "EXPIRES"]
    assert listed[1].split()[0] == "anna"
    token = yaml.safe_load(anna.read_text())["token"]
    assert token not in felloe("credential", "list").out
    assert (
        felloe("credential", "revoke", "anna", "--reason", "has left").out
        == "the credential of anna is worthless now\n"
    )
    again = felloe("credential", "revoke", "anna")
    assert (again.code, "there is no credential of 'anna'" in again.err) == (1, True)
    assert "nobody but the admin" in felloe("credential", "list").err
    out = felloe("whoami", FELLOE_CREDENTIAL=str(anna))
    assert (out.code, "refuses the token" in out.err) == (1, True)
    assert token not in out.err


@pytest.mark.parametrize(("arguments", "code"), [(["a/b"], 1), (["admin"], 1), (["anna", "--ttl", "soon"], 2)])
def test_an_impossible_credential(hub: Threaded, felloe: Felloe, arguments: list[str], code: int) -> None:
    done = felloe("credential", "create", *arguments)
    assert (done.code, done.out) == (code, "")


@pytest.mark.parametrize("verb", ["revoke", "remove"])
def test_a_membership_ends_only_when_that_is_said_after_what_it_means(hub: Threaded, felloe: Felloe, verb: str) -> None:
    shown = felloe("cluster", verb, "dev-1")
    assert (shown.code, "--yes does it" in shown.err) == (1, True)
    assert shown.out.startswith("cluster dev-1 (connected, 1 workload):\n  - its certificate")
    assert "nothing is deleted in the cluster" in shown.out
    assert ("the hub forgets it" in shown.out) is (verb == "remove")
    assert not hub.hub.calls
    done = felloe("cluster", verb, "dev-1", "--yes", "--reason", "stolen")
    assert (done.code, done.out.splitlines()[-1]) == (0, f"cluster dev-1 is {verb}d")
    assert (hub.hub.calls, hub.hub.told) == ([(verb, "dev-1")], [("admin", "stolen")])


def test_a_cluster_that_is_none_has_no_more_than_tokens_to_lose(hub: Threaded, felloe: Felloe) -> None:
    hub.do(lambda h: h.board.replace_cluster(cluster("other", connected=False), []))
    done = felloe("cluster", "revoke", "unknown", "--yes")
    assert done.code == 0
    assert "cluster unknown is not shown by this hub" in done.out
    assert "was no member" in done.out.splitlines()[-1]
    removed = felloe("cluster", "remove", "unknown", "--yes")
    assert (removed.code, "has ever joined" in removed.err) == (1, True)
    assert felloe("cluster", "revoke", "Not_A_Name", "--yes").code == 1
