"""`felloe top`: what to look at first."""

from __future__ import annotations

import json

import typer

from hub.cli.client import HubClient
from hub.cli.estimate import real
from hub.cli.human import shortened, span
from hub.cli.table import Row, Screen, one_line, section
from hub.cli.view import Json, flag, number, objects, text


async def show(client: HubClient, most: int, selector: str, screen: Screen, *, as_json: bool) -> None:
    """Print the first few of each."""
    answer = await client.get("top", {"limit": str(most), "labelSelector": selector})
    if as_json:
        typer.echo(json.dumps(dict(answer), indent=4, ensure_ascii=False))
        return
    slowest = [[*_who(one), _took(one), _message(one)] for one in objects(answer, "slowest")]
    drifted = [[*_who(one), str(number(one, "healed")), _message(one)] for one in objects(answer, "drifted")]
    failing = [[*_who(one), str(number(one, "problems")), _message(one)] for one in objects(answer, "failing")]
    for title, head, rows in (
        ("Slowest to become healthy", "TOOK", slowest),
        ("Most drifted", "HEALED", drifted),
        ("Failing", "OBJECTS", failing),
    ):
        for line in section(title, ("CLUSTER", "WORKLOAD", head, "MESSAGE"), rows, screen):
            typer.echo(line)


def _who(one: Json) -> Row:
    return text(one, "cluster"), f"{text(one, 'namespace')}/{text(one, 'name')}"


def _took(one: Json) -> str:
    took = real(one, "seconds")
    return (f"{took:.1f}s" if took < 10 else span(took)) + (", not yet" if flag(one, "goingOn") else "")


def _message(one: Json) -> str:
    return shortened(one_line(text(one, "message")))
