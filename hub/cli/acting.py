"""The commands that change something: token create, reconcile, suspend, resume, approve."""

from __future__ import annotations

import sys
from typing import Annotated, Literal

import typer

from hub.cli.session import (
    Cluster,
    OneCluster,
    OneWorkload,
    Reason,
    Yes,
    complete_kind_and_name,
    complete_workload,
    with_hub,
)

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="NAME or NAMESPACE/NAME.", autocompletion=complete_kind_and_name)
]
WorkloadName = Annotated[
    str, typer.Argument(metavar="NAME", help="NAME or NAMESPACE/NAME.", autocompletion=complete_workload)
]
WorkloadWord = Annotated[Literal["workload"], typer.Argument(metavar="workload")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(short_help="Fetch a source or apply a workload now.")(reconcile)
    app.command(short_help="Leave a workload as it is for now.")(suspend)
    app.command(short_help="Go on with a suspended workload.")(resume)
    approve = typer.Typer(no_args_is_help=True)
    approve.command("prune")(approve_prune)
    approve.callback()(_approve)
    app.add_typer(approve, name="approve", short_help="Allow what waits for a person.")
    token = typer.Typer(no_args_is_help=True)
    token.command("create")(create_token)
    token.callback()(_token)
    app.add_typer(token, name="token", short_help="Make the tokens that clusters join with.")


def reconcile(
    what: Annotated[Literal["source", "workload"], typer.Argument(metavar="source|workload")],
    name: Name,
    cluster: Cluster = "",
) -> None:
    """Do now what would be done at the next interval: fetch a source, or apply a workload again.

    \b
    Examples:
      felloe reconcile source flux-system/fleet
      felloe reconcile workload flux-system/apps --cluster shop-1
    """
    from hub.cli import requests

    if what == "source":
        with_hub(lambda client: requests.reconcile_source(client, name))
    else:
        with_hub(lambda client: requests.change_workload(client, "reconcile", name, cluster))


def suspend(what: WorkloadWord, name: WorkloadName, cluster: Cluster = "", reason: Reason = "") -> None:
    """Leave a workload as it is, whatever is committed, until it is resumed; drift is not healed either.

    \b
    Examples:
      felloe suspend workload flux-system/apps
      felloe suspend workload flux-system/apps --cluster shop-1
    """
    from hub.cli import requests

    with_hub(lambda client: requests.change_workload(client, "suspend", name, cluster, reason))


def resume(what: WorkloadWord, name: WorkloadName, cluster: Cluster = "", reason: Reason = "") -> None:
    """Go on with a suspended workload.

    \b
    Example:
      felloe resume workload flux-system/apps
    """
    from hub.cli import requests

    with_hub(lambda client: requests.change_workload(client, "resume", name, cluster, reason))


def _approve() -> None:
    """Allow what waits for a person."""


def approve_prune(
    cluster: OneCluster,
    workload: OneWorkload = "",
    yes: Yes = False,
    reason: Reason = "",
) -> None:
    """Let a cluster delete more of a workload at once than may go without being asked.

    Such a deletion waits, and the workload says so. Shows what would be deleted first; an approval is good for just
    those objects, once. If it is not meant, put them back into Git.

    \b
    Examples:
      felloe approve prune --cluster shop-1
      felloe approve prune --cluster shop-1 --workload flux-system/apps --yes
    """
    from hub.cli import approval

    pending = with_hub(lambda client: approval.waiting(client, cluster, workload))
    if not approval.confirmed(pending, cluster, yes=yes):
        raise typer.Exit(1)
    with_hub(lambda client: approval.approve(client, pending, cluster, reason))


def _token() -> None:
    """Make the tokens that clusters join with."""


def create_token(
    cluster: Annotated[str, typer.Option("--cluster", metavar="NAME", help="The name that the cluster gets.")],
    label: Annotated[
        list[str] | None,
        typer.Option("--label", metavar="KEY=VALUE", help="A label of the cluster; may be repeated."),
    ] = None,
    ttl: Annotated[str, typer.Option(metavar="DURATION", help="How long it is good for, as 30m or 24h.")] = "1h",
) -> None:
    """Print a join token: good for one join, as this cluster, until it expires. It is a secret.

    \b
    Examples:
      felloe token create --cluster shop-1 --label env=dev > shop-1.token
      felloe spoke run --hub hub.example.com:8443 --token-file shop-1.token --kubeconfig ~/.kube/config --state ./state
    """
    from hub.cli import requests
    from hub.fleet.durations import parse_duration

    labels = {}
    for pair in label or ():
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise typer.BadParameter(f"{pair!r} is no KEY=VALUE", param_hint="--label")
        labels[key] = value
    try:
        seconds = parse_duration(ttl)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--ttl") from error
    token, expires_at = with_hub(lambda client: requests.create_token(client, cluster, labels, seconds))
    typer.echo(token)
    if sys.stdout.isatty():
        typer.echo(f"for one join of cluster {cluster}, until {expires_at}", err=True)
