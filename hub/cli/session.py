"""What every command that talks to a hub does: find the credential, open a client, run, close."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from felloe.errors import FelloeError

if TYPE_CHECKING:
    from hub.cli.client import HubClient

Result = TypeVar("Result")

_COMPLETION_TIMEOUT = 1.0


def with_hub(act: Callable[[HubClient], Awaitable[Result]], timeout: float = 30.0) -> Result:
    """Return what `act` does with a client of the hub that the environment names; `timeout` is seconds per request."""
    import asyncio

    from hub.cli.client import HubClient
    from hub.cli.contexts import environment, resolve

    async def run() -> Result:
        async with HubClient(resolve(environment()), timeout) as client:
            return await act(client)

    return asyncio.run(run())


def complete(plural: str, incomplete: str) -> list[str]:
    """Return the names in a list of the hub that begin so; none where the hub does not answer within a second."""
    from hub.cli.view import full_name

    async def names(client: HubClient) -> set[str]:
        found: set[str] = set()
        for resource in await client.list(plural):
            name = full_name(resource)
            found |= {name, name.rpartition("/")[2]}
        return found

    try:
        return sorted(name for name in with_hub(names, _COMPLETION_TIMEOUT) if name.startswith(incomplete))
    except FelloeError:
        return []


def complete_cluster(incomplete: str) -> list[str]:
    """Complete the name of a cluster."""
    return complete("clusters", incomplete)


def complete_workload(incomplete: str) -> list[str]:
    """Complete the name of a workload."""
    return complete("workloads", incomplete)


def complete_rollout(incomplete: str) -> list[str]:
    """Complete the name of a rollout."""
    return complete("rollouts", incomplete)


def complete_environment(incomplete: str) -> list[str]:
    """Complete the name of an environment."""
    return complete("environments", incomplete)


def complete_kind_and_name(context: typer.Context, incomplete: str) -> list[str]:
    """Complete a name of the kind that the word before it says."""
    from hub.cli.kinds import BY_WORD

    kind = BY_WORD.get(str(context.params.get("what") or "").lower())
    return complete(kind.plural, incomplete) if kind else []


def complete_action(incomplete: str) -> list[str]:
    """Complete what can stand in the audit log."""
    from hub.audit import Action

    return [action.value for action in Action if action.value.startswith(incomplete)]


Cluster = Annotated[
    str, typer.Option("--cluster", metavar="NAME", help="Only on this cluster.", autocompletion=complete_cluster)
]
Selector = Annotated[
    str,
    typer.Option(
        "--selector", "-l", metavar="SELECTOR", help="Label selector as kubectl's: env=prod,tier in (web,api),!legacy."
    ),
]
OneCluster = Annotated[
    str, typer.Option("--cluster", metavar="NAME", help="The cluster.", autocompletion=complete_cluster)
]
OneWorkload = Annotated[
    str,
    typer.Option(
        "--workload",
        metavar="NAME",
        help="Only this workload: NAME or NAMESPACE/NAME.",
        autocompletion=complete_workload,
    ),
]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it is kept in the audit log.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it; without this, a terminal is asked.")]
