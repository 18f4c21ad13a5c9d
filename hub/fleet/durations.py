"""Go durations (``10m``, ``1h30m``, ``500ms``), as Kubernetes and Flux write times."""

from __future__ import annotations

import re
from typing import Final

_UNITS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h)")
_LONGEST: Final = 2**63 / 1e9


def format_duration(seconds: float) -> str:
    """Return whole seconds as people write them: ``1h``, ``1h30m``, ``90s`` as ``1m30s``."""
    minutes, rest = divmod(round(seconds), 60)
    parts = ((minutes // 60, "h"), (minutes % 60, "m"), (rest, "s"))
    return "".join(f"{amount}{unit}" for amount, unit in parts if amount) or "0s"


def parse_duration(text: str) -> float:
    """Return the seconds of a duration. Raise ValueError for what Go refuses, and for a negative one."""
    if text == "0":
        return 0.0
    if not text or not re.fullmatch(f"(?:{_PART.pattern})+", text):
        raise ValueError(f"{text!r} is no duration; write it as 30s, 10m or 1h30m")
    seconds = sum(float(amount) * _UNITS[unit] for amount, unit in _PART.findall(text))
    if seconds >= _LONGEST:
        raise ValueError(f"{text!r} is longer than a duration can be (about 292 years)")
    return round(seconds, 9)
