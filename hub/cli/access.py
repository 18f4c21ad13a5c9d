"""What the commands about people ask of the hub."""

from __future__ import annotations

from datetime import UTC, datetime

import typer
import yaml

from hub.cli.client import HubClient
from hub.cli.contexts import environment, resolve
from hub.cli.human import age, moment
from hub.cli.table import Screen, Table
from hub.cli.view import Json, text


async def create(client: HubClient, name: str, ttl: float | None, reason: str) -> tuple[str, str]:
    """Return a new credential file, for the hub as this command line reaches it, and when it expires."""
    body: dict[str, object] = {"name": name, "reason": reason} | ({} if ttl is None else {"ttlSeconds": ttl})
    answer = await client.post("credentials", body)
    own = resolve(environment())
    held = {"server": own.server, "ca": own.ca, "token": text(answer, "token")}
    return yaml.safe_dump(held, sort_keys=False), text(answer, "expiresAt")


async def show(client: HubClient, screen: Screen) -> None:
    """Print everybody who has a credential."""
    found = await client.list("credentials")
    if not found:
        typer.echo("nobody but the admin has a credential", err=True)
        return
    now = datetime.now(UTC)
    for line in Table(("NAME", "AGE", "BY", "EXPIRES"), screen).lines([_row(one, now) for one in found]):
        typer.echo(line)


async def revoke(client: HubClient, name: str, reason: str) -> None:
    """Revoke a credential and say so."""
    await client.post(f"credentials/{name}/revoke", {"reason": reason})
    typer.echo(f"the credential of {name} is worthless now")


async def whoami(client: HubClient) -> None:
    """Print who the hub takes us for."""
    answer = await client.get("whoami")
    typer.echo(text(answer, "name"))
    if expires_at := text(answer, "expiresAt"):
        typer.echo(f"until {expires_at}", err=True)


def _row(person: Json, now: datetime) -> list[str]:
    expires_at = text(person, "expiresAt")
    end = moment(expires_at)
    over = end is not None and end <= now
    shown = f"{expires_at} (over)" if over else expires_at or "never"
    return [text(person, "name"), age(text(person, "createdAt"), now), text(person, "createdBy"), shown]
