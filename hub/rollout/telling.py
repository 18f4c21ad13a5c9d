"""Why each cluster is not on the release, in words for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from hub.fleet.strategy import Stage
from hub.rollout.draft import Draft
from hub.rollout.looking import View
from hub.rollout.model import Health, Member, Phase
from hub.rollout.windows import Shut, local

_ENDS: Final = {Phase.FAILED: "the rollout failed", Phase.ABORTED: "it was aborted", Phase.UNDONE: "it was undone"}

_NOT_BACK: Final = "it is offline, and has not said that it has release {} again; it goes back when it comes back"


def clock(at: float) -> str:
    """Return a time as ISO 8601 in UTC, to the second."""
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return "the end of time"


def closed(shut: Shut) -> str:
    """Say until when clusters may not move, also as clocks show it where the window or the freeze is written for."""
    if shut.until is None:
        return "no window opens within two years: change the windows or freezes of the Rollout"
    until = clock(shut.until)
    there = local(shut.until, shut.zone) if shut.zone != "UTC" else None
    if there is not None:
        until += f" ({there:%a %Y-%m-%d %H:%M} in {shut.zone})"
    if shut.freeze is None:
        return f"no window is open until {until}"
    first, last, zone = shut.freeze.first, shut.freeze.last, shut.freeze.zone
    days = first if first == last else f"{first} to {last}"
    return f"frozen ({days}, {zone}): clusters may move from {until}"


def explain(
    draft: Draft,
    stages: Sequence[Stage],
    by_stage: Mapping[str, Sequence[Member]],
    views: Mapping[str, View],
    blocked: Mapping[str, str],
    holds: Mapping[str, str],
) -> None:
    """Say of every cluster that is not done with the release what it waits for.

    `blocked` is why a stage admits nobody now, `holds` why one that is settled is not done.
    """
    end = _ENDS.get(draft.phase)
    paused = draft.phase is Phase.PAUSED
    pause = f"the rollout is paused: {draft.reason}" if draft.reason else "the rollout is paused"
    before = ""
    for stage in stages:
        members = by_stage[stage.name]
        view = views.get(stage.name)
        if end is not None:
            why = f"{end}: {draft.reason}" if draft.reason else end
            _ended(draft, members, why)
            continue
        if view is not None:
            _open(draft, view, pause if paused else blocked.get(stage.name) or "its turn comes later")
            if not before and draft.stage(stage).done_at is None:
                held = holds.get(stage.name, "")
                before = f"it waits for stage {stage.name!r}" + (f": {held}" if held else "")
            continue
        own = pause if paused else blocked.get(stage.name, "")
        why = pause if paused else before or own or f"stage {stage.name!r} has not begun"
        for each in members:
            draft.waits[each.name] = "the cluster is paused" if each.frozen else each.unresolved or why
        before = before or f"it waits for stage {stage.name!r}" + (f": {own}" if own else "")


def _ended(draft: Draft, members: Sequence[Member], why: str) -> None:
    for each in members:
        number = draft.assigned.get(each.name)
        if number == draft.release:
            continue
        unsure = not each.online and number and (each.on_target or each.health is Health.PROGRESSING)
        draft.waits[each.name] = f"{_NOT_BACK.format(number)}: {why}" if unsure else why


def _open(draft: Draft, view: View, turn: str) -> None:
    waits = draft.waits
    waits.update((name, draft.failed[name]) for name in view.failed)
    waits.update((name, "it has the release, and is not healthy with it yet") for name in view.moving)
    waits.update(dict.fromkeys([each.name for each in view.candidates], turn))
    waits.update((name, "it is offline; the stage waits for it") for name in view.absent)
    waits.update((name, "it is offline; it follows when it comes back") for name in view.offline)
    waits.update((name, "the cluster is paused") for name in view.frozen)
