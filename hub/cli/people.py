"""The commands about people: credential create, list and revoke, whoami."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from hub.cli.session import Reason, with_hub

PersonName = Annotated[str, typer.Argument(metavar="NAME", help="The person's name, as the audit log will have it.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    credential = typer.Typer(no_args_is_help=True)
    credential.callback()(_credential)
    credential.command("create")(create)
    credential.command("list")(list_credentials)
    credential.command("revoke")(revoke)
    app.add_typer(credential, name="credential", short_help="Say who may use the hub.")
    app.command(short_help="Show who the hub takes you for.")(whoami)


def _credential() -> None:
    """Give people credentials of their own, so that the audit log knows who did what.

    Only the admin (the hub's admin.yaml) makes credentials and revokes those of others.
    """


def create(
    name: PersonName,
    ttl: Annotated[
        str, typer.Option(metavar="DURATION", help="How long it is good for, as 12h; else until it is revoked.")
    ] = "",
    reason: Reason = "",
) -> None:
    """Print a credential file for a person, this once. It is a secret; the hub keeps a hash of it.

    \b
    Example:
      (umask 077; felloe credential create anna --ttl 2160h > anna.yaml)
      felloe config import production --credential anna.yaml     # what Anna does with it
    """
    from hub.cli import access
    from hub.fleet.durations import parse_duration

    try:
        seconds = parse_duration(ttl) if ttl else None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--ttl") from error
    file, expires_at = with_hub(lambda client: access.create(client, name, seconds, reason))
    typer.echo(file, nl=False)
    if sys.stdout.isatty():
        typer.echo(f"for {name}, {f'until {expires_at}' if expires_at else 'until it is revoked'}", err=True)


def list_credentials() -> None:
    """List the people who have a credential, the admin aside."""
    from hub.cli import access
    from hub.cli.contexts import environment
    from hub.cli.table import screen

    with_hub(lambda client: access.show(client, screen(environment())))


def revoke(name: PersonName, reason: Reason = "") -> None:
    """Make a person's credential worthless, at once: what it has open ends too.

    \b
    Example:
      felloe credential revoke anna --reason "has left"
    """
    from hub.cli import access

    with_hub(lambda client: access.revoke(client, name, reason))


def whoami() -> None:
    """Print the name by which the hub knows you, and writes down what you do."""
    from hub.cli import access

    with_hub(access.whoami)
