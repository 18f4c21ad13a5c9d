"""Workloads that are applied as a service account do what it may do, and nothing else."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from felloe.bundle import ApplyOptions
from tests.cluster.controlplane import ControlPlane
from tests.spoke.cluster import Admin
from tests.spoke.driver import Spoke, eventually, ready, running
from tests.spoke.manifests import Manifest, Wanted, config_map, namespace
from tests.spoke.webhooks import webhook

pytestmark = pytest.mark.cluster

RBAC = "rbac.authorization.k8s.io"
ALL_VERBS = ["get", "list", "watch", "create", "patch", "delete"]
AS_TENANT = ApplyOptions(prune=True, retry_interval=2.0, service_account="tenant")
USER = 'User "system:serviceaccount:flux-system:tenant"'


def account(name: str = "tenant") -> Manifest:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": "flux-system"}}


def role(within: str) -> Manifest:
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ALL_VERBS}]
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "Role",
        "metadata": {"name": "tenant", "namespace": within},
        "rules": rules,
    }


def binding(within: str, subject: dict[str, str] | None = None) -> Manifest:
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "tenant", "namespace": within},
        "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": "tenant"},
        "subjects": [subject or {"kind": "ServiceAccount", "name": "tenant", "namespace": "flux-system"}],
    }


def make(admin: Admin, *manifests: Manifest) -> None:
    for manifest in manifests:
        metadata = manifest["metadata"]
        assert isinstance(metadata, dict)
        found = admin.get(
            str(manifest["apiVersion"]), str(manifest["kind"]), metadata["name"], metadata.get("namespace", "")
        )
        if found is None:
            admin.create(manifest)


@pytest.fixture
def tenant(admin: Admin) -> str:
    """A namespace of its own for each test, in which the account may have ConfigMaps."""
    within = f"tenant-{time.monotonic_ns()}"
    make(admin, namespace("flux-system"), account(), namespace(within), role(within), binding(within))
    return within


def refused(message: str, what: str, within: str) -> bool:
    """Return whether this is what the API server says when the account may not look at an object, or apply it."""
    where = f'resource "{what}" in API group "" in the namespace "{within}"'
    return any(f"{USER} cannot {verb} {where}" in message for verb in ("get", "patch"))


async def test_an_account_that_may_do_all_in_one_namespace_applies_heals_and_prunes_there(
    spoke: Spoke, admin: Admin, cluster: ControlPlane, tenant: str
) -> None:
    mark = cluster.audit_mark()
    spoke.want(Wanted("apps", [config_map(tenant, "a", k="1"), config_map(tenant, "b")], AS_TENANT))
    await spoke.until_applied("apps")
    admin.patch("v1", "ConfigMap", "a", tenant, {"data": {"k": "by hand"}})
    await eventually(lambda: admin.config_map(tenant, "a")["data"] == {"k": "1"}, "the edit is undone")  # type: ignore[index]
    spoke.want(Wanted("apps", [config_map(tenant, "a", k="1")], AS_TENANT))
    await spoke.until_applied("apps")
    assert admin.config_map(tenant, "b") is None
    spoke.want()
    await spoke.until_removed("apps")
    assert admin.config_map(tenant, "a") is None
    asked = [event for event in cluster.audit_since(mark, user_agent="felloe-spoke") if event.namespace == tenant]
    assert {event.verb for event in asked} >= {"patch", "list", "get", "delete"}
    assert {event.impersonated for event in asked} == {"system:serviceaccount:flux-system:tenant"}


async def test_rights_of_the_group_of_all_accounts_of_a_namespace_are_the_account_s(
    spoke: Spoke, admin: Admin, tenant: str
) -> None:
    within = f"{tenant}-group"
    group = {"kind": "Group", "name": "system:serviceaccounts:flux-system", "apiGroup": RBAC}
    make(admin, namespace(within), role(within), binding(within, group))
    spoke.want(Wanted("apps", [config_map(within, "a")], AS_TENANT))
    await spoke.until_applied("apps")


async def test_what_is_refused_is_told_in_the_api_servers_words_and_the_rest_goes_on(
    spoke: Spoke, admin: Admin, tenant: str
) -> None:
    beyond = [namespace(f"{tenant}-more"), config_map("kube-system", f"of-{tenant}")]
    spoke.want(
        Wanted("apps", [config_map(tenant, "a"), *beyond], AS_TENANT),
        Wanted("others", [config_map(tenant, "of-others")]),
    )
    await spoke.until_applied("others")
    status = await spoke.until("apps", lambda status: status.problem_count == 2, "tells both")
    messages = [problem.message for problem in status.problems]
    for what, within in (("namespaces", f"{tenant}-more"), ("configmaps", "kube-system")):
        assert any(refused(message, what, within) for message in messages)
    assert admin.config_map(tenant, "a")
    assert admin.config_map("kube-system", f"of-{tenant}") is None
    assert admin.get("v1", "Namespace", f"{tenant}-more") is None


async def test_rights_that_come_later_are_used_at_once(spoke: Spoke, admin: Admin, tenant: str) -> None:
    within = f"{tenant}-later"
    patient = ApplyOptions(prune=True, retry_interval=3600.0, service_account="tenant")
    apps = Wanted("apps", [config_map(within, "a", k="1")], patient)
    spoke.want(apps, Wanted("platform", [namespace(within)]))
    await spoke.until("apps", lambda status: status.problem_count == 1, "is refused")
    spoke.want(apps, Wanted("platform", [namespace(within), role(within), binding(within)]))
    await spoke.until_applied("apps")
    admin.patch("v1", "ConfigMap", "a", within, {"data": {"k": "by hand"}})
    await eventually(lambda: admin.config_map(within, "a")["data"] == {"k": "1"}, "seen and undone")  # type: ignore[index]


async def test_without_its_account_a_workload_stands_still_and_says_how_to_go_on(
    spoke: Spoke, admin: Admin, tenant: str
) -> None:
    spoke.want(Wanted("apps", [config_map(tenant, "a", k="1")], AS_TENANT), Wanted("others", [config_map(tenant, "b")]))
    await spoke.until_applied("apps")
    admin.delete("v1", "ServiceAccount", "tenant", "flux-system")
    try:
        spoke.want(Wanted("apps", [config_map(tenant, "a", k="2")], AS_TENANT), Wanted("others"))
        await spoke.until_applied("others")
        status = await spoke.until("apps", lambda status: status.problem_count == 1, "is refused")
        assert "service account flux-system/tenant" in status.problems[0].message
        assert "create it" in status.problems[0].message
        assert admin.config_map(tenant, "a")["data"] == {"k": "1"}  # type: ignore[index]
    finally:
        admin.create(account())
    await spoke.until_applied("apps")


async def test_the_end_of_a_workload_waits_for_its_account_and_says_so(spoke: Spoke, admin: Admin, tenant: str) -> None:
    spoke.want(Wanted("apps", [config_map(tenant, "a")], AS_TENANT), Wanted("others"))
    await spoke.until_applied("apps")
    admin.delete("v1", "ServiceAccount", "tenant", "flux-system")
    try:
        spoke.want(Wanted("others"))
        await eventually(lambda: "is not there: create it" in ready(spoke.statuses["apps"])[2], "it is told")
        assert admin.config_map(tenant, "a")
    finally:
        admin.create(account())
    await spoke.until_removed("apps")
    assert admin.config_map(tenant, "a") is None


async def test_the_end_of_a_workload_does_not_hang_on_rights_that_went_with_its_namespace(
    spoke: Spoke, admin: Admin, tenant: str
) -> None:
    spoke.want(Wanted("apps", [config_map(tenant, "a")], AS_TENANT), Wanted("others"))
    await spoke.until_applied("apps")
    admin.delete("v1", "Namespace", tenant)
    spoke.want(Wanted("others"))
    await spoke.until_removed("apps")


async def test_what_was_being_made_when_the_rights_to_it_went_is_not_forgotten(
    spoke: Spoke, admin: Admin, tenant: str, tmp_path: Path
) -> None:
    entered, released = asyncio.Event(), asyncio.Event()

    async def hold(request: dict[str, Any]) -> dict[str, object]:
        entered.set()
        await released.wait()
        return {"allowed": True}

    async with webhook(tmp_path) as hook:
        hook.answer = hold
        configuration = hook.configuration("holds", tenant, timeoutSeconds=20)
        spoke.want(Wanted("apps", [config_map(tenant, "before")], AS_TENANT), Wanted("others"))
        await spoke.until_applied("apps")
        admin.create(configuration)
        try:
            for number in range(100):  # until the API server calls it
                more = [config_map(tenant, f"a{each}") for each in range(number)]
                spoke.want(Wanted("apps", [config_map(tenant, "before"), *more], AS_TENANT), Wanted("others"))
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.5):
                        await entered.wait()
                        break
            admin.delete(f"{RBAC}/v1", "RoleBinding", "tenant", tenant)
            user = "system:serviceaccount:flux-system:tenant"
            await eventually(lambda: not admin.may(user, "get", "configmaps", tenant), "the rights are gone")
            spoke.want(Wanted("others"))
            await spoke.until_status("others")
            released.set()
            made = f"a{len(more) - 1}"
            await eventually(lambda: admin.config_map(tenant, made), "it is made")
            await spoke.until_said("apps", lambda said: any(each.id.name == made for each in said.problems), "says so")
        finally:
            released.set()
            admin.delete(str(configuration["apiVersion"]), str(configuration["kind"]), "holds")
    admin.create(binding(tenant))
    await spoke.until_removed("apps")
    assert admin.config_map(tenant, made) is None


async def test_nobody_takes_an_object_from_a_workload_by_naming_it_too(spoke: Spoke, admin: Admin, tenant: str) -> None:
    theirs = Wanted("platform", [config_map("kube-system", f"of-{tenant}", k="theirs")])
    spoke.want(theirs)
    await spoke.until_applied("platform")
    grab = Wanted("a-tenant", [config_map("kube-system", f"of-{tenant}", k="grabbed")], AS_TENANT)
    spoke.want(theirs, grab)
    await spoke.until("a-tenant", lambda status: status.problem_count == 1, "is refused")
    admin.patch("v1", "ConfigMap", f"of-{tenant}", "kube-system", {"data": {"k": "by hand"}})

    def healed() -> bool:
        found = admin.config_map("kube-system", f"of-{tenant}")
        return found is not None and found["data"] == {"k": "theirs"}

    await eventually(healed, "still the platform's")
    spoke.want(Wanted("platform"), grab)
    await spoke.until(
        "a-tenant",
        lambda status: any(refused(each.message, "configmaps", "kube-system") for each in status.problems),
        "is refused",
    )
    spoke.want(theirs)
    await spoke.until_removed("a-tenant")
    await spoke.until_applied("platform")
    assert healed()


async def test_a_spoke_may_have_an_account_for_workloads_that_name_none(
    cluster: ControlPlane, admin: Admin, tenant: str, tmp_path: Path
) -> None:
    async with running(cluster.kubeconfig, tmp_path, service_account="tenant") as spoke:
        spoke.want(Wanted("apps", [config_map(tenant, "a"), config_map("kube-system", f"of-{tenant}")]))
        status = await spoke.until("apps", lambda status: status.problem_count == 1, "is refused")
        assert refused(status.problems[0].message, "configmaps", "kube-system")
    assert admin.config_map(tenant, "a")
