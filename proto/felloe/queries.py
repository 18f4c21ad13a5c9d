"""The names of the queries that the hub asks of a spoke (Query in ``link.proto``)."""

from __future__ import annotations

from typing import Final

DIFF: Final = "diff"
"""What a cluster would become, against what it is: ``diff.proto``."""

ADOPT_FLUX: Final = "adopt.flux"
"""What taking over from Flux would do, or to do it, or to undo it: ``adopt.proto``."""
