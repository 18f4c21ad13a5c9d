"""The secrets of the hub's API, made at its first start in its data folder.

``admin.yaml`` is for a person: server, CA and token, everything that ``FELLOE_CREDENTIAL`` needs. The hub itself keeps
only the token's sha256, so the file may be moved away; deleting ``admin-token.sha256`` makes a new token at the next
start. ``webhook-secret`` is shared with Git servers (``felloe hub webhook-secret``).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from felloe.errors import StoreError
from hub.private import write_private

ADMIN_FILE: Final = "admin.yaml"
WEBHOOK_FILE: Final = "webhook-secret"
_HASH_FILE: Final = "admin-token.sha256"


@dataclass(frozen=True, slots=True)
class ApiSecrets:
    """What the API checks requests against."""

    admin_token_sha256: bytes
    webhook_secret: str


def open_secrets(data: Path) -> ApiSecrets:
    """Return the secrets of a data folder, made where they are missing. Raise StoreError where that can't be done.

    A new admin token is written to ``admin.yaml`` at once, before its hash, so that a crash in between loses nothing.
    """
    try:
        known = _read(data / _HASH_FILE)
        if known is None:
            token = secrets.token_urlsafe(32)
            write_private(data / ADMIN_FILE, yaml.safe_dump({"token": token}).encode())
            known = hashlib.sha256(token.encode()).hexdigest()
            write_private(data / _HASH_FILE, f"{known}\n".encode())
        webhook = _read(data / WEBHOOK_FILE)
        if webhook is None:
            webhook = secrets.token_urlsafe(32)
            write_private(data / WEBHOOK_FILE, f"{webhook}\n".encode())
        sha256 = bytes.fromhex(known)
    except (OSError, ValueError) as error:
        raise StoreError(f"the API's secrets in {data} can't be read or made: {error}") from error
    if len(sha256) != 32 or not webhook:
        raise StoreError(f"{data / _HASH_FILE} or {data / WEBHOOK_FILE} is damaged: delete it to have a new one made")
    return ApiSecrets(sha256, webhook)


def publish_admin(data: Path, known: ApiSecrets, *, server: str, ca: str) -> Path | None:
    """Write where the hub is and its CA (PEM) into ``admin.yaml``, whose token stays; return its path.

    Return None where the file was moved away or holds another token: then it is no longer the hub's to write.
    """
    path = data / ADMIN_FILE
    try:
        text = _read(path)
        held = yaml.safe_load(text) if text else None
        token = held.get("token") if isinstance(held, dict) else None
        if not isinstance(token, str):
            return None
        if not hmac.compare_digest(hashlib.sha256(token.encode()).digest(), known.admin_token_sha256):
            return None
        held = {"server": server, "ca": ca, "token": token}
        write_private(path, yaml.safe_dump(held, sort_keys=False).encode())
    except (OSError, yaml.YAMLError) as error:
        raise StoreError(f"the admin credential {path} can't be written: {error}") from error
    return path


def webhook_secret(data: Path) -> str:
    """Return the webhook's secret of a data folder. Raise StoreError where no hub has made one yet."""
    try:
        secret = _read(data / WEBHOOK_FILE)
    except OSError as error:
        raise StoreError(f"{data / WEBHOOK_FILE} can't be read: {error.strerror}") from error
    if not secret:
        raise StoreError(f"{data} holds no webhook secret: a hub makes it at its first start")
    return secret


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
