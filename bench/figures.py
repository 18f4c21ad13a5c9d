"""What is measured, as lines of a table."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NamedTuple


class Figure(NamedTuple):
    """One measured line of the result."""

    what: str
    felloe: str
    beside: str
    target: str


def report(figures: Sequence[Figure]) -> None:
    """Print the figures as a Markdown table."""
    sys.stdout.write("\n| what | Felloe | beside | target |\n|---|---|---|---|\n")
    for figure in figures:
        sys.stdout.write(f"| {' | '.join(figure)} |\n")


def say(text: str) -> None:
    """Tell what is being done."""
    sys.stderr.write(f"{text}\n")
