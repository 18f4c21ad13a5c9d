"""Fields that can't be changed: which and what to do is said, or the object is made again where that is safe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from felloe.bundle import ApplyOptions
from tests.cluster.controlplane import ControlPlane
from tests.spoke.cluster import Admin
from tests.spoke.driver import Spoke, eventually, running
from tests.spoke.manifests import Manifest, Wanted, config_map, definition, deployment, namespace

pytestmark = pytest.mark.cluster

FORCE = ApplyOptions(prune=True, force=True, retry_interval=2.0)
ANNOTATION = "kustomize.toolkit.fluxcd.io/force"


def with_spec(kind: str, api: str, namespace: str, spec: object, *, force: bool = False) -> Manifest:
    metadata: Manifest = {"name": "a", "namespace": namespace}
    if force:
        metadata["annotations"] = {ANNOTATION: "enabled"}
    return {"apiVersion": api, "kind": kind, "metadata": metadata, "spec": spec}


def job(namespace: str, command: str) -> Manifest:
    pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "example.com/job:1", "args": [command]}]}
    return with_spec("Job", "batch/v1", namespace, {"template": {"spec": pod}})


def service(namespace: str, address: str, port: int = 30777, **more: object) -> Manifest:
    ports = [{"port": 80, "nodePort": port}]
    spec = {"type": "NodePort", "selector": {"app": "a"}, "ports": ports, "clusterIP": address, **more}
    return with_spec("Service", "v1", namespace, spec)


def claim(namespace: str, storage_class: str, *, force: bool = False) -> Manifest:
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": storage_class,
        "resources": {"requests": {"storage": "1Gi"}},
    }
    return with_spec("PersistentVolumeClaim", "v1", namespace, spec, force=force)


def relabelled(namespace: str, label: str) -> Manifest:
    manifest: Any = deployment(namespace, "web")
    manifest["spec"]["selector"]["matchLabels"] = {"app": label}
    manifest["spec"]["template"]["metadata"]["labels"] = {"app": label}
    result: Manifest = manifest
    return result


def uid(admin: Admin, api: str, kind: str, namespace: str, name: str = "a") -> str:
    found = admin.get(api, kind, name, namespace)
    return str(found["metadata"]["uid"]) if found else ""


async def test_without_force_the_field_and_the_way_out_are_said(spoke: Spoke, admin: Admin) -> None:
    spoke.want(Wanted("apps", [namespace("noforce"), job("noforce", "one"), relabelled("noforce", "one")]))
    await spoke.until_applied("apps")
    before = uid(admin, "batch/v1", "Job", "noforce")
    spoke.want(Wanted("apps", [namespace("noforce"), job("noforce", "two"), relabelled("noforce", "two")]))
    status = await spoke.until("apps", lambda status: status.problem_count == 2, "fails")
    messages = {problem.id.kind: problem.message for problem in status.problems}
    assert messages["Job"].startswith("spec.template can't be changed: to delete it and make it again, set spec.force:")
    assert f"{ANNOTATION}: enabled" in messages["Job"]
    assert messages["Deployment"].startswith("spec.selector can't be changed")
    assert uid(admin, "batch/v1", "Job", "noforce") == before


async def test_with_force_a_job_and_a_deployment_are_made_again(spoke: Spoke, admin: Admin) -> None:
    spoke.want(Wanted("apps", [namespace("force"), job("force", "one"), relabelled("force", "one")], FORCE))
    await spoke.until_applied("apps")
    before = uid(admin, "batch/v1", "Job", "force")
    spoke.want(Wanted("apps", [namespace("force"), job("force", "two"), relabelled("force", "two")], FORCE))
    await spoke.until_applied("apps")
    await spoke.until_event("Recreated", "Job.batch force/a was deleted and made again: spec.template can't be changed")
    assert uid(admin, "batch/v1", "Job", "force") not in ("", before)
    found = admin.get("apps/v1", "Deployment", "web", "force")
    assert found
    assert found["spec"]["selector"]["matchLabels"] == {"app": "two"}


async def test_a_service_keeps_its_node_port_while_its_address_changes(spoke: Spoke, admin: Admin) -> None:
    spoke.want(Wanted("apps", [namespace("svc"), service("svc", "10.96.0.177")], FORCE))
    await spoke.until_applied("apps")
    before = uid(admin, "v1", "Service", "svc")
    spoke.want(Wanted("apps", [namespace("svc"), service("svc", "10.96.0.178")], FORCE))
    await spoke.until_applied("apps")
    found = admin.get("v1", "Service", "a", "svc")
    assert found
    assert (found["spec"]["clusterIP"], found["spec"]["ports"][0]["nodePort"]) == ("10.96.0.178", 30777)
    assert found["metadata"]["uid"] != before


async def test_an_invalid_manifest_never_costs_the_old_object(spoke: Spoke, admin: Admin) -> None:
    """kustomize-controller 734: what can't be changed and could not be made either stays as it is."""
    spoke.want(Wanted("apps", [namespace("invalid"), service("invalid", "10.96.0.179", 30778)], FORCE))
    await spoke.until_applied("apps")
    before = uid(admin, "v1", "Service", "invalid")
    wrong = service("invalid", "10.96.0.180", 30778, externalTrafficPolicy="Nonsense")
    spoke.want(Wanted("apps", [namespace("invalid"), wrong], FORCE))
    status = await spoke.until("apps", lambda status: status.problem_count == 1, "fails")
    assert "a new one would be refused, so the old one stays" in status.problems[0].message
    assert "Nonsense" in status.problems[0].message
    assert uid(admin, "v1", "Service", "invalid") == before


