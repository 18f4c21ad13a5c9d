"""Rollouts at work: the conductor asks the pure engine (`hub.rollout`) at every step, and keeps what it says.

`tracks` says what Git wants of each track, `membership` and `evidence` how its clusters are, `steering` is what people
do, `records` is what outlives a restart, `milestones` what the audit log is told, `git_promotion` what goes back to
Git.
"""
