"""Who the spoke is and whom it trusts, in one file of mode 0600 that is replaced whole or not at all."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from pathlib import Path

import orjson

from felloe.errors import StoreError
from spoke.keys import NewKey


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate with its key, and the hub that it is for. PEM texts; times are seconds since 1970.

    `token` is the id of the join token with which this membership began, no secret; empty where that is not known.
    """

    hub: str
    cluster: str
    key: str
    certificate: str
    ca: str
    issued_at: float
    not_after: float
    token: str = ""

    @property
    def renew_at(self) -> float:
        """Return when to ask for the next certificate: after two thirds of this one's life."""
        return self.issued_at + (self.not_after - self.issued_at) * 2 / 3

    @property
    def trust(self) -> bytes:
        """Return what names the hub, by its CA, and our cluster there: each has epochs and generations of its own."""
        return sha256(b"\0".join([self.ca.encode(), self.cluster.encode()])).digest()

    def to_json(self) -> bytes:
        """Return it as one line of JSON, which holds the key."""
        return orjson.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: bytes) -> Identity:
        """Return what `to_json` wrote, here or in a newer spoke. Raise ValueError or TypeError for anything else."""
        content = orjson.loads(text)
        if not isinstance(content, dict):
            raise TypeError("an identity is an object")
        known = {each.name for each in fields(cls)}
        return cls(**{name: value for name, value in content.items() if name in known})

    def __repr__(self) -> str:
        return f"Identity(cluster={self.cluster!r}, hub={self.hub!r})"


class IdentityStore:
    """The identity in `folder` (mode 0700), and the key of an enrolment whose answer may be lost."""

    def __init__(self, folder: Path) -> None:
        """Use `folder`, made where it is not there. Raise StoreError where that fails."""
        self.on_save: Callable[[Identity], None] = _ignore
        """Called with each identity once it is on the disk."""
        self._file = folder / "identity.json"
        self._pending = folder / "pending.json"
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise StoreError(f"can't make the folder {folder} for the spoke's identity: {error}") from error

    def load(self) -> Identity | None:
        """Return the identity, None before the first enrolment. Raise StoreError where the file can't be read."""
        try:
            return Identity.from_json(self._file.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise StoreError(
                f"can't read the spoke's identity {self._file}: {error}; remove it and join again with a new token"
            ) from error

    def save(self, identity: Identity) -> None:
        """Replace the identity; a pending key has served. Raise StoreError where the disk refuses."""
        _write(self._file, identity.to_json())
        self._pending.unlink(missing_ok=True)
        self.on_save(identity)

    def pending(self) -> NewKey | None:
        """Return the key of an enrolment that has not ended yet, None where there is none."""
        try:
            return NewKey.from_json(self._pending.read_bytes())
        except (OSError, ValueError):
            return None

    def save_pending(self, key: NewKey) -> None:
        """Keep the key to enrol with until an identity is saved, so that a lost answer can be had again."""
        _write(self._pending, key.to_json())


def _ignore(_: Identity) -> None:
    """Do nothing."""


def pem(label: str, der: bytes) -> str:
    """Return DER as PEM (RFC 7468): a ``CERTIFICATE``, a ``PRIVATE KEY``."""
    text = base64.b64encode(der).decode()
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""])


def certificate_pem(der: bytes) -> str:
    """Return a DER certificate as PEM."""
    return pem("CERTIFICATE", der)


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
