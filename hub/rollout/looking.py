"""How each cluster of an open stage is with the release, and what that makes of the stage.

A cluster is *done* when it is healthy with exactly the slice that the release is for it; nothing that was reported
about another slice counts. It *failed* when it reports so, when the hub can't make the slice, or when it was waited
for longer than the stage's timeout; it stays failed until it is healthy or somebody retries. It is *passed over* when
a person paused it, or it is offline and the strategy skips such; but a stage does not come to be done by losing all
clusters that took the release: those are waited for, and fail by the timeout. Everything else that has the release is
*moving*, and who has not is a *candidate*.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

from hub.fleet.durations import format_duration
from hub.fleet.strategy import DEFAULT_TIMEOUT, Offline, Stage
from hub.rollout.draft import Draft, checksum
from hub.rollout.model import Health, Member, Phase

_HEALTHY: Final = Health.HEALTHY


@dataclass(slots=True)
class View:
    """A stage's clusters by how they are. `unavailable` counts those that are not healthy on what they have.

    `fell_back` counts those that were healthy with the release, are not any more and have not failed; `fell_now` tells
    whether one came to be so since the last step. `absent` are the offline ones that the stage waits for without having
    given them anything.
    """

    stage: Stage
    total: int = 0
    done: list[str] = field(default_factory=list)
    unavailable: int = 0
    fell_back: int = 0
    fell_now: bool = False
    moving: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    candidates: list[Member] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    offline: list[str] = field(default_factory=list)
    frozen: list[str] = field(default_factory=list)
    lost: list[Member] = field(default_factory=list)

    @property
    def settled(self) -> bool:
        """Tell whether nothing is left to come of any of its clusters."""
        return not (self.moving or self.candidates or self.absent)

    def counted(self, draft: Draft) -> list[str]:
        """Return the failures that count: those in spite of which nobody went on."""
        return sorted(name for name in self.failed if name not in draft.accepted)

    def take(self, admitted: Collection[Member]) -> None:
        """Admit candidates."""
        if len(admitted) == len(self.candidates):
            self.candidates = []
        elif admitted:
            names = {each.name for each in admitted}
            self.candidates = [each for each in self.candidates if each.name not in names]


def look(draft: Draft, stage: Stage, members: Collection[Member]) -> View:
    """Return how an open stage is; records in `draft` who failed, is done, and since when who is waited for."""
    view = View(stage, total=len(members))
    assigned, slices, release, done, candidates = (
        draft.assigned,
        draft.slices,
        draft.release,
        view.done,
        view.candidates,
    )
    troubled = {*draft.failed, *draft.fallen, *draft.accepted, *draft.retried}
    for member in members:
        name = member.name
        if member.health is not _HEALTHY or name in troubled or not member.online or member.frozen or member.unresolved:
            _look_at(draft, view, member)
        elif assigned.get(name) != release and member.given != member.target:
            candidates.append(member)  # as nearly all clusters are before they have their turn
        elif (
            assigned.get(name) == release
            and member.given == member.target
            and slices.get(name) == checksum(member.target)
        ):
            done.append(name)  # and after it
        else:
            _look_at(draft, view, member)
    draft.done.update(done)
    for member in view.lost:
        _lost(draft, view, member)
    return view


def _look_at(draft: Draft, view: View, member: Member) -> None:
    if member.frozen and not (member.done and draft.assigned.get(member.name) == draft.release):
        draft.admitted_at.pop(member.name, None)
        view.frozen.append(member.name)
    elif member.unresolved:
        for record in (draft.admitted_at, draft.slices):
            record.pop(member.name, None)
        draft.failed[member.name] = member.unresolved
        view.failed.append(member.name)
        view.unavailable += _down(member)
    else:
        if member.on_target and draft.assigned.get(member.name) != draft.release:
            draft.give(member)
        if draft.assigned.get(member.name) == draft.release:
            _taken(draft, view, member)
        else:
            _not_taken(draft, view, member)


def _down(member: Member) -> bool:
    return member.online and bool(member.given) and member.health is not Health.HEALTHY


def _not_taken(draft: Draft, view: View, member: Member) -> None:
    draft.failed.pop(member.name, None)
    view.unavailable += _down(member)
    if member.online or draft.strategy.offline is Offline.FAIL:
        view.candidates.append(member)
    elif draft.strategy.offline is Offline.WAIT:
        view.absent.append(member.name)
    else:
        view.offline.append(member.name)


def _taken(draft: Draft, view: View, member: Member) -> None:
    name = member.name
    if draft.slices.get(name) != (mark := checksum(member.target)):
        draft.slices[name] = mark
        forget(draft, name)
    if not member.online:
        view.lost.append(member)
        return
    if member.done:
        view.done.append(name)
        draft.failed.pop(name, None)
        for names in (draft.fallen, draft.accepted, draft.retried):
            names.discard(name)
        return
    view.unavailable += 1
    fell_back = name in draft.done
    if fell_back and name not in draft.fallen:
        view.fell_now = True
        draft.fallen.add(name)
        draft.admitted_at.pop(name, None)
    if fell_back and draft.phase is Phase.COMPLETE:
        view.fell_back += name not in draft.failed
        (view.failed if name in draft.failed else view.done).append(name)
        return
    reported = member.on_target and member.health is Health.FAILED
    if reported and name not in draft.retried:
        draft.failed[name] = member.message or "it reports that it failed"
    elif not reported:
        draft.retried.discard(name)
    _await(draft, view, member)


def _lost(draft: Draft, view: View, member: Member) -> None:
    name, policy = member.name, draft.strategy.offline
    if name in draft.failed:
        view.failed.append(name)
        return
    over = draft.stage(view.stage).done_at is not None
    ended = draft.phase is Phase.COMPLETE
    if ended or (policy is not Offline.FAIL and (over or (policy is Offline.SKIP and view.done))):
        draft.admitted_at.pop(name, None)
        view.offline.append(name)
    elif policy is Offline.WAIT:
        draft.admitted_at.pop(name, None)
        view.unavailable += 1
        view.moving.append(name)
    else:
        view.unavailable += 1
        _await(draft, view, member)


def _await(draft: Draft, view: View, member: Member) -> None:
    """Count a cluster as moving, or as failed when it was waited for too long."""
    name, timeout = member.name, view.stage.timeout
    if name in draft.failed:
        draft.admitted_at.pop(name, None)
        view.failed.append(name)
        return
    since = draft.admitted_at.setdefault(name, draft.now)
    if name in draft.retried:
        timeout = min(timeout, DEFAULT_TIMEOUT)
    if draft.now >= since + timeout:
        how = "" if member.online else ", and it is offline"
        draft.failed[name] = f"not healthy {format_duration(timeout)} after it was given the release{how}" + (
            f": {member.message}" if member.message else ""
        )
        draft.admitted_at.pop(name, None)
        view.failed.append(name)
        return
    draft.wake(since + timeout)
    view.fell_back += name in draft.fallen
    view.moving.append(name)


def forget(draft: Draft, name: str) -> None:
    """Forget how a cluster was with a slice that is not its slice any more."""
    for names in (draft.done, draft.fallen, draft.accepted, draft.retried):
        names.discard(name)
    draft.failed.pop(name, None)
    draft.admitted_at.pop(name, None)
