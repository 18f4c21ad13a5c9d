"""`felloe fleet`: the whole fleet on one screen, as the hub sums it up."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime

import typer

from hub.cli.client import HubClient
from hub.cli.follow import Known
from hub.cli.human import revision, shortened
from hub.cli.rollout import bar
from hub.cli.table import Row, Screen, one_line, section
from hub.cli.view import Json, flag, mapping, number, objects, text

_ENVIRONMENTS = ("ENVIRONMENT", "FROM", "CLUSTERS", "READY", "FAILING", "OFFLINE", "RUNS")
_ROLLOUTS = ("ROLLOUT", "PHASE", "PROGRESS", "DONE", "RUNS", "GETS", "MESSAGE")
_REVISIONS = 3


async def show(client: HubClient, screen: Screen, *, as_json: bool) -> None:
    """Print the fleet as it is."""
    fleet = await client.get("fleet")
    if as_json:
        typer.echo(json.dumps(dict(fleet), indent=4, ensure_ascii=False))
        return
    for line in lines(fleet, screen):
        typer.echo(line)


def lines(fleet: Json, screen: Screen) -> Iterator[str]:
    """Return the screen."""
    environments = objects(fleet, "environments")
    yield from section("Environments", _ENVIRONMENTS, [_environment(one) for one in environments], screen)
    tracks = [track for one in environments for track in objects(one, "tracks")]
    yield from section("Rollouts", _ROLLOUTS, [_track(one) for one in tracks], screen)
    for title, stuck in (("Stuck", True), ("Waiting", False)):
        waits = [one for one in objects(fleet, "waits") if flag(one, "stuck") is stuck]
        if waits or stuck:
            yield f"{title}:" if waits else f"{title}: nothing"
        for wait in waits:
            yield f"  {_waits(wait)}"
            if command := text(wait, "command"):
                yield f"    {command}"


def _environment(one: Json) -> Row:
    total = number(one, "clusters")
    return [
        text(one, "name") or "(none)",
        text(one, "promotedFrom") or "-",
        str(total),
        str(number(one, "ready")),
        str(number(one, "failing")),
        str(number(one, "offline")),
        _runs(objects(one, "revisions")),
    ]


def _runs(revisions: list[Json]) -> str:
    if len(revisions) == 1:
        return revision(text(revisions[0], "revision"))
    shown = [f"{revision(text(one, 'revision'))} on {number(one, 'clusters')}" for one in revisions[:_REVISIONS]]
    more = len(revisions) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "") or "-"


def _track(one: Json) -> Row:
    moves = text(one, "phase") in {"Progressing", "Paused"}
    gets = (number(one, "release"), text(one, "revision")) if moves else _upcoming(one)
    runs = (number(one, "baseRelease"), text(one, "baseRevision"))
    if text(one, "phase") == "Complete":
        runs = (number(one, "release"), text(one, "revision"))
    return [
        text(one, "name"),
        text(one, "phase"),
        bar(one, 10),
        f"{number(one, 'done')}/{number(one, 'clusters')}",
        _release(*runs),
        _release(*gets),
        shortened(one_line(text(one, "message"))).removeprefix(f"release {number(one, 'release')}: "),
    ]


def _upcoming(track: Json) -> tuple[int, str]:
    upcoming = mapping(track, "next")
    return number(upcoming, "release"), text(upcoming, "revision")


def _release(number_: int, full: str) -> str:
    return f"{number_} {revision(full)}" if number_ else "-"


def _waits(wait: Json) -> str:
    name, said = text(wait, "name"), shortened(one_line(_gist(text(wait, "message"))))
    kind = "cluster " if text(wait, "kind") == "Cluster" and name else ""
    kind = "clusters " if kind and "," in name else kind
    return f"{kind}{name}: {said}" if name else said


def _gist(message: str) -> str:
    """Return a message with the first one of several mistakes."""
    head, *mistakes = message.splitlines() or [""]
    if len(mistakes) < 2:
        return message
    return f"{head}: {mistakes[0].removeprefix('- ')}, and {len(mistakes) - 1} more: felloe get sources"


class FleetView:
    """Follows the fleet, for ever."""

    def __init__(self) -> None:
        self._told: dict[str, str] = {}

    def lines(self, known: Known, now: datetime, screen: Screen) -> Iterable[str]:
        """Return the screen."""
        return [line for fleet in known.values() for line in lines(fleet, screen)]

    def news(self, known: Known) -> Iterable[str]:
        """Return a line for each environment, rollout and wait that is other than before."""
        now = {about: line for fleet in known.values() for about, line in _spoken(fleet)}
        changed = [line for about, line in now.items() if self._told.get(about) != line]
        gone = [f"no more: {line}" for about, line in self._told.items() if about not in now]
        self._told = now
        return [*changed, *gone]

    def over(self, known: Known) -> bool:
        """Tell that it goes on."""
        return False


def _spoken(fleet: Json) -> Iterator[tuple[str, str]]:
    for one in objects(fleet, "environments"):
        name, _, total, ready, failing, offline, runs = _environment(one)
        counts = f"{ready} of {total} ready, {failing} failing, {offline} offline"
        yield f"environment {name}", f"environment {name}: {counts}; runs {runs}"
        for track in objects(one, "tracks"):
            done = f"{number(track, 'done')}/{number(track, 'clusters')} done"
            said = shortened(one_line(text(track, "message")))
            yield f"rollout {text(track, 'name')}", f"rollout {text(track, 'name')}: {done}, {said}"
    for wait in objects(fleet, "waits"):
        said = f"{'stuck' if flag(wait, 'stuck') else 'waits'}: {_waits(wait)}"
        yield said, said
