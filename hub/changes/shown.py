"""Changes as plain JSON, as the API tells them."""

from __future__ import annotations

from collections.abc import Mapping

from felloe.identity import ObjectId, WorkloadId
from hub.changes.grouping import Group, GroupedWorkload, VariableValues
from hub.changes.model import FieldChange, Finding, ObjectChange, Operation, WorkloadChange


def workload_json(change: WorkloadChange) -> dict[str, object]:
    """Return a workload's change."""
    return {
        **change.id._asdict(),
        "unit": change.unit,
        "change": change.action.value,
        "objects": [object_json(each) for each in change.objects],
        "options": [field_json(each) for each in change.options],
        "variables": list(change.variables),
        "findings": [finding_json(each) for each in change.findings],
    }


def object_json(change: ObjectChange) -> dict[str, object]:
    """Return an object's change."""
    shown: dict[str, object] = {
        "apiVersion": change.api_version,
        **_identity(change.id),
        "change": change.action.value,
        "fields": [field_json(each) for each in change.fields],
    }
    if change.manifest is not None:
        shown["manifest"] = change.manifest
    if change.former is not None:
        shown["formerName"] = change.former.name
    if change.origin is not None:
        shown["from"] = workload_name(change.origin)
    if change.left_out:
        shown["fieldsLeftOut"] = change.left_out
    return shown


def field_json(change: FieldChange) -> dict[str, object]:
    """Return a field's change."""
    shown: dict[str, object] = {"path": change.path, "operation": change.operation.value}
    if change.diff:
        return {**shown, "diff": change.diff}
    if change.operation is not Operation.ADD:
        shown["before"] = change.before
    if change.operation is not Operation.REMOVE:
        shown["after"] = change.after
    return shown


def finding_json(finding: Finding) -> dict[str, object]:
    """Return a finding."""
    shown: dict[str, object] = {
        "severity": finding.severity.value,
        "reason": finding.reason.value,
        "message": finding.message,
    }
    return shown if finding.object is None else {**shown, "object": _identity(finding.object)}


def workload_name(identity: WorkloadId) -> Mapping[str, str]:
    """Return who a workload is."""
    return identity._asdict()


def _identity(identity: ObjectId) -> dict[str, str]:
    return {"kind": identity.kind, "namespace": identity.namespace, "name": identity.name}


def group_json(group: Group) -> dict[str, object]:
    """Return a group of clusters with what changes on them."""
    return {
        "title": group.title,
        "clusters": list(group.clusters),
        "paused": group.paused,
        "workloads": [_grouped(each) for each in group.workloads],
    }


def _grouped(each: GroupedWorkload) -> dict[str, object]:
    return {**workload_json(each.change), "variables": [_variable(one) for one in each.variables]}


def _variable(variable: VariableValues) -> dict[str, object]:
    values = [{"before": before, "after": after, "clusters": count} for before, after, count in variable.values]
    return {"name": variable.name, "values": values, "valuesLeftOut": variable.more}
