"""What can stand in the audit log."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

HUB: Final = "hub"
"""Who acts where neither a person nor a policy does."""


class Action(StrEnum):
    """An act of a person or of a policy."""

    TOKEN_CREATED = "TokenCreated"  # noqa: S105 -- no secret
    """A join token was made for a cluster."""
    CLUSTER_REVOKED = "ClusterRevoked"
    """The certificates and join tokens of a cluster became worthless."""
    CLUSTER_REMOVED = "ClusterRemoved"
    """A cluster was forgotten, with all that was known of it."""
    CREDENTIAL_CREATED = "CredentialCreated"
    """A person got a credential for the API."""
    CREDENTIAL_REVOKED = "CredentialRevoked"
    """A person's credential became worthless."""

    SOURCE_RECONCILED = "SourceReconciled"
    """Somebody had a source looked at."""
    WORKLOAD_RECONCILED = "WorkloadReconciled"
    """Somebody had a workload applied again."""
    WORKLOAD_SUSPENDED = "WorkloadSuspended"
    WORKLOAD_RESUMED = "WorkloadResumed"
    PRUNE_APPROVED = "PruneApproved"
    """Somebody let a spoke delete more than may go without being asked."""
    FLUX_ADOPTED = "FluxAdopted"
    """A cluster was to be taken over from Flux."""
    FLUX_RETURNED = "FluxReturned"
    """A cluster was to be given back to Flux."""

    ROLLOUT_STARTED = "RolloutStarted"
    """A release began to move over the clusters of a track."""
    ROLLOUT_QUEUED = "RolloutQueued"
    """A release waits for the one before it."""
    ROLLOUT_SUPERSEDED = "RolloutSuperseded"
    """A newer release took the place of one that was under way."""
    ROLLOUT_STAGE_STARTED = "RolloutStageStarted"
    ROLLOUT_STAGE_DONE = "RolloutStageDone"
    ROLLOUT_CLUSTERS_MOVED = "RolloutClustersMoved"
    """Clusters were let through to a release, or back to an earlier one."""
    ROLLOUT_GATE_PASSED = "RolloutGatePassed"
    ROLLOUT_GATE_FAILED = "RolloutGateFailed"
    ROLLOUT_SOAK_SKIPPED = "RolloutSoakSkipped"
    """A soak was cut short: by a person, or by an urgent commit."""
    ROLLOUT_FAILED = "RolloutFailed"
    """A stage had more failures than its strategy allows."""
    ROLLOUT_ROLLED_BACK = "RolloutRolledBack"
    """A policy returned clusters to what they had before."""
    ROLLOUT_FINISHED = "RolloutFinished"
    ROLLOUT_PAUSED = "RolloutPaused"
    ROLLOUT_RESUMED = "RolloutResumed"
    ROLLOUT_APPROVED = "RolloutApproved"
    """A person let a gate pass."""
    ROLLOUT_ABORTED = "RolloutAborted"
    ROLLOUT_UNDONE = "RolloutUndone"
    ROLLOUT_RETRIED = "RolloutRetried"
    PROMOTED = "Promoted"
    """A release was let into the next environment."""
    PROMOTION_PROPOSED = "PromotionProposed"
    """A promotion was written to Git, as a commit or as a pull request."""

    FAILED = "Failed"
    """What an earlier entry (``detail.failed``) tells of was tried and did not succeed."""


def policy(strategy: str) -> str:
    """Return who acts where a rollout strategy does."""
    return f"policy/{strategy}"
