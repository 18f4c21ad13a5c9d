"""What can go wrong with test clusters."""

from __future__ import annotations


class HarnessError(Exception):
    """A binary was not built or a process of a cluster did not come up; the message says which, and shows its log."""
