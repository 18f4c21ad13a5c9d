"""How to reach an API server, and as whom: from a kubeconfig file or from inside a pod.

Exec and auth-provider plugins of a kubeconfig are refused: a resident process must not run whatever a file names.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import ssl
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import orjson

from felloe.errors import ConfigError, Place
from spoke.kube.access import Access, Credentials, Reading

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_LONGEST_LABEL: Final = 63


def in_cluster(environ: Mapping[str, str], folder: Path = SERVICE_ACCOUNT) -> Access:
    """Return the access of the pod that we run in, by its service account.

    Raise ConfigError outside of a pod.
    """
    host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT")
    if not host or not port:
        raise ConfigError("this is no pod (KUBERNETES_SERVICE_HOST is not set): name a cluster with --kubeconfig")
    authority = f"[{host}]" if ":" in host else host
    files = (folder / "ca.crt", folder / "token")

    def read() -> Reading:
        ca, token = (_read(file) for file in files)
        credentials = Credentials(_tls(files[0], ca), _token(files[1], token))
        return Reading(f"https://{authority}:{port}", credentials, ca, files)

    return Access(read)


def load_kubeconfig(path: Path, context: str = "") -> Access:
    """Return the access that a context of a kubeconfig file gives, its current one if none is named.

    Raise ConfigError with file and field where it says something impossible.
    """

    def read() -> Reading:
        try:
            content = _parsed(_read(path))
        except ValueError as error:
            raise ConfigError("is no YAML", Place(str(path))) from error
        if not isinstance(content, Mapping):
            raise ConfigError("is no kubeconfig: no mapping at its top", Place(str(path)))
        return _Kubeconfig(path, content).reading(context)

    return Access(read)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"can't be read: {error.strerror}", Place(str(path))) from error


def _token(path: Path, content: bytes) -> str:
    try:
        token = content.decode("ascii").strip()
    except UnicodeDecodeError as error:
        raise ConfigError("holds something that is no token", Place(str(path))) from error
    if not token:
        raise ConfigError("holds no token", Place(str(path)))
    return token


def _tls(path: Path, authority: bytes) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cadata=authority.decode("ascii"))
    except (ssl.SSLError, UnicodeDecodeError) as error:
        raise ConfigError(f"holds certificates that can't be used: {error}", Place(str(path))) from error


def _parsed(text: bytes) -> object:
    """Return what a text says; JSON, which is YAML too, without the memory that a YAML parser takes."""
    if text.lstrip().startswith(b"{"):
        with suppress(orjson.JSONDecodeError):
            return orjson.loads(text)
    import yaml

    try:
        return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _is_url(server: str) -> bool:
    """Return whether it names a host that can be asked, by its name in ASCII or its address."""
    try:
        url = urlsplit(server)
        host, port = url.hostname or "", url.port
    except ValueError:
        return False
    labels = host.removesuffix(".").split(".")
    named = host.isascii() and all(0 < len(label) <= _LONGEST_LABEL for label in labels)
    return named and port != 0 and url.scheme in ("https", "http")


class _Kubeconfig:
    def __init__(self, path: Path, content: Mapping[str, object]) -> None:
        self._path = path
        self._content = content
        self._files = [path]

    def reading(self, context: str) -> Reading:
        name = context or self._text(self._content, "current-context")
        if not name:
            raise self._error("names no current-context: choose one with --context", "current-context")
        chosen = self._named("contexts", name, "context")
        cluster = self._named("clusters", self._text(chosen, "cluster"), "cluster")
        user_name = self._text(chosen, "user")
        user = self._named("users", user_name, "user") if user_name else {}
        for plugin in ("exec", "auth-provider"):
            if user.get(plugin):
                message = "the spoke runs no plugins: use a client certificate, token or tokenFile"
                raise self._error(message, f"users[{user_name}].{plugin}")
        server = self._text(cluster, "server").rstrip("/")
        if not _is_url(server):
            raise self._error(f"{server!r} is no http or https URL", f"clusters[{name}].server")
        if self._text(cluster, "proxy-url"):
            message = "the spoke reaches its API server without a proxy: name an address that it can reach as server"
            raise self._error(message, f"clusters[{self._text(chosen, 'cluster')}].cluster.proxy-url")
        secure = server.startswith("https://")
        tls, material = self._tls(cluster, user) if secure else (None, b"")
        name = self._text(cluster, "tls-server-name")
        return Reading(server, Credentials(tls, self._token(user)), material, tuple(self._files), name)

    def _named(self, section: str, name: str, key: str) -> Mapping[str, object]:
        entries = self._content.get(section)
        for entry in entries if isinstance(entries, list) else []:
            if isinstance(entry, Mapping) and entry.get("name") == name:
                value = entry.get(key)
                return value if isinstance(value, Mapping) else {}
        raise self._error(f"has no {key} named {name!r}", section)

    def _tls(self, cluster: Mapping[str, object], user: Mapping[str, object]) -> tuple[ssl.SSLContext, bytes]:
        """Return a TLS context, and what names it: what it was made of."""
        authority = self._material(cluster, "certificate-authority")
        certificate, key = self._material(user, "client-certificate"), self._material(user, "client-key")
        unverified = cluster.get("insecure-skip-tls-verify") is True
        try:
            tls = ssl.create_default_context(cadata=authority.decode("ascii") if authority else None)
            if unverified:
                tls.check_hostname = False
                tls.verify_mode = ssl.CERT_NONE
            if certificate and key:
                # The ssl module takes client keys from files only: this one lives in memory (Linux' memfd).
                with os.fdopen(os.memfd_create("client-key", os.MFD_CLOEXEC), "wb") as pair:
                    pair.write(certificate.rstrip() + b"\n" + key)
                    pair.flush()
                    tls.load_cert_chain(f"/proc/self/fd/{pair.fileno()}")
        except (ssl.SSLError, UnicodeDecodeError, OSError) as error:
            raise self._error(f"holds a certificate or key that can't be used: {error}", "certificate") from error
        return tls, hashlib.sha256(repr((authority, certificate, key, unverified)).encode()).digest()

    def _material(self, parent: Mapping[str, object], key: str) -> bytes:
        if inline := self._text(parent, f"{key}-data"):
            try:
                return base64.b64decode(inline, validate=True)
            except binascii.Error as error:
                raise self._error("is no base64", f"{key}-data") from error
        if file := self._text(parent, key):
            try:
                return self._beside(file).read_bytes()
            except OSError as error:
                raise self._error(f"{file} can't be read: {error.strerror}", key) from error
        return b""

    def _token(self, user: Mapping[str, object]) -> str:
        if file := self._text(user, "tokenFile"):
            path = self._beside(file)
            return _token(path, _read(path))
        return self._text(user, "token")

    def _beside(self, file: str) -> Path:
        """Return the path of a file that the kubeconfig names, which is read again when it changes."""
        path = self._path.parent / file
        self._files.append(path)
        return path

    def _text(self, parent: Mapping[str, object], key: str) -> str:
        value = parent.get(key)
        if value is not None and not isinstance(value, str):
            raise self._error("is no text", key)
        return value or ""

    def _error(self, message: str, field: str) -> ConfigError:
        return ConfigError(message, Place(str(self._path), field=field))
