"""Which repository URLs are accepted, how they are shown, rewritten, and compared with those that a webhook names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

from felloe.errors import ConfigError

SCHEMES = ("https", "http", "ssh", "file")

_SCP_LIKE = re.compile(r"(?:(?P<user>[^@/:]+)@)?(?P<host>[^@/:]+):(?!//)(?P<path>.+)")
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f\"'`<>\\|^{}]")
_FORBIDDEN_ON_THE_WEB = re.compile(r"[^!-~]|[\"<>\\^`{|}#]")


def check_url(url: str) -> None:
    """Raise `ConfigError` unless `url` is an https, http, ssh or file URL of a repository.

    ``git@host:path`` is refused as in Flux. A URL travels into requests, log lines and a remote command line, so
    quotes, blanks and control characters are refused, and so is whatever could be read as an option.
    """
    if "://" not in url:
        scp = _SCP_LIKE.fullmatch(url) if url.find(":") > url.find("@") else None  # else user:password@host
        hint = f"; write ssh://{scp['user'] or 'git'}@{scp['host']}/{scp['path'].lstrip('/')}" if scp else ""
        raise ConfigError(
            f"{_quoted(url)} is no URL of a Git repository: {', '.join(f'{s}://' for s in SCHEMES)} are known{hint}"
        )
    parts = split_url(url)
    if parts.scheme not in SCHEMES:
        raise ConfigError(f"URL scheme {parts.scheme!r} is not supported; use one of {', '.join(SCHEMES)}")
    if parts.password is not None:
        raise ConfigError(
            f"{shown(url)}: the URL holds a password; put it into a secret and name that secret in secretRef"
        )
    if _FORBIDDEN.search(unquote(url)):
        raise ConfigError(f"{_quoted(url)} holds a blank, a quote or a control character")
    if parts.scheme == "file":
        if parts.netloc or not parts.path.startswith("/"):
            raise ConfigError(
                f"{url!r}: a file URL has three slashes and an absolute path, as in file:///srv/fleet.git"
            )
    elif not parts.hostname or parts.hostname.startswith("-") or (parts.username or "").startswith("-"):
        raise ConfigError(f"{_quoted(url)} names no valid host or user")
    if parts.query or parts.fragment:
        raise ConfigError(f"{shown(url)}: a repository's URL has no '?' and no '#'")
    if not parts.path.strip("/") or parts.path.lstrip("/").startswith("-"):
        raise ConfigError(f"{_quoted(url)} names no repository: its path is empty or begins with '-'")


def check_web_url(url: str) -> None:
    """Raise `ConfigError` unless `url` is an https or http URL that the hub may ask: without user, password, fragment.

    The message holds neither user information nor the query, which may hold a token.
    """
    address = url.partition("?")[0]
    parts, where = split_url(address), _quoted(address)
    if parts.scheme not in {"https", "http"} or not parts.hostname:
        raise ConfigError(f"{where} is no http or https URL: write https://HOST/PATH")
    if parts.username is not None or parts.password is not None:
        raise ConfigError(f"{where}: the URL holds credentials; put them into a secret and name it in secretRef")
    if _FORBIDDEN_ON_THE_WEB.search(url):
        raise ConfigError(
            f"{where} holds a '#', a blank, a quote or a control character; write it as %23, %20 and so on"
        )


def split_url(url: str) -> SplitResult:
    """Split `url`; raises `ConfigError` where that is impossible (a port that is no number, broken brackets)."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise ConfigError(f"{_quoted(url)} is no valid URL: {error}") from error
    return parts


def shown(url: str) -> str:
    """Return `url` without user information, for messages."""
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}{separator}{authority.rpartition('@')[2]}{slash}{path}" if separator else url


def _quoted(url: str) -> str:
    """Return `url` for messages about one that can't be taken apart: without all that may be a password or a token."""
    scheme, separator, rest = url.partition("://")
    return repr(f"{scheme}{separator}{rest.rpartition('@')[2]}" if separator else url.rpartition("@")[2])


def repository_identity(url: str) -> str:
    """Return what stays the same when a repository is named in another way: host and path, without case.

    Scheme, port, user information, a trailing slash and ``.git`` don't count: a forge's webhook names its https, ssh or
    scp-like URL, whichever one the source uses. Two repositories that get the same identity cost one look too many.
    """
    scp = _SCP_LIKE.fullmatch(url) if "://" not in url else None
    if scp:
        host, path = scp["host"], scp["path"]
    else:
        try:
            parts = urlsplit(url)
            host, path = parts.hostname or "", parts.path
        except ValueError:
            return url
    return f"{host}/{path.strip('/').removesuffix('.git')}".casefold()


@dataclass(frozen=True, slots=True)
class UrlRewriter:
    """Replaces the beginning of URLs as git's ``url.<base>.insteadOf`` does: the longest prefix wins.

    For mirrors and air gaps. Rules are (prefix, replacement).
    """

    rules: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, options: Iterable[str]) -> UrlRewriter:
        """Read ``PREFIX=REPLACEMENT`` options; raises `ConfigError`."""
        rules = []
        for option in options:
            prefix, separator, replacement = option.partition("=")
            if not separator or not prefix or not replacement:
                raise ConfigError(f"--instead-of {option!r}: write PREFIX=REPLACEMENT, both not empty")
            rules.append((prefix, replacement))
        return cls(tuple(rules))

    def rewrite(self, url: str) -> str:
        """Return the address that is really asked for `url`."""
        best: tuple[str, str] | None = None
        for prefix, replacement in self.rules:
            if url.startswith(prefix) and (best is None or len(prefix) > len(best[0])):
                best = (prefix, replacement)
        return best[1] + url[len(best[0]) :] if best else url
