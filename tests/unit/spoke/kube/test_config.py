"""Access to a cluster from a kubeconfig, or from inside a pod."""

from __future__ import annotations

import base64
import ssl
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from felloe.errors import ConfigError
from spoke.kube.config import in_cluster, load_kubeconfig


def pair() -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), private


def kubeconfig(folder: Path, user: dict[str, Any], cluster: dict[str, Any] | None = None) -> Path:
    path = folder / "kubeconfig"
    path.write_bytes(
        orjson.dumps(
            {
                "current-context": "main",
                "contexts": [
                    {"name": "main", "context": {"cluster": "one", "user": "me"}},
                    {"name": "second", "context": {"cluster": "two"}},
                ],
                "clusters": [
                    {"name": "one", "cluster": {"server": "https://one:6443/"} | (cluster or {})},
                    {"name": "two", "cluster": {"server": "http://two:8080"}},
                ],
                "users": [{"name": "me", "user": user}],
            }
        )
    )
    return path


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.mark.parametrize("inline", [True, False])
def test_certificates_inline_or_as_files_beside_the_kubeconfig(tmp_path: Path, inline: bool) -> None:
    certificate, key = pair()
    (tmp_path / "crt").write_bytes(certificate)
    (tmp_path / "key").write_bytes(key)
    suffix = "-data" if inline else ""
    user = {
        f"client-certificate{suffix}": b64(certificate) if inline else "crt",
        f"client-key{suffix}": b64(key) if inline else "key",
    }
    authority = {f"certificate-authority{suffix}": b64(certificate) if inline else "crt"}
    access = load_kubeconfig(kubeconfig(tmp_path, user, authority))
    assert access.server == "https://one:6443"
    tls = access.credentials().tls
    assert tls
    assert tls.verify_mode is ssl.CERT_REQUIRED
    assert [ca["subject"] for ca in tls.get_ca_certs()] == [((("commonName", "test"),),)]
    assert access.credentials().token == ""


def test_a_client_key_needs_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = pair()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    user = {"client-certificate-data": b64(certificate), "client-key-data": b64(key)}
    assert load_kubeconfig(kubeconfig(tmp_path, user)).credentials().tls


def test_a_context_can_be_named_and_plain_http_has_no_tls(tmp_path: Path) -> None:
    access = load_kubeconfig(kubeconfig(tmp_path, {}), "second")
    assert (access.server, access.credentials().tls) == ("http://two:8080", None)


def test_tokens_and_skipped_verification(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-file\n")
    access = load_kubeconfig(kubeconfig(tmp_path, {"token": "inline"}, {"insecure-skip-tls-verify": True}))
    assert access.credentials().token == "inline"
    tls = access.credentials().tls
    assert tls
    assert tls.verify_mode is ssl.CERT_NONE
    access = load_kubeconfig(kubeconfig(tmp_path, {"token": "inline", "tokenFile": "token"}))
    assert access.credentials().token == "from-file"


@pytest.mark.parametrize(
    ("user", "cluster", "context", "message"),
    [
        ({"exec": {"command": "id"}}, {}, "", r"users\[me\].exec: the spoke runs no plugins"),
        ({}, {"server": "one:6443"}, "", "no http or https URL"),
        ({}, {"server": "https://:6443"}, "", "no http or https URL"),
        ({}, {"server": "https://one:66443"}, "", "no http or https URL"),
        ({}, {"server": "https://one..example"}, "", "no http or https URL"),
        ({}, {}, "third", "has no context named 'third'"),
        ({"client-certificate-data": "%"}, {}, "", "client-certificate-data: is no base64"),
        ({"client-certificate": "missing"}, {}, "", "client-certificate: missing can't be read"),
        ({"client-certificate-data": "eA==", "client-key-data": "eA=="}, {}, "", "can't be used"),
    ],
)
def test_what_is_impossible_names_file_and_field(
    tmp_path: Path, user: dict[str, Any], cluster: dict[str, Any], context: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_kubeconfig(kubeconfig(tmp_path, user, cluster), context)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("content", ["a: [", "- list", ""])
def test_what_is_no_kubeconfig_says_so(tmp_path: Path, content: str) -> None:
    (tmp_path / "kubeconfig").write_text(content)
    with pytest.raises(ConfigError, match="is no"):
        load_kubeconfig(tmp_path / "kubeconfig")


def test_a_pod_uses_its_service_account(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_bytes(pair()[0])
    (tmp_path / "token").write_text("mine")
    environ = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    access = in_cluster(environ, tmp_path)
    assert (access.server, access.credentials().token) == ("https://[fd00::1]:443", "mine")
    with pytest.raises(ConfigError, match="--kubeconfig"):
        in_cluster({}, tmp_path)


def test_a_proxy_is_refused_by_name_rather_than_passed_over(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, {"token": "t"}, {"proxy-url": "http://proxy:3128"})
    with pytest.raises(
        ConfigError, match=r"clusters\[one\]\.cluster\.proxy-url: the spoke reaches its API server without"
    ):
        load_kubeconfig(path)


def test_the_name_of_the_servers_certificate_may_be_another_one(tmp_path: Path) -> None:
    assert load_kubeconfig(kubeconfig(tmp_path, {"token": "t"}, {"tls-server-name": "api"})).tls_name == "api"
