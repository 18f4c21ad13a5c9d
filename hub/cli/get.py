"""`felloe get`: lists, single resources and watches of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import typer

from felloe.k8syaml import JsonValue, dump
from hub.cli.client import HubClient
from hub.cli.errors import NotFoundError
from hub.cli.kinds import Kind
from hub.cli.table import Row, Screen, Table
from hub.cli.view import Json, full_name, mapping, text
from hub.cli.words import Output

_ANY_TIME = datetime(1970, 1, 1, tzinfo=UTC)
"""Compared at one moment, rows have the age of nothing: 0s."""


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked for; empty is all."""

    name: str = ""
    selector: str = ""
    cluster: str = ""

    def params(self) -> Mapping[str, str]:
        """Return the parameters of the request."""
        return {"name": self.name, "labelSelector": self.selector, "cluster": self.cluster}


async def show(client: HubClient, kind: Kind, query: Query, output: Output | None, screen: Screen) -> None:
    """Print what there is. Raise NotFoundError where a name is asked for that nothing has."""
    found = await client.list(kind.plural, query.params())
    if query.name and not found:
        raise await not_found(client, kind, query)
    if not found and output in {None, Output.WIDE}:
        typer.echo(f"no {kind.plural} found", err=True)
        return
    for line in _printed(kind, found, output, screen, single=bool(query.name) and len(found) == 1):
        typer.echo(line)


async def watch(client: HubClient, kind: Kind, query: Query, output: Output | None, screen: Screen) -> None:
    """Print what there is, then each resource again as it changes, until interrupted."""
    table = Table(kind.head(wide=output is Output.WIDE), screen)
    told: dict[tuple[str, str, str], Row] = {}
    first: list[Json] | None = []
    async for change in client.watch(kind.plural, query.params()):
        if first is not None and change.kind != "SYNCED":
            first.append(change.resource)
        elif first is not None:
            _print_rows(kind, first, output, table, header=True)
            for resource in first:
                _is_news(kind, resource, told, wide=output is Output.WIDE)
            first = None
        else:
            resource = _removed(change.resource) if change.kind == "DELETED" else change.resource
            if output not in {None, Output.WIDE} or _is_news(kind, resource, told, wide=output is Output.WIDE):
                _print_rows(kind, [resource], output, table, header=False)


async def not_found(client: HubClient, kind: Kind, query: Query) -> NotFoundError:
    """Return the error that says what there is instead of what was asked for."""
    where = f" on cluster {query.cluster!r}" if query.cluster else ""
    names = sorted({full_name(one) for one in await client.list(kind.plural, {"cluster": query.cluster})})
    shown = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    there = f"there are: {shown}" if names else f"there are no {kind.plural}{where}"
    return NotFoundError(f"there is no {kind.singular} {query.name!r}{where}; {there}")


def _print_rows(kind: Kind, resources: Sequence[Json], output: Output | None, table: Table, *, header: bool) -> None:
    if output in {None, Output.WIDE}:
        now = datetime.now(UTC)
        rows = [kind.row(resource, now, wide=output is Output.WIDE) for resource in resources]
        lines: Iterator[str] = iter(table.lines(rows, header=header))
    else:
        lines = (line for one in resources for line in _documents(kind, one, output))
    for line in lines:
        typer.echo(line)


def _is_news(kind: Kind, resource: Json, told: dict[tuple[str, str, str], Row], *, wide: bool) -> bool:
    """Say whether the row of a resource is another one than before, its age aside; take note of it."""
    who = (text(resource, "cluster"), full_name(resource), text(resource, "kind"))
    row = kind.row(resource, _ANY_TIME, wide=wide)
    before, told[who] = told.get(who), row
    return row != before


def _documents(kind: Kind, resource: Json, output: Output | None) -> Iterator[str]:
    """Return one resource of a watch: a line of JSON, a YAML document, or its name."""
    if output is Output.JSON:
        yield json.dumps(resource, ensure_ascii=False)
    elif output is Output.YAML:
        yield "---"
        yield dump(dict(resource)).rstrip("\n")
    else:
        yield _named(kind, resource)


def _printed(
    kind: Kind, found: Sequence[Json], output: Output | None, screen: Screen, *, single: bool
) -> Iterator[str]:
    items: list[JsonValue] = [dict(one) for one in found]
    whole: JsonValue = items[0] if single else {"kind": "List", "apiVersion": "v1", "items": items}
    if output is Output.JSON:
        yield json.dumps(whole, indent=4, ensure_ascii=False)
    elif output is Output.YAML:
        yield dump(whole).rstrip("\n")
    elif output is Output.NAME:
        yield from dict.fromkeys(_named(kind, one) for one in found)
    else:
        wide, now = output is Output.WIDE, datetime.now(UTC)
        table = Table(kind.head(wide=wide), screen)
        yield from table.lines([kind.row(one, now, wide=wide) for one in found])


def _named(kind: Kind, resource: Json) -> str:
    return f"{kind.singular}/{full_name(resource)}"


def _removed(resource: Json) -> Json:
    """Return a resource that is gone so that its row says so."""
    gone: JsonValue = [{"type": "Ready", "status": "-", "message": "removed"}]
    return {**resource, "status": {**mapping(resource, "status"), "conditions": gone}}
