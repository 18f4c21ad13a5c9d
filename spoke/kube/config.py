"""How to reach an API server, and as whom: from a kubeconfig file or from inside a pod.

Exec and auth-provider plugins of a kubeconfig are refused: a resident process must not run whatever a file names.
"""

from __future__ import annotations

import base64
import binascii
import os
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from felloe.errors import ConfigError, Place

TokenSource = Callable[[], str]
"""Returns the bearer token of now; empty for none."""

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_REREAD_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Access:
    """One API server (URL without a trailing slash), how to trust it, and who we are to it."""

    server: str
    tls: ssl.SSLContext | None
    token: TokenSource


class FileToken:
    """A token that is read again while it is rotated, as a bound service account token is every hour."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._token = ""
        self._read_at = -_REREAD_SECONDS

    def __call__(self) -> str:
        """Return the token, at most ten seconds old; the last good one while the file can't be read."""
        now = self._clock()
        if now - self._read_at >= _REREAD_SECONDS or not self._token:
            try:
                self._token = self._path.read_text(encoding="ascii").strip()
                self._read_at = now
            except (OSError, UnicodeDecodeError) as error:
                if not self._token:
                    raise ConfigError(f"the token file {self._path} can't be read: {error}") from error
        return self._token


def in_cluster(environ: Mapping[str, str], folder: Path = SERVICE_ACCOUNT) -> Access:
    """Return the access of the pod that we run in, by its service account.

    Raise ConfigError outside of a pod.
    """
    host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT")
    if not host or not port:
        raise ConfigError("this is no pod (KUBERNETES_SERVICE_HOST is not set): name a cluster with --kubeconfig")
    authority = f"[{host}]" if ":" in host else host
    try:
        tls = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"the cluster's CA {folder / 'ca.crt'} can't be read: {error}") from error
    return Access(f"https://{authority}:{port}", tls, FileToken(folder / "token"))


def load_kubeconfig(path: Path, context: str = "") -> Access:
    """Return the access that a context of a kubeconfig file gives, its current one if none is named.

    Raise ConfigError with file and field where it says something impossible.
    """
    import yaml

    try:
        content = yaml.load(path.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    except OSError as error:
        raise ConfigError(f"can't be read: {error.strerror}", Place(str(path))) from error
    except yaml.YAMLError as error:
        raise ConfigError("is no YAML", Place(str(path))) from error
    if not isinstance(content, Mapping):
        raise ConfigError("is no kubeconfig: no mapping at its top", Place(str(path)))
    return _Kubeconfig(path, content).access(context)


class _Kubeconfig:
    def __init__(self, path: Path, content: Mapping[str, object]) -> None:
        self._path = path
        self._content = content

    def access(self, context: str) -> Access:
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
        if not server.startswith(("https://", "http://")):
            raise self._error(f"{server!r} is no http or https URL", f"clusters[{name}].server")
        return Access(server, self._tls(cluster, user) if server.startswith("https://") else None, self._token(user))

    def _named(self, section: str, name: str, key: str) -> Mapping[str, object]:
        entries = self._content.get(section)
        for entry in entries if isinstance(entries, list) else []:
            if isinstance(entry, Mapping) and entry.get("name") == name:
                value = entry.get(key)
                return value if isinstance(value, Mapping) else {}
        raise self._error(f"has no {key} named {name!r}", section)

    def _tls(self, cluster: Mapping[str, object], user: Mapping[str, object]) -> ssl.SSLContext:
        authority = self._material(cluster, "certificate-authority")
        try:
            tls = ssl.create_default_context(cadata=authority.decode("ascii") if authority else None)
            if cluster.get("insecure-skip-tls-verify") is True:
                tls.check_hostname = False
                tls.verify_mode = ssl.CERT_NONE
            certificate, key = self._material(user, "client-certificate"), self._material(user, "client-key")
            if certificate and key:
                # The ssl module takes client keys from files only: this one lives in memory (Linux' memfd).
                with os.fdopen(os.memfd_create("client-key", os.MFD_CLOEXEC), "wb") as pair:
                    pair.write(certificate.rstrip() + b"\n" + key)
                    pair.flush()
                    tls.load_cert_chain(f"/proc/self/fd/{pair.fileno()}")
        except (ssl.SSLError, UnicodeDecodeError, OSError) as error:
            raise self._error(f"holds a certificate or key that can't be used: {error}", "certificate") from error
        return tls

    def _material(self, parent: Mapping[str, object], key: str) -> bytes:
        if inline := self._text(parent, f"{key}-data"):
            try:
                return base64.b64decode(inline, validate=True)
            except binascii.Error as error:
                raise self._error("is no base64", f"{key}-data") from error
        if file := self._text(parent, key):
            try:
                return (self._path.parent / file).read_bytes()
            except OSError as error:
                raise self._error(f"{file} can't be read: {error.strerror}", key) from error
        return b""

    def _token(self, user: Mapping[str, object]) -> TokenSource:
        if file := self._text(user, "tokenFile"):
            return FileToken(self._path.parent / file)
        token = self._text(user, "token")
        return lambda: token

    def _text(self, parent: Mapping[str, object], key: str) -> str:
        value = parent.get(key)
        if value is not None and not isinstance(value, str):
            raise self._error("is no text", key)
        return value or ""

    def _error(self, message: str, field: str) -> ConfigError:
        return ConfigError(message, Place(str(self._path), field=field))
