from __future__ import annotations

from pathlib import Path

import pytest

from felloe.errors import SourceError
from hub.sources.secrets import SecretFolder


def test_a_secret_is_read_as_kubernetes_mounts_it(tmp_path: Path) -> None:
    mount = tmp_path / "apps" / "creds"
    version = mount / "..2026_11_21_07_00_00.1"
    version.mkdir(parents=True)
    (version / "password").write_text("hunter2\n")
    (mount / "..data").symlink_to(version.name)
    (mount / "password").symlink_to("..data/password")
    found = SecretFolder(tmp_path).read("apps", "creds")
    assert found.text("password") == "hunter2"
    assert found.text("username") is None
    assert "hunter2" not in repr(found)
    assert "password" in repr(found)


def test_a_rotated_secret_is_seen_without_a_restart(tmp_path: Path) -> None:
    folder = SecretFolder(tmp_path)
    key = tmp_path / "apps" / "creds" / "bearerToken"
    key.parent.mkdir(parents=True)
    key.write_text("old")
    assert folder.read("apps", "creds").text("bearerToken") == "old"
    key.write_text("new")
    assert folder.read("apps", "creds").text("bearerToken") == "new"


@pytest.mark.parametrize(("namespace", "name"), [("..", "apps"), ("apps", "../other"), ("apps", "."), ("apps/x", "y")])
def test_names_do_not_lead_out_of_the_folder(tmp_path: Path, namespace: str, name: str) -> None:
    (tmp_path / "other").mkdir()
    with pytest.raises(SourceError, match="no name of a secret"):
        SecretFolder(tmp_path).read(namespace, name)


def test_a_link_out_of_the_secret_is_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("not yours")
    mount = tmp_path / "root" / "apps" / "creds"
    mount.mkdir(parents=True)
    (mount / "identity").symlink_to(outside)
    assert SecretFolder(tmp_path / "root").read("apps", "creds").binary("identity") is None


def test_a_missing_secret_and_a_missing_folder_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="apps/creds is not there"):
        SecretFolder(tmp_path).read("apps", "creds")
    with pytest.raises(SourceError, match="--secrets"):
        SecretFolder().read("apps", "creds")
