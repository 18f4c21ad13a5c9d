"""`felloe approve prune`: shows what spokes want to delete and were not allowed to yet, and lets them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import typer

from hub.cli.asking import meant
from hub.cli.client import HubClient
from hub.cli.errors import NotFoundError
from hub.cli.get import Query, not_found
from hub.cli.kinds import BY_WORD
from hub.cli.view import Json, full_name, mapping, number, text, texts

_SHOWN = 50


async def waiting(client: HubClient, cluster: str, workload: str) -> list[Json]:
    """Return the workloads of a cluster whose deletions wait. Raise NotFoundError where none does."""
    query = Query(workload, cluster=cluster)
    found = await client.list("workloads", query.params())
    if workload and not found:
        raise await not_found(client, BY_WORD["workload"], query)
    pending = [one for one in found if mapping(one, "status", "pendingPrune")]
    if not pending:
        what = f"workload {workload}" if workload else "no workload"
        raise NotFoundError(f"{what} on cluster {cluster!r} {'has no' if workload else 'has a'} deletion that waits")
    return pending


def confirmed(pending: Sequence[Json], cluster: str, *, yes: bool) -> bool:
    """Show what would be deleted and return whether that is meant: said by `yes`, else asked at a terminal."""
    for line in _lines(pending, cluster):
        typer.echo(line)
    question = f"Delete {sum(_count(one) for one in pending)} objects on cluster {cluster}?"
    return meant(question, yes=yes, otherwise="Nothing was approved")


async def approve(client: HubClient, pending: Sequence[Json], cluster: str, reason: str) -> None:
    """Approve just what was shown: another deletion that took its place meanwhile is refused by the hub."""
    for one in pending:
        name = text(one, "status", "pendingPrune", "name")
        body = {"cluster": cluster, "kind": text(one, "kind"), "prune": name, "reason": reason}
        await client.post(f"workloads/{full_name(one)}/approve-prune", body)
        typer.echo(f"approved: {_count(one)} objects of workload {full_name(one)} are deleted on {cluster}")


def _lines(pending: Sequence[Json], cluster: str) -> Iterator[str]:
    for one in pending:
        names = texts(one, "status", "pendingPrune", "objects")[:_SHOWN]
        total = number(one, "status", "pendingPrune", "total")
        yield f"workload {full_name(one)} on {cluster} would delete {_count(one)} of {total} objects:"
        yield from (f"  {name}" for name in names)
        if more := _count(one) - len(names):
            yield f"  and {more} more (all of them: felloe diff --cluster {cluster})"


def _count(workload: Json) -> int:
    return number(workload, "status", "pendingPrune", "count")
