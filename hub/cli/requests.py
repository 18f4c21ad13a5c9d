"""What the changing commands ask of the hub."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import typer

from hub.cli.client import HubClient
from hub.cli.errors import NotFoundError
from hub.cli.get import Query, not_found
from hub.cli.kinds import BY_WORD, Kind
from hub.cli.view import full_name, text, texts

_DONE = {"reconcile": "is applied again", "suspend": "suspended", "resume": "resumed"}


async def create_token(client: HubClient, cluster: str, labels: Mapping[str, str], ttl: float) -> tuple[str, str]:
    """Return a new join token and when it expires."""
    answer = await client.post("tokens", {"cluster": cluster, "labels": dict(labels), "ttlSeconds": ttl})
    return text(answer, "token"), text(answer, "expiresAt")


async def reconcile_source(client: HubClient, name: str) -> None:
    """Have a source fetched and say the revision that it has then."""
    found = await _the_one(client, BY_WORD["source"], Query(name))
    answer = await client.post(f"sources/{found}/reconcile", {}, timeout=300)
    typer.echo(f"source {found} is at {text(answer, 'revision') or 'no revision yet'}")


async def change_workload(
    client: HubClient, verb: Literal["reconcile", "suspend", "resume"], name: str, cluster: str, reason: str = ""
) -> None:
    """Have something done to a workload, on one cluster or on all that have it, and say where."""
    found = await _the_one(client, BY_WORD["workload"], Query(name, cluster=cluster))
    where = {"cluster": cluster} if cluster else {}
    answer = await client.post(f"workloads/{found}/{verb}", {**where, "reason": reason})
    clusters = texts(answer, "clusters")
    shown = ", ".join(clusters[:10]) + (f" and {len(clusters) - 10} more" if len(clusters) > 10 else "")
    typer.echo(f"workload {found} {_DONE[verb]} on {shown}")


async def _the_one(client: HubClient, kind: Kind, query: Query) -> str:
    """Return NAMESPACE/NAME of what a name means. Raise NotFoundError where it means nothing or several things."""
    names = sorted({full_name(resource) for resource in await client.list(kind.plural, query.params())})
    if not names:
        raise await not_found(client, kind, query)
    if len(names) > 1:
        raise NotFoundError(f"{query.name!r} is the name of several {kind.plural}: say which of {', '.join(names)}")
    return names[0]
