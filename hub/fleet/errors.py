"""Many mistakes, reported together: a person who fixes one shouldn't have to push again to see the next."""

from __future__ import annotations

from collections.abc import Iterable

from felloe.errors import ConfigError


class FleetError(ConfigError):
    """Every mistake that was found; `errors` holds each with its place. The message has a line for each."""

    def __init__(self, errors: Iterable[ConfigError]) -> None:
        self.errors = tuple(errors)
        if not self.errors:
            raise ValueError("FleetError needs at least one error")
        first = self.errors[0]
        if len(self.errors) == 1:
            super().__init__(first.message, first.place)
        else:
            super().__init__(f"{len(self.errors)} mistakes\n" + "\n".join(f"- {error}" for error in self.errors))
