"""``felloe spoke run``: the friendly way to start a spoke.

It replaces itself by ``python -m spoke``, so that the process that stays carries no command line library and a token
given as an option is in nobody's process list.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

GIVE_MEMORY_BACK: Final = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_TRIM_THRESHOLD_": "65536",
    "MALLOC_TOP_PAD_": "16384",
    "MALLOC_MMAP_THRESHOLD_": "65536",
}
"""For glibc (mallopt(3)): a process that mostly waits gives back what it freed. 2 MiB of 69; the image sets it too."""


def register(app: typer.Typer) -> None:
    """Add the spoke's commands to the ``felloe`` command."""
    spoke = typer.Typer(help="The process in each cluster.", no_args_is_help=True)
    spoke.callback()(_spoke)
    spoke.command("run")(run)
    app.add_typer(spoke, name="spoke")


def _spoke() -> None:
    pass


def run(
    hub: Annotated[str, typer.Option(help="The hub's gRPC address, HOST:PORT.")],
    state: Annotated[Path, typer.Option(help="Folder for the certificate and the copy of the desired state.")],
    token: Annotated[str, typer.Option(help="A join token, for the first start. Better: --token-file.")] = "",
    token_file: Annotated[
        Path | None, typer.Option(help="File with the join token, for the first start. Else $FELLOE_TOKEN is used.")
    ] = None,
    kubeconfig: Annotated[Path | None, typer.Option(help="Which cluster; without it, the one this pod is in.")] = None,
    context: Annotated[str, typer.Option(help="Context of the kubeconfig; without it, its current one.")] = "",
    default_service_account: Annotated[
        str, typer.Option(help="Apply workloads that name no service account as this one of their namespace.")
    ] = "",
    prune_former_hub: Annotated[
        bool, typer.Option(help="Delete what an earlier hub left in this cluster and this one doesn't want.")
    ] = False,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Run a spoke: make one cluster what the hub says, and keep it so, also while the hub is away."""
    argv = [sys.executable, "-m", "spoke", f"--hub={hub}", f"--state={state}", f"--log-level={log_level}"]
    if token:
        argv.append(f"--token-file={_in_a_pipe(token)}")
    elif token_file is not None:
        argv.append(f"--token-file={token_file}")
    if kubeconfig is not None:
        argv.append(f"--kubeconfig={kubeconfig}")
    if context:
        argv.append(f"--context={context}")
    if default_service_account:
        argv.append(f"--default-service-account={default_service_account}")
    if prune_former_hub:
        argv.append("--prune-former-hub")
    sys.stdout.flush()
    os.execve(sys.executable, argv, {**GIVE_MEMORY_BACK, **os.environ})  # noqa: S606


def _in_a_pipe(secret: str) -> str:
    """Return a path that this process, and what replaces it, can read a secret from once."""
    readable, writable = os.pipe()
    os.set_inheritable(readable, True)
    with os.fdopen(writable, "w", encoding="utf-8") as pipe:
        pipe.write(secret)
    return f"/dev/fd/{readable}"
