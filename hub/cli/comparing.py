"""`felloe diff`: what would change in a cluster, as unified diffs or as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from contextlib import aclosing
from typing import Final

import typer

from felloe.errors import FelloeError
from felloe.k8syaml import JsonValue
from hub.cli.client import HubClient
from hub.cli.errors import RefusedError, UnreachableError
from hub.cli.table import Screen
from hub.cli.view import Json, dig, harmless, mapping, number, text

SAME, DIFFERENT, FAILED = 0, 1, 2
"""Exit codes, those of kubectl diff."""
_PATIENCE: Final = 330.0
"""Seconds without a word of the hub: it waits 300 for the spoke."""
_COLOURS: Final = {"+": "green", "-": "red", "@": "cyan"}
_DONE: Final = {"create": "to create", "update": "to change", "recreate": "to make again", "delete": "to delete"}
_COUNTED: Final = {**_DONE, "failed": "not comparable"}


def guarded(act: Callable[[], int]) -> int:
    """Return the exit code of a diff; one that can't be made must not look like a difference."""
    try:
        return act()
    except FelloeError as error:
        typer.echo(f"error: {error}", err=True)
        return FAILED


async def diff(client: HubClient, cluster: str, workload: str, revision: str, screen: Screen, *, as_json: bool) -> int:
    """Show the differences of a cluster as they come, or all as JSON; return the exit code."""
    result = _Result(screen, as_json=as_json)
    params = {"workload": workload, "revision": revision}
    ended = False
    async with aclosing(client.lines(f"clusters/{cluster}/diff", params, timeout=_PATIENCE)) as lines:
        async for line in lines:
            told = mapping(line, "object")
            match text(line, "type"):
                case "OBJECT":
                    result.object(told)
                case "WORKLOAD":
                    result.workload(told)
                case "END":
                    ended = True
                case "ERROR":
                    raise RefusedError(number(told, "code"), text(told, "message"))
    if not ended:
        raise UnreachableError("the hub broke the answer off: try again")
    return result.finish()


class _Result:
    """What was told so far: diffs go to standard output, everything else to standard error."""

    def __init__(self, screen: Screen, *, as_json: bool) -> None:
        self._screen = screen
        self._as_json = as_json
        self._changes: Counter[str] = Counter()
        self._objects = self._left_out = 0
        self._items: list[JsonValue] = []
        self._workloads: list[JsonValue] = []

    def object(self, told: Json) -> None:
        """Take an object that would change, or of which something is to be said."""
        change = text(told, "change")
        self._changes[change] += 1
        if self._as_json:
            self._items.append(dict(told))
            return
        name = "/".join(part for part in (text(told, "kind"), text(told, "namespace"), text(told, "name")) if part)
        owner = "/".join(text(told, "workload", part) for part in ("kind", "namespace", "name"))
        if message := text(told, "message"):
            word = "error" if change == "failed" else "skipped" if change == "skipped" else "note"
            typer.echo(f"{word}: {owner}: {name}: {message}" if name else f"{word}: {owner}: {message}", err=True)
        shown = dig(told, "diff")
        for line in harmless(shown if isinstance(shown, str) else "").splitlines():
            colour = _COLOURS.get(line[:1]) if self._screen.colour else None
            typer.echo(typer.style(line, fg=colour) if colour else line)

    def workload(self, told: Json) -> None:
        """Take the end of a workload."""
        self._objects += number(told, "objects")
        left_out = number(told, "leftOut")
        self._left_out += left_out
        if self._as_json:
            self._workloads.append(dict(told))
            return
        owner = "/".join(text(told, part) for part in ("kind", "namespace", "name"))
        if (message := text(told, "message")) and number(told, "same") < number(told, "objects"):
            typer.echo(f"note: {owner}: {message}", err=True)
        if left_out:
            typer.echo(f"note: {owner}: {left_out} more objects were not compared: use --workload", err=True)

    def finish(self) -> int:
        """Say what it comes to; return the exit code."""
        if self._as_json:
            answer = {"kind": "List", "apiVersion": "v1", "items": self._items, "workloads": self._workloads}
            typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))
        else:
            counted = [f"{count} {words}" for change, words in _COUNTED.items() if (count := self._changes[change])]
            objects = f"{self._objects} object{'' if self._objects == 1 else 's'}"
            typer.echo(f"{objects}: {', '.join(counted) or 'no differences'}", err=True)
        if self._changes["failed"]:
            return FAILED
        different = self._left_out or any(self._changes[change] for change in _DONE)
        return DIFFERENT if different else SAME
