"""`felloe plan`: what a commit that is not merged yet would change, as text, Markdown or JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import typer

from felloe.errors import FelloeError
from felloe.k8syaml import JsonValue
from felloe.labels import GROUP
from hub.cli.checkout import pack
from hub.cli.client import HubClient
from hub.cli.errors import RefusedError, UnreachableError
from hub.cli.plan_markdown import markdown
from hub.cli.plan_text import text_lines
from hub.cli.table import Screen
from hub.cli.view import Json, mapping, number, objects, text

DONE, FAILED, CHANGES = 0, 1, 2
"""Exit codes, those of terraform plan -detailed-exitcode."""
_PATIENCE: Final = 60.0
"""Seconds without a word of the hub, which says every two how far it is."""
_EVERY: Final = 10.0


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: of a revision, or of the checkout in a folder; `form` is ``json``, ``markdown`` or ``text``."""

    revision: str = ""
    folder: Path | None = None
    selector: str = ""
    cluster: str = ""
    form: str = "text"
    detailed: bool = False
    strict: bool = False


def guarded(act: Callable[[], int]) -> int:
    """Return the exit code of a plan; one that can't be made must not look like a change."""
    try:
        return act()
    except FelloeError as error:
        typer.echo(f"error: {error}", err=True)
        return FAILED


async def plan(client: HubClient, question: Question, screen: Screen) -> int:
    """Have a plan made, show it, and return the exit code."""
    made = await _made(client, question)
    match question.form:
        case "json":
            typer.echo(json.dumps(made, indent=2, ensure_ascii=False))
        case "markdown":
            typer.echo(markdown(made), nl=False)
        case _:
            for line in text_lines(made, colour=screen.colour):
                typer.echo(line)
    return exit_code(made, detailed=question.detailed, strict=question.strict)


def exit_code(made: Json, *, detailed: bool, strict: bool) -> int:
    """Return what a plan comes to for a script; `detailed` tells changes, `strict` takes warnings for errors."""
    errors = number(made, "findings", "error") + len(objects(made, "failed"))
    if errors or (strict and number(made, "findings", "warning")):
        return FAILED
    return CHANGES if detailed and number(made, "changedClusters") else DONE


async def _made(client: HubClient, question: Question) -> dict[str, JsonValue]:
    content: bytes = b""
    if question.folder is not None:
        packed = pack(question.folder)
        content = packed.archive
        for each in packed.left_out:
            typer.echo(f"note: left out: {each}", err=True)
    params = {"revision": question.revision, "labelSelector": question.selector, "cluster": question.cluster}
    groups: list[JsonValue] = []
    with _progress() as show:
        async with aclosing(client.lines("plan", params, timeout=_PATIENCE, content=content)) as lines:
            async for line in lines:
                told = mapping(line, "object")
                match text(line, "type"):
                    case "PROGRESS":
                        show(told)
                    case "GROUP":
                        groups.append(dict(told))
                    case "ERROR":
                        raise RefusedError(number(told, "code"), text(told, "message"))
                    case "END":
                        return {"apiVersion": f"{GROUP}/v1alpha1", **told, "groups": groups}
    raise UnreachableError("the hub broke the answer off: try again")


@contextmanager
def _progress() -> Iterator[Callable[[Json], None]]:
    """Show how far it is on standard error: in one line on a terminal, else a line now and then."""
    terminal = sys.stderr.isatty()
    last = time.monotonic()

    def show(told: Json) -> None:
        nonlocal last
        line = f"{text(told, 'doing')}: {number(told, 'done')} of {number(told, 'total')}"
        if terminal:
            typer.echo(f"\r\x1b[K{line}", nl=False, err=True)
        elif time.monotonic() - last >= _EVERY:
            typer.echo(line, err=True)
            last = time.monotonic()

    try:
        yield show
    finally:
        if terminal:
            typer.echo("\r\x1b[K", nl=False, err=True)
