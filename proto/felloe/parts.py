"""How the messages of a question or an answer travel: each one zstd frame, cut into parts, joined again under a limit.

What a part costs of the credit counts the work with it too, so that a peer can't send any number of tiny ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import zstandard

from felloe.errors import LinkError
from felloe.v1 import link_pb2 as pb

PART: Final = 60 * 1024
"""Bytes of data in the largest part that we send; 64 KiB is what may be received."""
LARGEST_PART: Final = 64 * 1024
LARGEST_MESSAGE: Final = 8 * 1024 * 1024
"""Bytes of the largest message, uncompressed."""
WINDOW: Final = 256 * 1024
"""What the parts of an answer may cost before credit is given again."""
_OVERHEAD: Final = 64
_LEVEL: Final = 3


def cost(part: pb.Part) -> int:
    """Return what a part takes of the credit."""
    return len(part.data) + _OVERHEAD


def parts(query: int, message: bytes) -> Iterator[pb.Part]:
    """Yield a message of a query in parts. Raise LinkError where it is too large to be received."""
    if len(message) > LARGEST_MESSAGE:
        raise LinkError(f"a message of {len(message)} bytes is larger than the link takes: {LARGEST_MESSAGE}")
    frame = zstandard.ZstdCompressor(level=_LEVEL).compress(message)
    for start in range(0, len(frame), PART):
        yield pb.Part(id=query, data=frame[start : start + PART], whole=start + PART >= len(frame))


class Joiner:
    """Joins parts to messages, one after the other."""

    def __init__(self) -> None:
        self._frame = bytearray()

    def take(self, part: pb.Part) -> bytes | None:
        """Return the frame that a part made whole, else None. Raise LinkError where it is too large, or empty."""
        if not 0 < len(part.data) <= LARGEST_PART or len(self._frame) + len(part.data) > LARGEST_MESSAGE + LARGEST_PART:
            raise LinkError(f"a part of {len(part.data)} bytes, after {len(self._frame)}, is not allowed")
        self._frame += part.data
        if not part.whole:
            return None
        frame, self._frame = bytes(self._frame), bytearray()
        return frame


def unpack(frame: bytes) -> bytes:
    """Return the message in a frame. Raise LinkError where it is damaged, or larger than it may be."""
    try:
        size = zstandard.frame_content_size(frame)
        if not 0 <= size <= LARGEST_MESSAGE:
            raise LinkError(f"a message is larger than the link takes ({LARGEST_MESSAGE} bytes), or hides its size")
        return zstandard.ZstdDecompressor().decompress(frame, max_output_size=LARGEST_MESSAGE)
    except zstandard.ZstdError:
        raise LinkError("a message is damaged") from None
