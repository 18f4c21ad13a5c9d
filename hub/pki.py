"""The hub's certificate authority: who a peer is, said in certificates that live a day.

The role stands in the subject alternative name, as a SPIFFE ID: ``spiffe://felloe/cluster/<name>`` for a spoke,
``spiffe://felloe/bootstrap/<token id>`` for what a join token carries. A certificate is believed only while the store
knows its serial number; the CA key never leaves its file (mode 0600).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from hashlib import sha256
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from felloe.errors import ConfigError, EnrolmentError, StoreError
from hub.private import write_private

SKEW: Final = 300.0
"""Seconds that clocks may differ: certificates begin so much earlier."""
SERVER_LIFETIME: Final = 2 * 365 * 86400.0
"""Seconds. The hub makes itself a new server certificate at every start."""
_CA_LIFETIME: Final = 20 * 365 * 86400.0
_TRUST: Final = "spiffe://felloe"
_MAX_CSR: Final = 8192
_CLUSTER_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


class Role(Enum):
    """What a certificate is good for."""

    CLUSTER = "cluster"
    BOOTSTRAP = "bootstrap"


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end, as its certificate says: a cluster by name, or a join token by id."""

    role: Role
    name: str
    serial: str
    not_after: float


@dataclass(frozen=True, slots=True)
class SignedCertificate:
    """A certificate (DER) with what the store keeps of it; `public_key` is the sha256 of the key (SPKI, DER)."""

    der: bytes
    serial: str
    public_key: bytes
    not_after: float


def check_cluster_name(name: str) -> str:
    """Return `name` where a cluster can be called that (RFC 1123 label), else raise ConfigError."""
    if not _CLUSTER_NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} can't be a cluster's name: use at most 63 of a-z, 0-9 and '-', not at the beginning or end"
        )
    return name


def peer_of(certificate_pem: bytes) -> Peer:
    """Return who a client certificate names. Raise EnrolmentError where it is none of ours."""
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        (uri,) = names.get_values_for_type(x509.UniformResourceIdentifier)
        role, name = uri.removeprefix(f"{_TRUST}/").split("/")
        return Peer(Role(role), name, _serial(certificate), certificate.not_valid_after_utc.timestamp())
    except (ValueError, x509.ExtensionNotFound):
        raise EnrolmentError("the client certificate names neither a cluster nor a join token of Felloe") from None


