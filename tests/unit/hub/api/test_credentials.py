from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry

from felloe.errors import ConfigError, StoreError
from hub.api.app import ApiApp
from hub.api.credentials import open_secrets, publish_admin, webhook_secret
from hub.api.people import People
from hub.api.serve import serve
from hub.audit import AuditLog
from hub.store import SqliteStore
from tests.unit.hub.api.inmemory import InMemoryHub


def test_the_hub_keeps_only_the_hash_of_the_admins_token(tmp_path: Path) -> None:
    secrets = open_secrets(tmp_path)
    path = publish_admin(tmp_path, secrets, server="https://127.0.0.1:1", ca="pem")
    assert path is not None
    held = yaml.safe_load(path.read_text())
    assert (held["server"], held["ca"]) == ("https://127.0.0.1:1", "pem")
    assert hashlib.sha256(held["token"].encode()).digest() == secrets.admin_token_sha256
    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}
    path.unlink()
    assert not any(held["token"] in file.read_text() for file in tmp_path.iterdir())


def test_a_second_start_has_the_same_secrets_and_writes_the_new_address(tmp_path: Path) -> None:
    first = open_secrets(tmp_path)
    publish_admin(tmp_path, first, server="https://127.0.0.1:1", ca="pem")
    second = open_secrets(tmp_path)
    path = publish_admin(tmp_path, second, server="https://127.0.0.1:2", ca="pem")
    assert first == second
    assert path is not None
    assert yaml.safe_load(path.read_text())["server"] == "https://127.0.0.1:2"
    assert webhook_secret(tmp_path) == first.webhook_secret


def test_a_credential_that_was_moved_away_is_not_made_again(tmp_path: Path) -> None:
    secrets = open_secrets(tmp_path)
    (tmp_path / "admin.yaml").unlink()
    assert open_secrets(tmp_path) == secrets
    assert publish_admin(tmp_path, secrets, server="https://127.0.0.1:1", ca="pem") is None
    (tmp_path / "admin-token.sha256").unlink()
    assert open_secrets(tmp_path).admin_token_sha256 != secrets.admin_token_sha256


def test_damaged_secrets_are_told_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "admin-token.sha256").write_text("abcd")
    with pytest.raises(StoreError, match="damaged"):
        open_secrets(tmp_path)
    (tmp_path / "admin-token.sha256").write_text("no hex")
    with pytest.raises(StoreError):
        open_secrets(tmp_path)
    with pytest.raises(StoreError, match="first start"):
        webhook_secret(tmp_path / "nowhere")


async def test_an_address_in_use_and_a_missing_certificate_are_told(tmp_path: Path, certificates: Path) -> None:
    secrets = open_secrets(tmp_path)
    store = SqliteStore(tmp_path / "hub.db")
    app = ApiApp(
        InMemoryHub(),
        CollectorRegistry(),
        people=People(store, AuditLog(store), secrets.admin_token_sha256),
        store=store,
        webhook_secret=secrets.webhook_secret,
    )
    server = await serve(app, "127.0.0.1", 0, certificates / "cert.pem", certificates / "key.pem")
    with pytest.raises(ConfigError, match=f"127.0.0.1:{server.port}"):
        await serve(app, "127.0.0.1", server.port, certificates / "cert.pem", certificates / "key.pem")
    with pytest.raises(ConfigError, match="cert"):
        await serve(app, "127.0.0.1", 0, tmp_path / "none.pem", certificates / "key.pem")
    await server.stop()
