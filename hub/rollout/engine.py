"""One step of a rollout: which clusters may take the release now. Pure: same facts, same step.

Stages come in order. One begins when the one before it is done (on this very release), its gates have passed and a
window is open; then its clusters are admitted (`hub.rollout.admitting`). It is done when all of its clusters are done,
failed (as many as may) or passed over, and stayed so for its soak. When more failed than may, nobody else is admitted
and `onFailure` says what follows. A gate that fails counts as such a failure, but `Continue` pauses there: only a
person lets a rollout past a gate.

A rollout that is complete goes on to bring the release to clusters that join, within the limits of their stage.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from hub.fleet.strategy import OnFailure, Stage, Strategy
from hub.rollout import telling
from hub.rollout.admitting import admit
from hub.rollout.draft import Draft, checksum
from hub.rollout.gates import ask
from hub.rollout.looking import View, look
from hub.rollout.model import GateResult, Health, Member, Phase, Release, RolloutState, StageState, Step, Track
from hub.rollout.stages import how_many, listed, place, stages_of
from hub.rollout.windows import next_opening, shut

_RUNNING = frozenset((Phase.PROGRESSING, Phase.PAUSED, Phase.COMPLETE))
_SHOWN_REASONS = 3


def advance(
    track: Track,
    strategy: Strategy,
    state: RolloutState,
    release: Release,
    members: Mapping[str, Member],
    now: float,
    *,
    answers: Mapping[tuple[str, str], GateResult],
    releases: Collection[int],
) -> Step:
    """Return what follows at `now` (seconds since the epoch) for the rollout of a track; `state.release` is `release`.

    `members` are by name; `answers` are the last words of gates, by stage and name; `releases` the numbers whose
    content is still kept (a cluster can go back to no other). Calling it again with the state that it returned, and
    nothing new, changes nothing and returns that very state. It raises nothing: what can't be done is said in the step.
    """
    if state.strategy != strategy.name:
        state = replace(state, stages={}, stage_of={})
    work = _Work(track, strategy, release, members, answers)
    draft = Draft(state, strategy, now, releases)
    work.prepare(draft)
    if draft.phase in _RUNNING:
        work.run(draft)
    telling.explain(draft, work.stages, work.by_stage, work.views, work.blocked, work.holds)
    return draft.finish()


class _Work:
    """What one step knows besides the state, and its parts in the order in which they happen."""

    def __init__(
        self,
        track: Track,
        strategy: Strategy,
        release: Release,
        members: Mapping[str, Member],
        answers: Mapping[tuple[str, str], GateResult],
    ) -> None:
        self.track = track
        self.strategy = strategy
        self.release = release
        self.members = members
        self.answers = answers
        self.stages: tuple[Stage, ...] = ()
        self.by_stage: dict[str, list[Member]] = {}
        self.views: dict[str, View] = {}
        """The stages that are open."""
        self.blocked: dict[str, str] = {}
        """Why a stage admits nobody (else) now, by its name."""
        self.holds: dict[str, str] = {}
        """Why a stage is not done although nothing is to come of its clusters, by its name."""
        self.opening: float | None = None

    # -- before the stages

    def prepare(self, draft: Draft) -> None:
        """Forget clusters that are gone, place those that are new, and learn what all of them have."""
        every = stages_of(self.strategy)
        placing = place(every, self.members, draft.stage_of)
        if placing.stage_of is not draft.stage_of or not self.members:
            draft.keep(self.members.keys())
        if not draft.stage_of:
            for warning in placing.warnings:
                draft.note("StageWarning", f"{self.track}: {warning}", warning=True)
        draft.stage_of = stage_of = placing.stage_of
        by_stage: dict[str, list[Member]] = {stage.name: [] for stage in every}
        self.by_stage = by_stage
        assigned, healthy, release = draft.assigned, draft.healthy, draft.release
        members = self.members
        for name, stage in stage_of.items():
            member = members[name]
            by_stage[stage].append(member)
            number = assigned.get(name, 0)
            if number != member.release or (number != release and healthy.get(name) != number):
                _learn(draft, member)
        self.stages = every if self.by_stage[every[-1].name] or len(every) == 1 else every[:-1]
        draft.stages = {stage.name: draft.stage(stage) for stage in self.stages}
        self.opening = next_opening(self.strategy, draft.now)
        if self.opening != draft.now:
            draft.shut = telling.closed(shut(self.strategy, draft.now, self.opening))

    # -- the stages

    def run(self, draft: Draft) -> None:
        """Go through the stages in order, as far as they are open."""
        for stage in self.stages:
            if draft.stage(stage).started_at is not None or draft.phase is Phase.COMPLETE:
                self.see(draft, stage)
            if draft.phase not in _RUNNING:
                return
        for stage in self.stages:
            if stage.name not in self.views and not self.begin(draft, stage):
                return
            view = self.views[stage.name]
            if why := admit(draft, view, self.opening, first=draft.phase is Phase.COMPLETE):
                self.blocked[stage.name] = why
            if not self.settle(draft, view):
                return
        if draft.phase is Phase.PROGRESSING and not any(view.fell_back for view in self.views.values()):
            self.complete(draft)

    def see(self, draft: Draft, stage: Stage) -> None:
        """Look at an open stage, and do what is to be done about its failures."""
        before = set(draft.failed)
        view = self.views[stage.name] = look(draft, stage, self.by_stage[stage.name])
        if new := sorted(name for name in view.failed if name not in before):
            reasons = "; ".join(f"{name}: {draft.failed[name]}" for name in new[:_SHOWN_REASONS])
            message = f"{self.track}: {listed(new)} failed at release {draft.release}: {reasons}"
            draft.note("ClusterFailed", message, stage=stage.name, clusters=new, warning=True)
        counted = view.counted(draft)
        if draft.phase is Phase.PROGRESSING and len(counted) > stage.max_failures:
            limit = f"{len(counted)} failed, at most {stage.max_failures} may"
            what = f"stage {stage.name!r}: {limit}: {listed(counted)}"
            if stage.on_failure is not OnFailure.CONTINUE:
                self.fail(draft, stage, what, counted)

    def fail(self, draft: Draft, stage: Stage, what: str, failed: Collection[str] = ()) -> None:
        """Do what a stage says is to follow a failure; `failed` are the clusters that did."""
        if stage.on_failure not in (OnFailure.ROLL_BACK_STAGE, OnFailure.ROLL_BACK):
            draft.end(Phase.PAUSED, what)
            message = f"{self.track}: paused: {what}{_causes(draft, failed)}"
            draft.note("RolloutPaused", message, stage=stage.name, warning=True)
            return
        everywhere = stage.on_failure is OnFailure.ROLL_BACK
        names = self.members.keys() if everywhere else {member.name for member in self.by_stage[stage.name]}
        taken = sorted(name for name in names if draft.assigned.get(name) == draft.release)
        stuck = draft.take_back(taken)
        back = sorted(set(taken) - set(stuck))
        went = f"{listed(back)} went back to what was last healthy there" if back else "nobody went back"
        if stuck:
            went += f"; there is nothing that these could go back to: {listed(stuck)}"
        draft.end(Phase.FAILED, f"{what}; {went}")
        message = f"{self.track}: {what}{_causes(draft, failed)}; {went}"
        draft.note("RolledBack", message, stage=stage.name, clusters=back, warning=True)

    def begin(self, draft: Draft, stage: Stage) -> bool:
        """Open a stage if it may be; tell whether the rollout goes on."""
        if draft.phase is not Phase.PROGRESSING:
            return False
        asked = ask(draft, self.track, stage, self.answers, now_open=self.opening == draft.now)
        if asked.failed:
            self.blocked[stage.name] = asked.failed
            self.fail(draft, stage, f"stage {stage.name!r}: {asked.failed}")
            return False
        if asked.waits or self.opening != draft.now:
            waits = list(asked.waits)
            if self.opening != draft.now:
                waits.append(draft.shut)
                draft.wake(self.opening)
            self.blocked[stage.name] = "; ".join(waits)
            return False
        draft.stages[stage.name] = replace(draft.stage(stage), started_at=draft.now)
        if count := len(self.by_stage[stage.name]):
            message = f"{self.track}: stage {stage.name!r} begins with {how_many(count)}"
            draft.note("StageBegan", message, stage=stage.name, warning=False)
        self.see(draft, stage)
        return draft.phase in _RUNNING

    def settle(self, draft: Draft, view: View) -> bool:
        """Record since when a stage is healthy, and whether it is done with its soak; tell whether it is."""
        stage, known = view.stage, draft.stage(view.stage)
        if draft.phase is Phase.COMPLETE and known.done_at is None:
            known = replace(known, started_at=known.started_at or draft.ended_at, done_at=draft.ended_at or draft.now)
        if view.fell_now:
            known = replace(known, healthy_at=None, proven_at=None)
        calm = (view.settled and not self.untested(view, known)) if known.done_at is None else not view.fell_back
        known = _calmed(draft, view, known) if calm else replace(known, healthy_at=None, proven_at=None)
        since = known.healthy_at
        if since is not None and known.done_at is None and draft.phase is Phase.PROGRESSING:
            soak = stage.soak if view.done or view.failed else 0.0
            if soak > 0 and self.urgent(draft) and not known.soak_skipped:
                known = replace(known, soak_skipped=f"urgent: {self.release.urgent}")
                message = f"{self.track}: the soak of stage {stage.name!r} is left out: {self.release.urgent}"
                draft.note("SoakSkipped", message, stage=stage.name, warning=False)
            if known.soak_skipped or draft.now >= since + soak:
                known = replace(known, done_at=draft.now)
                self.passed(draft, view)
            else:
                draft.wake(since + soak)
                self.holds[stage.name] = f"it soaks until {telling.clock(since + soak)}"
        draft.stages[stage.name] = known
        return known.done_at is not None

    def untested(self, view: View, known: StageState) -> bool:
        """Tell whether a stage would be done only because its clusters are passed over: offline, or paused.

        The last one may, where an earlier one has tried the release; any one may when a person leaves out its soak.
        """
        tried = view.done or (view.stage is self.stages[-1] and any(each.done for each in self.views.values()))
        over = sorted(view.offline + view.frozen)
        if not over or tried or known.soak_skipped:
            return False
        self.holds[view.stage.name] = f"none of its clusters has tried the release: {listed(over)} offline or paused"
        return True

    def urgent(self, draft: Draft) -> bool:
        """Tell whether the release says that soaks are to be left out."""
        return bool(self.release.urgent) and self.release.number == draft.release

    def passed(self, draft: Draft, view: View) -> None:
        """Say that a stage is done, and whom it passed over; of one without clusters there is nothing to tell."""
        if not view.total:
            return
        over = sorted(view.offline + view.frozen)
        what = f"stage {view.stage.name!r} is done on release {draft.release}"
        message = f"{self.track}: {what}: {how_many(len(view.done))}"
        if view.failed:
            message += f"; failed: {listed(sorted(view.failed))}{_causes(draft, view.failed)}"
        if over:
            message += f"; passed over: {listed(over)}"
        untested = bool(over) and not view.done
        draft.note("StageDone", message, stage=view.stage.name, clusters=over, warning=untested)

    def complete(self, draft: Draft) -> None:
        """End it: what it brought is from now on what a new cluster gets."""
        draft.end(Phase.COMPLETE, "")
        if draft.base != draft.release:
            draft.former, draft.base = draft.base, draft.release
        draft.accepted = set(draft.failed)
        missing = sorted(name for name in self.members if draft.assigned.get(name) != draft.release)
        having = sorted(self.members.keys() - set(missing))
        message = f"{self.track}: release {draft.release} is complete on {how_many(len(having))}"
        if missing:
            message += f", not on {listed(missing)}"
        if failed := sorted(name for name in draft.failed if draft.assigned.get(name) == draft.release):
            message += f"; failed with it: {listed(failed)}"
        draft.note("RolloutComplete", message, clusters=having, warning=False)


def _causes(draft: Draft, failed: Collection[str]) -> str:
    """Return what the first of those that failed say, by which a person can tell what is wrong."""
    return "".join(f"; {name}: {draft.failed[name]}" for name in sorted(failed)[:_SHOWN_REASONS])


def _calmed(draft: Draft, view: View, known: StageState) -> StageState:
    """Return the state of a stage that is healthy: since now, or since the release before if nothing is new in it."""
    if known.healthy_at is not None:
        return known
    proof = checksum("\n".join(f"{name} {draft.slices[name]}" for name in sorted(view.done)))
    since = known.proven_at if known.proven_at is not None and known.proof == proof else draft.now
    return replace(known, healthy_at=since, proof=proof, proven_at=None)


def _learn(draft: Draft, member: Member) -> None:
    """Record what a cluster had healthy before, and say what one runs of which nobody said it yet."""
    name = member.name
    if (
        member.health is Health.HEALTHY
        and member.given
        and member.online
        and member.release not in (0, draft.release)
        and not member.on_target
    ):
        draft.healthy[name] = member.release
    assigned = draft.assigned.get(name, 0)
    if assigned and (assigned in (draft.release, member.release) or assigned in draft.releases):
        return
    if member.given and member.release:
        draft.assigned[name] = member.release
    elif not member.given and draft.base != draft.release and draft.base in draft.releases:
        draft.assigned[name] = draft.base
    else:
        draft.assigned.pop(name, None)
