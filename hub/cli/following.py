"""`felloe rollout watch` and `felloe fleet -w`."""

from __future__ import annotations

from hub.cli.client import HubClient
from hub.cli.fleet import FleetView
from hub.cli.follow import follow
from hub.cli.rollout import RolloutView, find
from hub.cli.table import Screen
from hub.cli.view import full_name


async def rollout(client: HubClient, name: str, revision: str, screen: Screen) -> bool:
    """Follow a rollout to the end of its release; return whether that is a good one."""
    found = await find(client, name)
    view = RolloutView(full_name(found), revision)
    return view.succeeded(await follow(lambda: client.watch("rollouts", {"name": name}), view, screen))


async def fleet(client: HubClient, screen: Screen) -> None:
    """Follow the fleet until interrupted."""
    await follow(lambda: client.watch("fleet"), FleetView(), screen)
