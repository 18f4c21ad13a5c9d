"""What a spoke asks and burns while nothing of its own changes, and pods of others come and go.

``python -m bench.quiet --minutes 10`` measures just this, with a workload of 1,000 ConfigMaps.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import kubernetes
import psutil

from bench.figures import Figure, report, say
from tests.cluster import binaries
from tests.cluster.controlplane import ControlPlane
from tests.fleet.fleet import Fleet
from tests.fleet.manifests import config_map, documents, git_repository, kustomization, namespace, placement
from tests.fleet.processes import Spoke


def main(arguments: Sequence[str]) -> None:
    """Measure on a cluster of its own and print a Markdown table."""
    parser = argparse.ArgumentParser(prog="python -m bench.quiet", description="A spoke while nothing changes.")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--objects", type=int, default=1000)
    options = parser.parse_args(arguments)
    kustomize = binaries.ensure(["kustomize"], say=say)["kustomize"]
    with (
        tempfile.TemporaryDirectory(prefix="felloe-bench-") as folder,
        ControlPlane("bench", audit=True) as cluster,
        Fleet(Path(folder), {"bench": cluster}, kustomize) as fleet,
    ):
        objects = [config_map(f"item-{n:05}", "bench", value="0", text="x" * 200) for n in range(options.objects)]
        workload = documents(
            git_repository("config", fleet.url), kustomization("bench", "./bench"), placement("bench", "bench")
        )
        fleet.repository.commit(
            {"bench/all.yaml": documents(namespace("bench"), *objects), "fleet/fleet.yaml": workload}, "all"
        )
        fleet.hub.start()
        spoke = fleet.join("bench")
        fleet.hub.felloe("wait", "--for", "healthy", "--timeout", "5m", timeout=320)
        figure = quiet(cluster, spoke, options.minutes)
    report([figure])


def quiet(cluster: ControlPlane, spoke: Spoke, minutes: float) -> Figure:
    """Count the spoke's requests and its share of a core while pods come and go and nothing of ours changes."""
    time.sleep(5)
    process = psutil.Process(spoke.process.pid)
    mark, before = cluster.audit_mark(), process.cpu_times()
    say(f"counting requests for {minutes:g} minutes of quiet, with pods that come and go")
    begin, pods, core = time.monotonic(), 0, kubernetes.client.CoreV1Api(cluster.client())
    while (passed := time.monotonic() - begin) < minutes * 60:
        churn(core, pods)
        pods += 1
        time.sleep(0.5)
    after = process.cpu_times()
    share = (after.user + after.system - before.user - before.system) / passed
    events = [event for event in cluster.audit_since(mark, user_agent="felloe") if event.stage == "ResponseComplete"]
    asked = [event for event in events if event.verb != "watch" and event.resource != "leases"]
    watches = sum(event.verb == "watch" for event in events)
    return Figure(
        f"requests of the spoke in {minutes:g} minutes without a change, {pods} pods made and deleted meanwhile",
        f"{len(asked)} (and {watches} watches that were opened again), {share:.2%} of a core",
        "Flux 2,010 an interval",
        "0 besides watches and leases, <= 0.3 % of a core",
    )


def churn(core: Any, number: int) -> None:
    """Make a pod that is nobody's of ours, and delete the one before."""
    container = {"name": "main", "image": "example.com/x"}
    spec = {"containers": [container], "automountServiceAccountToken": False}
    core.create_namespaced_pod("default", {"metadata": {"name": f"pod-{number}"}, "spec": spec})
    if number:
        core.delete_namespaced_pod(f"pod-{number - 1}", "default", grace_period_seconds=0)


if __name__ == "__main__":
    main(sys.argv[1:])
