"""The names of the queries that the hub asks of a spoke (Query in ``link.proto``)."""

from __future__ import annotations

from typing import Final

DIFF: Final = "diff"
"""What a cluster would become, against what it is: ``diff.proto``."""
