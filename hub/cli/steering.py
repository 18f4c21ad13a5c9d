"""What people do to rollouts: which ones are meant, what it would do in words, and then the request.

Each request carries the release that was shown, so that the hub refuses it where the rollout went on meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

import typer

from hub.cli.asking import meant
from hub.cli.client import HubClient
from hub.cli.errors import NotFoundError, RefusedError
from hub.cli.estimate import real
from hub.cli.human import revision, span
from hub.cli.rollout import find, release
from hub.cli.view import Json, dig, full_name, mapping, number, objects, text

_APPLIES: Final[Mapping[str, frozenset[str]]] = {
    "pause": frozenset({"Progressing"}),
    "resume": frozenset({"Paused"}),
    "abort": frozenset({"Progressing", "Paused"}),
    "undo": frozenset({"Progressing", "Paused", "Failed", "Aborted", "Complete"}),
    "retry": frozenset({"Paused", "Failed"}),
}
"""To rollouts of which phase an act can be done, for all of them together."""
_ASKED: Final = frozenset({"approve", "abort", "undo", "skip-soak"})
_DONE: Final = {
    "pause": "paused",
    "resume": "goes on",
    "approve": "approved",
    "abort": "aborted",
    "undo": "is being taken back",
    "retry": "is tried again",
    "skip-soak": "goes on without its soak",
}
_PAST: Final = {"abort": "aborted", "undo": "undone"}
_QUESTIONS: Final = {
    "approve": "Approve this?",
    "abort": "End this?",
    "undo": "Take this back?",
    "skip-soak": "Go on without the soak?",
    "resume": "Go on?",
    "retry": "Try all of these again?",
}


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for: `name` is empty for every rollout to which it can be done."""

    act: str
    name: str = ""
    reason: str = ""
    stage: str = ""
    gate: str = ""


@dataclass(frozen=True, slots=True)
class Deed:
    """An act on one rollout, its stage and gate found out."""

    rollout: Json
    act: str
    stage: str = ""
    gate: str = ""


async def deeds(client: HubClient, wish: Wish) -> list[Deed]:
    """Return what would be done. Raise NotFoundError where there is nothing to do it to."""
    if wish.name:
        rollout = await find(client, wish.name)
        _need(wish.act, rollout)
        return [Deed(rollout, wish.act, *_where(rollout, wish))]
    rollouts = await client.list("rollouts")
    found = [one for one in rollouts if _applies(wish.act, one)]
    if not found:
        them = "has a release to go back to" if wish.act == "undo" else f"is {_phases(wish.act)}"
        raise NotFoundError(f"there is no rollout to {wish.act}: of {len(rollouts)}, none {them}")
    return [Deed(one, wish.act) for one in found]


def _need(act: str, rollout: Json) -> None:
    """Raise RefusedError where what is dangerous makes no sense: nobody is asked about what can't be done."""
    phase, name = text(rollout, "status", "phase"), full_name(rollout)
    if act not in {"abort", "undo"}:
        return
    if phase not in _APPLIES[act]:
        raise RefusedError(409, f"rollout {name} can't be {_PAST[act]}: it is {phase}, not {_phases(act)}")
    if act == "undo" and phase == "Complete" and not number(rollout, "status", "baseRelease"):
        at = number(rollout, "status", "release")
        raise RefusedError(
            409, f"rollout {name} can't be undone: no release completed before release {at}; revert the commit instead"
        )


def _applies(act: str, rollout: Json) -> bool:
    """Say whether an act can be done to a rollout, as far as that can be seen from here."""
    if act == "undo" and not number(rollout, "status", "baseRelease"):
        return False
    return text(rollout, "status", "phase") in _APPLIES[act]


def _phases(act: str) -> str:
    return " or ".join(sorted(phase.lower() for phase in _APPLIES[act]))


def _where(rollout: Json, wish: Wish) -> tuple[str, str]:
    """Return the stage and the gate that are meant, empty where the act is about none."""
    if wish.act == "approve":
        return _approval(rollout, wish)
    if wish.act == "skip-soak":
        return _soaking(rollout, wish), ""
    return wish.stage, ""


