"""Git over https and http: who we trust, what we show to whom, and what every refusal means.

dulwich speaks the Git protocol; every request it makes passes through `GitPool`. So all that touches credentials is in
one place: they go to the host that the source names and to no other, however it redirects; only the two requests of a
fetch are ever made, and those of a push where one is meant; and redirects are followed for the first of them only, as
git does.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import NoReturn
from urllib.parse import unquote, urljoin, urlsplit
from urllib.request import getproxies_environment, proxy_bypass

import urllib3
from dulwich.client import Urllib3HttpGitClient
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, MaxRetryError, NewConnectionError, SSLError
from urllib3.exceptions import TimeoutError as HttpTimeoutError
from urllib3.response import BaseHTTPResponse

from felloe.errors import SourceError
from hub.sources.deadline import Deadline
from hub.sources.secrets import Secret
from hub.sources.url import shown

_MAX_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
_FETCH, _PUSH = "git-upload-pack", "git-receive-pack"


@dataclass(frozen=True, slots=True, repr=False)
class HttpAuth:
    """What a secret says about an HTTP remote: the Authorization header and own CA certificates (PEM)."""

    header: str | None = None
    ca: str | None = None

    @classmethod
    def of(cls, secret: Secret | None) -> HttpAuth:
        """Read the keys that Flux reads: username and password, bearerToken, ca.crt or caFile. Raises `SourceError`."""
        if secret is None:
            return cls()
        username, password, token = secret.text("username"), secret.text("password"), secret.text("bearerToken")
        if token and (username or password):
            raise SourceError(
                f"secret {secret.name} holds both a bearerToken and a username or password; keep one of them"
            )
        if password and not username:
            raise SourceError(f"secret {secret.name} holds a password but no username")
        header = None
        if token:
            header = f"Bearer {token}"
        elif username:
            header = urllib3.make_headers(basic_auth=f"{username}:{password or ''}")["authorization"]
        if header and not header.isprintable():
            raise SourceError(f"secret {secret.name}: its credentials hold a control character")
        return cls(header, secret.text("ca.crt", "caFile"))


class TlsTrust:
    """TLS settings by the CA that they trust besides the system's; making one reads all certificates of the system."""

    _KEPT = 64

    def __init__(self) -> None:
        self._contexts: dict[str | None, ssl.SSLContext] = {}

    def context(self, ca: str | None) -> ssl.SSLContext:
        """Return the settings for a CA (PEM; None: the system's only); raises `SourceError` if it is none."""
        known = self._contexts.get(ca)
        if known is not None:
            return known
        context = ssl.create_default_context()
        if ca is not None:
            try:
                context.load_verify_locations(cadata=ca)
            except (ssl.SSLError, ValueError):
                raise SourceError("the CA of the source's secret (ca.crt) holds no PEM certificate") from None
        if len(self._contexts) >= self._KEPT:
            self._contexts.clear()
        self._contexts[ca] = context
        return context


class GitPool:
    """What dulwich takes for a urllib3 pool: it makes the requests of one fetch from `base`, and judges the answers."""

    def __init__(self, base: str, auth: HttpAuth, trust: TlsTrust, deadline: Deadline, *, push: bool = False) -> None:
        self.headers: Mapping[str, str] = {"User-Agent": "git/felloe"}
        self._services = (_FETCH, _PUSH) if push else (_FETCH,)
        self._base = base.rstrip("/")
        self._origin = _origin(base)
        self._auth = auth
        self._deadline = deadline
        context = trust.context(auth.ca) if base.startswith("https:") else None
        self._pool = _pool_manager(base, context)
        self._pool.pool_classes_by_scheme = _guarded_classes(deadline)

    def close(self) -> None:
        """Close its connections."""
        self._pool.clear()

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | Iterator[bytes] | None = None,
        **_options: object,
    ) -> BaseHTTPResponse:
        """Make one request of the smart HTTP protocol; raises `SourceError` for whatever is not its answer."""
        if not self._is_ours(method, url):
            raise SourceError(
                f"{shown(self._base)}: the server sent us to {shown(url)}, which is no part of a fetch; refused"
            )
        for _ in range(_MAX_REDIRECTS + 1):
            response = self._once(method, url, headers, body)
            target = response.headers.get("Location") if response.status in _REDIRECTS else None
            if target is None:
                self._check_status(response, method, url)
                response.url = url
                return response
            response.close()
            url = self._redirected(method, url, target)
        raise SourceError(f"{shown(self._base)}: more than {_MAX_REDIRECTS} redirects")

    def _once(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | Iterator[bytes] | None
    ) -> BaseHTTPResponse:
        sent = {name: value for name, value in headers.items() if name.lower() != "authorization"}
        if self._auth.header and _origin(url) == self._origin:
            sent["Authorization"] = self._auth.header
        timeout = urllib3.Timeout(total=self._deadline.remaining())
        try:
            return self._pool.request(
                method, url, headers=sent, body=body, redirect=False, preload_content=False, timeout=timeout
            )
        except HTTPError as error:
            self._deadline.remaining()
            _explain(shown(url), error)

    def _redirected(self, method: str, url: str, target: str) -> str:
        new = urljoin(url, target)
        where = f"{shown(self._base)} redirects to {shown(new)}"
        if method != "GET":
            raise SourceError(f"{where} in the middle of a fetch; refused. Use the new address as the source's URL")
        if not self._is_ours(method, new):
            raise SourceError(f"{where}, which is no Git repository (a login page?)")
        if urlsplit(url).scheme == "https" and urlsplit(new).scheme != "https":
            raise SourceError(f"{where}, from https to {urlsplit(new).scheme}; refused")
        return new

    def _is_ours(self, method: str, url: str) -> bool:
        """Tell whether a request is one of the smart HTTP protocol (gitprotocol-http(5)) that is meant here."""
        tail = "/info/refs?service=" if method == "GET" else "/"
        return url.endswith(tuple(tail + service for service in self._services))

    def _check_status(self, response: BaseHTTPResponse, method: str, url: str) -> None:
        if response.status == 200:
            kind = response.headers.get("Content-Type", "").partition(";")[0].strip()
            if method == "GET" and kind != f"application/x-{url.rpartition('=')[2]}-advertisement":
                response.close()
                raise SourceError(
                    f"{shown(self._base)} is no Git repository: it answered with {kind or 'no content type'}"
                )
            return
        response.close()
        where = shown(self._base)
        if response.status in (401, 403):
            have = "the credentials of the source's secret" if self._auth.header else "a request without credentials"
            fix = (
                f"check them{', and whether they may push' if url.endswith(_PUSH) else ''}"
                if self._auth.header
                else "name a secret with username and password, or bearerToken, in secretRef"
            )
            raise SourceError(f"{where} refused {have} (HTTP {response.status}); {fix}")
        if response.status == 404:
            raise SourceError(f"{where}: no Git repository is there (HTTP 404), or these credentials may not see it")
        raise SourceError(f"{where} answered with HTTP {response.status}")


