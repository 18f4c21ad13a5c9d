"""Who the spoke is and whom it trusts, in one file of mode 0600 that is replaced whole or not at all."""

from __future__ import annotations

import base64
import os
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

import orjson
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from felloe.errors import StoreError


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate with its key, and the hub that it is for. PEM texts; times are seconds since 1970."""

    hub: str
    cluster: str
    key: str
    certificate: str
    ca: str
    issued_at: float
    not_after: float

    @property
    def renew_at(self) -> float:
        """Return when to ask for the next certificate: after two thirds of this one's life."""
        return self.issued_at + (self.not_after - self.issued_at) * 2 / 3

    @property
    def trust(self) -> bytes:
        """Return what names the hub's CA: counting epochs begins anew under another one."""
        return sha256(self.ca.encode()).digest()

    def __repr__(self) -> str:
        return f"Identity(cluster={self.cluster!r}, hub={self.hub!r})"


class IdentityStore:
    """The identity in `folder` (mode 0700), and the key of an enrolment whose answer may be lost."""

    def __init__(self, folder: Path) -> None:
        """Use `folder`, made where it is not there. Raise StoreError where that fails."""
        self._file = folder / "identity.json"
        self._pending = folder / "pending.key"
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise StoreError(f"can't make the folder {folder} for the spoke's identity: {error}") from error

    def load(self) -> Identity | None:
        """Return the identity, None before the first enrolment. Raise StoreError where the file can't be read."""
        try:
            return Identity(**orjson.loads(self._file.read_bytes()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise StoreError(
                f"can't read the spoke's identity {self._file}: {error}; remove it and join again with a new token"
            ) from error

    def save(self, identity: Identity) -> None:
        """Replace the identity; a pending key has served. Raise StoreError where the disk refuses."""
        _write(self._file, orjson.dumps(asdict(identity)))
        self._pending.unlink(missing_ok=True)

    def pending_key(self) -> ec.EllipticCurvePrivateKey:
        """Return the key to enrol with, the same one until an identity is saved: so a lost answer can be had again."""
        try:
            key = serialization.load_pem_private_key(self._pending.read_bytes(), None)
            if isinstance(key, ec.EllipticCurvePrivateKey):
                return key
        except (OSError, ValueError):
            pass
        key = ec.generate_private_key(ec.SECP256R1())
        _write(self._pending, key_pem(key).encode())
        return key


def key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    """Return a key as PEM (PKCS#8), unencrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def certificate_pem(der: bytes) -> str:
    """Return a DER certificate as PEM (RFC 7468)."""
    text = base64.b64encode(der).decode()
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return "\n".join(["-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", ""])


def _write(path: Path, content: bytes) -> None:
    partial = path.with_name(path.name + ".partial")
    try:
        partial.unlink(missing_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)  # noqa: PTH105 -- the one call whose atomicity is promised
        folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise StoreError(f"can't write the spoke's identity {path}: {error}") from error
