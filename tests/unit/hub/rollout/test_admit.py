from __future__ import annotations

from felloe.bundle import ApplyOptions, Bundle, Workload
from felloe.identity import WorkloadId
from hub.rollout import Candidate, admit


def bundle(name: str) -> Bundle:
    return Bundle((Workload(WorkloadId("Kustomization", "n", name), ApplyOptions()),))


def test_every_cluster_takes_its_bundle_but_a_paused_one_keeps_what_it_has() -> None:
    old, new = bundle("old"), bundle("new")
    assert admit(
        [
            Candidate("fresh", new),
            Candidate("running", new, old),
            Candidate("paused", new, old, paused=True),
            Candidate("paused-and-fresh", new, paused=True),
        ]
    ) == {"fresh": new, "running": new, "paused": old, "paused-and-fresh": None}
