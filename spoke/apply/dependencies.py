"""What a workload waits for: the dependencies of spec.dependsOn, by their readiness or by an expression (readyExpr).

An expression sees both workloads as the Flux objects that their author knows, `self` and `dep`, made of what a spoke
knows of them. As in Flux it takes the place of the look at Ready; that the dependency is there is asked in any case.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final, Protocol

from felloe.bundle import ApplyOptions, Workload
from felloe.errors import ExpressionError
from felloe.identity import WorkloadId
from felloe.v1 import status_pb2 as pb
from spoke.apply.inventory import Inventory
from spoke.apply.standing import FALSE, TRUE, Standing
from spoke.health.cel import Cel

Json = Mapping[str, object]

_API_VERSIONS: Final = {
    "Kustomization": "kustomize.toolkit.fluxcd.io/v1",
    "HelmRelease": "helm.toolkit.fluxcd.io/v2",
}


class Dependee(Protocol):
    """A workload as another one looks at it."""

    @property
    def workload(self) -> Workload:
        """Return its desired state."""
        ...

    @property
    def ready(self) -> bool:
        """Return whether its newest state is applied and, where that is asked for, healthy."""
        ...

    def view(self) -> Json:
        """Return it as the object that its author knows."""
        ...


async def waits_for(cel: Cel, waiting: Dependee, find: Callable[[WorkloadId], Dependee | None]) -> str:
    """Return which dependency is not ready and why, empty where all are; an older state of it does not count."""
    for index, dependency in enumerate(waiting.workload.options.depends_on):
        found = find(dependency.id)
        if found is None:
            return f"dependency {dependency.id} not found: no such workload is meant for this cluster"
        suspended = " (it is suspended)" if found.workload.options.suspend else ""
        if not dependency.ready_expr:
            if not found.ready:
                return f"dependency {dependency.id} is not ready{suspended}"
            continue
        field = f"spec.dependsOn[{index}].readyExpr"
        try:
            is_ready = await cel.first_true([dependency.ready_expr], {"self": waiting.view(), "dep": found.view()})
        except ExpressionError as error:
            return f"dependency {dependency.id}{suspended}: {field}: {error}"
        if is_ready is None:
            return f"dependency {dependency.id} is not ready{suspended}: {field} is false"
    return ""


def as_flux_object(workload: Workload, standing: Standing, inventory: Inventory, generation: int) -> Json:
    """Return a workload as a Flux object, for expressions.

    `generation` is that of the bundle that brought its state, and observedGeneration lags behind it until that state is
    applied whole. The revisions are digests of the state: the spoke knows no commit.
    """
    applied = inventory.applied_digest == workload.digest
    status: dict[str, object] = {
        "observedGeneration": generation if applied else generation - 1,
        "conditions": [
            {
                "type": condition.type,
                "status": {TRUE: "True", FALSE: "False"}.get(condition.status, "Unknown"),
                "reason": condition.reason,
                "message": condition.message,
                "observedGeneration": generation,
                "lastTransitionTime": _time(condition),
            }
            for condition in standing.conditions.values()
        ],
        "lastAttemptedRevision": f"sha256:{workload.digest.hex()}",
    }
    if inventory.applied_digest:
        status["lastAppliedRevision"] = f"sha256:{inventory.applied_digest.hex()}"
    if inventory.requested_at:
        status["lastHandledReconcileAt"] = inventory.requested_at
    return {
        "apiVersion": _API_VERSIONS.get(workload.id.kind, ""),
        "kind": workload.id.kind,
        "metadata": {
            "name": workload.id.name,
            "namespace": workload.id.namespace,
            "generation": generation,
            "labels": dict(workload.options.labels),
            "annotations": {},
        },
        "spec": _spec(workload.options),
        "status": status,
    }


def _spec(options: ApplyOptions) -> Json:
    return {
        "prune": options.prune,
        "wait": options.wait,
        "suspend": options.suspend,
        "force": options.force,
        "timeout": f"{options.timeout:g}s",
        "interval": f"{options.interval:g}s",
        "retryInterval": f"{options.retry_interval:g}s",
        "deletionPolicy": options.deletion_policy,
        "serviceAccountName": options.service_account,
        "dependsOn": [
            {"name": dependency.id.name, "namespace": dependency.id.namespace, "readyExpr": dependency.ready_expr}
            for dependency in options.depends_on
        ],
    }


def _time(condition: pb.Condition) -> str:
    return datetime.fromtimestamp(condition.last_transition_time.seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
