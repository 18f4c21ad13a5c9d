"""How long a rollout still takes: by how long its clusters took so far, and the soaks that are left.

A guess for people, and only as far as it can be one: it ends at the next gate that waits for a person.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from math import ceil

from hub.cli.human import moment, span
from hub.cli.view import Json, dig, number, objects, text


@dataclass(frozen=True, slots=True)
class Estimate:
    """How many seconds are left; `until` is the gate at which a person is asked, empty for the end."""

    seconds: float
    until: str = ""

    def __str__(self) -> str:
        """Return it as people read it."""
        return f"about {span(self.seconds)} until {self.until}" if self.until else f"about {span(self.seconds)} left"


def estimate(rollout: Json, now: datetime) -> Estimate | None:
    """Return how long it takes, None where nothing is known yet, it stands still, or waits for a gate or a window."""
    if text(rollout, "status", "phase") != "Progressing" or text(rollout, "status", "shut"):
        return None
    seconds = 0.0
    for stage in objects(rollout, "status", "stages"):
        if text(stage, "doneAt"):
            continue
        gate = next((one for one in objects(stage, "gates") if _waits_for_a_person(one)), None)
        if gate is not None:
            return Estimate(seconds, f"approval {text(gate, 'name')}") if seconds else None
        if any(text(one, "verdict") in {"Waiting", "Failed"} for one in objects(stage, "gates")):
            return None
        left = number(stage, "waiting") + number(stage, "moving")
        mean = real(rollout, "status", "meanSeconds")
        if left and not mean:
            return None
        seconds += ceil(left / max(number(stage, "maxConcurrent"), 1)) * mean if left else 0.0
        ends = moment(text(stage, "soakEndsAt"))
        seconds += max((ends - now).total_seconds(), 0.0) if ends else real(stage, "soakSeconds")
    return Estimate(seconds)


def _waits_for_a_person(gate: Json) -> bool:
    return text(gate, "type") == "approval" and text(gate, "verdict") != "Passed"


def real(value: Json, *path: str) -> float:
    """Return the number at a path, 0 where there is none."""
    found = dig(value, *path)
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else 0.0
