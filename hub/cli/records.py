"""What the commands that look back ask of the hub."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Final

import typer

from felloe.errors import ConfigError, Place
from hub.audit.chain import Chain, ChainError
from hub.cli.client import HubClient
from hub.cli.get import Query, not_found
from hub.cli.human import moment, revision, shortened, span
from hub.cli.kinds import BY_WORD
from hub.cli.table import Screen, Table, one_line
from hub.cli.view import Json, mapping, number, objects, text, texts

_PAGE: Final = 1000
_FEW: Final = 3


async def audit(client: HubClient, asked: Mapping[str, str], screen: Screen, *, as_json: bool) -> None:
    """Print the entries that are asked for, page by page."""
    table = Table(("NUMBER", "AT", "WHO", "ACTION", "ABOUT", "CLUSTERS", "REASON"), screen)
    first = True
    async for page in _pages(client, asked):
        lines = page if as_json else table.lines([_entry(json.loads(line)) for line in page], header=first)
        for line in lines:
            typer.echo(line)
        first = False
    if first and not as_json:
        typer.echo("no entries", err=True)


async def verify(client: HubClient, file: str) -> str:
    """Return that the hub's audit log is as it was written. Raise ChainError where it is not."""
    exported = _exported(Path(file)) if file else ()
    chain, missing = Chain(), object()
    expected: Iterator[str] = iter(exported)
    async for page in _pages(client, {}):
        for line in page:
            chain.add(line)
            before = next(expected, missing)
            if before is not missing and before != line:
                raise ChainError(f"entry {chain.number} of the hub's audit log is another one than in {file}")
    if next(expected, missing) is not missing:
        raise ChainError(f"the hub's audit log ends with entry {chain.number}; {file} has more: entries are missing")
    if not chain.number:
        return "the audit log is empty"
    also = f" and begin with those of {file}" if file else ""
    return f"entries 1 to {chain.number} follow on each other{also}; the last one's sha256 is {chain.digest}"


def _exported(path: Path) -> list[str]:
    """Return the lines of an export. Raise ConfigError where it can't be read, ChainError where it was changed."""
    try:
        content = path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"can't be read: {reason}", Place(str(path))) from error
    lines = content.removesuffix("\n").split("\n") if content else []
    chain = Chain()
    for line in lines:
        chain.add(line)
    return lines


async def _pages(client: HubClient, asked: Mapping[str, str]) -> AsyncGenerator[list[str]]:
    after = 0
    while True:
        params = {**asked, "after": str(after), "limit": str(_PAGE)}
        async with aclosing(client.texts("audit", params, timeout=60.0)) as lines:
            page = [line async for line in lines]
        if page:
            yield page
        if len(page) < _PAGE:
            return
        after = number(json.loads(page[-1]), "number")


async def history(client: HubClient, cluster: str, workload: str, limit: int, screen: Screen, *, as_json: bool) -> None:
    """Print what moved a cluster, or a workload, oldest first."""
    answer = await client.get("history", {"cluster": cluster, "workload": workload, "limit": str(limit)})
    if as_json:
        typer.echo(json.dumps(dict(answer), indent=4, ensure_ascii=False))
        return
    found = objects(answer, "items")
    if not found and workload:
        await _check_workload(client, workload, cluster)
    if not found:
        typer.echo("nothing has moved yet", err=True)
        return
    head = ("AT", "CLUSTER", "GENERATION", "REVISION", "BEFORE", "HEALTHY", "AUTHOR", "THROUGH")
    for line in Table(head, screen).lines([_publication(one, workload) for one in found]):
        typer.echo(line)


async def _check_workload(client: HubClient, name: str, cluster: str) -> None:
    """Raise NotFoundError where there is no workload of a name."""
    query = Query(name, cluster=cluster)
    if not await client.list("workloads", query.params()):
        raise await not_found(client, BY_WORD["workload"], query)


def _publication(published: Json, workload: str) -> list[str]:
    shown = _of_workload(published, workload) if workload else published
    gone = text(shown, "change") == "removed"
    return [
        text(published, "at"),
        text(published, "cluster"),
        str(number(published, "generation")),
        "removed" if gone else revision(text(shown, "revision")),
        revision(text(shown, "formerRevision")),
        _took(text(published, "at"), text(published, "healthyAt")),
        _few(texts(published, "authors")),
        "; ".join(_through(one) for one in objects(published, "via")) or "commit",
    ]


def _through(passage: Json) -> str:
    approvers = texts(passage, "approvers")
    approved = f", approved by {_few(approvers)}" if approvers else ""
    return f"{text(passage, 'track')} release {number(passage, 'release')} by {text(passage, 'who')}{approved}"


def _of_workload(published: Json, workload: str) -> Json:
    namespace, _, name = workload.rpartition("/")
    matching = (
        one
        for one in objects(published, "workloads")
        if text(one, "name") == name and namespace in {"", text(one, "namespace")}
    )
    return next(matching, published)


def _took(since: str, until: str) -> str:
    began, ended = moment(since), moment(until)
    return span((ended - began).total_seconds()) if began and ended else "-"


def _entry(entry: Json) -> list[str]:
    return [
        str(number(entry, "number")),
        text(entry, "at").partition(".")[0] + "Z",
        text(entry, "who"),
        text(entry, "action"),
        _about(entry),
        _few(texts(entry, "clusters")),
        one_line(shortened(text(entry, "reason"))),
    ]


def _about(entry: Json) -> str:
    detail = mapping(entry, "detail")
    what = text(entry, "track") or text(entry, "workload") or text(detail, "source") or text(detail, "name")
    if failed := number(detail, "failed"):
        what = f"entry {failed}"
    commit = text(entry, "revision")
    parts = [what, shortened(commit), f"({text(entry, 'author')})" if text(entry, "author") else ""]
    return " ".join(part for part in parts if part) or "-"


def _few(names: list[str]) -> str:
    more = f" and {len(names) - _FEW} more" if len(names) > _FEW else ""
    return ", ".join(names[:_FEW]) + more or "-"
