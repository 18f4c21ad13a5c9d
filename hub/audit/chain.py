"""The chain: each line of the audit log holds the sha256 of the line before it, so that none can be changed unseen.

It shows that nothing was changed, left out or put in between the first and the last line. That lines are missing at the
end only shows beside something older: an export, or the digest of a line that was noted elsewhere.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

import orjson

from felloe.errors import FelloeError

BEGINNING: Final = "0" * 64
"""What the first entry says of the one before it."""


class ChainError(FelloeError):
    """An audit log is not as it was written."""


def digest_of(line: str) -> str:
    """Return what the next line says of this one: the sha256 of it, without its line break."""
    return sha256(line.encode()).hexdigest()


class Chain:
    """A log as it is read, line by line. `number` and `digest` are those of the last good line."""

    def __init__(self) -> None:
        self.number = 0
        self.digest = BEGINNING

    def add(self, line: str) -> None:
        """Take the next line. Raise ChainError where it does not follow on the one before."""
        try:
            entry = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise ChainError(f"what follows entry {self.number} of the audit log is no JSON: it was changed") from error
        number = entry.get("number") if isinstance(entry, dict) else None
        if number != self.number + 1:
            raise ChainError(f"entry {self.number} of the audit log is followed by {number}: lines are missing")
        if entry.get("previous") != self.digest:
            raise ChainError(f"entry {number} of the audit log does not follow on entry {self.number}: it was changed")
        self.number, self.digest = number, digest_of(line)
