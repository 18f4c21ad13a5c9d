"""Two controllers that fight over one object: ours steps back further each time, and says so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

FREE_HEALS: Final = 3
"""So many heals in a row are done at once."""

_CALM_SECONDS: Final = 30.0
_LONGEST_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True)
class Contest:
    """How often an object was healed in a row, and when it may be healed again (monotonic seconds)."""

    heals: int = 0
    not_before: float = 0.0

    @property
    def contested(self) -> bool:
        """Return whether somebody keeps changing the object back."""
        return self.heals > FREE_HEALS

    def healed(self, now: float) -> Contest:
        """Return the contest after a heal: a row ends when the object was left alone for a while."""
        heals = 1 if now - self.not_before > _CALM_SECONDS else self.heals + 1
        pause = 0.0 if heals < FREE_HEALS else min(2.0 ** (heals - FREE_HEALS), _LONGEST_SECONDS)
        return Contest(heals, now + pause)
