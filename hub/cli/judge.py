"""Whether clusters are where `felloe wait` wants them, and if not, what each one lacks.

Judged by what the hub says of the desired state only: a workload counts as applied or healthy when the spoke reported
that for exactly the digest that is desired now, so health from before a commit never lets a wait succeed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hub.cli.human import is_revision
from hub.cli.human import revision as short_revision
from hub.cli.view import Json, condition, flag, objects, text
from hub.cli.words import Goal


@dataclass(frozen=True, slots=True)
class Missing:
    """A cluster that is not there yet, and why."""

    cluster: str
    why: str


def judge(clusters: Iterable[Json], goal: Goal, revision: str = "") -> list[Missing]:
    """Return the clusters that have not reached the goal, with `revision` where one is asked for."""
    judged = [(text(cluster, "metadata", "name"), _lacks(cluster, goal, revision)) for cluster in clusters]
    return [Missing(name, why) for name, why in sorted(judged) if why]


def _lacks(cluster: Json, goal: Goal, revision: str) -> str:
    """Return what a cluster lacks, empty where it lacks nothing."""
    workloads = [one for one in objects(cluster, "status", "workloads") if not flag(one, "suspended")]
    unmet = [one for one in workloads if not flag(one, goal.value)]
    why = ""
    if unmet:
        why = "; ".join(f"{text(one, 'namespace')}/{text(one, 'name')}: {_message(one, goal)}" for one in unmet)
    elif revision and not _has(cluster, workloads, revision):
        at = short_revision(text(cluster, "status", "revision"))
        why = f"it is at {at}, not at {revision}"
    elif (ready := condition(cluster, "Ready")) and text(ready, "status") == "False" and not _by_workloads(ready):
        why = text(ready, "message")
    elif not _is_planned(cluster) or not _has_root(cluster):
        why = text(ready, "message") or "it has not applied the desired state yet"
    if why and not flag(cluster, "status", "connected"):
        return f"not connected: {why}"
    return why


def _message(workload: Json, goal: Goal) -> str:
    said = text(workload, "message")
    if flag(workload, "applied") and text(workload, "ready") == "True" and goal is Goal.HEALTHY:
        return f"applied, not healthy{f': {said}' if said else ''}"
    return said or f"not {goal.value}"


def _by_workloads(ready: Json) -> bool:
    """Say whether Ready is False only for its workloads, which have been judged one by one."""
    return text(ready, "reason") == "WorkloadsFailing"


def _is_planned(cluster: Json) -> bool:
    return bool(text(cluster, "status", "desiredRoot"))


def _has_root(cluster: Json) -> bool:
    return text(cluster, "status", "root") == text(cluster, "status", "desiredRoot")


def _has(cluster: Json, workloads: Iterable[Json], revision: str) -> bool:
    """Say whether the fleet's revision on this cluster, or that of one of its workloads, is the one asked for."""
    at = [text(cluster, "status", "revision"), *(text(one, "lastAppliedRevision") for one in workloads)]
    return any(is_revision(one, revision) for one in at)
