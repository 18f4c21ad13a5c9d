"""What an HTTP/1.1 server answers (RFC 9112), read from the bytes of a connection as they come.

httptools reads them, the parser of Node.js and uvicorn; what a spoke refuses besides is said here. A library for all of
HTTP would cost a spoke an eighth of the memory that it may have.
"""

from __future__ import annotations

from typing import Final

import httptools

_LONGEST_HEAD: Final = 64 * 1024
_WITHOUT_BODY: Final = frozenset({204, 304})
_SUCCESS_BEGINS: Final = 200
_TOO_MUCH: Final = "the server says more than it was asked for"


class BrokenError(OSError):
    """The other end does not speak HTTP/1.1 as it should, or went away in the middle of it."""


class Answer:
    """One answer. `status` is 0 until its head was read; `headers` have names in lower case.

    `stays` tells whether the connection may be used for another request when this is `complete`.
    """

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.stays = False
        self.begun = False
        self.complete = False
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self._until_the_end = False
        self._head = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Take what the connection delivers, and return what of it belongs to the body. Raise BrokenError."""
        if self.complete:
            raise BrokenError(_TOO_MUCH)
        self.begun = True
        self._head += 0 if self.status else len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            raise BrokenError(str(error.__context__ or error)) from None
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            raise BrokenError(f"the server does not speak HTTP/1.1 as it should: {error}") from None
        if not self.status and self._head > _LONGEST_HEAD:
            raise BrokenError("the server's answer has no end of its headers")
        if self.complete:
            del self._parser  # each holds the other: without this they wait for the garbage collector
        body, self._body = self._body, []
        return body

    def ended(self) -> None:
        """Take it that the server closed the connection. Raise BrokenError where that cuts the answer short."""
        if self._until_the_end:
            self.complete = True
        elif not self.complete:
            raise BrokenError("the server closed the connection " + ("in its answer" if self.begun else "unasked"))

    # -- by the parser

    def on_message_begin(self) -> None:
        """Take the beginning of an answer."""
        if self.complete:
            raise BrokenError(_TOO_MUCH)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; those that come after a body say nothing here."""
        if self.status:
            return
        key, text = name.decode("latin-1").lower(), value.decode("latin-1").strip()
        self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text

    def on_headers_complete(self) -> None:
        """Take the end of a head."""
        status = self._parser.get_status_code()
        if self._parser.get_http_version() not in ("1.0", "1.1"):
            raise BrokenError("the server does not speak HTTP/1.1")
        if status < _SUCCESS_BEGINS:
            self.headers.clear()  # 100 Continue and its like: the answer is still to come
            return
        if self.headers.get("content-encoding", "identity") != "identity":
            raise BrokenError("the server compresses what was asked for as it is")
        encoding = self.headers.get("transfer-encoding", "chunked")
        if encoding.lower() != "chunked":
            raise BrokenError(f"the server uses the transfer encoding {encoding[:80]!r}")
        self.status = status
        framed = status in _WITHOUT_BODY or not self.headers.keys().isdisjoint({"content-length", "transfer-encoding"})
        self._until_the_end = not framed
        self.stays = framed and self._parser.should_keep_alive()

    def on_body(self, part: bytes) -> None:
        """Take a part of the body."""
        self._body.append(part)

    def on_message_complete(self) -> None:
        """Take the end of an answer."""
        self.complete = self.status > 0
