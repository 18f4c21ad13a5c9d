"""Who of an open stage's clusters takes the release next.

They come in the order of their stage, and within its limits:

- ``maxConcurrent``: nobody is admitted while that many of the stage's clusters are *moving*: they are to run the
  release, and are neither healthy with it nor failed nor passed over.
- ``maxUnavailable``: nobody is admitted who is healthy on what it has, if then more than that many of the stage's
  clusters were *unavailable*: about to get the release, or not healthy on what they have. Who is unavailable already
  may always be admitted, and comes first, so that a fix reaches it; so does who has nothing yet. Clusters that are
  passed over (offline, paused) don't count.
- ``maxFailures``: nobody is admitted when more failed, whatever follows then; with ``Continue`` everybody is.

A percentage is one of all clusters of the stage.
"""

from __future__ import annotations

from hub.fleet.strategy import OnFailure, Share
from hub.rollout.draft import Draft
from hub.rollout.looking import View
from hub.rollout.model import Health, Member, Phase
from hub.rollout.stages import listed


def admit(draft: Draft, view: View, opening: float | None, *, first: bool) -> str:
    """Give the release to as many of a stage's candidates as may have it now; return why the others may not.

    `opening` is when clusters may move next. `first`: outside of windows, those that have nothing yet may all the same.
    """
    stage = view.stage
    counted = view.counted(draft)
    if not view.candidates:
        return ""
    if draft.phase is Phase.PAUSED:
        return "the rollout is paused"
    if len(counted) > stage.max_failures and stage.on_failure is not OnFailure.CONTINUE:
        return f"too many failed: {listed(counted)}"
    candidates, why = view.candidates, ""
    if opening != draft.now:
        draft.wake(opening)
        why = draft.shut
        candidates = [each for each in candidates if first and not each.given]
    concurrent, unavailable = _limit(stage.max_concurrent, view), _limit(stage.max_unavailable, view)
    if concurrent is None and unavailable is None:
        _all(draft, view, candidates)
        return why
    if concurrent is not None and len(view.moving) >= concurrent:
        return _full(view, concurrent)
    if unavailable is not None:
        candidates = sorted(candidates, key=_available)
    return _some(draft, view, candidates, concurrent, unavailable) or why


def _limit(share: Share | None, view: View) -> int | None:
    return None if share is None else share.limit(view.total)


def _available(member: Member) -> bool:
    return bool(member.given) and member.health is Health.HEALTHY


def _full(view: View, concurrent: int) -> str:
    return f"{len(view.moving)} moving, at most {concurrent} may at a time (maxConcurrent)"


def _all(draft: Draft, view: View, candidates: list[Member]) -> None:
    for member in candidates:
        _admit(draft, view, member)
    view.take(candidates)


def _some(draft: Draft, view: View, candidates: list[Member], concurrent: int | None, unavailable: int | None) -> str:
    admitted: list[Member] = []
    why = ""
    for member in candidates:
        if concurrent is not None and len(view.moving) >= concurrent:
            why = _full(view, concurrent)
            break
        if unavailable is not None and view.unavailable >= unavailable and _available(member):
            why = f"{view.unavailable} unavailable, at most {unavailable} may be (maxUnavailable)"
            break
        _admit(draft, view, member)
        admitted.append(member)
    view.take(admitted)
    return why


def _admit(draft: Draft, view: View, member: Member) -> None:
    draft.give(member)
    draft.admitted_at[member.name] = draft.now
    draft.failed.pop(member.name, None)
    draft.retried.discard(member.name)
    draft.wake(draft.now + view.stage.timeout)
    view.moving.append(member.name)
    if not (member.online and member.given and member.health is not Health.HEALTHY):
        view.unavailable += 1
