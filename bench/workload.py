"""What the benchmarks have applied: one workload of many small ConfigMaps, and the fleet that has it."""

from __future__ import annotations

from tests.fleet.manifests import config_map, documents, git_repository, kustomization, namespace, placement


def fleet_objects(url: str) -> str:
    """Return the fleet: one workload for every cluster."""
    return documents(git_repository("config", url), kustomization("bench", "./bench"), placement("bench", "bench"))


def workload(value: str, count: int) -> dict[str, str]:
    """Return a workload of `count` ConfigMaps; the first one holds `value`."""
    first = config_map("item-0000", "bench", value=value)
    rest = [config_map(f"item-{number:04}", "bench", value="0", text="x" * 200) for number in range(1, count)]
    return {
        "bench/first.yaml": documents(first),
        "bench/rest.yaml": documents(namespace("bench"), *rest),
    }
