"""A real Git server over http: git's own ``git http-backend`` behind a small threaded server on loopback."""

from __future__ import annotations

import base64
import hmac
import os
import shutil
import ssl
import subprocess
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

_BACKEND_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Request:
    """One request that reached the server, refused or not."""

    method: str
    path: str
    authorization: str | None


@dataclass(slots=True)
class Behaviour:
    """What the server does with requests; may be changed while it runs."""

    username: str | None = None
    password: str | None = None
    bearer: str | None = None
    protocol_v2: bool = True
    redirect_host: str | None = None
    redirect_url: str | None = None
    answer_html: bool = False
    push: bool = False
    hold: threading.Event | None = None
    requests: list[Request] = field(default_factory=list)

    def admits(self, authorization: str | None) -> bool:
        """Say whether a request may pass."""
        expected = None
        if self.bearer is not None:
            expected = f"Bearer {self.bearer}"
        elif self.username is not None:
            pair = f"{self.username}:{self.password or ''}".encode()
            expected = f"Basic {base64.b64encode(pair).decode()}"
        return expected is None or hmac.compare_digest(expected, authorization or "")


class GitHttpServer:
    """Serves the bare repositories below `root` at ``<url>/<name>``, read-only unless `push`. A context manager.

    `username` and `password`, or `bearer`, are asked for if given; with `certificate` and `key` (PEM files) it speaks
    TLS.
    `behaviour.hold` makes every fetch wait until the event is set.
    """

    def __init__(
        self,
        root: Path,
        *,
        username: str | None = None,
        password: str | None = None,
        bearer: str | None = None,
        certificate: Path | None = None,
        key: Path | None = None,
        push: bool = False,
    ) -> None:
        self.behaviour = Behaviour(username=username, password=password, bearer=bearer, push=push)
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.root = root
        self._server.behaviour = self.behaviour
        self._scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self._scheme = "https"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def url(self) -> str:
        """The address of the server, without a slash at the end."""
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}"

    @property
    def requests(self) -> list[Request]:
        """Every request so far."""
        return list(self.behaviour.requests)

    @property
    def fetches(self) -> int:
        """How many requests asked for objects, not just for refs, so far."""
        return self._server.fetches

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def close(self) -> None:
        """Stop serving; requests that are held are let go."""
        if self.behaviour.hold is not None:
            self.behaviour.hold.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    root: Path
    behaviour: Behaviour
    fetches = 0

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away in the middle is part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = _BACKEND_SECONDS
    wbufsize = -1  # head and content in one segment; apart, Nagle's algorithm costs 40 ms an answer
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length")
        self._serve(self.rfile.read(int(length)) if length is not None else self._read_chunks())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name is the base class's
        """Keep the test's output clean."""

    def _serve(self, body: bytes) -> None:
        behaviour = self.server.behaviour
        authorization = self.headers.get("Authorization")
        behaviour.requests.append(Request(self.command, self.path, authorization))
        if behaviour.redirect_url is not None:
            self._answer(302, {"Location": behaviour.redirect_url})
        elif behaviour.redirect_host is not None:
            self._answer(302, {"Location": behaviour.redirect_host + self.path})
        elif not behaviour.admits(authorization):
            self._answer(401, {"WWW-Authenticate": 'Basic realm="git"'})
        elif behaviour.answer_html:
            self._answer(200, {"Content-Type": "text/html"}, b"<html>please log in</html>")
        elif "git-receive-pack" in self.path and not behaviour.push:
            self._answer(403, {})
        else:
            self._run_backend(body)

    def _run_backend(self, body: bytes) -> None:
        behaviour = self.server.behaviour
        if b"command=fetch" in body or b"want " in body:
            self.server.fetches += 1
            if behaviour.hold is not None:
                behaviour.hold.wait(_BACKEND_SECONDS)
        parts = urlsplit(self.path)
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.server.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_COUNT": "2",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            "GIT_CONFIG_KEY_1": "http.receivepack",
            "GIT_CONFIG_VALUE_1": "true",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": parts.path,
            "QUERY_STRING": parts.query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "REMOTE_ADDR": "127.0.0.1",
        }
        if behaviour.protocol_v2 and self.headers.get("Git-Protocol"):
            environment["GIT_PROTOCOL"] = self.headers["Git-Protocol"]
        done = subprocess.run(
            [_git(), "http-backend"],
            input=body,
            env=environment,
            capture_output=True,
            timeout=_BACKEND_SECONDS,
            check=False,
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines() if ": " in line)
        status = int(headers.pop("Status", "200").split()[0]) if done.stdout else 500
        self._answer(status, headers, content)

    def _read_chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline().strip() or b"0", 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _answer(self, status: int, headers: dict[str, str], content: bytes = b"") -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _git() -> str:
    found = shutil.which("git")
    if found is None:
        raise FileNotFoundError("git is needed on PATH to serve repositories")
    return found
