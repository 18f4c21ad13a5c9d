"""Targeting: which cluster gets which workloads, and what its bundle holds. Pure; `resolve` is the entry."""

from hub.targeting.inputs import DeclaredSource, Inputs, RenderWant, Resolution, Snapshot
from hub.targeting.memo import Memo
from hub.targeting.plan import ClusterPlan, Condition, WorkloadPlan
from hub.targeting.plan_json import plan_from_json, plan_to_json
from hub.targeting.prepare import RenderCache
from hub.targeting.resolve import resolve
from hub.targeting.variables import ClusterView, view_cluster

__all__ = [
    "ClusterPlan",
    "ClusterView",
    "Condition",
    "DeclaredSource",
    "Inputs",
    "Memo",
    "RenderCache",
    "RenderWant",
    "Resolution",
    "Snapshot",
    "WorkloadPlan",
    "plan_from_json",
    "plan_to_json",
    "resolve",
    "view_cluster",
]
