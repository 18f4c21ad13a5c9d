"""A key with its certificate request, made in a process of its own (``python -m spoke.keys``).

What makes them, the cryptography library, takes 8 MiB and is needed once a day: it must not stay in the resident
process. The key goes through a pipe and is in nobody's arguments or environment.
"""

from __future__ import annotations

import asyncio
import base64
import sys
from asyncio.subprocess import DEVNULL, PIPE
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson

from felloe.errors import EnrolmentError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class NewKey:
    """A P-256 key (PEM, PKCS#8) and a request for its certificate (DER), without subject: the hub knows who asks."""

    pem: str
    csr: bytes

    def __repr__(self) -> str:
        return "NewKey(…)"

    def to_json(self) -> bytes:
        """Return it as one line of JSON."""
        return orjson.dumps({"key": self.pem, "csr": base64.b64encode(self.csr).decode()})

    @classmethod
    def from_json(cls, text: bytes) -> NewKey:
        """Return what `to_json` wrote. Raise ValueError for anything else."""
        content = orjson.loads(text)
        if not isinstance(content, dict) or not all(isinstance(content.get(name), str) for name in ("key", "csr")):
            raise ValueError("this is no key with its request")
        return cls(content["key"], base64.b64decode(content["csr"]))


async def new_key() -> NewKey:
    """Return a new key. Raise EnrolmentError where no process can be started for it."""
    arguments = [sys.executable, "-m", "spoke.keys"]
    try:
        process = await asyncio.create_subprocess_exec(*arguments, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL)
        try:
            async with asyncio.timeout(_SECONDS):
                output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
        return NewKey.from_json(output)
    except (OSError, ValueError, TimeoutError) as error:
        raise EnrolmentError(f"can't make a key for the spoke's certificate: {error or 'no answer'}") from error


def key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    """Return a key as PEM (PKCS#8), unencrypted."""
    from cryptography.hazmat.primitives import serialization

    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def make_csr(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a certificate request (DER, PKCS#10) for a key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization

    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return request.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def main() -> None:
    """Print a new key with its request as one line of JSON."""
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    sys.stdout.buffer.write(NewKey(key_pem(key), make_csr(key)).to_json())


if __name__ == "__main__":
    main()
