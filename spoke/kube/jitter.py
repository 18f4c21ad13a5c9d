"""Pauses of uneven length, so that what failed together is not tried again in the same instant."""

from __future__ import annotations

import random


def spread(seconds: float) -> float:
    """Return between half of some seconds and all of them."""
    return random.uniform(seconds / 2, seconds)  # noqa: S311
