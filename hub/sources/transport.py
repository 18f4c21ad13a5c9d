"""The way to a remote repository, by the scheme of its URL, and what its failures mean to people."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from urllib.parse import unquote

from dulwich.client import GitClient, LocalGitClient
from dulwich.errors import GitProtocolError, HangupException, NotGitRepository
from urllib3.exceptions import HTTPError
from urllib3.exceptions import TimeoutError as HttpTimeoutError

from felloe.errors import SourceError
from hub.sources.deadline import Deadline
from hub.sources.http import TlsTrust, http_client
from hub.sources.mirror import Remote
from hub.sources.secrets import Secret
from hub.sources.ssh import ssh_client
from hub.sources.url import shown, split_url

_log = logging.getLogger(__name__)


@contextmanager
def open_remote(
    url: str, secret: Secret | None, trust: TlsTrust, deadline: Deadline, *, push: bool = False
) -> Iterator[Remote]:
    """Open the way to `url`, which was checked before; with `push` one that may also be written to.

    Whatever goes wrong inside comes out as a `SourceError`.
    """
    where = shown(url)
    client, path = _client(url, secret, trust, deadline, push=push)
    with closing(client), _explained(where, deadline, "push" if push else "fetch"):
        yield Remote(client, path, where)


def _client(
    url: str, secret: Secret | None, trust: TlsTrust, deadline: Deadline, *, push: bool
) -> tuple[GitClient, str]:
    parts = split_url(url)
    if parts.scheme == "ssh":
        return ssh_client(url, secret, deadline), unquote(parts.path)
    if parts.scheme == "file":
        return LocalGitClient(), unquote(parts.path)
    host = parts.netloc.rpartition("@")[2]
    return http_client(f"{parts.scheme}://{host}{parts.path}", secret, trust, deadline, push=push), ""


@contextmanager
def _explained(where: str, deadline: Deadline, what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if deadline.over:
            raise SourceError(f"{where}: not finished within the timeout of {deadline.seconds:g} s") from error
        if isinstance(error, SourceError):
            raise
        raise SourceError(f"{where}: {_meaning(error, what)}") from error


def _meaning(error: Exception, what: str) -> str:
    """Return what an error of the libraries in a fetch or push means. They read what strangers send: it may be any."""
    match error:
        case NotGitRepository():
            return "no Git repository is there"
        case HangupException():
            said = " ".join(line.decode(errors="replace").strip() for line in error.stderr_lines or ())
            if "does not appear to be a git repository" in said or "not found" in said.lower():
                return f"no Git repository is there ({said})"
            return f"the server closed the connection{f': {said}' if said else ''}"
        case HttpTimeoutError() | TimeoutError():
            return "no answer within the timeout"
        case GitProtocolError() | HTTPError():
            return f"the {what} failed: {error}"
        case OSError():
            return f"the {what} failed: {error.strerror or error}"
        case _:
            _log.warning("an error of an unexpected kind in a %s", what, exc_info=error)
            return f"the server sent what is not valid Git data ({type(error).__name__}: {error})"
