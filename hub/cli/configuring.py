"""`felloe config`: which hubs this person knows, and which one commands talk to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True)
    group.callback()(_config)
    group.command()(get_contexts)
    group.command()(use_context)
    group.command()(current_context)
    group.command("import")(import_context)
    app.add_typer(group, name="config", short_help="Say which hub commands talk to.")


def _config() -> None:
    """Say which hub commands talk to; kept in ~/.config/felloe/config.yaml, with contexts as a kubeconfig has."""


def _complete_context(incomplete: str) -> list[str]:
    from felloe.errors import FelloeError
    from hub.cli.contexts import config_path, environment, read_contexts

    try:
        names = read_contexts(config_path(environment())).credentials
    except FelloeError:
        return []
    return [name for name in names if name.startswith(incomplete)]


ContextName = Annotated[str, typer.Argument(metavar="NAME", autocompletion=_complete_context)]


def get_contexts() -> None:
    """List the hubs that are known; the current one has a star."""
    from hub.cli.contexts import config_path, environment, read_contexts
    from hub.cli.table import Table, screen

    contexts = read_contexts(config_path(environment()))
    rows = [
        ["*" if name == contexts.current else "", name, credential.server]
        for name, credential in sorted(contexts.credentials.items())
    ]
    for line in Table(("CURRENT", "NAME", "SERVER"), screen(environment())).lines(rows):
        typer.echo(line)


def use_context(name: ContextName) -> None:
    """Talk to another hub from now on."""
    from hub.cli.contexts import config_path, environment, read_contexts, use, write_contexts

    path = config_path(environment())
    write_contexts(path, use(read_contexts(path), name, path))
    typer.echo(f"switched to context {name!r}")


def current_context() -> None:
    """Print the name of the current context."""
    from felloe.errors import ConfigError
    from hub.cli.contexts import config_path, environment, read_contexts

    current = read_contexts(config_path(environment())).current
    if not current:
        raise ConfigError("there is no current context: felloe config import NAME --credential FILE makes one")
    typer.echo(current)


def import_context(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call the hub.")],
    credential: Annotated[str, typer.Option(metavar="FILE", help="A credential file: the hub's DATA/admin.yaml.")],
) -> None:
    """Take up a credential file under a name.

    It replaces what had the name, and commands talk to that hub from now on.

    \b
    Example:
      felloe config import production --credential ./hub/admin.yaml
    """
    from hub.cli.contexts import config_path, environment, read_contexts, read_credential, write_contexts

    path = config_path(environment())
    contexts = read_contexts(path)
    credentials = {**contexts.credentials, name: read_credential(Path(credential))}
    write_contexts(path, replace(contexts, current=name, credentials=credentials))
    typer.echo(f"context {name!r} is {credentials[name].server}, and the current one")
