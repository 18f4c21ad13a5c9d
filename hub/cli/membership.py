"""The commands that end a membership: cluster revoke, cluster remove."""

from __future__ import annotations

from typing import Annotated

import typer

from hub.cli.session import Reason, Yes, complete_cluster, with_hub

ClusterName = Annotated[str, typer.Argument(metavar="NAME", help="The cluster.", autocompletion=complete_cluster)]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True)
    group.callback()(_cluster)
    group.command("revoke")(revoke)
    group.command("remove")(remove)
    app.add_typer(group, name="cluster", short_help="End a cluster's membership.")


def _cluster() -> None:
    """End the membership of a cluster. One begins with: felloe token create."""


def revoke(name: ClusterName, yes: Yes = False, reason: Reason = "") -> None:
    """Make a cluster's certificate and unspent join tokens worthless, at once.

    What it would mean is shown first. Nothing is deleted in the cluster, and it may join again with a new token.

    \b
    Example:
      felloe cluster revoke shop-1 --reason "its state folder was stolen"
    """
    _end("revoke", name, reason, yes=yes)


def remove(name: ClusterName, yes: Yes = False, reason: Reason = "") -> None:
    """Revoke a cluster and forget all that the hub knows of it, for one that is gone for good.

    What it would mean is shown first. Nothing is deleted in the cluster; its Cluster object in Git is yours to remove.

    \b
    Example:
      felloe cluster remove shop-1 --yes
    """
    _end("remove", name, reason, yes=yes)


def _end(verb: str, name: str, reason: str, *, yes: bool) -> None:
    from hub.cli import leaving

    typer.echo("\n".join(with_hub(lambda client: leaving.meaning(client, verb, name))))
    if not leaving.confirmed(verb, name, yes=yes):
        raise typer.Exit(1)
    typer.echo(with_hub(lambda client: leaving.end(client, verb, name, reason)))
