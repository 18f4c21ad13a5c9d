"""What planning is told once, and what it knows now: the planner keeps it current, everybody else only reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from hub.fleet import Fleet
from hub.sources.spec import GitSpec
from hub.targeting import ClusterPlan, DeclaredSource


@dataclass(frozen=True, slots=True)
class Settings:
    """What planning is told once: the fleet's source, its folder, and the template of ``--sync-path``."""

    fleet_source: GitSpec
    fleet_path: str
    sync_path: str
    rewrite: Callable[[str], str]


@dataclass(slots=True)
class Plans:
    """What planning knows now; the reporter shows it.

    `fleet` is the one in force, from `revision`; `attempted` is the newest revision that was tried, and `problem` says
    why that one is not in force. `troubles` says, by cluster, why its newest plan could not be made or published: it
    keeps the one in `clusters`. The plans hold no blobs.
    """

    fleet: Fleet | None = None
    revision: str = ""
    attempted: str = ""
    problem: str = ""
    clusters: dict[str, ClusterPlan] = field(default_factory=dict)
    troubles: dict[str, str] = field(default_factory=dict)
    sources: tuple[DeclaredSource, ...] = ()
