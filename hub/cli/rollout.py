"""How a rollout is shown: what goes where, a bar for each stage, what it waits for, and who is not done."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final

import typer

from felloe.k8syaml import dump
from hub.cli.client import HubClient
from hub.cli.estimate import estimate
from hub.cli.follow import Known
from hub.cli.get import Query, not_found
from hub.cli.human import age, is_revision, moment, revision, shortened, span
from hub.cli.kinds import BY_WORD
from hub.cli.table import Row, Screen, fields, one_line, section
from hub.cli.view import Json, condition, full_name, mapping, number, objects, text
from hub.cli.words import Output

_BAR: Final = 24
_ENDED: Final = frozenset({"Complete", "Failed", "Aborted", "Undone"})
_CLUSTERS: Final = 20
"""How many clusters that are not done a status names."""


async def find(client: HubClient, name: str) -> Json:
    """Return the rollout of a name. Raise NotFoundError, which says what there is."""
    query = Query(name)
    found = await client.list("rollouts", query.params())
    if not found:
        raise await not_found(client, BY_WORD["rollout"], query)
    return found[0]


async def status(client: HubClient, name: str, output: Output | None, screen: Screen, now: datetime) -> None:
    """Print how a rollout is."""
    rollout = await find(client, name)
    if output is Output.JSON:
        typer.echo(json.dumps(dict(rollout), indent=4, ensure_ascii=False))
    elif output is Output.YAML:
        typer.echo(dump(dict(rollout)), nl=False)
    elif output is Output.NAME:
        typer.echo(f"rollout/{full_name(rollout)}")
    else:
        for line in lines(rollout, now, screen, most=None if output is Output.WIDE else _CLUSTERS):
            typer.echo(line)


def lines(rollout: Json, now: datetime, screen: Screen, *, most: int | None = _CLUSTERS) -> Iterator[str]:
    """Return a rollout as people read it, with at most so many clusters that are not done, or (None) all clusters."""
    yield from fields(*_about(rollout, now))
    head = ("STAGE", "PROGRESS", "DONE", "STATE")
    yield from section(
        "Stages", head, [_stage(rollout, one, now) for one in objects(rollout, "status", "stages")], screen
    )
    gates = [
        _gate(stage, gate, now) for stage in objects(rollout, "status", "stages") for gate in objects(stage, "gates")
    ]
    if gates:
        yield from section("Gates", ("STAGE", "GATE", "TYPE", "VERDICT", "FOR", "WHO", "MESSAGE"), gates, screen)
    yield from _clusters(rollout, now, screen, most)


def _about(rollout: Json, now: datetime) -> Iterator[tuple[str, str]]:
    what = mapping(rollout, "status")
    environment = text(rollout, "spec", "environment")
    yield "Rollout", full_name(rollout)
    yield "Unit", text(rollout, "spec", "unit") + (f" in {environment}" if environment else "")
    yield "Strategy", text(rollout, "spec", "strategy")
    if number(what, "release"):
        yield "Release", release(rollout)
    if number(what, "baseRelease"):
        yield "Before", f"{number(what, 'baseRelease')}, {revision(text(what, 'baseRevision'))}"
    if urgent := text(what, "urgent"):
        yield "Urgent", urgent
    yield "Phase", _phase(rollout, now)
    yield "Message", shortened(one_line(text(condition(rollout, "Ready"), "message")))
    if text(condition(rollout, "Selected"), "status") == "False":
        yield "Warning", one_line(text(condition(rollout, "Selected"), "message"))
    if queue := what.get("queue"):
        yield "Then", ", ".join(f"release {one}" for one in queue) if isinstance(queue, list) else ""
    upcoming = mapping(what, "next")
    if upcoming:
        named = f"release {number(upcoming, 'release')}, {revision(text(upcoming, 'revision'))}"
        yield "Next", f"{named}: {one_line(text(upcoming, 'message'))}"


def release(rollout: Json) -> str:
    """Return which release a rollout is about: number, revision, subject and author."""
    what = mapping(rollout, "status")
    subject, author = one_line(text(what, "subject")), text(what, "author")
    said = f' "{subject}"' if subject else ""
    return f"{number(what, 'release')}, {revision(text(what, 'revision'))}{said}{f' by {author}' if author else ''}"


def _phase(rollout: Json, now: datetime) -> str:
    phase = text(rollout, "status", "phase")
    ended = text(rollout, "status", "endedAt")
    if ended:
        return f"{phase}, {age(ended, now)} ago"
    if not text(rollout, "status", "beganAt"):
        return phase
    left = estimate(rollout, now)
    return f"{phase}, since {age(text(rollout, 'status', 'beganAt'), now)}{f', {left}' if left else ''}"


def _stage(rollout: Json, stage: Json, now: datetime) -> Row:
    done, total = number(stage, "done"), number(stage, "clusters")
    return [text(stage, "name"), bar(stage), f"{done}/{total}", stage_state(stage, now)]


def bar(stage: Json, width: int = _BAR) -> str:
    """Return a stage's progress: ``█`` done, ``▒`` on the way, ``x`` failed, ``·`` the others.

    Whatever is above zero has at least one character, and it is full only where all are done.
    """
    total = number(stage, "clusters")
    if not total:
        return "·" * width
    marks = (("x", number(stage, "failed")), ("▒", number(stage, "moving")), ("█", number(stage, "done")))
    drawn = ""
    left = width
    for mark, count in marks:
        length = min(left, max(1, count * width // total)) if count else 0
        drawn = mark * length + drawn
        left -= length
    return drawn + "·" * left


def stage_state(stage: Json, now: datetime | None) -> str:
    """Return in words what a stage is at; without `now`, with no words that change as time goes by."""
    if text(stage, "doneAt"):
        skipped = text(stage, "soakSkipped")
        behind = "".join(f", {number(stage, name)} {name}" for name in ("failed", "offline") if number(stage, name))
        return f"done{behind}{f', soak skipped: {skipped}' if skipped else ''}"
    counts = [f"{number(stage, name)} {name}" for name in ("moving", "failed", "offline") if number(stage, name)]
    asked = [one for one in objects(stage, "gates") if text(one, "verdict") in {"Waiting", "Failed"}]
    counts += [f"waits for {text(one, 'type')} {text(one, 'name')}" for one in asked]
    if ends := moment(text(stage, "soakEndsAt")):
        left = f"for {span((ends - now).total_seconds())} more" if now else f"until {text(stage, 'soakEndsAt')}"
        counts.append(f"soaks {left}")
    elif not asked and (message := one_line(text(stage, "message"))):
        counts.append(message)
    return ", ".join(counts) or ("under way" if text(stage, "startedAt") else "waiting")


def _gate(stage: Json, gate: Json, now: datetime) -> Row:
    passed = text(gate, "verdict") == "Passed"
    return [
        text(stage, "name"),
        text(gate, "name"),
        text(gate, "type"),
        text(gate, "verdict"),
        "-" if passed else age(text(gate, "askedSince"), now),
        text(gate, "who") or "-",
        one_line(text(gate, "message")),
    ]


def _clusters(rollout: Json, now: datetime, screen: Screen, most: int | None) -> Iterator[str]:
    found = objects(rollout, "status", "clusters")
    wanted = found if most is None else [one for one in found if text(one, "state") != "Done"]
    shown = wanted[:most]
    rows = [
        [
            text(one, "name"),
            text(one, "stage") or "-",
            text(one, "state"),
            age(text(one, "since"), now),
            str(number(one, "release") or "-"),
            one_line(text(one, "message")),
        ]
        for one in shown
    ]
    title = "Clusters" if most is None else "Clusters that are not done"
    yield from section(title, ("NAME", "STAGE", "STATE", "FOR", "RELEASE", "MESSAGE"), rows, screen)
    hidden = number(rollout, "status", "moreClusters")
    more = len(wanted) - len(shown) + (hidden if most is None or _are_open(wanted, found) else 0)
    if more:
        yield f"  and {more} more"


def _are_open(wanted: list[Json], found: list[Json]) -> bool:
    """Say whether the clusters that the hub left out are not done either: it leaves out those that are, first."""
    return len(wanted) == len(found)


class RolloutView:
    """Follows one rollout until its release is through, or has ended otherwise.

    With `revision`, until that one is: the fleet repository's, or that of any other source.
    """

    def __init__(self, name: str, revision: str = "") -> None:
        self._name = name
        self._revision = revision
        self._seen_at = 0
        self._told: dict[str, str] = {}

    def lines(self, known: Known, now: datetime, screen: Screen) -> Iterable[str]:
        """Return all about it."""
        rollout = known.get(self._name)
        return lines(rollout, now, screen) if rollout else [self._missing()]

    def news(self, known: Known) -> Iterable[str]:
        """Return what changed: of the rollout, of a stage, and which clusters failed."""
        rollout = known.get(self._name)
        now = _spoken(rollout) if rollout else {"": self._missing()}
        changed = [f"{self._name}: {line}" for about, line in now.items() if self._told.get(about) != line]
        self._told = now
        return changed

    def over(self, known: Known) -> bool:
        """Tell whether its release has ended."""
        rollout = known.get(self._name)
        if rollout is None:
            return False
        if self._revision and not self._has(rollout):
            return self._superseded(rollout)
        self._seen_at = number(rollout, "status", "release")
        return text(rollout, "status", "phase") in _ENDED

    def succeeded(self, known: Known) -> bool:
        """Tell whether it ended well: with this release on all clusters that it waits for."""
        rollout = known.get(self._name, {})
        wanted = not self._revision or self._has(rollout)
        return wanted and text(rollout, "status", "phase") == "Complete"

    def _missing(self) -> str:
        return f"there is no rollout {self._name} any more"

    def _has(self, rollout: Json) -> bool:
        at = [text(rollout, "status", "revision"), *map(str, mapping(rollout, "status", "pins").values())]
        return any(is_revision(one, self._revision) for one in at)

    def _superseded(self, rollout: Json) -> bool:
        return 0 < self._seen_at < number(rollout, "status", "release")


def _spoken(rollout: Json) -> dict[str, str]:
    """Return what is told of a rollout in lines, by what each is about; times that pass by are left out."""
    said = shortened(one_line(text(condition(rollout, "Ready"), "message")))
    told = {"": f"{text(rollout, 'status', 'phase')}: {said}"}
    for stage in objects(rollout, "status", "stages"):
        done = f"{number(stage, 'done')}/{number(stage, 'clusters')} done"
        told[f"stage {text(stage, 'name')}"] = f"stage {text(stage, 'name')}: {done}; {stage_state(stage, None)}"
    for one in objects(rollout, "status", "clusters"):
        if text(one, "state") == "Failed":
            name = text(one, "name")
            told[f"cluster {name}"] = f"cluster {name} failed: {one_line(text(one, 'message'))}"
    return told
