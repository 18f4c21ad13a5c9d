"""Workloads that two units give one cluster: then neither does, for what the one brings the other would take away."""

from __future__ import annotations

from collections.abc import Mapping

from felloe.identity import WorkloadId
from hub.targeting.plan import PLACEMENT_ORIGIN, READY, Condition
from hub.targeting.words import listed

DEFINED_TWICE = "DefinedTwice"


def clash_holds(cluster: str, claims: Mapping[WorkloadId, tuple[str, ...]]) -> dict[WorkloadId, Condition]:
    """Return, for what each of several units (by origin) claims, why it stays as it is."""
    return {
        identity: Condition(READY, "False", DEFINED_TWICE, _message(cluster, identity, units))
        for identity, units in claims.items()
    }


def _message(cluster: str, identity: WorkloadId, units: tuple[str, ...]) -> str:
    who = listed(tuple(map(_unit, units)))
    return (
        f"{who} give cluster {cluster} the same workload, {identity}, so it stays as it is; take it out of all but one "
        "of them, or let them select other clusters"
    )


def _unit(origin: str) -> str:
    return (
        f"Placement {origin.removeprefix(PLACEMENT_ORIGIN)}" if origin.startswith(PLACEMENT_ORIGIN) else "the sync path"
    )
