"""The CA stays the same, keeps its key to itself, and signs only what it means."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from felloe.errors import ConfigError, EnrolmentError, StoreError
from hub.pki import Authority, Role, peer_of
from spoke.keys import make_csr
from spoke.state.identity import certificate_pem


def test_it_is_made_once_and_its_files_are_its_owners(tmp_path: Path) -> None:
    first = Authority.open(tmp_path / "pki")
    assert Authority.open(tmp_path / "pki").certificate == first.certificate
    assert {stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "pki").iterdir()} == {0o600}


def test_killed_between_key_and_certificate_it_goes_on_with_the_key(tmp_path: Path) -> None:
    Authority.open(tmp_path)
    key = (tmp_path / "ca.key").read_bytes()
    (tmp_path / "ca.crt").unlink()
    (tmp_path / "ca.crt.partial").write_bytes(b"half")
    Authority.open(tmp_path)
    assert (tmp_path / "ca.key").read_bytes() == key


def test_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    for name in ("one", "two", "three", "four"):
        Authority.open(tmp_path / name)
    (tmp_path / "one" / "ca.key").write_bytes((tmp_path / "two" / "ca.key").read_bytes())
    with pytest.raises(StoreError, match="does not belong to"):
        Authority.open(tmp_path / "one")
    (tmp_path / "three" / "ca.key").unlink()
    with pytest.raises(StoreError, match="restore it from a backup"):
        Authority.open(tmp_path / "three")
    (tmp_path / "four" / "ca.key").write_bytes(b"garbage")
    with pytest.raises(StoreError, match="can't read the hub's CA"):
        Authority.open(tmp_path / "four")


def test_a_spokes_certificate_names_the_cluster_whatever_the_request_says(tmp_path: Path) -> None:
    authority = Authority.open(tmp_path)
    key = ec.generate_private_key(ec.SECP256R1())
    wish = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "production")])
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier("spiffe://felloe/cluster/production")])
    request = x509.CertificateSigningRequestBuilder().subject_name(wish).add_extension(names, critical=False)
    csr = request.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    signed = authority.spoke(csr, "dev", 60.0)
    certificate = x509.load_der_x509_certificate(signed.der)
    peer = peer_of(certificate_pem(signed.der).encode())
    assert (peer.role, peer.name, peer.serial) == (Role.CLUSTER, "dev", signed.serial)
    assert certificate.subject.rfc4514_string() == "CN=dev"
    usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usages) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate.verify_directly_issued_by(x509.load_der_x509_certificate(authority.certificate))


def test_requests_that_are_refused(tmp_path: Path) -> None:
    authority = Authority.open(tmp_path)
    good = make_csr(ec.generate_private_key(ec.SECP256R1()))
    damaged = bytearray(good)
    damaged[-1] ^= 1
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    weak = request.sign(rsa.generate_private_key(65537, 2048), hashes.SHA256())
    for csr, why in (
        (b"garbage", "is not PKCS#10"),
        (bytes(damaged), "not signed by its own key"),
        (weak.public_bytes(serialization.Encoding.DER), "holds no P-256 key"),
        (make_csr(ec.generate_private_key(ec.SECP384R1())), "holds no P-256 key"),
        (b"0" * 9000, "more than 8192"),
    ):
        with pytest.raises(EnrolmentError, match=why):
            authority.spoke(csr, "dev", 60.0)
    with pytest.raises(ConfigError):
        authority.spoke(good, "dev/../production", 60.0)


def test_who_is_none_of_ours(tmp_path: Path) -> None:
    authority = Authority.open(tmp_path)
    _, server = authority.server(["hub.example.com"])
    for certificate in (b"", b"garbage", server, authority.certificate_pem):
        with pytest.raises(EnrolmentError, match="names neither a cluster nor a join token"):
            peer_of(certificate)


def test_the_server_certificate_is_for_all_its_names(tmp_path: Path) -> None:
    _, pem = Authority.open(tmp_path).server(["hub.example.com", "10.0.0.1", "", "localhost"])
    names = x509.load_pem_x509_certificate(pem).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["hub.example.com", "localhost"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.1", "127.0.0.1", "::1"]
