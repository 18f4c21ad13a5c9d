"""Views that stay: redrawn in place on a terminal, and elsewhere a line for each change.

A hub that goes away in between (an upgrade) is waited for; what it shows then replaces what was known.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final, Protocol

import typer

from hub.cli.client import Change
from hub.cli.errors import UnreachableError
from hub.cli.table import Screen
from hub.cli.view import Json, text

Known = Mapping[str, Json]
"""What there is, by name."""
Open = Callable[[], AsyncGenerator[Change]]
"""Opens a watch."""

_RETRY: Final = 1.0
"""Seconds until a watch that broke is opened again."""
_TICK: Final = 1.0
"""Seconds after which a view is drawn again though nothing changed: it shows times."""
_LEAST_PAUSE: Final = 0.1


class View(Protocol):
    """What is followed."""

    def lines(self, known: Known, now: datetime, screen: Screen) -> Iterable[str]:
        """Return the whole view."""
        ...

    def news(self, known: Known) -> Iterable[str]:
        """Return what is other than when this was asked the last time; all of it the first time."""
        ...

    def over(self, known: Known) -> bool:
        """Tell whether there is nothing more to follow."""
        ...


async def follow(watch: Open, view: View, screen: Screen) -> Known:
    """Show a view until it is over, and return what there was then. Raise UnreachableError, RefusedError."""
    feed = _Feed(watch)
    reading = asyncio.create_task(feed.read())
    reading.add_done_callback(lambda _: feed.changed.set())
    in_place = screen.width is not None
    try:
        with _terminal(screen) if in_place else _pipe() as show:
            while not reading.done():
                feed.changed.clear()
                if feed.synced:
                    show(feed, view)
                    if view.over(feed.known):
                        return feed.known
                with suppress(TimeoutError):
                    async with asyncio.timeout(_TICK if in_place and feed.synced else None):
                        await feed.changed.wait()
                if in_place and not reading.done():
                    await asyncio.sleep(_LEAST_PAUSE)
        await reading
        return feed.known
    finally:
        reading.cancel()


class _Feed:
    """What a watch told so far. `away` is why the hub can't be heard, empty while it can."""

    def __init__(self, watch: Open) -> None:
        self._watch = watch
        self.known: dict[str, Json] = {}
        self.synced = False
        self.away = ""
        self.changed = asyncio.Event()

    async def read(self) -> None:
        """Read until cancelled, or the hub can't be reached at all."""
        while True:
            try:
                async with aclosing(self._watch()) as changes:
                    await self._take_all(changes)
            except UnreachableError as error:
                if not self.synced:
                    raise
                self.away = str(error)
                self.changed.set()
            await asyncio.sleep(_RETRY)

    async def _take_all(self, changes: AsyncGenerator[Change]) -> None:
        told: set[str] = set()
        async for kind, resource in changes:
            name = text(resource, "metadata", "name")
            if kind == "SYNCED":
                self.known = {known: one for known, one in self.known.items() if known in told}
                self.synced, self.away = True, ""
            elif kind == "DELETED":
                self.known.pop(name, None)
            else:
                self.known[name] = resource
                told.add(name)
            if self.synced:
                self.changed.set()


_Show = Callable[[_Feed, View], None]


def drawn(lines: Iterable[str], away: str, height: int) -> Iterator[str]:
    """Yield what fits into a terminal of so many lines; that lines are left out, or are not current, always does."""
    all_lines, last = list(lines), [f"not current: {away}"] if away else []
    room = max(height - len(last), 2)
    if len(all_lines) > room:
        left_out = len(all_lines) - room + 1
        last = [f"… and {left_out} more lines, for which this window is too low", *last]
        all_lines = all_lines[: room - 1]
    yield from (*all_lines, *last)


def _size() -> os.terminal_size:
    """Return the size of the terminal that standard output is."""
    try:
        found = os.get_terminal_size(sys.stdout.fileno())
    except OSError:
        return shutil.get_terminal_size()
    return found if found.columns and found.lines else shutil.get_terminal_size()


@contextmanager
def _pipe() -> Iterator[_Show]:
    away = ""

    def show(feed: _Feed, view: View) -> None:
        nonlocal away
        if bool(feed.away) != bool(away):  # once, however its absence shows meanwhile
            away = feed.away
            typer.echo(f"not current: {away}" if away else "the hub is there again", err=True)
        for line in view.news(feed.known):
            typer.echo(line)

    yield show


@contextmanager
def _terminal(screen: Screen) -> Iterator[_Show]:
    """Give what draws over what it drew before, as wide as the terminal is by then.

    The cursor stays visible: an interrupt ends the program at once.
    """
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(highlight=False)
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        console.show_cursor(True)

        console.size = size = _size()

        def show(feed: _Feed, view: View) -> None:
            nonlocal size
            if size != (now := _size()):  # what was drawn is broken into other lines by now
                console.size = size = now
                console.clear()
            lines = view.lines(feed.known, datetime.now(UTC), replace(screen, width=size.columns))
            shown = Text.from_ansi("\n".join(drawn(lines, feed.away, size.lines)))
            shown.no_wrap, shown.overflow = True, "ellipsis"
            live.update(shown, refresh=True)

        yield show
