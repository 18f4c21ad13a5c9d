"""`felloe describe`: all about one cluster or workload, for a person who wants to know why."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain

import typer

from hub.cli import rollout
from hub.cli.client import HubClient
from hub.cli.get import Query, not_found
from hub.cli.human import age, labels, revision, shortened
from hub.cli.kinds import Kind
from hub.cli.table import Row, Screen, fields, one_line, section
from hub.cli.view import Json, flag, full_name, mapping, number, objects, text, texts

_EVENTS = 20
_FRACTION = re.compile(r"\.\d+")


async def describe(client: HubClient, kind: Kind, query: Query, screen: Screen) -> None:
    """Print all about the resources of a name. Raise NotFoundError where nothing has it."""
    found = await client.list(kind.plural, query.params())
    if not found:
        raise await not_found(client, kind, query)
    now = datetime.now(UTC)
    for index, resource in enumerate(found):
        if index:
            typer.echo("")
        for line in await _lines(client, kind, resource, now, screen):
            typer.echo(line)


async def _lines(client: HubClient, kind: Kind, resource: Json, now: datetime, screen: Screen) -> Iterator[str]:
    if kind.plural == "rollouts":
        about = f"{full_name(resource)}: "
        events = [one for one in await client.list("events") if text(one, "message").startswith(about)]
        return chain(rollout.lines(resource, now, screen, most=None), _events(events, now, screen))
    on = text(resource, "cluster") or text(resource, "metadata", "name")
    events = await client.list("events", {"cluster": on})
    if kind.plural == "clusters":
        return _cluster(resource, await client.list("workloads", {"cluster": on}), events, now, screen)
    return _workload(resource, events, now, screen)


def _cluster(
    cluster: Json, workloads: Sequence[Json], events: Sequence[Json], now: datetime, screen: Screen
) -> Iterator[str]:
    connected = flag(cluster, "status", "connected")
    since = text(cluster, "status", "connectedSince" if connected else "lastSeen")
    yield from fields(
        ("Name", full_name(cluster)),
        ("Labels", labels(mapping(cluster, "metadata", "labels"))),
        ("Environment", text(cluster, "spec", "environment")),
        ("Sync path", text(cluster, "spec", "syncPath")),
        ("Variables", labels(mapping(cluster, "spec", "variables"))),
        ("Connected", f"{'yes, for' if connected else 'no, last seen before'} {age(since, now)}" if since else "never"),
        ("Spoke", text(cluster, "status", "spokeVersion")),
        ("Cluster says", labels(mapping(cluster, "status", "facts"))),
        ("Revision", text(cluster, "status", "revision")),
        ("Attempted", text(cluster, "status", "attemptedRevision")),
        ("Root", text(cluster, "status", "root")),
        ("Desired root", text(cluster, "status", "desiredRoot")),
    )
    yield from _conditions(cluster, now, screen)
    yield from _notes(cluster)
    rows = [
        [
            f"{text(one, 'namespace')}/{text(one, 'name')}",
            text(one, "ready"),
            revision(text(one, "lastAppliedRevision")),
            one_line(text(one, "message")),
        ]
        for one in objects(cluster, "status", "workloads")
    ]
    yield from section("Workloads", ["NAME", "READY", "REVISION", "MESSAGE"], rows, screen)
    problems = [[full_name(one), *row] for one in workloads for row in _problem_rows(one)]
    yield from section("Failing objects", ["WORKLOAD", "OBJECT", "REASON", "MESSAGE"], problems, screen)
    yield from _events(events, now, screen)


def _workload(workload: Json, events: Sequence[Json], now: datetime, screen: Screen) -> Iterator[str]:
    cluster = text(workload, "cluster")
    yield from fields(
        ("Name", full_name(workload)),
        ("Kind", text(workload, "kind")),
        ("Cluster", cluster),
        ("Source", text(workload, "spec", "source")),
        ("Path", text(workload, "spec", "path")),
        ("From", text(workload, "spec", "origin")),
        ("Parent", text(workload, "spec", "parent")),
        ("Depends on", ", ".join(texts(workload, "spec", "dependsOn"))),
        ("Suspended", "yes" if flag(workload, "spec", "suspend") else "no"),
        ("Applied revision", text(workload, "status", "lastAppliedRevision")),
        ("Attempted revision", text(workload, "status", "lastAttemptedRevision")),
        ("Last applied", _moment(text(workload, "status", "appliedAt"), now)),
        ("Last healthy", _moment(text(workload, "status", "healthyAt"), now)),
        ("Objects", str(number(workload, "status", "objects"))),
        ("Drift healed", str(number(workload, "status", "healed"))),
        *_pending_prune(workload),
    )
    yield from _conditions(workload, now, screen)
    yield from _notes(workload)
    problems = _problem_rows(workload)
    yield from section("Failing objects", ["OBJECT", "REASON", "MESSAGE"], problems, screen)
    more = number(workload, "status", "problemCount") - len(problems)
    if more > 0:
        yield f"  and {more} more"
    yield from _events([event for event in events if _concerns(event, workload)], now, screen)


def _pending_prune(workload: Json) -> Iterator[tuple[str, str]]:
    pending = mapping(workload, "status", "pendingPrune")
    if pending:
        count, total = number(pending, "count"), number(pending, "total")
        yield "Waits for approval", f"to delete {count} of {total} objects"


def _concerns(event: Json, workload: Json) -> bool:
    involved = mapping(event, "involvedObject")
    return (text(event, "cluster"), text(involved, "kind"), text(involved, "namespace"), text(involved, "name")) == (
        text(workload, "cluster"),
        text(workload, "kind"),
        text(workload, "metadata", "namespace"),
        text(workload, "metadata", "name"),
    )


def _moment(stamp: str, now: datetime) -> str:
    return f"{_FRACTION.sub('', stamp)} ({age(stamp, now)} ago)" if stamp else ""


def _conditions(resource: Json, now: datetime, screen: Screen) -> Iterator[str]:
    rows = [
        [
            text(one, "type"),
            text(one, "status"),
            text(one, "reason"),
            age(text(one, "lastTransitionTime"), now),
            one_line(text(one, "message")),
        ]
        for one in objects(resource, "status", "conditions")
    ]
    yield from section("Conditions", ["TYPE", "STATUS", "REASON", "SINCE", "MESSAGE"], rows, screen)


def _notes(resource: Json) -> Iterator[str]:
    notes = texts(resource, "status", "notes")
    if notes:
        yield "Notes:"
        yield from (f"  {note}" for note in notes)


def _problem_rows(workload: Json) -> list[Row]:
    return [
        [text(one, "object"), text(one, "reason"), one_line(text(one, "message"))]
        for one in objects(workload, "status", "problems")
    ]


def _events(events: Sequence[Json], now: datetime, screen: Screen) -> Iterator[str]:
    rows = [event_row(event, now) for event in events[-_EVENTS:]]
    yield from section("Events", EVENT_HEAD, rows, screen)


EVENT_HEAD: Row = ("LAST SEEN", "TYPE", "REASON", "CLUSTER", "OBJECT", "MESSAGE")


def event_row(event: Json, now: datetime) -> Row:
    """Return the table's row of an event."""
    involved = mapping(event, "involvedObject")
    workload = "/".join(part for part in (text(involved, key) for key in ("kind", "namespace", "name")) if part)
    about = text(event, "object") or workload
    message = shortened(one_line(text(event, "message")))
    return [
        age(text(event, "lastTimestamp"), now),
        text(event, "type"),
        text(event, "reason"),
        text(event, "cluster") or "-",
        about or "-",
        message.removeprefix(about).lstrip(": ") if about else message,
    ]
