"""What a step meant for a track, by its state before and after it: begun, superseded, queued, clusters let through.

For the audit log: whichever way the engine took from one state to the other, each is told once. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from hub.rollout.model import Note, Phase, RolloutState, Track
from hub.rollout.stages import listed

_LAST: Final = ("Admitted", "RolloutComplete")


def chronological(changes: Iterable[Note], notes: Iterable[Note]) -> list[Note]:
    """Return what is to be told of a step in the order in which it came about.

    That is what `milestones` found, and the engine's own notes: a stage is done and another one begins before clusters
    of that are let through, and it all is complete at the end.
    """
    every = [*changes, *notes]
    return sorted(every, key=lambda note: _LAST.index(note.reason) if note.reason in _LAST else -1)


def milestones(track: Track, before: RolloutState | None, after: RolloutState, upstream: str = "") -> Iterator[Note]:
    """Yield what changed; `upstream` is the environment from which the track's releases are promoted, if any.

    A release that changes nothing for a track only gives its state another number: that is nothing to tell. Neither is
    a cluster that had what the release gives it.
    """
    release = after.release
    begun = before is None or before.began_at != after.began_at
    if begun and after.phase is not Phase.COMPLETE:
        if before is not None and not before.over:
            message = f"{track}: release {release} takes the place of release {before.release}, which was under way"
            yield Note("RolloutSuperseded", message, tuple(sorted(before.admitted_at)))
        if upstream:
            message = f"{track}: release {release} was well in {upstream}, and comes from there"
            yield Note("Promoted", message, tuple(sorted(after.stage_of)))
        yield Note("RolloutBegan", f"{track}: release {release} begins", tuple(sorted(after.stage_of)))
    for number in after.queue:
        if before is None or number not in before.queue:
            yield Note("RolloutQueued", f"{track}: release {number} waits for release {release}")
    had = {} if before is None else before.assigned
    same = release if begun or before is None else before.release
    let = [
        name
        for name, number in after.assigned.items()
        if number == release and had.get(name) not in (release, same) and not (begun and name in after.done)
    ]
    if let:
        yield Note(
            "Admitted", f"{track}: release {release} is let through to {listed(sorted(let))}", tuple(sorted(let))
        )