def _approval(rollout: Json, wish: Wish) -> tuple[str, str]:
    """Return the stage and the gate that wait for a person; those to come where none waits yet.

    A gate that asks a machine is meant only where it is named.
    """
    found = [
        (text(gate, "verdict"), text(stage, "name"), text(gate, "name"))
        for stage in objects(rollout, "status", "stages")
        for gate in objects(stage, "gates")
        if text(gate, "verdict") != "Passed" and (text(gate, "type") == "approval" or text(gate, "name") == wish.gate)
    ]
    meant_ones = [one for one in found if wish.stage in {"", one[1]} and wish.gate in {"", one[2]}]
    waiting = [one for one in meant_ones if one[0] == "Waiting"] or meant_ones
    name = full_name(rollout)
    if not waiting:
        there = ", ".join(f"--stage {stage} --gate {gate}" for _, stage, gate in found)
        if not found:
            phase = text(rollout, "status", "phase")
            raise NotFoundError(f"rollout {name} waits for no approval: it is {phase}, and no gate of it is open")
        asked = " ".join(f"--{word} {value}" for word, value in (("stage", wish.stage), ("gate", wish.gate)) if value)
        raise NotFoundError(f"rollout {name} has no approval {asked} that is open; there are: {there}")
    if len(waiting) > 1:
        which = " or ".join(f"--stage {stage} --gate {gate}" for _, stage, gate in waiting)
        raise NotFoundError(f"rollout {name} has several approvals that are open: say which, {which}")
    return waiting[0][1:]


def _soaking(rollout: Json, wish: Wish) -> str:
    if wish.stage:
        return wish.stage
    begun = [one for one in objects(rollout, "status", "stages") if text(one, "startedAt") and not text(one, "doneAt")]
    names = [text(one, "name") for one in begun if real(one, "soakSeconds")]
    if not names:
        raise NotFoundError(f"no stage of rollout {full_name(rollout)} that is under way has a soak")
    return names[0]


def shown(deeds: Sequence[Deed]) -> Iterator[str]:
    """Return what would be done, in words."""
    for deed in deeds:
        yield f"rollout {full_name(deed.rollout)}, release {release(deed.rollout)}"
        yield f"  {_effect(deed)}"


def _effect(deed: Deed) -> str:
    rollout = deed.rollout
    stages = objects(rollout, "status", "stages")
    moved = sum(number(one, "done") + number(one, "moving") + number(one, "failed") for one in stages)
    total = sum(number(one, "clusters") for one in stages)
    stage = next((one for one in stages if text(one, "name") == deed.stage), {})
    queue = dig(rollout, "status", "queue")
    waiting = ", ".join(f"release {one}" for one in queue) if isinstance(queue, list) else ""
    match deed.act:
        case "undo":
            base = number(rollout, "status", "baseRelease")
            to = f"release {base}, {revision(text(rollout, 'status', 'baseRevision'))}" if base else "what they had"
            left = f"; left out is what waits for its turn, made on top of it: {waiting}" if waiting else ""
            return f"is taken back: the clusters that have it ({moved} of {total}) return to {to}{left}"
        case "abort":
            then = f"; what waits for its turn begins then: {waiting}" if waiting else ""
            return f"ends here: {moved} of {total} clusters have it and keep it, the others keep what they have{then}"
        case "approve":
            return f"gate {deed.gate} of stage {deed.stage} passes; clusters of the stage: {number(stage, 'clusters')}"
        case "skip-soak":
            ends = text(stage, "soakEndsAt")
            return f"stage {deed.stage} goes on now{f', not at {ends}' if ends else ' as soon as it is healthy'}"
        case "pause":
            return "stops: no further cluster gets it until it is resumed"
        case "retry":
            return "is given again to the clusters that failed"
    return "goes on"


def wanted(deeds: Sequence[Deed], wish: Wish, *, yes: bool) -> bool:
    """Show what would be done where that is dangerous, and return whether it is meant."""
    everything = not wish.name and wish.act != "pause"
    if wish.act not in _ASKED and not everything:
        return True
    for line in shown(deeds):
        typer.echo(line)
    return meant(_QUESTIONS[wish.act], yes=yes, otherwise="Nothing was done")


