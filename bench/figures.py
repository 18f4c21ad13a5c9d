"""What is measured, as lines of a table."""

from __future__ import annotations

import argparse
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


def sizes(program: str, about: str | None, arguments: Sequence[str], usual: Sequence[int]) -> Sequence[int]:
    """Return for how many clusters a measurement of fleets is to be made, as its command line says."""
    parser = argparse.ArgumentParser(prog=f"python -m bench.{program}", description=about)
    shown = " ".join(map(str, usual))
    parser.add_argument("--clusters", type=int, nargs="+", default=usual, help=f"clusters (default {shown})")
    found: Sequence[int] = parser.parse_args(arguments).clusters
    return found


def say(text: str) -> None:
    """Tell what is being done."""
    sys.stderr.write(f"{text}\n")
