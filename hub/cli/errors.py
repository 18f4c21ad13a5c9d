"""What can go wrong between a person's command line and the hub."""

from __future__ import annotations

from felloe.errors import FelloeError


class UnreachableError(FelloeError):
    """The hub can't be reached, is not who it should be, or went away in the middle of an answer."""


class RefusedError(FelloeError):
    """The hub answered that it won't; `code` is the HTTP status."""

    def __init__(self, code: int, message: str) -> None:
        self.code = code
        super().__init__(message)


class NotFoundError(FelloeError):
    """Nothing has the name that was asked for; the message says what there is."""
