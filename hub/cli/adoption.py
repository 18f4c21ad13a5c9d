"""`felloe adopt flux`: the plan as a table, and the act."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import Final

import typer

from hub.cli.client import HubClient
from hub.cli.table import Screen, Table
from hub.cli.view import Json, number, objects, text

PATIENCE: Final = 330.0
"""Seconds without a word of the hub: it waits 300 for the spoke."""
_SHOWN: Final = 20
_DOES: Final = {
    "adopt": "is taken over",
    "adopted": "was taken over already",
    "frozen": "stays frozen",
    "stays": "stays with Flux",
    "elsewhere": "stays with Flux",
    "deleting": "can't be taken over",
    "return": "goes back to Flux",
}


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for; `leftovers` is keep, prune or empty."""

    cluster: str
    undo: bool = False
    frozen: bool = False
    leftovers: str = ""
    reason: str = ""


async def plan(client: HubClient, wish: Wish) -> Json:
    """Return what would be done."""
    switches = {"undo": wish.undo, "frozen": wish.frozen}
    params = {name: "true" for name, on in switches.items() if on}
    return await client.get(f"clusters/{wish.cluster}/adopt/flux", params)


async def act(client: HubClient, wish: Wish) -> Json:
    """Have it done."""
    body: dict[str, object] = {"undo": wish.undo, "frozen": wish.frozen, "reason": wish.reason}
    if wish.leftovers:
        body["leftovers"] = wish.leftovers
    return await client.post(f"clusters/{wish.cluster}/adopt/flux", body, timeout=PATIENCE)


def print_json(answer: Json) -> None:
    """Print an answer as it is."""
    typer.echo(json.dumps(dict(answer), indent=2, ensure_ascii=False))


def show(answer: Json, wish: Wish, screen: Screen) -> None:
    """Print a plan: a line for each of Flux's Kustomizations, and what else a person has to know."""
    rows = objects(answer, "rows")
    table = Table(["KUSTOMIZATION", "WORKLOAD", "OBJECTS", "LEFT", "WHAT"], screen)
    for line in table.lines([_cells(row) for row in rows]):
        typer.echo(line)
    if wish.undo:
        return
    left = [identity for row in rows if text(row, "fate") == "adopt" for identity in objects(row, "left")]
    if left:
        become = {"keep": "they stay, and nobody manages them", "prune": "they are deleted"}
        what = become.get(wish.leftovers, "say with --leftovers keep or --leftovers prune what becomes of them")
        typer.echo(f"\nFlux applied {_count(len(left))} that no workload wants; {what}:")
        for identity in left[:_SHOWN]:
            typer.echo(f"  {_object(identity)}")
        if len(left) > _SHOWN:
            typer.echo(f"  … and {len(left) - _SHOWN} more (-o json has all)")
    if unmatched := objects(answer, "unmatched"):
        names = ", ".join(f"{text(each, 'namespace')}/{text(each, 'name')}" for each in unmatched[:_SHOWN])
        more = f" and {len(unmatched) - _SHOWN} more" if len(unmatched) > _SHOWN else ""
        typer.echo(f"\nFlux knows nothing of {names}{more}: Felloe applies this in any case.")


def confirmed(answer: Json, wish: Wish) -> bool:
    """Ask a person on a terminal whether to go on; elsewhere say that nothing was changed."""
    verb = "return" if wish.undo else "adopt"
    if not any(text(row, "fate") == verb for row in objects(answer, "rows")):
        return False
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        typer.echo("\nNothing was changed: --yes does it.", err=True)
        return False
    return typer.confirm(f"\n{'Give this back to Flux' if wish.undo else 'Take this over'}?")


def told(answer: Json, *, as_json: bool) -> None:
    """Print what was done."""
    if as_json:
        print_json(answer)
    else:
        typer.echo(f"\n{text(answer, 'done')}")


def _cells(row: Json) -> list[str]:
    workloads = ",".join(f"{text(each, 'namespace')}/{text(each, 'name')}" for each in objects(row, "workloads"))
    does = _DOES.get(text(row, "fate"), text(row, "fate"))
    if why := text(row, "why"):
        does = f"{does}: {why}"
    if own := number(row, "own"):
        does += f" ({_count(own)} of Flux itself stay)"
    left = len(objects(row, "left"))
    name = f"{text(row, 'namespace')}/{text(row, 'name')}"
    return [name, workloads or "-", str(number(row, "moving")), str(left), does]


def _object(identity: Json) -> str:
    kind, group = text(identity, "kind"), text(identity, "group")
    name = "/".join(part for part in (text(identity, "namespace"), text(identity, "name")) if part)
    return f"{kind}.{group} {name}" if group else f"{kind} {name}"


def _count(number_of: int) -> str:
    return f"{number_of} object{'' if number_of == 1 else 's'}"