class Authority:
    """The CA of one hub: signs its spokes', its join tokens' and its own server certificates."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        self._key = key
        self._certificate = certificate

    @classmethod
    def open(cls, folder: Path) -> Authority:
        """Return the CA in `folder` (``ca.key``, ``ca.crt``), made where there is none.

        A given CA is taken as it is; its key must be an elliptic curve key. Raise StoreError where the files can't be
        read or don't belong together.
        """
        key_file, certificate_file = folder / "ca.key", folder / "ca.crt"
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not key_file.exists():
                if certificate_file.exists():
                    raise StoreError(f"{certificate_file} has no {key_file.name} beside it: restore it from a backup")
                write_private(key_file, key_to_pem(new_key()))
            key = serialization.load_pem_private_key(key_file.read_bytes(), None)
            if not isinstance(key, ec.EllipticCurvePrivateKey):
                raise StoreError(f"{key_file} holds no elliptic curve key")
            if not certificate_file.exists():
                write_private(certificate_file, _make_ca(key).public_bytes(serialization.Encoding.PEM))
            certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
        except (OSError, ValueError, UnsupportedAlgorithm) as error:
            raise StoreError(f"can't read the hub's CA in {folder}: {error}") from error
        if certificate.public_key() != key.public_key():
            raise StoreError(f"{certificate_file} does not belong to {key_file}: restore both from one backup")
        return cls(key, certificate)

    @property
    def certificate(self) -> bytes:
        """Return the CA certificate, DER."""
        return self._certificate.public_bytes(serialization.Encoding.DER)

    @property
    def certificate_pem(self) -> bytes:
        """Return the CA certificate, PEM."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def fingerprint(self) -> bytes:
        """Return the sha256 of the CA certificate: what a join token pins."""
        return sha256(self.certificate).digest()

    def server(self, names: Iterable[str]) -> tuple[bytes, bytes]:
        """Return (key, certificate), both PEM, for a server reached by `names` and on this machine by loopback."""
        key = new_key()
        wanted = dict.fromkeys([*(name for name in names if name), "localhost", "127.0.0.1", "::1"])
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "felloe-hub")])
        certificate = self._sign(key.public_key(), subject, [_general_name(n) for n in wanted], SERVER_LIFETIME, True)
        return key_to_pem(key), certificate.public_bytes(serialization.Encoding.PEM)

    def bootstrap(self, token_id: str, lifetime: float) -> tuple[bytes, bytes]:
        """Return (key PKCS#8, certificate), both DER, of a join token; `lifetime` in seconds."""
        key = new_key()
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "felloe-bootstrap")])
        name = x509.UniformResourceIdentifier(f"{_TRUST}/{Role.BOOTSTRAP.value}/{token_id}")
        certificate = self._sign(key.public_key(), subject, [name], lifetime, False)
        der = key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return der, certificate.public_bytes(serialization.Encoding.DER)

    def spoke(self, csr: bytes, cluster: str, lifetime: float) -> SignedCertificate:
        """Sign a spoke's request (DER, PKCS#10) for `cluster`, good for `lifetime` seconds.

        Nothing of the request is believed but its key. Raise EnrolmentError where that is no P-256 key or the
        requester does not hold it.
        """
        public_key = _requested_key(csr)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, check_cluster_name(cluster))])
        name = x509.UniformResourceIdentifier(f"{_TRUST}/{Role.CLUSTER.value}/{cluster}")
        certificate = self._sign(public_key, subject, [name], lifetime, False)
        spki = public_key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        return SignedCertificate(
            certificate.public_bytes(serialization.Encoding.DER),
            _serial(certificate),
            sha256(spki).digest(),
            certificate.not_valid_after_utc.timestamp(),
        )

    def _sign(
        self,
        public_key: ec.EllipticCurvePublicKey,
        subject: x509.Name,
        names: list[x509.GeneralName],
        lifetime: float,
        server: bool,
    ) -> x509.Certificate:
        usage = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = _builder(subject, self._certificate.subject, public_key, lifetime)
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_key_usage(ca=False), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return builder.add_extension(authority, critical=False).sign(self._key, hashes.SHA256())


def new_key() -> ec.EllipticCurvePrivateKey:
    """Return a new P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def key_to_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a key as PEM (PKCS#8), unencrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _make_ca(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "felloe-ca")])
    builder = _builder(subject, subject, key.public_key(), _CA_LIFETIME)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    return builder.add_extension(_key_usage(ca=True), critical=True).sign(key, hashes.SHA256())


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, lifetime: float
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(seconds=SKEW)).not_valid_after(now + timedelta(seconds=lifetime))
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _requested_key(csr: bytes) -> ec.EllipticCurvePublicKey:
    try:
        if len(csr) > _MAX_CSR:
            raise EnrolmentError(f"the certificate request has {len(csr)} bytes, more than {_MAX_CSR}")
        request = x509.load_der_x509_csr(csr)
        key = request.public_key()
        if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
            if request.is_signature_valid:
                return key
            raise EnrolmentError("the certificate request is not signed by its own key")
    except (ValueError, InvalidSignature, UnsupportedAlgorithm):
        raise EnrolmentError("the certificate request is not PKCS#10 in DER") from None
    raise EnrolmentError("the certificate request holds no P-256 key")


def _serial(certificate: x509.Certificate) -> str:
    return f"{certificate.serial_number:x}"


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
