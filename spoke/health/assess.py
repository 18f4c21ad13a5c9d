"""One object's health: the rules that hold for every kind, then those of its kind, then its Ready condition.

The order is kstatus' (fluxcd/cli-utils, pkg/kstatus/status). Felloe judges what the watch delivers, so an object of any
shape gets an answer: one that can't be read is UNKNOWN and says why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final

from spoke.health import builtin, workloads
from spoke.health.model import Health, HealthStatus
from spoke.health.snapshot import Snapshot, integer, snapshot, text
from spoke.health.verdict import current, from_condition, in_progress

Rule = Callable[[Snapshot], Health]


def assess(obj: Mapping[str, object], now: datetime | None = None) -> Health:
    """Return the health of an object as the API server returned it; never raises, whatever its shape.

    `now` (with a time zone) is needed for one rule only: a pod that can't be scheduled is FAILED once it is 15 seconds
    old. Without it such a pod stays IN_PROGRESS.
    """
    if _only_exists(obj):
        return _EXISTS
    seen = snapshot(obj)
    if workloads.expiring(seen):
        return workloads.job(seen)
    verdict = _before_any_rule(seen) or _standard_conditions(seen)
    if verdict:
        return verdict
    if (seen.group, seen.kind) == ("", "Pod"):
        return workloads.pod(seen, now)
    return _RULES.get((seen.group, seen.kind), _any_kind)(seen)


def before_expressions(obj: Mapping[str, object]) -> Health | None:
    """Return what is known of an object's health before its CEL expressions are asked; never raises.

    As in Flux that is a status for an older generation; an object that is being deleted is told as such, too.
    """
    return _before_any_rule(snapshot(obj))


def assess_missing(desired: Mapping[str, object]) -> Health:
    """Return the health of an object that was applied and is not there, from what was applied; never raises.

    A Job with ttlSecondsAfterFinished counts as done: the cluster removes it by itself (as in fluxcd/pkg, ssa).
    """
    seen = snapshot(desired)
    if (seen.group, seen.kind) == ("batch", "Job") and integer(seen.spec, "ttlSecondsAfterFinished") is not None:
        return current("the Job is gone, as its ttlSecondsAfterFinished says", "JobExpired")
    return Health(HealthStatus.NOT_FOUND, "NotFound", "not found in the cluster")


def _before_any_rule(obj: Snapshot) -> Health | None:
    if text(obj.metadata, "deletionTimestamp"):
        return builtin.terminating(obj)
    if obj.problem:
        return Health(HealthStatus.UNKNOWN, "Malformed", f"can't tell the health: {obj.problem}")
    return _generation(obj)


def _generation(obj: Snapshot) -> Health | None:
    generation = integer(obj.metadata, "generation")
    observed = integer(obj.status, "observedGeneration")
    if generation is None or observed is None or generation == observed:
        return None
    message = f"generation {generation} not seen by its controller yet (it saw {observed})"
    return in_progress("LatestGenerationNotObserved", message)


def _standard_conditions(obj: Snapshot) -> Health | None:
    """Return what Reconciling or Stalled says, the first of them that is True."""
    statuses = {"Reconciling": HealthStatus.IN_PROGRESS, "Stalled": HealthStatus.FAILED}
    for condition in obj.conditions:
        status = statuses.get(condition.type)
        if status and condition.status == "True":
            return from_condition(status, condition)
    return None


def _any_kind(obj: Snapshot) -> Health:
    """Judge a kind without rules: by Ready if it has one, otherwise it is CURRENT."""
    for condition in obj.conditions:
        if condition.type == "Ready" and condition.status == "True":
            return from_condition(HealthStatus.CURRENT, condition, "ready")
        if condition.type == "Ready" and condition.status in ("False", "Unknown"):
            return from_condition(HealthStatus.IN_PROGRESS, condition, "not ready")
    return current("it exists, and its kind reports no readiness")


_EXISTS: Final = current("it exists")


def _always(_: Snapshot) -> Health:
    return _EXISTS


def _only_exists(obj: Mapping[str, object]) -> bool:
    """Return whether there is nothing to judge: most of what there is are ConfigMaps and Secrets, by the thousand."""
    metadata = obj.get("metadata")
    if "status" in obj or not isinstance(metadata, dict):
        return False
    if metadata.get("deletionTimestamp") is not None or metadata.get("generation") is not None:
        return False
    return obj.get("apiVersion") == "v1" and obj.get("kind") in ("ConfigMap", "Secret")


_RULES: Final[Mapping[tuple[str, str], Rule]] = MappingProxyType(
    {
        ("", "ConfigMap"): _always,
        ("", "Namespace"): builtin.namespace,
        ("", "PersistentVolumeClaim"): builtin.persistent_volume_claim,
        ("", "Secret"): _always,
        ("", "Service"): builtin.service,
        ("apiextensions.k8s.io", "CustomResourceDefinition"): builtin.custom_resource_definition,
        ("apiregistration.k8s.io", "APIService"): builtin.api_service,
        ("apps", "DaemonSet"): workloads.daemon_set,
        ("apps", "Deployment"): workloads.deployment,
        ("apps", "ReplicaSet"): workloads.replica_set,
        ("apps", "StatefulSet"): workloads.stateful_set,
        ("autoscaling", "HorizontalPodAutoscaler"): builtin.horizontal_pod_autoscaler,
        ("batch", "CronJob"): _always,
        ("batch", "Job"): workloads.job,
        ("networking.k8s.io", "Ingress"): builtin.ingress,
        ("policy", "PodDisruptionBudget"): builtin.pod_disruption_budget,
    }
)
