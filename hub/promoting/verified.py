"""Which commit an environment stands for: the one that all of it runs, healthy, for as long as was asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hub.rollout.model import Release, Track


@dataclass(frozen=True, slots=True)
class Verified:
    """The newest release by which an environment stands for `commit`; none (number 0) and what it waits for."""

    number: int = 0
    commit: str = ""
    subject: str = ""
    waiting: str = ""


def verified(promotable: Mapping[Track, Release | None], source: str) -> Verified:
    """Return the commit of a source that every track of an environment has verified.

    `promotable` is the release of each track that may be promoted (None: none yet), `source` the key of the source in a
    release's pins. A commit is of a whole repository, so all tracks have to agree on it.
    """
    if not promotable:
        return Verified(waiting="nothing runs there yet")
    commits: dict[str, list[Track]] = {}
    for track, release in sorted(promotable.items()):
        if release is None:
            return Verified(waiting=f"{track} has no release that may be promoted yet")
        pin = release.pins.get(source, "")
        if not pin:
            return Verified(waiting=f"release {release.number} of {track} has nothing of source {source}")
        commits.setdefault(pin.rpartition("sha1:")[2], []).append(track)
    if len(commits) > 1:
        at = "; ".join(f"{', '.join(map(str, tracks))} at {commit[:12]}" for commit, tracks in commits.items())
        return Verified(waiting=f"its tracks are not at one commit: {at}")
    newest = max((release for release in promotable.values() if release), key=lambda release: release.number)
    return Verified(newest.number, next(iter(commits)), newest.subject)
