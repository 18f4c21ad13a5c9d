"""Whom the conductor speaks with: who asks gates, and who keeps and shows what happens."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Protocol

from hub.gates.asking import Asked, Question
from hub.promoting.model import Outcome, Wanted
from hub.rollout.model import Act, GateResult, Note, Release, RolloutState, Track
from hub.status.rollouts import RolloutFacts


class Gates(Protocol):
    """Who asks HTTP and Prometheus gates."""

    def ask(self, wanted: Mapping[Question, Asked]) -> None:
        """Ask exactly these from now on."""
        ...

    def answers(self, track: Track, release: int) -> Mapping[tuple[str, str], GateResult]:
        """Return what was answered about a track's rollout of a release, by stage and name of the gate."""
        ...


class Chronicle(Protocol):
    """Who keeps what happens to rollouts, and shows how they are."""

    def happened(self, track: Track, state: RolloutState, release: Release, note: Note) -> None:
        """Keep something that the engine did. Raise StoreError where that can't be kept."""
        ...

    def acted(
        self,
        track: Track,
        release: Release | None,
        act: Act | None,
        *,
        who: str,
        reason: str,
        clusters: Iterable[str] = (),
        stage: str = "",
        gate: str = "",
        soak_skipped: bool = False,
    ) -> None:
        """Keep what a person did; `act` None: had a release promoted. Raise StoreError where that can't be kept."""
        ...

    def wrote(self, wanted: Wanted, outcome: Outcome, release: Release | None) -> None:
        """Keep that a promotion was written to Git. Raise StoreError where that can't be kept."""
        ...

    def show(self, changed: Iterable[RolloutFacts], tracks: Collection[Track]) -> None:
        """Show the rollouts that changed; there are no others than those of `tracks`."""
        ...
