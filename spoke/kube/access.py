"""One API server and our credentials to it, as the files that hold them say now.

Tokens of a pod are replaced every hour, certificates and authorities when an administrator rotates them, and the files
change under a running spoke. They are looked at (a `stat` each) at most every ten seconds, and only while there are
requests; at once, when the API server says that we are nobody or shows a certificate that we don't trust.
"""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from felloe.errors import ConfigError

_LOOK_SECONDS: Final = 10.0
_log = logging.getLogger(__name__)

Stamp = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Credentials:
    """How to trust an API server (None: plain http), and the bearer token that says who we are; empty for none."""

    tls: ssl.SSLContext | None
    token: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What some files said when they were read.

    `server` is a URL without a trailing slash, `material` the certificates and keys that `credentials.tls` was made of.
    """

    server: str
    credentials: Credentials
    material: bytes = b""
    files: tuple[Path, ...] = ()
    tls_name: str = ""
    """The name that the server's certificate is for, and that it is asked by (SNI); empty: the URL's host."""


class Access:
    """One API server, for good, and the newest good credentials to it."""

    def __init__(self, read: Callable[[], Reading], clock: Callable[[], float] = time.monotonic) -> None:
        """Read for the first time. Raise ConfigError where that is impossible."""
        self._read = read
        self._clock = clock
        self._now = read()
        self._stamp = _stamp(self._now.files)
        self._looked_at = clock()

    @property
    def server(self) -> str:
        """Return the URL of the API server."""
        return self._now.server

    @property
    def tls_name(self) -> str:
        """Return the name that its certificate is for, empty where it is the URL's host."""
        return self._now.tls_name

    def credentials(self) -> Credentials:
        """Return credentials at most ten seconds older than their files; the last good ones while those are bad."""
        if self._now.files and self._clock() - self._looked_at >= _LOOK_SECONDS:
            self.look()
        return self._now.credentials

    def look(self) -> bool:
        """Look at the files now, and return whether there are new credentials."""
        self._looked_at = self._clock()
        stamp = _stamp(self._now.files)
        if stamp == self._stamp:
            return False
        try:
            found = self._read()
        except ConfigError as error:  # half written: the next look reads it again
            _log.warning("event=credentials-unreadable error=%r", str(error))
            return False
        self._stamp = stamp if found.files == self._now.files else _stamp(found.files)
        if found.server != self._now.server:
            # Another cluster would be made what this one is to be, and this one would be left alone: not by an edit.
            _log.error("event=other-server named=%s kept=%s: restart the spoke to follow", found.server, self.server)
            return False
        if found.material == self._now.material:  # its connections stay good
            found = replace(found, credentials=replace(found.credentials, tls=self._now.credentials.tls))
        changed = found.credentials != self._now.credentials
        self._now = found
        if changed:
            _log.info("event=credentials-renewed")
        return changed


def fixed(server: str, credentials: Credentials) -> Access:
    """Return an access that no file changes."""
    return Access(lambda: Reading(server, credentials))


def _stamp(files: tuple[Path, ...]) -> Stamp:
    """Return what changes when a file is written or replaced, also behind symlinks, as a kubelet swaps them."""
    found = []
    for file in files:
        try:
            seen = file.stat()
        except OSError:
            found.append((0, 0, 0))
        else:
            found.append((seen.st_mtime_ns, seen.st_size, seen.st_ino))
    return tuple(found)
