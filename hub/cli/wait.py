"""`felloe wait`: returns as soon as the clusters are where they should be; driven by the hub's watch."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import typer

from hub.cli.client import HubClient
from hub.cli.errors import UnreachableError
from hub.cli.get import Query
from hub.cli.judge import Missing, judge
from hub.cli.view import Json, text
from hub.cli.words import Goal

_RETRY = 1.0
"""Seconds until a watch that broke is opened again."""


async def wait(client: HubClient, query: Query, goal: Goal, revision: str, timeout: float) -> bool:
    """Wait at most `timeout` seconds; say who is missing and why where that was not enough, and return False then.

    A hub that goes away in between (an upgrade) is waited for as well. Raise UnreachableError where it never answered.
    """
    progress = _Progress(goal, revision)
    try:
        async with asyncio.timeout(timeout):
            await _until_met(client, query, progress)
    except TimeoutError:
        return _timed_out(progress, goal, timeout)
    number = len(progress.clusters)
    at = f" at {revision}" if revision else ""
    typer.echo(f"{number} cluster{'' if number == 1 else 's'} {goal.value}{at}")
    return True


class _Progress:
    """What is known so far. `synced` once the hub has told all there is."""

    def __init__(self, goal: Goal, revision: str) -> None:
        self._goal = goal
        self._revision = revision
        self.clusters: dict[str, Json] = {}
        self.synced = False
        self.broke: UnreachableError | None = None

    def missing(self) -> list[Missing]:
        return judge(self.clusters.values(), self._goal, self._revision)

    def met(self) -> bool:
        return self.synced and bool(self.clusters) and not self.missing()


async def _until_met(client: HubClient, query: Query, progress: _Progress) -> None:
    while True:
        if await _watch(client, query, progress):
            return
        await asyncio.sleep(_RETRY)


async def _watch(client: HubClient, query: Query, progress: _Progress) -> bool:
    """Follow one watch until the goal is met; return False where the watch broke."""
    told: set[str] = set()
    try:
        async with aclosing(client.watch("clusters", query.params())) as changes:
            async for kind, cluster in changes:
                name = text(cluster, "metadata", "name")
                if kind == "SYNCED":
                    progress.clusters = {known: one for known, one in progress.clusters.items() if known in told}
                    progress.synced = True
                elif kind == "DELETED":
                    progress.clusters.pop(name, None)
                else:
                    progress.clusters[name] = cluster
                    told.add(name)
                if progress.met():
                    return True
    except UnreachableError as error:
        if not progress.synced:
            raise
        progress.broke = error
    return False


def _timed_out(progress: _Progress, goal: Goal, timeout: float) -> bool:
    if not progress.synced:
        raise UnreachableError(f"the hub told nothing within {timeout:g} s") from progress.broke
    if not progress.clusters:
        typer.echo("error: no cluster matches, and none joined in time", err=True)
        return False
    missing = progress.missing()
    typer.echo(
        f"error: {len(missing)} of {len(progress.clusters)} clusters not {goal.value} in {timeout:g} s:", err=True
    )
    for one in missing:
        typer.echo(f"  {one.cluster}: {one.why}", err=True)
    return False