async def act(client: HubClient, deeds: Sequence[Deed], reason: str) -> bool:
    """Do it, one rollout after the other, and say so; return whether the hub let all of it be done."""
    refused = 0
    for deed in deeds:
        try:
            typer.echo(await _act(client, deed, reason))
        except RefusedError as error:
            typer.echo(f"error: {full_name(deed.rollout)}: {error}", err=True)
            refused += 1
    return not refused


async def _act(client: HubClient, deed: Deed, reason: str) -> str:
    name = full_name(deed.rollout)
    said = {"reason": reason, "stage": deed.stage, "gate": deed.gate}
    body: dict[str, object] = {key: value for key, value in said.items() if value}
    body["release"] = number(deed.rollout, "status", "release")
    await client.post(f"rollouts/{quote(name, safe='')}/{deed.act}", body)
    what = f"gate {deed.gate} of stage {deed.stage} of rollout {name}" if deed.gate else f"rollout {name}"
    return f"{what}, release {body['release']}: {_DONE[deed.act]}"


# -- promotion


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a promotion: `unit` goes on to an environment, at a revision or (empty) what the one before runs.

    With `skip_soak` it does not wait until it has soaked there.
    """

    unit: str
    environment: str
    revision: str = ""
    skip_soak: bool = False

    @property
    def track(self) -> str:
        """Return the name of what is promoted, where it is to be."""
        return f"{self.unit}@{self.environment}"


async def promotion(client: HubClient, track: str, step: Step) -> Iterator[str]:
    """Return in words what a promotion would do; `track` is as it was named, maybe with the environment it is in."""
    rollouts = {full_name(one): one for one in await client.list("rollouts")}
    there = rollouts.get(step.track)
    if there is None or not mapping(there, "spec", "promotesFrom"):
        raise await _not_promoted(client, step, rollouts)
    named = track.partition("@")[2]
    before = text(there, "spec", "promotesFrom", "environment")
    if named and named != before:
        message = f"{step.unit} is promoted to {step.environment} from {before}, not from {named}"
        raise NotFoundError(f"{message}: leave @{named} out, or promote to what follows it")
    return _promotion(step, there, rollouts.get(f"{step.unit}@{before}"), before)


async def _not_promoted(client: HubClient, step: Step, rollouts: Mapping[str, Json]) -> NotFoundError:
    """Return the error that says what can be promoted, and where to."""
    environments = sorted(full_name(one) for one in await client.list("environments"))
    if step.environment not in environments:
        there_are = f"there are: {', '.join(environments)}" if environments else "there are no environments"
        return NotFoundError(f"there is no environment {step.environment!r}; {there_are}")
    steps = sorted(name for name, one in rollouts.items() if mapping(one, "spec", "promotesFrom"))
    if step.track in rollouts:
        said = f"nothing is promoted to {step.environment}: its Environment has no promotesFrom"
    else:
        said = f"nothing called {step.unit!r} is promoted to {step.environment}"
    return NotFoundError(said + (f"; what is promoted: {', '.join(steps)}" if steps else ""))


def _promotion(step: Step, there: Json, source: Json | None, before: str) -> Iterator[str]:
    if step.revision:
        yield f"{step.unit} at {step.revision} goes on to {step.environment}"
    elif source:
        yield f"{step.unit} goes on to {step.environment} as {before} runs it: release {release(source)}"
    else:
        yield f"{step.unit} goes on to {step.environment} as {before} runs it"
    upcoming = text(mapping(there, "status", "next"), "message")
    has = f"there is release {release(there)}" if number(there, "status", "release") else "there is none yet"
    yield f"  {has}" + (f"; the next one waits: {upcoming}" if upcoming else "")
    if real(there, "spec", "promotesFrom", "soakSeconds"):
        soak = span(real(there, "spec", "promotesFrom", "soakSeconds"))
        yield f"  its soak of {soak} is left out" if step.skip_soak else f"  it comes when it has soaked for {soak}"


async def promote(client: HubClient, step: Step, reason: str) -> None:
    """Have it promoted."""
    body: dict[str, object] = {"track": step.track, "revision": step.revision, "reason": reason}
    if step.skip_soak:
        body["skipSoak"] = True
    await client.post("promotions", body)
    typer.echo(f"{step.unit} is promoted to {step.environment}; see felloe rollout watch {step.track}")
