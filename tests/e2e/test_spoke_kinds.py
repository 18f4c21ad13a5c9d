"""Kinds that change under their objects: another scope, other versions, another group."""

from __future__ import annotations

from typing import Any

import pytest

from tests.spoke.cluster import Admin
from tests.spoke.driver import Spoke, disturbed, eventually
from tests.spoke.manifests import Manifest, Wanted, custom, definition, namespace

pytestmark = pytest.mark.cluster

FORCE = "fleet.felloe.io/force"


def of_cluster(plural: str, kind: str) -> Manifest:
    """A definition of objects without a namespace, which may be made again to become that."""
    made: Any = definition(plural, kind)
    made["metadata"]["annotations"] = {FORCE: "enabled"}
    made["spec"]["scope"] = "Cluster"
    result: Manifest = made
    return result


def versions(plural: str, kind: str, **served: bool) -> Manifest:
    """A definition with these versions, of which the last one is stored."""
    made: Any = definition(plural, kind)
    schema = made["spec"]["versions"][0]["schema"]
    made["spec"]["versions"] = [
        {"name": name, "served": each, "storage": name == list(served)[-1], "schema": schema}
        for name, each in served.items()
    ]
    result: Manifest = made
    return result


def in_version(manifest: Manifest, version: str) -> Manifest:
    return {**manifest, "apiVersion": f"test.example.com/{version}"}


async def test_objects_of_a_kind_that_loses_its_namespaces_are_neither_lost_nor_deleted(
    spoke: Spoke, admin: Admin
) -> None:
    spoke.want(
        Wanted("apps", [namespace("scoped"), definition("scopes", "Scope"), custom("scoped", "a", "Scope", size=1)])
    )
    await spoke.until_applied("apps")
    mark = admin.cluster.audit_mark()
    wide = custom("", "a", "Scope", size=2)
    wide["metadata"] = {"name": "a"}
    spoke.want(Wanted("apps", [namespace("scoped"), of_cluster("scopes", "Scope"), wide]))
    await spoke.until_applied("apps")
    found = admin.get("test.example.com/v1", "Scope", "a")
    assert found
    assert found["spec"] == {"size": 2}
    assert ("delete", "scopes", "", "a") not in disturbed(admin.cluster, mark)


async def test_drift_is_seen_after_a_definition_serves_an_older_version_no_more(spoke: Spoke, admin: Admin) -> None:
    objects = [namespace("versions"), custom("versions", "a", "Aged", size=1)]
    former = [objects[0], in_version(objects[1], "v1alpha1")]
    spoke.want(Wanted("apps", [versions("ageds", "Aged", v1alpha1=True), *former]))
    await spoke.until_applied("apps")
    spoke.want(Wanted("apps", [versions("ageds", "Aged", v1alpha1=True, v1=True), *objects]))
    await spoke.until_applied("apps")
    spoke.want(Wanted("apps", [versions("ageds", "Aged", v1alpha1=False, v1=True), *objects]))
    await spoke.until_applied("apps")
    admin.patch("test.example.com/v1", "Aged", "a", "versions", {"spec": {"size": 5}})

    def healed() -> bool:
        found = admin.get("test.example.com/v1", "Aged", "a", "versions")
        return found is not None and found["spec"] == {"size": 1}

    await eventually(healed, "the edit is undone")


async def test_an_object_that_another_group_has_too_is_not_deleted_by_its_former_name(
    spoke: Spoke, admin: Admin
) -> None:
    about = {"kind": "Namespace", "name": "groups", "apiVersion": "v1"}
    event: Manifest = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "a", "namespace": "groups"},
        "involvedObject": {**about, "namespace": "groups"},
        "reason": "Test",
        "type": "Normal",
    }
    spoke.want(Wanted("apps", [namespace("groups"), event]))
    await spoke.until_applied("apps")
    before = admin.get("v1", "Event", "a", "groups")
    assert before
    spoke.want(
        Wanted(
            "apps",
            [
                namespace("groups"),
                {
                    "apiVersion": "events.k8s.io/v1",
                    "kind": "Event",
                    "metadata": {"name": "a", "namespace": "groups"},
                    "regarding": {**about, "namespace": "groups"},
                    "reason": "Test",
                    "type": "Normal",
                },
            ],
        )
    )
    await spoke.until_applied("apps")
    after = admin.get("v1", "Event", "a", "groups")
    assert after
    assert after["metadata"]["uid"] == before["metadata"]["uid"]


async def test_an_object_that_leaves_together_with_its_version_is_deleted(spoke: Spoke, admin: Admin) -> None:
    objects = [namespace("leaving"), in_version(custom("leaving", "a", "Left", size=1), "v1alpha1")]
    spoke.want(Wanted("apps", [versions("lefts", "Left", v1alpha1=True, v1=True), *objects]))
    await spoke.until_applied("apps")
    spoke.want(Wanted("apps", [versions("lefts", "Left", v1alpha1=False, v1=True), objects[0]]))
    await spoke.until_applied("apps")
    assert admin.get("test.example.com/v1", "Left", "a", "leaving") is None


async def test_an_object_that_had_a_namespace_by_mistake_is_not_deleted_once_it_has_none(
    spoke: Spoke, admin: Admin
) -> None:
    role: Manifest = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "rules": []}
    spoke.want(Wanted("apps", [{**role, "metadata": {"name": "mistaken", "namespace": "default"}}]))
    await spoke.until("apps", lambda status: status.problem_count == 1, "fails")
    mark = admin.cluster.audit_mark()
    spoke.want(Wanted("apps", [{**role, "metadata": {"name": "mistaken"}}]))
    await spoke.until_applied("apps")
    assert ("delete", "clusterroles", "", "mistaken") not in disturbed(admin.cluster, mark)
