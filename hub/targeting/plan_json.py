"""A cluster's plan as JSON, so that the hub finds after a restart what every cluster had."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, TypeAlias

from felloe.bundle import (
    ApplyOptions,
    Bundle,
    Dependency,
    Entry,
    HealthCheck,
    HealthCheckExpr,
    Workload,
)
from felloe.digest import Digest
from felloe.errors import BundleError, StoreError
from felloe.identity import ObjectId, WorkloadId
from hub.targeting.plan import ClusterPlan, Condition, WorkloadPlan

# What a decoder hands over before it has been looked at.
Json: TypeAlias = Any


def plan_to_json(plan: ClusterPlan) -> dict[str, object]:
    """Return a plan as plain JSON, without its blobs."""
    return {
        "cluster": plan.cluster,
        "bundle": bundle_to_json(plan.bundle),
        "approved_prunes": list(plan.bundle.approved_prunes),
        "workloads": [_workload_plan_to_json(workload) for workload in plan.workloads],
        "variables": dict(plan.variables),
        "labels": dict(plan.labels),
        "environment": plan.environment,
        "placements": list(plan.placements),
        "paused": plan.paused,
        "conditions": [asdict(condition) for condition in plan.conditions],
    }


def plan_from_json(value: Mapping[str, Json]) -> ClusterPlan:
    """Return the plan that `plan_to_json` made this of. Raise StoreError where it did not."""
    try:
        return ClusterPlan(
            cluster=value["cluster"],
            bundle=replace(bundle_from_json(value["bundle"]), approved_prunes=tuple(value.get("approved_prunes", ()))),
            workloads=tuple(_workload_plan_from_json(workload) for workload in value["workloads"]),
            variables=dict(value["variables"]),
            labels=dict(value["labels"]),
            environment=value["environment"],
            placements=tuple(value["placements"]),
            paused=value["paused"],
            conditions=_conditions(value["conditions"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError, BundleError) as error:
        raise StoreError(f"a stored plan can't be read: {error!r}") from None


def bundle_to_json(bundle: Bundle) -> list[dict[str, object]]:
    """Return a bundle as plain JSON."""
    return [
        {
            "id": [*workload.id],
            "options": workload.options.canonical(),
            "variables": dict(workload.variables),
            "entries": [
                [*entry.id, entry.version, entry.digest.hex(), entry.wave, entry.size, entry.template, *entry.ignore]
                for entry in workload.entries
            ],
        }
        for workload in bundle.workloads
    ]


def bundle_from_json(value: Json) -> Bundle:
    """Return the bundle that `bundle_to_json` made this of. Raise KeyError, TypeError or ValueError otherwise."""
    return Bundle(
        tuple(
            Workload(
                WorkloadId(*workload["id"]),
                _options(workload["options"]),
                tuple(_entry(entry) for entry in workload["entries"]),
                dict(workload["variables"]),
            )
            for workload in value
        )
    )


def _options(value: Mapping[str, Json]) -> ApplyOptions:
    return ApplyOptions(
        **{
            **value,
            "depends_on": tuple(Dependency(WorkloadId(*ids), expr) for *ids, expr in value.get("depends_on", ())),
            "health_checks": tuple(HealthCheck(**check) for check in value.get("health_checks", ())),
            "health_check_exprs": tuple(HealthCheckExpr(**expr) for expr in value.get("health_check_exprs", ())),
            "labels": tuple((key, text) for key, text in value.get("labels", ())),
        }
    )


def _entry(value: Json) -> Entry:
    group, kind, namespace, name, version, digest, wave, size, template, *ignore = value
    identity = ObjectId(group, kind, namespace, name)
    return Entry(identity, version, Digest(bytes.fromhex(digest)), wave, size, template, tuple(ignore))


def _workload_plan_to_json(workload: WorkloadPlan) -> dict[str, object]:
    return asdict(workload) | {
        "id": [*workload.id],
        "parent": [*workload.parent] if workload.parent else None,
        "notes": list(workload.notes),
    }


def _workload_plan_from_json(value: Mapping[str, Json]) -> WorkloadPlan:
    return WorkloadPlan(
        **{
            **value,
            "id": WorkloadId(*value["id"]),
            "parent": WorkloadId(*value["parent"]) if value["parent"] else None,
            "conditions": _conditions(value["conditions"]),
            "notes": tuple(value["notes"]),
        }
    )


def _conditions(value: Json) -> tuple[Condition, ...]:
    return tuple(Condition(**condition) for condition in value)
