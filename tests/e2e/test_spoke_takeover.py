"""Objects that somebody else made are adopted: what leaves Git goes, and what controllers set stays."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.spoke.cluster import Admin
from tests.spoke.driver import Spoke, asked, disturbed, eventually
from tests.spoke.manifests import Manifest, Wanted, config_map, definition, deployment, namespace

pytestmark = pytest.mark.cluster

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def annotated(manifest: Manifest, **annotations: str) -> Manifest:
    metadata: Any = manifest["metadata"]
    return {**manifest, "metadata": {**metadata, "annotations": annotations}}


def managers(found: dict[str, Any] | None) -> set[str]:
    assert found
    return {entry["manager"] for entry in found["metadata"]["managedFields"]}


@pytest.mark.parametrize(
    "manager",
    ["kubectl-create", "kubectl-client-side-apply", "kubectl-edit", "helm", "argocd-application-controller"],
)
async def test_what_was_written_before_us_is_ours_and_goes_when_it_leaves_git(
    spoke: Spoke, admin: Admin, manager: str
) -> None:
    where = f"over-{manager}"
    admin.create(namespace(where))
    by_hand = annotated(config_map(where, "a", kept="1", left="2", never="3"), **{LAST_APPLIED: "{}"})
    admin.create(by_hand, manager)
    mark = admin.cluster.audit_mark()
    spoke.want(Wanted("apps", [config_map(where, "a", kept="1", left="2")]))
    await spoke.until_applied("apps")
    found = admin.config_map(where, "a")
    assert found
    assert found["data"] == {"kept": "1", "left": "2"}
    assert "annotations" not in found["metadata"]
    assert managers(found) == {"felloe"}
    # Taken over first and then applied: the object changes once, which for a Deployment is one rollout.
    assert [verb for verb, *_, name in asked(admin.cluster, mark) if name == "a" and verb == "patch"] == ["patch"] * 2
    spoke.want(Wanted("apps", [config_map(where, "a", kept="1")]))
    await spoke.until_applied("apps")
    assert admin.config_map(where, "a")["data"] == {"kept": "1"}  # type: ignore[index]


@pytest.mark.parametrize("manager", ["kustomize-controller", "argocd-controller", "kubectl", "helm"])
async def test_what_was_applied_by_the_server_before_us_is_ours(spoke: Spoke, admin: Admin, manager: str) -> None:
    where = f"ssa-{manager}"
    admin.create(namespace(where))
    admin.apply(config_map(where, "a", kept="1", never="3"), manager)
    spoke.want(Wanted("apps", [config_map(where, "a", kept="1")]))
    await spoke.until_applied("apps")
    found = admin.config_map(where, "a")
    assert found
    assert found["data"] == {"kept": "1"}
    assert managers(found) == {"felloe"}


async def test_an_object_from_before_managed_fields_is_ours(spoke: Spoke, admin: Admin) -> None:
    admin.create(namespace("before"))
    admin.create(annotated(config_map("before", "a", kept="1", never="3"), **{LAST_APPLIED: "{}"}))
    admin.patch("v1", "ConfigMap", "a", "before", {"metadata": {"managedFields": [{}]}})
    spoke.want(Wanted("apps", [config_map("before", "a", kept="1")]))
    await spoke.until_applied("apps")
    found = admin.config_map("before", "a")
    assert found
    assert found["data"] == {"kept": "1"}
    assert not found["metadata"].get("annotations")


async def test_what_comes_later_by_an_older_way_is_undone(spoke: Spoke, admin: Admin) -> None:
    spoke.want(Wanted("apps", [namespace("later"), config_map("later", "a", k="v")]))
    await spoke.until_applied("apps")
    admin.patch("v1", "ConfigMap", "a", "later", {"data": {"extra": "1"}}, "helm")
    await spoke.until_event("DriftHealed", "ConfigMap later/a")
    assert admin.config_map("later", "a")["data"] == {"k": "v"}  # type: ignore[index]


async def test_an_adopted_deployment_is_neither_scaled_nor_restarted(spoke: Spoke, admin: Admin) -> None:
    admin.create(namespace("scaled"))
    by_hand: Any = deployment("scaled", "web", replicas=5)
    admin.create(by_hand, "kubectl-client-side-apply")
    git: Any = deployment("scaled", "web")
    del git["spec"]["replicas"]
    spoke.want(Wanted("apps", [git]))
    await spoke.until_applied("apps")
    found = admin.get("apps/v1", "Deployment", "web", "scaled")
    assert found
    assert (found["spec"]["replicas"], found["metadata"]["generation"]) == (5, 1)
    admin.patch("apps/v1", "Deployment", "web", "scaled", {"spec": {"replicas": 7}}, "kube-controller-manager")
    mark = admin.cluster.audit_mark()
    await asyncio.sleep(0.5)
    assert disturbed(admin.cluster, mark) == []
    spoke.want(Wanted("apps", [deployment("scaled", "web", replicas=2)]))
    await spoke.until_applied("apps")
    assert admin.get("apps/v1", "Deployment", "web", "scaled")["spec"]["replicas"] == 2  # type: ignore[index]


async def test_what_controllers_inject_is_left_alone_unless_git_sets_it(spoke: Spoke, admin: Admin) -> None:
    def hooks(**client: object) -> Manifest:
        one = {
            "name": "a.test.example.com",
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "failurePolicy": "Ignore",
            "clientConfig": {"url": "https://127.0.0.1:1/", **client},
        }
        api = "admissionregistration.k8s.io/v1"
        kind = "ValidatingWebhookConfiguration"
        return {"apiVersion": api, "kind": kind, "metadata": {"name": "injected"}, "webhooks": [one]}

    web: Any = deployment("injected", "web")
    sidecar = {"name": "sidecar", "image": "example.com/sidecar:1"}
    spoke.want(Wanted("apps", [namespace("injected"), web, hooks()]))
    await spoke.until_applied("apps")
    pod: Manifest = {
        "spec": {"template": {"spec": {"containers": [web["spec"]["template"]["spec"]["containers"][0], sidecar]}}}
    }
    admin.patch("apps/v1", "Deployment", "web", "injected", pod, "injector")
    bundle = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCi0tLS0tRU5EIENFUlRJRklDQVRFLS0tLS0K"
    ours: Any = hooks(caBundle=bundle)
    kind = "ValidatingWebhookConfiguration"
    mark = admin.cluster.audit_mark()
    admin.patch("admissionregistration.k8s.io/v1", kind, "injected", "", {"webhooks": ours["webhooks"]}, "cainjector")
    await asyncio.sleep(0.5)
    assert disturbed(admin.cluster, mark) == []
    found = admin.get("apps/v1", "Deployment", "web", "injected")
    assert found
    assert [each["name"] for each in found["spec"]["template"]["spec"]["containers"]] == ["main", "sidecar"]
    spoke.want(
        Wanted("apps", [namespace("injected"), {**web, "metadata": {**web["metadata"], "labels": {"x": "y"}}}, hooks()])
    )
    await spoke.until_applied("apps")
    found = admin.get("apps/v1", "Deployment", "web", "injected")
    assert found
    assert [each["name"] for each in found["spec"]["template"]["spec"]["containers"]] == ["main", "sidecar"]
    spoke.want(Wanted("apps", []))
    await spoke.until_applied("apps")


async def test_a_bound_claim_is_adopted_as_it_is(spoke: Spoke, admin: Admin) -> None:
    claim: Any = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "a", "namespace": "bound"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
            "storageClassName": "",
        },
    }
    admin.create(namespace("bound"))
    admin.create({**claim, "spec": {**claim["spec"], "volumeName": "disk"}}, "kubectl-create")
    spoke.want(Wanted("apps", [claim]))
    await spoke.until_applied("apps")
    found = admin.get("v1", "PersistentVolumeClaim", "a", "bound")
    assert found
    assert found["spec"]["volumeName"] == "disk"


async def test_fields_that_were_written_in_another_version_are_taken_over(spoke: Spoke, admin: Admin) -> None:
    kind: Any = definition("dials", "Dial")
    newest = kind["spec"]["versions"][0]
    kind["spec"]["versions"] = [newest, {**newest, "name": "v1beta1", "storage": False}]

    def dial(version: str, **spec: object) -> Manifest:
        api = f"test.example.com/{version}"
        return {"apiVersion": api, "kind": "Dial", "metadata": {"name": "a", "namespace": "dials"}, "spec": spec}

    spoke.want(Wanted("definitions", [namespace("dials"), kind]))
    await spoke.until_applied("definitions")

    def make() -> bool:
        admin.create(dial("v1beta1", kept=1, never=2))
        return True

    await eventually(make, "made")
    spoke.want(Wanted("definitions", [namespace("dials"), kind]), Wanted("apps", [dial("v1", kept=1, more=2)]))
    await spoke.until_applied("apps")
    found = admin.get("test.example.com/v1", "Dial", "a", "dials")
    assert found
    assert found["spec"] == {"kept": 1, "more": 2}
    spoke.want(Wanted("definitions", [namespace("dials"), kind]), Wanted("apps", [dial("v1beta1", kept=1)]))
    await spoke.until_applied("apps")
    assert admin.get("test.example.com/v1", "Dial", "a", "dials")["spec"] == {"kept": 1}  # type: ignore[index]
    mark = admin.cluster.audit_mark()
    await asyncio.sleep(0.5)
    assert disturbed(admin.cluster, mark) == []
