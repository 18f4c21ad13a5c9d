"""Ages, revisions and labels as people read them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from felloe.k8syaml import JsonValue
from hub.cli.view import harmless

_COMMIT = re.compile(r"(sha1|sha256):([0-9a-f]{8})[0-9a-f]+")


def age(since: str, now: datetime) -> str:
    """Return how long ago an RFC 3339 time was, as `span` says it; ``-`` for no time."""
    at = moment(since)
    return span((now - at).total_seconds()) if at else "-"


def moment(stamp: str) -> datetime | None:
    """Return an RFC 3339 time, None for what is none."""
    try:
        at = datetime.fromisoformat(stamp)
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def span(length: float) -> str:
    """Return a length of time in seconds as kubectl does: 45s, 12m, 3m20s, 5h, 2d; what is negative as 0s.

    The steps are those of ``k8s.io/apimachinery/pkg/util/duration.HumanDuration``.
    """
    seconds = max(int(length), 0)
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 120:
        return f"{seconds}s"
    if minutes < 10:
        return _two(minutes, "m", seconds % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return _two(days, "d", hours % 24, "h")
    return f"{days}d"


def _two(large: int, unit: str, small: int, smaller: str) -> str:
    return f"{large}{unit}{small}{smaller}" if small else f"{large}{unit}"


def revision(full: str) -> str:
    """Return a revision with its commit cut to eight digits: ``main@sha1:1234abcd``; ``-`` for none."""
    return shortened(full) or "-"


def shortened(message: str) -> str:
    """Return a message with its commits cut to eight digits."""
    return _COMMIT.sub(r"\1:\2", message)


def labels(pairs: Mapping[str, JsonValue]) -> str:
    """Return labels as kubectl lists them."""
    return harmless(",".join(f"{key}={value}" for key, value in sorted(pairs.items()))) or "<none>"


def is_revision(full: str, asked: str) -> bool:
    """Say whether a revision is the one asked for: written in full, or its commit with four digits or more."""
    if not full or not asked:
        return False
    if full == asked:
        return True
    commit = full.rpartition(":")[2]
    wanted_name, _, wanted = asked.rpartition("@")
    if wanted_name and not full.startswith(f"{wanted_name}@"):
        return False
    algorithm, _, digits = wanted.rpartition(":")
    if algorithm and f"{algorithm}:" not in full:
        return False
    return (
        len(digits) >= 4
        and re.fullmatch(r"[0-9a-f]+", digits.lower()) is not None
        and commit.startswith(digits.lower())
    )