def http_client(
    url: str, secret: Secret | None, trust: TlsTrust, deadline: Deadline, *, push: bool = False
) -> Urllib3HttpGitClient:
    """Return a dulwich client for `url`; raises `SourceError` where the secret can't be used."""
    return _HttpClient(url, GitPool(url, HttpAuth.of(secret), trust, deadline, push=push))


class _HttpClient(Urllib3HttpGitClient):
    """dulwich's client over our pool, which it closes."""

    def __init__(self, url: str, pool: GitPool) -> None:
        self._git_pool = pool
        super().__init__(url, pool_manager=pool)  # type: ignore[arg-type]  # it uses .headers and .request only

    def close(self) -> None:
        self._git_pool.close()


def _pool_manager(base: str, context: ssl.SSLContext | None) -> urllib3.PoolManager:
    """Return the pool for a host, by way of the proxy that ``https_proxy``, ``http_proxy`` and ``no_proxy`` name.

    As Go's (and so Flux's) client does, no proxy is asked for a loopback address.
    """
    parts = urlsplit(base)
    host = parts.hostname or ""
    proxy = getproxies_environment().get(parts.scheme)
    if not proxy or _is_loopback(host) or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return urllib3.PoolManager(maxsize=1, retries=False, ssl_context=context)
    user = urlsplit(proxy)
    credentials = f"{unquote(user.username)}:{unquote(user.password or '')}" if user.username else None
    return urllib3.ProxyManager(
        proxy,
        maxsize=1,
        retries=False,
        ssl_context=context,
        proxy_headers=urllib3.make_headers(proxy_basic_auth=credentials),
    )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _guarded_classes(deadline: Deadline) -> dict[str, type[HTTPConnectionPool]]:
    class Plain(HTTPConnection):
        def connect(self) -> None:
            super().connect()
            deadline.guard_socket(self.sock)

    class Tls(HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            deadline.guard_socket(self.sock)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = Tls

    return {"http": PlainPool, "https": TlsPool}


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _explain(where: str, error: HTTPError) -> NoReturn:
    cause: BaseException = error.reason if isinstance(error, MaxRetryError) and error.reason else error
    if isinstance(cause, SSLError):
        raise SourceError(
            f"{where}: TLS verification failed: {_innermost(cause)}; for an own CA put it into the secret as ca.crt"
        ) from error
    if isinstance(cause, HttpTimeoutError) and not isinstance(cause, NewConnectionError):
        raise SourceError(f"{where}: no answer within the timeout") from error
    raise SourceError(f"{where} can't be reached: {_innermost(cause)}") from error


def _innermost(error: BaseException) -> str:
    """Return the text of the cause at the bottom, which is the operating system's or OpenSSL's own."""
    while True:
        argument = error.args[-1] if error.args and isinstance(error.args[-1], BaseException) else None
        below = error.__cause__ or error.__context__ or argument
        if below is None:
            return str(getattr(error, "strerror", None) or error)
        error = below
