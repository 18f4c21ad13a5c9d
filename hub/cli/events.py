"""`felloe events`: what happened in the fleet, and what happens now."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import typer

from hub.cli.client import HubClient
from hub.cli.describe import EVENT_HEAD, event_row
from hub.cli.table import Screen, Table
from hub.cli.view import Json, objects


async def events(client: HubClient, cluster: str, screen: Screen, *, watch: bool, as_json: bool) -> None:
    """Print the newest events, oldest first, and with `watch` those to come until interrupted."""
    table = Table(EVENT_HEAD, screen)
    found: list[Json] = []
    if not watch:
        answer = await client.get("events", {"cluster": cluster})
        found = objects(answer, "items")
        if as_json:
            typer.echo(json.dumps(answer, indent=4, ensure_ascii=False))
        elif found:
            _print(table, found, as_json=False, header=True)
        else:
            typer.echo("no events", err=True)
        return
    synced = False
    async for kind, event in client.watch("events", {"cluster": cluster}):
        if kind != "SYNCED":
            found.append(event)
        if synced or kind == "SYNCED":
            _print(table, found, as_json=as_json, header=not synced)
            found.clear()
            synced = True


def _print(table: Table, found: list[Json], *, as_json: bool, header: bool) -> None:
    now = datetime.now(UTC)
    if as_json:
        lines = [json.dumps(event, ensure_ascii=False) for event in found]
    else:
        lines = table.lines([event_row(event, now) for event in found], header=header)
    for line in lines:
        typer.echo(line)
