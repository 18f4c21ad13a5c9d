"""The commands that look back: audit, audit verify, history."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from hub.cli.session import Cluster, OneWorkload, complete_action, with_hub

Output = Annotated[Literal["json"] | None, typer.Option("--output", "-o", help="JSON instead of the table.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(invoke_without_command=True)
    group.callback()(audit)
    group.command("verify")(verify)
    app.add_typer(group, name="audit", short_help="Show who did what, when and why.")
    app.command(short_help="Show which revision ran when.")(history)


def audit(
    context: typer.Context,
    cluster: Cluster = "",
    action: Annotated[
        str, typer.Option(metavar="ACTION", help="Only this, as WorkloadSuspended.", autocompletion=complete_action)
    ] = "",
    since: Annotated[str, typer.Option(metavar="WHEN", help="Only what is newer: 24h, or 2026-01-31T12:00:00Z.")] = "",
    output: Annotated[
        Literal["json"] | None, typer.Option("--output", "-o", help="JSON lines, as they were written.")
    ] = None,
) -> None:
    """Show what people and policies did, oldest first: who, what, to which clusters, and why.

    \b
    Examples:
      felloe audit --since 24h
      felloe audit --cluster shop-1 --action RolloutApproved
      felloe audit -o json > audit.jsonl            # an export
      felloe audit verify audit.jsonl               # nothing was changed since
    """
    if context.invoked_subcommand is not None:
        return
    from hub.cli import records
    from hub.cli.contexts import environment
    from hub.cli.table import screen

    shown, asked = screen(environment()), {"cluster": cluster, "action": action, "since": since}
    with_hub(lambda client: records.audit(client, asked, shown, as_json=output == "json"))


def verify(
    file: Annotated[str, typer.Argument(metavar="[FILE]", help="An earlier export (felloe audit -o json).")] = "",
) -> None:
    """Check that no entry of the audit log was changed, left out or put in: each holds the sha256 of the one before.

    With an export, also that the log still begins with it: that entries are missing at the end shows only so.
    Exits with 1 where something is wrong.
    """
    from hub.cli import records

    typer.echo(with_hub(lambda client: records.verify(client, file)))


def history(
    cluster: Cluster = "",
    workload: OneWorkload = "",
    limit: Annotated[int, typer.Option(metavar="N", help="How many, the newest.", min=1, max=10_000)] = 20,
    output: Output = None,
) -> None:
    """Show which revision ran when on a cluster, or of a workload, from whom it came and what let it through.

    Only what changed something on the cluster is there. HEALTHY is how long that took, from the hub's publishing it.

    \b
    Examples:
      felloe history --cluster shop-1
      felloe history --workload flux-system/apps --limit 50
      felloe history --cluster shop-1 --workload apps -o json
    """
    from hub.cli import records
    from hub.cli.contexts import environment
    from hub.cli.table import screen

    if not cluster and not workload:
        raise typer.BadParameter("say of what: --cluster NAME, --workload NAME, or both")
    shown = screen(environment())
    with_hub(lambda client: records.history(client, cluster, workload, limit, shown, as_json=output == "json"))
