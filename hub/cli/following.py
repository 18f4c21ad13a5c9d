"""`felloe rollout watch` and `felloe fleet -w`."""

from __future__ import annotations

import asyncio

import typer

from hub.cli.client import HubClient
from hub.cli.fleet import FleetView
from hub.cli.follow import follow
from hub.cli.human import span
from hub.cli.rollout import RolloutView, find
from hub.cli.table import Screen
from hub.cli.view import full_name


async def rollout(client: HubClient, name: str, revision: str, screen: Screen, timeout: float | None = None) -> bool:
    """Follow a rollout to the end of its release, at most `timeout` seconds; return whether that is a good one."""
    found = await find(client, name)
    view = RolloutView(full_name(found), revision)
    try:
        async with asyncio.timeout(timeout):
            return view.succeeded(await follow(lambda: client.watch("rollouts", {"name": name}), view, screen))
    except TimeoutError:
        what = f"revision {revision} is not through" if revision else "it has not ended"
        typer.echo(f"error: rollout {name}: {what} after {span(timeout or 0.0)}", err=True)
        return False


async def fleet(client: HubClient, screen: Screen) -> None:
    """Follow the fleet until interrupted."""
    await follow(lambda: client.watch("fleet"), FleetView(), screen)
