"""The command that takes a cluster over from another controller: adopt flux."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from hub.cli.session import OneCluster, Reason, Yes, with_hub


def register(app: typer.Typer) -> None:
    """Add the command."""
    adopt = typer.Typer(no_args_is_help=True)
    adopt.command("flux")(flux)
    adopt.callback()(_adopt)
    app.add_typer(adopt, name="adopt", short_help="Take a cluster over from Flux, or give it back.")


def _adopt() -> None:
    """Take a cluster over from another controller."""


def flux(
    cluster: OneCluster,
    undo: Annotated[bool, typer.Option("--undo", help="Give the cluster back to Flux.")] = False,
    yes: Yes = False,
    leftovers: Annotated[
        Literal["keep", "prune"] | None,
        typer.Option(help="What becomes of objects that Flux applied and no workload wants: needed if there are any."),
    ] = None,
    frozen: Annotated[bool, typer.Option("--frozen", help="Also what was suspended by hand in Flux.")] = False,
    reason: Reason = "",
    output: Annotated[Literal["json"] | None, typer.Option("--output", "-o", help="JSON instead of a table.")] = None,
) -> None:
    """Take over what Flux applies in a cluster: its inventories and its objects, without a restart or a deletion.

    What would be done is shown first. Until then the spoke leaves alone what Flux applies. Flux's Kustomizations stay,
    suspended; with --undo they get their objects back and go on as they were.

    \b
    Examples:
      felloe adopt flux --cluster shop-1              # what it would do
      felloe adopt flux --cluster shop-1 --yes
      felloe adopt flux --cluster shop-1 --undo --yes
    """
    from hub.cli import adoption
    from hub.cli.contexts import environment
    from hub.cli.table import screen

    wish = adoption.Wish(cluster, undo=undo, frozen=frozen, leftovers=leftovers or "", reason=reason)
    shown = screen(environment())
    plan = with_hub(lambda client: adoption.plan(client, wish), timeout=adoption.PATIENCE)
    if output == "json" and not yes:
        adoption.print_json(plan)
        return
    if output != "json":
        adoption.show(plan, wish, shown)
    if yes or adoption.confirmed(plan, wish):
        done = with_hub(lambda client: adoption.act(client, wish))
        adoption.told(done, as_json=output == "json")
