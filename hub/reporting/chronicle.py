"""The chronicle of rollouts: what the engine and people did becomes events and lines of the audit log."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from hub.audit import Action, AuditLog, policy
from hub.planning.rollouts.conductor import DEFAULT_STRATEGY
from hub.promoting.model import Outcome, Wanted
from hub.reporting.reporter import Reporter
from hub.rollout.model import Act, Note, Release, RolloutState, Track
from hub.status.rollouts import RolloutFacts

_ACTIONS: Final = {
    "RolloutBegan": Action.ROLLOUT_STARTED,
    "RolloutSuperseded": Action.ROLLOUT_SUPERSEDED,
    "RolloutQueued": Action.ROLLOUT_QUEUED,
    "Promoted": Action.PROMOTED,
    "StageBegan": Action.ROLLOUT_STAGE_STARTED,
    "StageDone": Action.ROLLOUT_STAGE_DONE,
    "Admitted": Action.ROLLOUT_CLUSTERS_MOVED,
    "GatePassed": Action.ROLLOUT_GATE_PASSED,
    "GateFailed": Action.ROLLOUT_GATE_FAILED,
    "SoakSkipped": Action.ROLLOUT_SOAK_SKIPPED,
    "RolloutPaused": Action.ROLLOUT_PAUSED,
    "RolloutFailed": Action.ROLLOUT_FAILED,
    "RolledBack": Action.ROLLOUT_ROLLED_BACK,
    "RolloutComplete": Action.ROLLOUT_FINISHED,
}
_ACTS: Final = {
    Act.PAUSE: Action.ROLLOUT_PAUSED,
    Act.RESUME: Action.ROLLOUT_RESUMED,
    Act.APPROVE: Action.ROLLOUT_APPROVED,
    Act.ABORT: Action.ROLLOUT_ABORTED,
    Act.UNDO: Action.ROLLOUT_UNDONE,
    Act.RETRY: Action.ROLLOUT_RETRIED,
    Act.SKIP_SOAK: Action.ROLLOUT_SOAK_SKIPPED,
}


class RolloutChronicle:
    """Keeps what happens to rollouts, and shows how they are (`hub.planning.rollouts.conductor.Chronicle`)."""

    def __init__(self, reporter: Reporter, audit: AuditLog) -> None:
        self._reporter = reporter
        self._audit = audit

    def happened(self, track: Track, state: RolloutState, release: Release, note: Note) -> None:
        """Keep something that the engine did. Raise StoreError where that can't be kept."""
        action = _ACTIONS.get(note.reason)
        if action is not None:
            self._audit.record(
                policy(state.strategy or DEFAULT_STRATEGY),
                action,
                clusters=note.clusters,
                reason=note.message,
                revision=release.revision,
                author=release.author,
                track=str(track),
                release=release.number,
                stage=note.stage or None,
            )
        self._reporter.rollout_event(note.reason, note.message, warning=note.warning)

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
        """Keep what a person did to a rollout; `act` None: had a release promoted. Raise StoreError."""
        action = Action.PROMOTED if act is None else _ACTS[act]
        self._audit.record(
            who,
            action,
            clusters=list(clusters),
            reason=reason,
            revision=release.revision if release else "",
            author=release.author if release else "",
            approver=who if act in (None, Act.APPROVE) else "",
            track=str(track),
            release=release.number if release else None,
            stage=stage or None,
            gate=gate or None,
            soakSkipped=soak_skipped or None,
        )
        because = f": {reason}" if reason else ""
        self._reporter.rollout_event(action.value, f"{track}: {act or 'promoted'} by {who}{because}", warning=False)

    def wrote(self, wanted: Wanted, outcome: Outcome, release: Release | None) -> None:
        """Keep that a promotion was written to Git, as a commit or a pull request. Raise StoreError."""
        message = f"{wanted.upstream} to {wanted.environment}: {outcome.message}"
        self._audit.record(
            policy("promotion") if wanted.who == "policy" else wanted.who,
            Action.PROMOTION_PROPOSED,
            reason=message,
            revision=release.revision if release else "",
            author=release.author if release else "",
            release=wanted.release,
            commit=wanted.commit,
            url=outcome.url or None,
        )
        self._reporter.rollout_event(Action.PROMOTION_PROPOSED.value, message, warning=False)

    def show(self, changed: Iterable[RolloutFacts], tracks: Collection[Track]) -> None:
        """Show the rollouts that changed; there are no others than those of `tracks`."""
        self._reporter.show_rollouts(changed, tracks)
