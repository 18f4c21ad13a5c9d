"""The garbage collector of a hub: what was planned lives long, and is not to be looked through again and again.

A large fleet's plans are some million objects without cycles, which reference counts free. Python's collector would
walk all of them whenever a quarter more have come: half a second for ten thousand clusters, several times in a round.
"""

from __future__ import annotations

import gc
import time
from typing import Final

_WHOLE_SECONDS: Final = 3600.0
"""Once an hour everything is walked, for cycles that were among what was set aside."""
_YOUNG: Final = (20_000, 20, 20)


class Heap:
    """Sets aside what lives long."""

    def __init__(self) -> None:
        gc.set_threshold(*_YOUNG)
        self._whole_at = time.monotonic() + _WHOLE_SECONDS

    def settle(self) -> None:
        """Set aside all that is there now: a round of planning has ended."""
        if time.monotonic() >= self._whole_at:
            gc.unfreeze()
            self._whole_at = time.monotonic() + _WHOLE_SECONDS
        gc.collect()  # of what came since the last time
        gc.freeze()
