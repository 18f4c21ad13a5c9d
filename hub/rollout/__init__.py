"""Rollouts: which cluster may take which bundle now."""

from hub.rollout.admit import Candidate, admit

__all__ = ["Candidate", "admit"]
