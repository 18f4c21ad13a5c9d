"""Looking through a pack before it is taken in: a few KiB on the wire can hold an object that fills the memory.

Git's pack format (gitformat-pack(5)) states every object's size before its content, and a delta the size of its result;
so sizes are judged without keeping any content. zlib itself refuses content longer than what is read here.
"""

from __future__ import annotations

import zlib
from typing import IO

from felloe.errors import SourceError

_HEADER = 12
_TRAILER = 20
_CHUNK = 1 << 16
_LONGEST_NUMBER = 10
_OFFSET_DELTA, _REF_DELTA = 6, 7


def check_sizes(pack: IO[bytes], largest: int) -> None:
    """Raise `SourceError` if an object of the pack is, or claims to be, larger than `largest` bytes.

    Reads the pack from its beginning. Whether its content is sound is not looked at.
    """
    pack.seek(0)
    head = pack.read(_HEADER)
    if len(head) < _HEADER or head[:4] != b"PACK":
        raise SourceError("the server did not send a pack")
    stream = _Stream(pack)
    for _ in range(int.from_bytes(head[8:12], "big")):
        kind, size = _object_header(stream)
        if kind == _OFFSET_DELTA:
            _number_bytes(stream)
        elif kind == _REF_DELTA:
            for _ in range(_TRAILER):
                stream.byte()
        _judge(size, largest)
        start, length = stream.inflate(largest)
        if length != size:
            raise SourceError("the server sent a pack with an object of another size than it says")
        if kind in (_OFFSET_DELTA, _REF_DELTA):
            _judge(_delta_result(start), largest)


class _Stream:
    """Bytes of a file, single or inflated, with what was read too far given back."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._rest = b""
        self._at = 0

    def byte(self) -> int:
        if self._at >= len(self._rest):
            self._refill()
        self._at += 1
        return self._rest[self._at - 1]

    def inflate(self, largest: int) -> tuple[bytes, int]:
        """Pass over one zlib stream; return the beginning of its content and the content's length."""
        inflater = zlib.decompressobj()
        start, length = b"", 0
        data = self._rest[self._at :]
        while not inflater.eof:
            if not data:
                self._refill()
                data = self._rest
            try:
                content = inflater.decompress(data, _CHUNK)
            except zlib.error as error:
                raise SourceError(f"the server sent a broken pack: {error}") from error
            start = start or content[:_TRAILER]
            length += len(content)
            _judge(length, largest)
            data = inflater.unconsumed_tail
        self._rest, self._at = inflater.unused_data, 0
        return start, length

    def _refill(self) -> None:
        self._rest, self._at = self._file.read(_CHUNK), 0
        if not self._rest:
            raise SourceError("the server sent a pack that ends too early")


def _object_header(stream: _Stream) -> tuple[int, int]:
    first, *more = _number_bytes(stream)
    size = first & 15
    for position, byte in enumerate(more):
        size |= (byte & 0x7F) << (4 + 7 * position)
    return (first >> 4) & 7, size


def _number_bytes(stream: _Stream) -> list[int]:
    """Read the bytes of one number: each but the last has its highest bit set."""
    read = [stream.byte()]
    while read[-1] & 0x80:
        if len(read) == _LONGEST_NUMBER:
            raise SourceError("the server sent a broken pack: a number without an end")
        read.append(stream.byte())
    return read


def _delta_result(start: bytes) -> int:
    """Return the size of what a delta makes: the second of the two numbers that it begins with."""
    position, size = 0, 0
    for _ in range(2):
        size, shift = 0, 0
        while True:
            if position >= len(start):
                raise SourceError("the server sent a pack with a broken delta")
            byte = start[position]
            position += 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                break
    return size


def _judge(size: int, largest: int) -> None:
    if size > largest:
        raise SourceError(
            f"the repository holds a file larger than the limit of {largest >> 20} MiB; keep such files elsewhere"
        )