async def test_a_new_object_that_is_refused_is_not_said_to_be_changed(spoke: Spoke, admin: Admin) -> None:
    wrong = {**config_map("newborn", "a"), "data": {"not a key": "is immutable"}}
    spoke.want(Wanted("apps", [namespace("newborn"), wrong], FORCE))
    status = await spoke.until("apps", lambda status: status.problem_count == 1, "fails")
    assert "can't be changed" not in status.problems[0].message


async def test_only_its_own_annotation_makes_a_claim_again(spoke: Spoke, admin: Admin) -> None:
    spoke.want(Wanted("apps", [namespace("pvc"), claim("pvc", "one")], FORCE))
    await spoke.until_applied("apps")
    before = uid(admin, "v1", "PersistentVolumeClaim", "pvc")
    spoke.want(Wanted("apps", [namespace("pvc"), claim("pvc", "two")], FORCE))
    status = await spoke.until("apps", lambda status: status.problem_count == 1, "fails")
    assert "spec.force does not reach a PersistentVolumeClaim" in status.problems[0].message
    assert uid(admin, "v1", "PersistentVolumeClaim", "pvc") == before
    spoke.want(Wanted("apps", [namespace("pvc"), claim("pvc", "two", force=True)]))
    await spoke.until_applied("apps")
    found = admin.get("v1", "PersistentVolumeClaim", "a", "pvc")
    assert found
    assert found["spec"]["storageClassName"] == "two"


async def test_an_old_object_that_a_finalizer_holds_is_waited_for_and_told(spoke: Spoke, admin: Admin) -> None:
    frozen = {**config_map("held", "a", k="1"), "immutable": True}
    spoke.want(Wanted("apps", [namespace("held"), frozen], FORCE))
    await spoke.until_applied("apps")
    admin.patch("v1", "ConfigMap", "a", "held", {"metadata": {"finalizers": ["test.example.com/hold"]}}, "controller")
    spoke.want(Wanted("apps", [namespace("held"), {**config_map("held", "a", k="2"), "immutable": True}], FORCE))
    status = await spoke.until("apps", lambda status: status.problem_count == 1, "waits")
    assert "still there, held by its finalizers test.example.com/hold" in status.problems[0].message
    admin.patch("v1", "ConfigMap", "a", "held", {"metadata": {"finalizers": None}}, "controller")
    await eventually(lambda: (admin.config_map("held", "a") or {}).get("data") == {"k": "2"}, "made again")
    await spoke.until_applied("apps")


async def test_a_spoke_that_ends_between_deleting_and_making_again_makes_it_when_it_is_back(
    cluster: ControlPlane, admin: Admin, tmp_path: Path
) -> None:
    def frozen(value: str) -> Manifest:
        return {**config_map("ends", "a", k=value), "immutable": True}

    async with running(cluster.kubeconfig, tmp_path) as spoke:
        spoke.want(Wanted("apps", [namespace("ends"), frozen("1")], FORCE))
        await spoke.until_applied("apps")
        hold: Manifest = {"metadata": {"finalizers": ["test.example.com/hold"]}}
        admin.patch("v1", "ConfigMap", "a", "ends", hold, "controller")
        spoke.want(Wanted("apps", [namespace("ends"), frozen("2")], FORCE))

        def deleted() -> bool:
            found = admin.config_map("ends", "a")
            return found is not None and "deletionTimestamp" in found["metadata"]

        await eventually(deleted, "the old one deleted")
    admin.patch("v1", "ConfigMap", "a", "ends", {"metadata": {"finalizers": None}}, "controller")
    assert admin.config_map("ends", "a") is None
    async with running(cluster.kubeconfig, tmp_path) as spoke:
        await spoke.until_applied("apps")
    found = admin.config_map("ends", "a")
    assert found
    assert found["data"] == {"k": "2"}


async def test_a_rule_of_a_definition_that_forbids_a_change_counts(spoke: Spoke, admin: Admin) -> None:
    """CEL validation: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions"""
    kind: Any = definition("locks", "Lock")
    size = {"type": "integer", "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "is immutable"}]}
    schema = kind["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["properties"]["spec"] = {"type": "object", "properties": {"size": size}}

    def lock(size: int) -> Manifest:
        return with_spec("Lock", "test.example.com/v1", "rules", {"size": size})

    spoke.want(Wanted("apps", [namespace("rules"), kind, lock(1)]))
    await spoke.until_applied("apps")
    spoke.want(Wanted("apps", [namespace("rules"), kind, lock(2)]))
    status = await spoke.until("apps", lambda status: status.problem_count == 1, "fails")
    assert status.problems[0].message.startswith("spec.size can't be changed")
    spoke.want(Wanted("apps", [namespace("rules"), kind, lock(2)], FORCE))
    await spoke.until_applied("apps")
    found = admin.get("test.example.com/v1", "Lock", "a", "rules")
    assert found
    assert found["spec"] == {"size": 2}
