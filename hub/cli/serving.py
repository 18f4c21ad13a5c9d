"""The commands on the hub's own machine: hub serve, hub webhook-secret."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[str, typer.Option(metavar="DIR", help="Where the hub keeps its state, its CA and its secrets.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True)
    group.callback()(_hub)
    group.command()(serve)
    group.command()(webhook_secret)
    app.add_typer(group, name="hub", short_help="Run a hub.")


def _hub() -> None:
    """Run a hub."""


def serve(
    data: Data = "",
    fleet: Annotated[
        str,
        typer.Option(
            metavar="URL[@REF]", help="The fleet repository and its branch, tag or commit (else its default branch)."
        ),
    ] = "",
    fleet_path: Annotated[
        str,
        typer.Option(
            metavar="PATH", help="The folder in it with Clusters, Environments and Placements; may be absent. [fleet/]"
        ),
    ] = "",
    sync_path: Annotated[
        str,
        typer.Option(
            metavar="PATH",
            help="The folder that configures a cluster which no Cluster object declares: 'clusters/${cluster_name}'.",
        ),
    ] = "",
    secrets: Annotated[
        str, typer.Option(metavar="DIR", help="The sources' secrets, as DIR/<namespace>/<name>/<key>.")
    ] = "",
    instead_of: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PREFIX=REPLACEMENT",
            help="Fetch URLs that begin with PREFIX from REPLACEMENT, as git's insteadOf; may be repeated.",
        ),
    ] = None,
    advertise: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A name or address of this hub, for its certificate; credentials get the first; may be repeated.",
        ),
    ] = None,
    kustomize: Annotated[str, typer.Option(metavar="PATH", help="The kustomize binary. [the one in PATH]")] = "",
    epoch: Annotated[
        str,
        typer.Option(
            metavar="N", help="Start with this epoch or a later one: after a restored backup, as spokes' refusals say."
        ),
    ] = "",
    grpc: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where spokes connect to; port 0 chooses one.")] = "",
    http: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where the API and webhooks are; port 0 chooses one.")
    ] = "",
    config: Annotated[
        str, typer.Option(metavar="FILE", help="YAML with the same settings (data: …, fleet: …); flags win.")
    ] = "",
) -> None:
    """Run the hub until SIGTERM or Ctrl-C.

    At the first start it makes in its data folder a CA, an admin credential (admin.yaml: what FELLOE_CREDENTIAL wants)
    and a secret for webhooks. Only the hash of the admin's token is kept beside it: move admin.yaml away if you like;
    to have a new token made, delete admin-token.sha256 and start again.

    \b
    Examples:
      felloe hub serve --data ./hub --fleet https://git.example.com/fleet.git@main \\
          --sync-path 'clusters/${cluster_name}' --grpc 127.0.0.1:8443 --http 127.0.0.1:8080
      felloe hub serve --config hub.yaml
    """
    from hub.config import load_config

    given: dict[str, object] = {
        "data": data,
        "fleet": fleet,
        "fleet-path": fleet_path,
        "sync-path": sync_path,
        "secrets": secrets,
        "instead-of": instead_of,
        "advertise": advertise,
        "kustomize": kustomize,
        "epoch": epoch,
        "grpc": grpc,
        "http": http,
    }
    settings = load_config(given, Path(config) if config else None)
    # gRPC's C core reads these once, when it is loaded. Its fork handlers abort some of the processes that builds start
    # (Check failed: next_worker->state == KICKED), and what it says on stderr is logged by ourselves.
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    from hub.server import run

    run(settings)


def webhook_secret(data: Data) -> None:
    """Print the secret that a Git server needs to announce pushes to POST /hooks/git.

    GitHub, Gitea and Forgejo: the webhook's "secret", content type JSON. GitLab: its "secret token". Anything else:
    send it as "Authorization: Bearer SECRET" with the body {"url": "<repository URL>"}.

    \b
    Example:
      felloe hub webhook-secret --data ./hub
    """
    from hub.api.credentials import webhook_secret as read

    typer.echo(read(Path(data)))
