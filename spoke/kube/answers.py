"""What an HTTP/1.1 server answers (RFC 9112), read from the bytes of a connection as they come. Pure.

A parser of our own, for just what an API server says to a client that asks for no compression and no upgrade: a
library for all of HTTP costs a spoke 10 MiB, a sixth of what it may have.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import Final

_LONGEST_HEAD: Final = 64 * 1024
_LONGEST_SIZE_LINE: Final = 1024
_STATUS_LINE: Final = re.compile(r"HTTP/(?P<version>1\.[01]) (?P<code>[1-9][0-9]{2})(?: |$)")
_HEX: Final = frozenset(b"0123456789abcdefABCDEF")
_WITHOUT_BODY: Final = frozenset({204, 304})
_SUCCESS_BEGINS: Final = 200
_END_OF_HEAD: Final = b"\r\n\r\n"
_END_OF_LINE: Final = b"\r\n"


class BrokenError(OSError):
    """The other end does not speak HTTP/1.1 as it should, or went away in the middle of it."""


class _At(Enum):
    HEAD = auto()
    COUNTED = auto()
    SIZE = auto()
    CHUNK = auto()
    CHUNK_END = auto()
    TRAILER = auto()
    UNTIL_THE_END = auto()
    DONE = auto()


class Answer:
    """One answer. `status` is 0 until its head was read; `headers` have names in lower case.

    `stays` tells whether the connection may be used for another request when this is `complete`.
    """

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.stays = False
        self.begun = False
        self._at = _At.HEAD
        self._buffer = bytearray()
        self._left = 0

    @property
    def complete(self) -> bool:
        """Return whether all of it was read."""
        return self._at is _At.DONE

    def feed(self, data: bytes) -> list[bytes]:
        """Take what the connection delivers, and return what of it belongs to the body. Raise BrokenError."""
        self.begun = True
        self._buffer += data
        body: list[bytes] = []
        while self._at is not _At.DONE and self._step(body):
            pass
        if self._at is _At.DONE and self._buffer:
            raise BrokenError("the server says more than it was asked for")
        return body

    def ended(self) -> None:
        """Take it that the server closed the connection. Raise BrokenError where that cuts the answer short."""
        if self._at is _At.UNTIL_THE_END:
            self._at = _At.DONE
        elif self._at is not _At.DONE:
            raise BrokenError("the server closed the connection " + ("in its answer" if self.begun else "unasked"))

    def _step(self, body: list[bytes]) -> bool:
        """Go on as far as the next thing that is there whole; return False where more has to come first."""
        match self._at:
            case _At.HEAD:
                return self._head()
            case _At.COUNTED | _At.CHUNK:
                return self._counted(body)
            case _At.SIZE:
                return self._size()
            case _At.CHUNK_END:
                return self._chunk_end()
            case _At.TRAILER:
                line = self._line()
                if line == b"":
                    self._at = _At.DONE
                return line is not None
            case _:
                if self._buffer:
                    body.append(bytes(self._buffer))
                    self._buffer.clear()
                return False

    def _head(self) -> bool:
        end = self._buffer.find(_END_OF_HEAD)
        if end < 0:
            if len(self._buffer) > _LONGEST_HEAD:
                raise BrokenError("the server's answer has no end of its headers")
            return False
        first, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
        del self._buffer[: end + len(_END_OF_HEAD)]
        said = _STATUS_LINE.match(first)
        if said is None:
            raise BrokenError(f"the server does not speak HTTP/1.1: {first[:80]!r}")
        if int(said["code"]) < _SUCCESS_BEGINS:
            return True  # 100 Continue and its like: the answer is still to come
        self.headers = _headers(lines)
        self.status = int(said["code"])
        tokens = [token.strip() for token in self.headers.get("connection", "").lower().split(",")]
        self.stays = said["version"] == "1.1" and "close" not in tokens
        self._at = self._body()
        return True

    def _body(self) -> _At:
        """Return how the body is delimited (RFC 9112, section 6.3)."""
        if self.headers.get("content-encoding", "identity") != "identity":
            raise BrokenError("the server compresses what was asked for as it is")
        if self.status in _WITHOUT_BODY:
            return _At.DONE
        if (encoding := self.headers.get("transfer-encoding")) is not None:
            if encoding.lower() != "chunked":
                raise BrokenError(f"the server uses the transfer encoding {encoding[:80]!r}")
            return _At.SIZE
        if (length := self.headers.get("content-length")) is not None:
            if not (length.isascii() and length.isdigit()):
                raise BrokenError(f"the server names the length {length[:80]!r}")
            self._left = int(length)
            return _At.COUNTED if self._left else _At.DONE
        self.stays = False
        return _At.UNTIL_THE_END

    def _counted(self, body: list[bytes]) -> bool:
        if not self._buffer:
            return False
        part = bytes(self._buffer[: self._left])
        del self._buffer[: self._left]
        body.append(part)
        self._left -= len(part)
        if not self._left:
            self._at = _At.DONE if self._at is _At.COUNTED else _At.CHUNK_END
        return True

    def _size(self) -> bool:
        line = self._line()
        if line is None:
            return False
        digits = line.partition(b";")[0].strip()
        if not digits or not _HEX.issuperset(digits):
            raise BrokenError(f"the server names a chunk's size {line[:80]!r}")
        self._left = int(digits, 16)
        self._at = _At.CHUNK if self._left else _At.TRAILER
        return True

    def _chunk_end(self) -> bool:
        if len(self._buffer) < len(_END_OF_LINE):
            return False
        if self._buffer[: len(_END_OF_LINE)] != _END_OF_LINE:
            raise BrokenError("the server's chunk is longer than it says")
        del self._buffer[: len(_END_OF_LINE)]
        self._at = _At.SIZE
        return True

    def _line(self) -> bytes | None:
        end = self._buffer.find(_END_OF_LINE)
        if end < 0:
            if len(self._buffer) > _LONGEST_SIZE_LINE:
                raise BrokenError("the server's answer has a line without end between its chunks")
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + len(_END_OF_LINE)]
        return line


def _headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise BrokenError(f"the server's answer has the header {line[:80]!r}")
        name, value = name.lower(), value.strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers
