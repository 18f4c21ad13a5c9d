"""The order in which a workload's objects are applied, in numbers: what others need first, what can block others last.

Both sides know them: the hub gives each entry its wave, the spoke applies wave by wave. Between the kinds that come
first and those that come last there is room for waves of the user's own.
"""

from __future__ import annotations

from typing import Final

NAMESPACES: Final = 0
DEFINITIONS: Final = 1
CLUSTER_SCOPED: Final = 2
THE_REST: Final = 5000
ADMISSION: Final = 10_000

LOWEST, HIGHEST = -1000, 1000
"""The waves that a user may name; everything that names none is in 0."""


def own_wave(number: int) -> int:
    """Return the wave that a user calls `number`."""
    return THE_REST + number


def barrier(earlier: int, later: int) -> bool:
    """Return whether nothing of a later wave is applied while something of an earlier one failed.

    So it is before and after each wave of a user's own. The waves by kind only go first: whoever needs what failed
    there fails as well and is tried again, and the others go on.
    """
    return earlier < later and (_own(earlier) or _own(later))


def _own(wave: int) -> bool:
    return wave != THE_REST and THE_REST + LOWEST <= wave <= THE_REST + HIGHEST
