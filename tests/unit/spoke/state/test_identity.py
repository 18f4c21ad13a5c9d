"""Who the spoke is survives a crash, belongs to it alone, and is never half written."""

from __future__ import annotations

import stat
from dataclasses import asdict
from pathlib import Path

import orjson
import pytest
from cryptography import x509

from felloe.errors import StoreError
from spoke.keys import NewKey, new_key
from spoke.state import Identity, IdentityStore

IDENTITY = Identity("hub:1", "dev", "key", "certificate", "ca", 1000.0, 4000.0)


def test_it_comes_back_as_it_was_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    store = IdentityStore(tmp_path / "identity")
    assert store.load() is None
    store.save(IDENTITY)
    assert IdentityStore(tmp_path / "identity").load() == IDENTITY
    assert {stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "identity").iterdir()} == {0o600}
    assert stat.S_IMODE((tmp_path / "identity").stat().st_mode) == 0o700
    assert IDENTITY.renew_at == 3000.0
    assert "key" not in repr(IDENTITY)


def test_what_a_newer_spoke_says_besides_is_no_reason_to_join_again(tmp_path: Path) -> None:
    (tmp_path / "identity.json").write_bytes(orjson.dumps(asdict(IDENTITY) | {"more": 1}))
    assert IdentityStore(tmp_path).load() == IDENTITY


def test_the_pending_key_stays_until_an_identity_is_saved(tmp_path: Path) -> None:
    store = IdentityStore(tmp_path)
    key = NewKey("PEM", b"request")
    assert store.pending() is None
    store.save_pending(key)
    assert IdentityStore(tmp_path).pending() == key
    store.save(IDENTITY)
    assert store.pending() is None


async def test_a_new_key_is_made_elsewhere_and_is_not_shown() -> None:
    one, two = await new_key(), await new_key()
    assert one.pem != two.pem
    assert "BEGIN PRIVATE KEY" in one.pem
    assert "PRIVATE" not in repr(one)
    assert x509.load_der_x509_csr(one.csr).is_signature_valid


def test_a_damaged_identity_says_what_to_do(tmp_path: Path) -> None:
    store = IdentityStore(tmp_path)
    (tmp_path / "identity.json").write_text("{")
    with pytest.raises(StoreError, match="join again with a new token"):
        store.load()
