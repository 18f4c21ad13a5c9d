"""A fleet without clusters: it takes what the engine assigns, and is as healthy as a test says.

The hub's shell in a few lines: what a step assigns is published, spokes that are online report on exactly that, and
the state goes through JSON between steps when a test wants a restart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace

from hub.fleet.strategy import Stage, Strategy
from hub.rollout import advance, state_json, state_of, succeed
from hub.rollout.model import GateResult, Health, Member, Note, Phase, Release, RolloutState, Step, Track

TRACK = Track("placement/shop")


@dataclass
class Box:
    """A cluster: what it was given last, and what it would report about a slice."""

    name: str
    labels: dict[str, str] = field(default_factory=dict)
    environment: str = ""
    online: bool = True
    frozen: bool = False
    unresolved: str = ""
    given: str = ""
    release: int = 0
    health: Health = Health.PROGRESSING
    message: str = ""


@dataclass
class Simulated:
    """A track with its rollout. `slice_of` says what a release is on a cluster: by default something new each time."""

    strategy: Strategy
    boxes: dict[str, Box] = field(default_factory=dict)
    state: RolloutState | None = None
    now: float = 1_700_000_000.0
    newest: int = 0
    answers: dict[tuple[str, str], GateResult] = field(default_factory=dict)
    urgent: str = ""
    broken: set[tuple[str, int]] = field(default_factory=set)
    """Clusters on which a release fails, as (cluster, release)."""
    slice_of: Callable[[Box, int], str] = lambda box, number: f"{box.name} at {number}"
    releases: set[int] = field(default_factory=set)
    notes: list[Note] = field(default_factory=list)
    step_: Step | None = None

    def join(self, *names: str, **facts: object) -> None:
        """Add clusters that have nothing."""
        for name in names:
            self.boxes[name] = replace(Box(name), **facts)  # type: ignore[arg-type]

    def members(self) -> list[Member]:
        """Return the clusters as the engine sees them."""
        assert self.state is not None
        return [
            Member(
                box.name,
                dict(box.labels),
                box.environment,
                box.online,
                "" if box.unresolved else self.slice_of(box, self.state.release),
                box.given,
                box.release,
                box.health,
                box.message,
                box.unresolved,
                box.frozen,
            )
            for box in self.boxes.values()
        ]

    def release(self, number: int, *, same: bool = False) -> None:
        """Have a newer release."""
        self.newest = number
        self.releases.add(number)
        self.state = succeed(self.state, number, self.strategy, self.now, same=same)

    def step(self, *, publish: bool = True) -> Step:
        """Take one step, twice (the second must change nothing), and publish what it assigns."""
        assert self.state is not None
        if self.newest:
            self.state = succeed(self.state, self.newest, self.strategy, self.now, same=False)
        step = self._advance(self.state)
        again = self._advance(step.state)
        assert again.state is step.state, f"a step that was taken changes nothing: {_apart(step.state, again.state)}"
        first, second = ((each.waits, each.ask, each.wake_at) for each in (step, again))
        assert first == second, f"{first} {second}"
        self.state, self.step_ = step.state, step
        self.notes += step.notes
        if publish:
            self.publish()
        return step

    def _advance(self, state: RolloutState) -> Step:
        return advance(
            TRACK,
            self.strategy,
            state,
            Release(state.release, f"sha{state.release}", self.now, urgent=self.urgent),
            {each.name: each for each in self.members()},
            self.now,
            answers=self.answers,
            releases=self.releases,
        )

    def publish(self) -> None:
        """Give every cluster the slice of the release that it is to run."""
        assert self.state is not None
        for box in self.boxes.values():
            number = self.state.assigned.get(box.name, 0)
            if not number or box.frozen or box.unresolved:
                continue
            wanted = self.slice_of(box, number)
            if box.given != wanted:
                box.given, box.health, box.message = wanted, Health.PROGRESSING, ""
            box.release = number

    def report(self, *names: str) -> None:
        """Have clusters that are online finish what they were given: healthy, or failed where a release is broken."""
        for box in self.boxes.values():
            if box.online and box.given and (not names or box.name in names):
                failed = (box.name, box.release) in self.broken
                box.health = Health.FAILED if failed else Health.HEALTHY
                box.message = "CrashLoopBackOff" if failed else ""

    def settle(self, rounds: int = 50) -> None:
        """Step and report until nothing changes; time stands still."""
        for _ in range(rounds):
            before = self.state
            self.step()
            self.report()
            if self.state == before and self.step(publish=False).state == before:
                return
        raise AssertionError("it does not come to rest")

    def later(self, seconds: float) -> Step:
        """Let time pass, then step."""
        self.now += seconds
        return self.step()

    def restart(self) -> None:
        """Restart the hub: only the stored text is left."""
        assert self.state is not None
        self.state = state_of(state_json(self.state))

    def on(self, number: int) -> list[str]:
        """Return the clusters that are to run a release."""
        assert self.state is not None
        return sorted(name for name, each in self.state.assigned.items() if each == number)

    @property
    def phase(self) -> Phase:
        """Return where the rollout is."""
        assert self.state is not None
        return self.state.phase

    def reasons(self) -> list[str]:
        """Return the reasons of what was noted so far."""
        return [note.reason for note in self.notes]


def _apart(one: RolloutState, other: RolloutState) -> dict[str, tuple[object, object]]:
    both = [(each.name, getattr(one, each.name), getattr(other, each.name)) for each in fields(RolloutState)]
    return {name: (left, right) for name, left, right in both if left != right}


def fleet(stages: Iterable[Stage], *names: str, labels: Mapping[str, dict[str, str]] | None = None) -> Simulated:
    """Return a fleet on which release 1 is complete, with release 2 about to begin."""
    world = Simulated(Strategy("careful", tuple(stages)))
    for name in names:
        world.join(name, labels=dict((labels or {}).get(name, {})))
        box = world.boxes[name]
        box.given, box.release, box.health = world.slice_of(box, 1), 1, Health.HEALTHY
    world.releases.add(1)
    world.state = RolloutState(
        1,
        phase=Phase.COMPLETE,
        base=1,
        ended_at=world.now,
        strategy="careful",
        assigned=dict.fromkeys(names, 1),
        done=frozenset(names),
    )
    world.release(2)
    return world
