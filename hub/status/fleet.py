"""The whole fleet on one screen: what each environment runs, what moves there, what waits for what, and what is stuck.

Made of the resources that are shown already, so that it never says anything else than they do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from felloe.labels import GROUP
from hub.rollout.model import Phase, Verdict
from hub.rollout.stages import listed
from hub.status.resource import Resource
from hub.status.rollouts import ClusterState

_MOST_FAILURES: Final = 20
"""How many different failures of clusters are shown."""
_COUNTS: Final = ("clusters", "done", "moving", "failed", "offline", "waiting")

Json = Mapping[str, object]


def fleet_view(
    environments: Iterable[Resource], clusters: Iterable[Resource], rollouts: Iterable[Resource]
) -> dict[str, object]:
    """Return the fleet as JSON: ``environments`` in the order of promotion, and ``waits``.

    The environment without a name has the clusters that are in none, and the rollouts that are in no promotion chain.
    A wait is ``stuck`` where only a person, or something outside, can make it go on; ``command`` is what helps then.
    """
    by_name = {one.name: one for one in environments}
    in_environment: dict[str, list[Resource]] = {}
    for cluster in clusters:
        in_environment.setdefault(_text(cluster.spec, "environment"), []).append(cluster)
    tracks: dict[str, list[Resource]] = {}
    for rollout in sorted(rollouts, key=lambda one: one.name):
        tracks.setdefault(_text(rollout.spec, "environment"), []).append(rollout)
    names = _in_order(by_name, tracks)
    names += sorted((in_environment.keys() | tracks.keys()) - set(names) - {""})
    if "" in in_environment or "" in tracks:
        names.append("")
    waits = [wait for name in names for rollout in tracks.get(name, ()) for wait in _waits(rollout)]
    waits += _failing_clusters([one for name in names for one in in_environment.get(name, ())])
    return {
        "kind": "Fleet",
        "apiVersion": f"{GROUP}/v1alpha1",
        "metadata": {"name": "fleet"},
        "environments": [
            _environment(
                name, _promoted_from(by_name.get(name), tracks), in_environment.get(name, ()), tracks.get(name, ())
            )
            for name in names
        ],
        "waits": sorted(waits, key=lambda wait: wait["stuck"] is not True),
    }


def _in_order(environments: Mapping[str, Resource], tracks: Mapping[str, Sequence[Resource]]) -> list[str]:
    """Return the environments so that each comes after the one that it is promoted from; a circle ends anywhere."""
    ordered: dict[str, None] = {}
    for name in sorted(environments):
        chain: list[str] = []
        while name in environments and name not in ordered and name not in chain:
            chain.append(name)
            name = _promoted_from(environments[name], tracks)
        ordered |= dict.fromkeys(reversed(chain))
    return list(ordered)


def _promoted_from(environment: Resource | None, tracks: Mapping[str, Sequence[Resource]]) -> str:
    if environment is None:
        return ""
    own = [_text(_object(one.spec, "promotesFrom"), "environment") for one in tracks.get(environment.name, ())]
    return next(filter(None, own), _text(environment.spec, "promotedFrom"))


def _environment(
    name: str, promoted_from: str, clusters: Sequence[Resource], rollouts: Sequence[Resource]
) -> dict[str, object]:
    state = Counter(ready.status for one in clusters if (ready := one.condition("Ready")) is not None)
    revisions = Counter(_text(one.status, "revision") for one in clusters)
    return {
        "name": name,
        "promotedFrom": promoted_from,
        "clusters": len(clusters),
        "ready": state["True"],
        "failing": state["False"],
        "offline": sum(1 for one in clusters if one.status.get("connected") is not True),
        "revisions": [{"revision": revision, "clusters": count} for revision, count in revisions.most_common()],
        "tracks": [_track(one) for one in rollouts],
    }


def _track(rollout: Resource) -> dict[str, object]:
    status, stages = rollout.status, _objects(rollout.status, "stages")
    ready = rollout.condition("Ready")
    counts = {name: sum(_number(stage, name) for stage in stages) for name in _COUNTS}
    track: dict[str, object] = {
        "name": rollout.name,
        "unit": rollout.spec.get("unit", ""),
        **{name: status.get(name, "") for name in ("phase", "release", "revision", "subject")},
        **{name: status.get(name, "") for name in ("baseRelease", "baseRevision")},
        **counts,
        "message": ready.message if ready else "",
    }
    if "next" in status:
        track["next"] = status["next"]
    return track


# -- what waits


def _waits(rollout: Resource) -> Iterator[dict[str, object]]:
    """Return what a rollout waits for."""
    phase = _text(rollout.status, "phase")
    ready = rollout.condition("Ready")
    said = ready.message if ready else ""
    if stuck := _texts(rollout.status, "unplanned"):
        yield _wait(rollout, "Unplanned", said, f"felloe describe cluster {stuck[0]}")
        return
    if phase == Phase.FAILED:
        yield _wait(rollout, "Failed", said, f"felloe rollout retry {rollout.name}")
    elif phase == Phase.PAUSED:
        failed = any(_number(one, "failed") for one in _objects(rollout.status, "stages"))
        yield _wait(rollout, "Paused", said, f"felloe rollout {'retry' if failed else 'resume'} {rollout.name}")
    if phase in {Phase.PROGRESSING, Phase.PAUSED}:
        stage = next((one for one in _objects(rollout.status, "stages") if "doneAt" not in one), None)
        if stage is not None:
            yield from _waits_of_stage(rollout, stage)
    upcoming = _object(rollout.status, "next")
    if message := _text(upcoming, "message"):
        approval = upcoming.get("needsApproval") is True
        unit, _, environment = rollout.name.partition("@")
        command = f'felloe promote {unit} --to {environment} --reason "…"' if approval else ""
        what = message if message.startswith("release ") else f"release {upcoming.get('release', '')} waits: {message}"
        unmade = upcoming.get("cannotBeMade") is True
        what = f"release {upcoming.get('release', '')}: {message}" if unmade else what
        yield _wait(rollout, "Unmade" if unmade else "Promotion", what, command, stuck=approval or unmade)


def _waits_of_stage(rollout: Resource, stage: Json) -> Iterator[dict[str, object]]:
    name = _text(stage, "name")
    asked = [one for one in _objects(stage, "gates") if _text(one, "verdict") in {Verdict.WAITING, Verdict.FAILED}]
    for gate in asked:
        gate_name, message = _text(gate, "name"), _text(gate, "message")
        command = f'felloe rollout approve {rollout.name} --stage {name} --gate {gate_name} --reason "…"'
        if _text(gate, "type") == "approval":
            yield _wait(rollout, "Approval", f"stage {name} waits for approval {gate_name}", command)
        else:
            yield _wait(rollout, "Gate", f"stage {name}: gate {gate_name}{message and f': {message}'}", command)
    if "soakEndsAt" in stage:
        soak = f"stage {name} soaks until {stage['soakEndsAt']}"
        yield _wait(rollout, "Soak", soak, "", stuck=False)
    if _text(rollout.status, "phase") != Phase.PAUSED:
        yield from _waits_of_clusters(rollout, stage, held=bool(asked) or "soakEndsAt" in stage)


def _waits_of_clusters(rollout: Resource, stage: Json, *, held: bool) -> Iterator[dict[str, object]]:
    """Return what the clusters of a stage wait for; `held`: gates or its soak are what it waits for."""
    by_itself = "nextLookAt" in rollout.status
    message, shut = _text(stage, "message"), _text(rollout.status, "shut")
    if shut:
        yield _clusters_wait(rollout, stage, shut, "Window", stuck=not by_itself)
    if failed := _number(stage, "failed"):
        yield _clusters_wait(rollout, stage, f"{failed} failed: {_first(rollout, ClusterState.FAILED)}", "Failures")
    elif not held and (moving := _number(stage, "moving")):
        yield _clusters_wait(rollout, stage, f"{moving} moving: {_first(rollout, ClusterState.MOVING)}")
    elif message and not held and not shut:
        yield _clusters_wait(rollout, stage, message, stuck=not by_itself)


def _clusters_wait(
    rollout: Resource, stage: Json, message: str, kind: str = "Clusters", *, stuck: bool = False
) -> dict[str, object]:
    return _wait(rollout, kind, f"stage {_text(stage, 'name')}: {message}", "", stuck=stuck)


def _first(rollout: Resource, state: ClusterState) -> str:
    """Return the first cluster that is so, and what it says."""
    for one in _objects(rollout.status, "clusters"):
        if _text(one, "state") == state:
            return f"{_text(one, 'name')}: {_text(one, 'message')}"
    return ""


def _wait(rollout: Resource, kind: str, message: str, command: str, *, stuck: bool = True) -> dict[str, object]:
    return {"name": rollout.name, "kind": kind, "message": message, "command": command, "stuck": stuck}


def _failing_clusters(clusters: Sequence[Resource]) -> list[dict[str, object]]:
    """Return what clusters fail with, those together that say the same: a mistake in Git shows on every cluster."""
    failing: dict[str, list[str]] = {}
    for one in clusters:
        if (ready := one.condition("Ready")) is not None and ready.status == "False":
            failing.setdefault(ready.message, []).append(one.name)
    shown: list[dict[str, object]] = [
        {
            "name": listed(names),
            "kind": "Cluster",
            "message": message,
            "command": f"felloe describe cluster {names[0]}",
            "stuck": True,
        }
        for message, names in list(failing.items())[:_MOST_FAILURES]
    ]
    if more := sum(len(names) for names in list(failing.values())[_MOST_FAILURES:]):
        message = f"{more} more clusters are failing"
        shown.append({"name": "", "kind": "Cluster", "message": message, "command": "felloe top", "stuck": True})
    return shown


# -- reading resources


def _text(value: Json, name: str) -> str:
    found = value.get(name)
    return found if isinstance(found, str) else ""


def _texts(value: Json, name: str) -> list[str]:
    found = value.get(name)
    return [one for one in found if isinstance(one, str)] if isinstance(found, list) else []


def _number(value: Json, name: str) -> int:
    found = value.get(name)
    return found if isinstance(found, int) else 0


def _object(value: Json, name: str) -> Json:
    found = value.get(name)
    return found if isinstance(found, Mapping) else {}


def _objects(value: Json, name: str) -> list[Json]:
    found = value.get(name)
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []
