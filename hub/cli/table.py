"""Tables as kubectl prints them: aligned by blanks, no boxes; on a terminal coloured and no wider than it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import typer

Row = Sequence[str]

_COLOURS = {
    **dict.fromkeys(("True", "Complete", "Done", "Passed"), "green"),
    **dict.fromkeys(("False", "Failed", "Aborted", "Undone"), "red"),
    **dict.fromkeys(("Unknown", "Warning", "Progressing", "Moving", "Paused", "Offline"), "yellow"),
}
_GAP = "   "
_NARROWEST = 20


@dataclass(frozen=True, slots=True)
class Screen:
    """Where a table goes: `width` is None where nothing is to be cut off."""

    width: int | None = None
    colour: bool = False


def screen(environ: Mapping[str, str]) -> Screen:
    """Return what standard output is: a terminal (coloured unless NO_COLOR is set, no-color.org), or a file or pipe."""
    if not sys.stdout.isatty():
        return Screen()
    return Screen(shutil.get_terminal_size().columns, not environ.get("NO_COLOR") and environ.get("TERM") != "dumb")


@dataclass(slots=True)
class Table:
    """A table that may grow: its columns never get narrower, so that later rows of a watch stay aligned.

    The last column is the one that is cut on a narrow terminal; states are coloured.
    """

    header: Row
    screen: Screen
    _widths: list[int] = field(default_factory=list)

    def lines(self, rows: Sequence[Row], *, header: bool = True) -> list[str]:
        """Return the lines of some rows, after the header where that is wanted."""
        shown = [self.header, *rows] if header else [*rows]
        self._widths = self._widths or [0] * len(self.header)
        for row in shown:
            self._widths = [max(width, len(cell)) for width, cell in zip(self._widths, row, strict=True)]
        return [self._line(row, styled=row is not self.header) for row in shown]

    def _line(self, row: Row, *, styled: bool) -> str:
        *first, last = row
        before = sum(width + len(_GAP) for width in self._widths[:-1])
        if self.screen.width is not None:
            room = max(self.screen.width - before, _NARROWEST)
            last = last if len(last) <= room else f"{last[: room - 1]}…"
        cells = [cell.ljust(width) for cell, width in zip(first, self._widths, strict=False)]
        if self.screen.colour and styled:
            cells = [_coloured(cell) for cell in cells]
        return _GAP.join([*cells, last]).rstrip()


def _coloured(cell: str) -> str:
    colour = _COLOURS.get(cell.strip())
    return typer.style(cell, fg=colour) if colour else cell


def one_line(message: str) -> str:
    """Return a message without line breaks."""
    return " ".join(message.split())


def fields(*named: tuple[str, str]) -> Iterator[str]:
    """Return a line for each named value, aligned."""
    width = max(len(name) for name, _ in named) + 3
    for name, value in named:
        yield f"{name + ':':<{width}}{value or '-'}"


def section(title: str, head: Row, rows: Sequence[Row], screen: Screen) -> Iterator[str]:
    """Return a table under a title."""
    if not rows:
        yield f"{title}: none"
        return
    narrower = Screen(screen.width - 2 if screen.width else None, screen.colour)
    yield f"{title}:"
    yield from (f"  {line}" for line in Table(head, narrower).lines(rows))
