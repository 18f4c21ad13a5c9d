"""The first apply of a fresh cluster, beside the raw limit of the same API server.

Both have the API server for themselves: what the raw limit was measured with is gone before the spoke joins.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from bench import raw
from bench.figures import say
from bench.processor import looking
from bench.workload import fleet_objects, workload
from tests.cluster.controlplane import ControlPlane
from tests.fleet.fleet import Fleet
from tests.fleet.manifests import config_map, namespace
from tests.fleet.processes import eventually

RAW_RUNS = 3
_APPLIED = "event=Applied "


class FirstApply(NamedTuple):
    """Seconds that a first apply took, those of the raw limit, and the processor time of each process meanwhile."""

    seconds: float
    raw: float
    used: Mapping[str, float]

    @property
    def ratio(self) -> float:
        """Return how many times the raw limit it took."""
        return self.seconds / self.raw


def first_apply(fleet: Fleet, cluster: ControlPlane, count: int) -> FirstApply:
    """Have the cluster `bench` join a fleet that was not started, and apply `count` ConfigMaps."""
    raw_seconds = _raw_limit(fleet, cluster, count)
    fleet.repository.commit(workload("0", count) | {"fleet/fleet.yaml": fleet_objects(fleet.url)}, "the workload")
    fleet.hub.start()
    with looking() as processor:
        for name, pid in (cluster.pids() | {"hub": fleet.hub.process.pid}).items():
            processor.add(name, pid)
        spoke = fleet.join("bench")
        processor.add("spoke", spoke.process.pid)
        # Not `felloe wait`, yet: a command that starts takes a core from what is measured.
        eventually(lambda: _APPLIED in spoke.process.log.read_text(), "everything is applied", timeout=180)
    fleet.hub.felloe("wait", "--for", "applied", "--timeout", "1m", timeout=80)
    status = fleet.hub.workload("bench", "bench")["status"]
    received, applied = (datetime.fromisoformat(status[key]).timestamp() for key in ("receivedAt", "appliedAt"))
    found = FirstApply(applied - received, raw_seconds, processor.between(received, applied))
    say(f"first apply: {found.seconds:.2f} s = {found.ratio:.2f}x raw")
    return found


def _raw_limit(fleet: Fleet, cluster: ControlPlane, count: int) -> float:
    """Return the best of three raw applies of as many ConfigMaps, each into a fresh namespace, and clean up."""
    core, names, seconds = fleet.core("bench"), [f"raw-{run}" for run in range(RAW_RUNS)], []
    for name in names:
        core.create_namespace(namespace(name))
        objects = [config_map(f"item-{n:04}", name, value="0", text="x" * 200) for n in range(count)]
        seconds.append(raw.apply_all(cluster.kubeconfig, objects, concurrency=32))
        say(f"raw limit: {seconds[-1]:.2f} s")
    for name in names:
        core.delete_namespace(name)
    eventually(
        lambda: not {each.metadata.name for each in core.list_namespace().items} & set(names),
        "the namespaces of the raw limit are gone",
        timeout=120,
    )
    return min(seconds)
