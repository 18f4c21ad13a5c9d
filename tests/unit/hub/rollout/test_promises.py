"""What a rollout promises, whatever happens: random fleets, strategies, failures, disconnections, restarts, commits,
labels, acts and clocks against the engine, with the promises checked from outside, by their own words.

FELLOE_EXAMPLES=5000 pytest tests/unit/hub/rollout/test_promises.py: a long run.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from felloe.errors import ConfigError
from hub.fleet.labels import LabelSelector
from hub.fleet.strategy import (
    ApprovalGate,
    Freeze,
    HttpGate,
    Offline,
    OnFailure,
    OnNewRelease,
    Order,
    OrderBy,
    Share,
    Stage,
    Strategy,
    Window,
)
from hub.rollout import abort, approve, pause, resume, retry, skip_soak, state_json, state_of, undo
from hub.rollout.model import GateResult, Health, Member, Phase, RolloutState, Step, Verdict
from hub.rollout.stages import stages_of
from hub.rollout.windows import next_opening
from tests.unit.hub.rollout.simulated import Box, Simulated

LABELS = ("x", "y", "z")
NAMES = tuple("abcdefgh")
ACTS: Mapping[str, Callable[..., RolloutState]] = {
    "abort": abort,
    "approve": approve,
    "pause": pause,
    "resume": resume,
    "retry": retry,
    "skip_soak": skip_soak,
    "undo": undo,
}

shares = st.none() | st.builds(Share, st.integers(1, 3)) | st.sampled_from([Share(percent=25.0), Share(percent=60.0)])
stages = st.builds(
    Stage,
    name=st.sampled_from(["canary", "some", "most"]),
    selector=st.none() | st.sampled_from(LABELS).map(lambda value: LabelSelector((("group", value),))),
    clusters=st.just(()) | st.sampled_from([("a", "b"), ("c",)]),
    share=shares,
    max_concurrent=shares,
    max_unavailable=shares,
    max_failures=st.integers(0, 2),
    order=st.builds(Order, st.sampled_from(OrderBy), st.just("group"), st.text("ab", max_size=2)),
    soak=st.sampled_from([0.0, 60.0, 600.0]),
    gates=st.sampled_from([(), (ApprovalGate("ok"),), (ApprovalGate("ok"), HttpGate("smoke", "http://gate.invalid"))]),
    timeout=st.sampled_from([300.0, 900.0, float("inf")]),
    on_failure=st.sampled_from(OnFailure),
)
strategies = st.builds(
    Strategy,
    name=st.just("careful"),
    stages=st.lists(stages, max_size=3).map(tuple),
    windows=st.sampled_from([(), (), (Window("0 * * * *", 1200.0, "Europe/Berlin"),)]),
    freezes=st.sampled_from([(), (), (Freeze("2023-11-15", "2023-11-15"),)]),
    offline=st.sampled_from(Offline),
    on_new_release=st.sampled_from(OnNewRelease),
)
clusters = st.sampled_from(NAMES)


class Promises(RuleBasedStateMachine):
    """One track, as a hub has it, and what it must never do."""

    def __init__(self) -> None:
        super().__init__()
        self.world = Simulated(Strategy("careful"))
        self.world.slice_of = self.slice_of
        self.same_as: dict[tuple[str, int], int] = {}
        self.proven: set[tuple[str, int]] = set()

    def slice_of(self, box: Box, number: int) -> str:
        """Return a slice that changes with the release (unless it is the same) and with the labels."""
        while (box.name, number) in self.same_as:
            number = self.same_as[box.name, number]
        return f"{box.name} at {number} {box.labels.get('group')}"

    # -- what happens

    @initialize(
        strategy=strategies, groups=st.lists(st.sampled_from(LABELS), min_size=1, max_size=8), fresh=st.booleans()
    )
    def begin(self, strategy: Strategy, groups: list[str], fresh: bool) -> None:
        self.world.strategy = strategy
        for name, group in zip(NAMES, groups, strict=False):
            self.world.join(name, labels={"group": group})
            if not fresh:
                box = self.world.boxes[name]
                box.given, box.release, box.health = self.slice_of(box, 1), 1, Health.HEALTHY
        self.world.releases.add(1)
        self.world.release(1)
        if not fresh:
            self.heal()
        self.world.release(2)

    @rule(publish=st.booleans(), restart=st.booleans())
    def step(self, publish: bool, restart: bool) -> None:
        if restart:
            self.world.restart()
        self.checked_step(publish=publish)

    @rule(name=clusters)
    def report(self, name: str) -> None:
        self.world.report(name)

    @rule()
    def report_all(self) -> None:
        self.world.report()
        self.checked_step()

    @rule(name=clusters, health=st.sampled_from(Health))
    def turn(self, name: str, health: Health) -> None:
        if name in self.world.boxes:
            self.world.boxes[name].health = health

    @rule(name=clusters)
    def break_release(self, name: str) -> None:
        self.world.broken.add((name, self.world.newest))

    @rule(name=clusters)
    def disconnect(self, name: str) -> None:
        if name in self.world.boxes:
            self.world.boxes[name].online = False

    @rule(name=clusters)
    def connect(self, name: str) -> None:
        if name in self.world.boxes:
            self.world.boxes[name].online = True

    @rule(name=clusters, frozen=st.booleans())
    def freeze(self, name: str, frozen: bool) -> None:
        if name in self.world.boxes:
            self.world.boxes[name].frozen = frozen

    @rule(name=clusters, why=st.sampled_from(["", "", "no such variable"]))
    def resolve(self, name: str, why: str) -> None:
        if name in self.world.boxes:
            self.world.boxes[name].unresolved = why

    @rule(name=clusters, group=st.sampled_from(LABELS))
    def label(self, name: str, group: str) -> None:
        if name in self.world.boxes:
            self.world.boxes[name].labels = {"group": group}

    @rule(name=clusters, group=st.sampled_from(LABELS))
    def join(self, name: str, group: str) -> None:
        if name not in self.world.boxes:
            self.world.join(name, labels={"group": group})

    @rule(name=clusters)
    def leave(self, name: str) -> None:
        self.world.boxes.pop(name, None)

    @rule(unchanged=st.sets(clusters, max_size=3), urgent=st.booleans())
    def commit(self, unchanged: set[str], urgent: bool) -> None:
        number = self.world.newest + 1
        for name in unchanged:
            self.same_as[name, number] = number - 1
        self.world.urgent = "outage" if urgent else ""
        self.world.release(number)

    @rule(seconds=st.sampled_from([1.0, 59.0, 60.0, 600.0, 3600.0, -30.0, -86_400.0]))
    def time(self, seconds: float) -> None:
        self.world.now += seconds
        self.checked_step()

    @rule(verdict=st.sampled_from([Verdict.PASSED, Verdict.PASSED, Verdict.WAITING, Verdict.FAILED]))
    def answer(self, verdict: Verdict) -> None:
        asked = self.world.step_.ask if self.world.step_ else ()
        for key in asked:
            self.world.answers[key] = GateResult(verdict, self.world.now, self.world.now, "so it is")

    @precondition(lambda self: self.world.state is not None)
    @rule(act=st.sampled_from(sorted(ACTS)))
    def act(self, act: str) -> None:
        assert self.world.state is not None
        try:
            self.world.state = ACTS[act](self.world.state, who="jo", reason="because", now=self.world.now)
        except ConfigError:
            return

    # -- what must hold

    def checked_step(self, *, publish: bool = True) -> Step:
        before = self.world.state
        members = {}
        assert before is not None
        step = self.world.step(publish=False)
        members = {member.name: member for member in self.world.members()}
        assert state_of(state_json(step.state)) == step.state
        self.check(before if before.release == step.state.release else replace(before, stages={}), step, members)
        if publish:
            self.world.publish()
        return step

    def check(self, before: RolloutState, step: Step, members: dict[str, Member]) -> None:
        after = step.state
        release = after.release
        order = [stage for stage in stages_of(self.world.strategy) if stage.name in after.stages]
        assert set(after.stage_of) == set(members)
        for record in (after.assigned, after.admitted_at, after.failed, after.done, after.healthy):
            assert set(record) <= set(members)
        healthy = {name for name, each in members.items() if is_healthy(each)}
        new = after.done - before.done if before.release == release else after.done
        assert new <= healthy, "stale health counts for nothing"
        waited = {name for name, each in members.items() if after.assigned.get(name) != release}
        if after.phase is not Phase.COMPLETE:
            assert waited <= {*step.waits} | healthy, "each is told what it waits for"
        admitted = {
            name
            for name in members
            if after.assigned.get(name) == release
            and before.assigned.get(name) != release
            and members[name].given != members[name].target
        }
        for at, stage in enumerate(order):
            mine = {name: each for name, each in members.items() if after.stage_of[name] == stage.name}
            taken = admitted & mine.keys()
            self.check_done(stage, before, after, mine, last=at == len(order) - 1)
            if not taken:
                continue
            assert after.phase in (Phase.PROGRESSING, Phase.COMPLETE, Phase.PAUSED)
            assert before.phase is not Phase.PAUSED
            assert all(after.stages[each.name].done_at is not None for each in order[:at]), "earlier stages come first"
            self.check_limits(stage, after, mine, taken)
            if next_opening(self.world.strategy, self.world.now) != self.world.now:
                assert before.phase is Phase.COMPLETE
                assert not any(mine[name].given for name in taken)

    def check_limits(self, stage: Stage, after: RolloutState, mine: dict[str, Member], taken: set[str]) -> None:
        there = {name: each for name, each in mine.items() if each.online and not each.frozen and not each.unresolved}
        moving = {
            name
            for name, each in there.items()
            if after.assigned.get(name) == after.release and not is_healthy(each) and name not in after.failed
        }
        if after.phase is Phase.COMPLETE:
            moving -= after.done
        if stage.max_concurrent is not None:
            assert len(moving) <= stage.max_concurrent.limit(len(mine)), "maxConcurrent"
        gone = {
            name for name in taken if mine[name].given and mine[name].health is Health.HEALTHY and mine[name].online
        }
        if stage.max_unavailable is not None and gone:
            down = {
                name
                for name, each in mine.items()
                if each.online
                and not each.frozen
                and (
                    (each.given and each.health is not Health.HEALTHY) or (name in moving and each.given != each.target)
                )
            }
            assert len(down) <= stage.max_unavailable.limit(len(mine)), "maxUnavailable"
        counted = after.failed.keys() & mine.keys() - after.accepted
        if stage.on_failure is not OnFailure.CONTINUE:
            assert len(counted) <= stage.max_failures, "maxFailures"

    def check_done(
        self, stage: Stage, before: RolloutState, after: RolloutState, mine: dict[str, Member], *, last: bool
    ) -> None:
        """A stage comes to be done only when its clusters are, now, on this very release."""
        known = before.stages.get(stage.name)
        if after.stages[stage.name].done_at is None or (known is not None and known.done_at is not None):
            return
        if before.phase is Phase.COMPLETE:
            return
        for name, each in mine.items():
            offline = not each.online and self.world.strategy.offline is not Offline.WAIT
            over = each.frozen or offline or name in after.failed
            has_it = after.phase is Phase.FAILED or after.assigned.get(name) == after.release
            assert over or (is_healthy(each) and has_it), f"{name} is not done"
        if any(not each.online and not each.frozen and name not in after.failed for name, each in mine.items()):
            skipped = bool(after.stages[stage.name].soak_skipped)
            assert skipped or last or any(is_healthy(each) for each in mine.values()), "somebody has tried it"
        if stage.soak and not after.stages[stage.name].soak_skipped and any(is_healthy(e) for e in mine.values()):
            healthy_at = after.stages[stage.name].healthy_at
            assert healthy_at is not None
            assert healthy_at + stage.soak <= self.world.now

    # -- with everything well it ends

    def heal(self) -> None:
        """Have everything well, let people do what is theirs, and go to the end."""
        world = self.world
        world.broken.clear()
        for box in world.boxes.values():
            box.online, box.frozen, box.unresolved = True, False, ""
        assert world.state is not None
        world.now += 1
        for _ in range(20 * (len(world.boxes) + 5) * (1 + len(world.state.queue))):
            assert world.state is not None
            for key in world.step_.ask if world.step_ else ():
                world.answers[key] = GateResult(Verdict.PASSED, world.now, world.now)
            if world.state.phase not in (Phase.PROGRESSING, Phase.COMPLETE):
                world.answers.clear()  # who asks anew forgets what was said
            if world.state.phase is Phase.PAUSED:
                world.state = resume(world.state, who="jo", reason="fixed", now=world.now)
            elif world.state.over and world.state.phase is not Phase.COMPLETE:
                world.state = retry(world.state, who="jo", reason="fixed", now=world.now)
            world.report()
            step = self.checked_step()
            on = {name for name in world.boxes if step.state.assigned.get(name) == world.newest}
            if (
                step.state.phase is Phase.COMPLETE
                and step.state.release == world.newest
                and len(on) == len(world.boxes)
            ):
                world.report()
                self.checked_step()
                return
            if step.wake_at is not None and not step.ask:
                assert step.wake_at > world.now
                world.now = step.wake_at
        raise AssertionError(f"it does not end: {world.state} {world.step_}")

    def teardown(self) -> None:
        if self.world.state is not None:
            self.heal()


def is_healthy(member: Member) -> bool:
    return member.online and member.given == member.target and member.health is Health.HEALTHY and not member.unresolved


Promises.TestCase.settings = settings(
    max_examples=int(os.environ.get("FELLOE_EXAMPLES", "40")),
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestPromises = Promises.TestCase
